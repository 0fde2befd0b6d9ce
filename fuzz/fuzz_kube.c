/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Pod file from hostile bytes. What loads must be whole: its texts for /etc can be made, its size told, and the OCI
 * spec of every container is made and written, or refused with a message.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "kube/kube.h"
#include "oci/image_config.h"
#include "oci/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void make_texts(const struct kube_pod *pod)
{
	auto_buf struct buf out = BUF_INIT(4u << 20);
	unsigned cpus;
	uint64_t memory;

	must(kube_hosts_text(pod, "10.0.2.15", &out) == 0);
	must(kube_resolv_conf_text(pod, "nameserver 192.0.2.1\nsearch a b\noptions ndots:1\n", &out) == 0);
	kube_pod_size(pod, &cpus, &memory);
}

static void make_spec(
	const struct kube_pod *pod, const struct kube_container *c, const struct image_config *image, int rootfs)
{
	static const char *sources[4096];
	struct kube_spec_paths paths = {.rootfs = "/r",
		.mount_sources = sources,
		.hosts = "/h",
		.resolv_conf = "/c",
		.hostname_file = "/n",
		.termination_log = "/l",
		.shm = "/s"};
	auto_oci_spec struct oci_spec spec = {0};
	auto_free char *json = NULL;
	struct err err = {0};
	size_t len;

	must(c->n_mounts <= ARRAY_SIZE(sources));
	for (size_t i = 0; i < c->n_mounts; i++) {
		must(c->mounts[i].volume < pod->n_volumes);
		sources[i] = "/v";
	}
	if (kube_container_spec(&spec, pod, c, image, rootfs, &paths, "{}", &err) < 0) {
		must(err.msg[0] != '\0');
		return;
	}
	must(oci_spec_write(&spec, &json, &len, &err) == 0 || err.msg[0] != '\0');
}

/* Touches both ends of each file, for AddressSanitizer to look. */
static void check_volumes(const struct kube_pod *pod)
{
	unsigned sum = 0;

	for (size_t i = 0; i < pod->n_volumes; i++)
		for (size_t k = 0; k < pod->volumes[i].n_files; k++) {
			const struct kube_file *f = &pod->volumes[i].files[k];

			must(f->mode <= 0777 && f->path[0] && f->path[0] != '/' && !strstr(f->path, "/../"));
			sum += f->len ? f->data[0] + f->data[f->len - 1] : 0;
		}
	must(sum <= 2u * 0xff * 4096);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct kube_context ctx = {
		.uid = "u", .node_name = "n", .host_ip = "192.0.2.1", .pod_ip = "10.0.2.15"};
	static const char config[] = "{\"config\": {\"Cmd\": [\"sh\"], \"User\": \"5\", \"Env\": [\"A=b\"]}}";
	struct image_config image = {0};
	struct kube_pod *pod = NULL;
	struct err err = {0};
	int r = kube_load(&pod, "f", (const char *)data, size, &ctx, &err), rootfs;

	if (r < 0) {
		/* One printable line; never ENOSYS, which would be a field that the tables promise and nobody reads. */
		must(!pod && err.code == -r && (r == -EINVAL || r == -E2BIG) && str_has_prefix(err.msg, "f:"));
		for (const char *p = err.msg; *p; p++)
			must((unsigned char)*p >= 0x20);
		return 0;
	}
	rootfs = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(image_config_parse(&image, config, strlen(config), &err) == 0);
	make_texts(pod);
	check_volumes(pod);
	for (size_t i = 0; i < pod->n_containers; i++)
		make_spec(pod, &pod->containers[i], &image, rootfs);
	image_config_fini(&image);
	(void)close(rootfs);
	kube_pod_free(pod);
	return 0;
}
