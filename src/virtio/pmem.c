/* SPDX-License-Identifier: Apache-2.0 */
#include "virtio/pmem.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "virtio/chains.h"

#define BATCH 32 /* chains per turn */
#define REQ_FLUSH 0
#define RESP_ERROR 1
#define CONFIG_LEN 16 /* address, size */

struct pmem {
	struct virtio_dev dev;
	struct guest_region region;
	struct chains chains;
};

static struct pmem *from_dev(struct virtio_dev *dev)
{
	return container_of(dev, struct pmem, dev);
}

static int serve(struct virtio_dev *dev unused_arg, const struct chain *c, uint32_t *ret_len)
{
	uint8_t type[4], resp[4];

	if (c->out_len < sizeof(type) || c->in_len < sizeof(resp))
		return -EPROTO;
	(void)iov_read(chain_out(c), c->n_out, 0, type, sizeof(type));
	put_le32(resp, get_le32(type) == REQ_FLUSH ? 0 : RESP_ERROR);
	*ret_len = (uint32_t)iov_write(chain_in(c), c->n_in, 0, resp, sizeof(resp));
	return 1;
}

static void config_read(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	const struct guest_region *r = &from_dev(dev)->region;
	uint8_t config[CONFIG_LEN];

	put_le64(config, r->gpa);
	put_le64(config + 8, r->size);
	memcpy(dst, config + off, len);
}

static int activate(struct virtio_dev *dev unused_arg, struct err *err unused_arg)
{
	return 0;
}

static int notify(struct virtio_dev *dev, unsigned index unused_arg)
{
	return chains_run(&from_dev(dev)->chains);
}

static void reset(struct virtio_dev *dev)
{
	chains_stop(&from_dev(dev)->chains);
}

static const struct virtio_ops ops = {
	.device_id = 27,
	.name = "pmem",
	.n_queues = 1,
	.queue_size = 64,
	.config_len = CONFIG_LEN,
	.config_read = config_read,
	.activate = activate,
	.notify = notify,
	.reset = reset,
};

static int map_file(struct pmem *p, int fd, gpa_t gpa, struct err *err)
{
	struct guest_region *r = &p->region;
	struct stat st;
	uint8_t *at;

	if (fstat(fd, &st) < 0)
		return err_errno(err, "pmem: stat");
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return err_set(err, EINVAL, "pmem: not a regular file with anything in it");
	if (gpa % PMEM_ALIGN)
		return err_set(err, EINVAL, "pmem: address 0x%llx is not aligned", (unsigned long long)gpa);
	*r = (struct guest_region){.gpa = gpa, .readonly = true};
	r->size = ((uint64_t)st.st_size + PMEM_ALIGN - 1) & ~(PMEM_ALIGN - 1);
	/* One more PMEM_ALIGN to cut the mapping from: huge pages need both addresses aligned alike. */
	at = mmap(NULL, r->size + PMEM_ALIGN, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return err_errno(err, "pmem: map %llu bytes", (unsigned long long)r->size);
	r->hva = at + (PMEM_ALIGN - (uintptr_t)at % PMEM_ALIGN) % PMEM_ALIGN;
	if (r->hva != at)
		(void)munmap(at, (size_t)(r->hva - at));
	(void)munmap(r->hva + r->size, (size_t)(at + PMEM_ALIGN - r->hva));
	if (mmap(r->hva, (size_t)st.st_size, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		return err_errno(err, "pmem: map the file");
	return 0;
}

int pmem_new(struct pmem **ret, struct loop *loop, int fd, gpa_t gpa, struct err *err)
{
	struct pmem *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return err_set(err, ENOMEM, "pmem: out of memory");
	p->dev.ops = &ops;
	p->dev.loop = loop;
	p->chains = (struct chains){.dev = &p->dev, .budget = BATCH, .serve = serve};
	r = map_file(p, fd, gpa, err);
	if (r < 0) {
		pmem_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void pmem_free(struct pmem *p)
{
	if (!p)
		return;
	chains_stop(&p->chains);
	if (p->region.hva)
		(void)munmap(p->region.hva, p->region.size);
	free(p);
}

struct virtio_dev *pmem_dev(struct pmem *p)
{
	return &p->dev;
}

const struct guest_region *pmem_region(const struct pmem *p)
{
	return &p->region;
}
