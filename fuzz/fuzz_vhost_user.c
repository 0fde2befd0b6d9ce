/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile front end with a hostile guest behind it. The input is a script of records:
 *
 *   0..0x3f   send a message: request, flags, which descriptors (one byte each, `n` of them), payload length, payload
 *   0x40..    send raw bytes without framing
 *   0x80..    act as the driver: kick, offer a chain, poke guest memory
 *   0xc0..    act as the device: keep chains or return them, complete a kept one, break a rule
 *
 * After every record the back end runs until it is quiet. At the end no descriptor and no mapping may be left.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "virtio/vhost_user.h"
#include "virtio/vhost_user_msg.h"

#define MEM 65536
#define RINGS 2
#define FDS 9

struct script {
	const uint8_t *at;
	size_t left;
};

struct harness {
	struct virtio_dev dev;
	struct virtio_ops ops;
	struct loop *loop;
	struct vhost_user *vu;
	int sock;
	int fds[FDS]; /* what the front end has to pass on; lives as long as the process */
	uint8_t *mem;
	bool keep, break_rule, fail, closed;
	struct chain c;
	uint16_t kept;
	unsigned kept_ring;
	bool has_kept;
};

static struct harness h;

static uint8_t byte(struct script *s)
{
	if (!s->left)
		return 0;
	s->left--;
	return *s->at++;
}

static uint16_t word(struct script *s)
{
	uint16_t low = byte(s);

	return (uint16_t)(low | byte(s) << 8);
}

static void dev_config(struct virtio_dev *dev, uint32_t off, void *dst, uint32_t len)
{
	assert(off <= 8 && len <= 8 - off);
	memset(dst, 0x11, len);
}

static int dev_activate(struct virtio_dev *dev, struct err *err)
{
	assert(dev->mem && dev->features >> VIRTIO_BIT_VERSION_1 & 1);
	return h.fail ? err_set(err, ENOMEM, "no memory") : 0;
}

static int dev_notify(struct virtio_dev *dev, unsigned index)
{
	struct queue *q = &dev->queues[index];
	int r;

	assert(index < RINGS && dev->active && queue_is_started(q));
	if (h.break_rule)
		return -EPROTO;
	while ((r = queue_pop(q, &h.c)) == 1) {
		for (unsigned i = 0; i < h.c.n_out + h.c.n_in; i++) {
			volatile uint8_t *p = h.c.iov[i].iov_base;

			(void)p[0];
			(void)p[h.c.iov[i].iov_len - 1];
		}
		(void)iov_write(chain_in(&h.c), h.c.n_in, 0, "written", 7);
		h.kept = h.c.head;
		h.kept_ring = index;
		h.has_kept = h.keep;
		if (!h.keep && queue_push(q, h.c.head, (uint32_t)h.c.in_len) < 0)
			return -EPROTO;
	}
	virtio_signal(dev, index);
	return r;
}

static void dev_reset(struct virtio_dev *dev)
{
	assert(dev->active);
	h.has_kept = false;
}

static void on_closed(void *ctx, const struct err *why)
{
	assert(!h.closed && !h.dev.active);
	h.closed = true;
}

static void setup(void)
{
	int p[2];

	(void)signal(SIGPIPE, SIG_IGN);
	assert(loop_new(&h.loop, NULL) == 0);
	h.ops = (struct virtio_ops){.device_id = 19,
		.name = "fuzz",
		.n_queues = RINGS,
		.config_len = 8,
		.config_read = dev_config,
		.activate = dev_activate,
		.notify = dev_notify,
		.reset = dev_reset};
	h.fds[0] = memfd_create("guest", MFD_CLOEXEC);
	h.fds[1] = memfd_create("guest", MFD_CLOEXEC);
	assert(ftruncate(h.fds[0], MEM) == 0 && ftruncate(h.fds[1], MEM / 2) == 0);
	h.mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, h.fds[0], 0);
	assert(h.mem != MAP_FAILED);
	for (unsigned i = 2; i < 5; i++)
		h.fds[i] = eventfd(0, EFD_CLOEXEC);
	assert(pipe2(p, O_CLOEXEC) == 0);
	h.fds[5] = p[0];
	h.fds[6] = p[1];
	h.fds[7] = open("/dev/null", O_RDWR | O_CLOEXEC);
	h.fds[8] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert(h.fds[7] >= 0 && h.fds[8] >= 0);
}

static void run(void)
{
	for (unsigned i = 0; i < 8; i++)
		assert(loop_turn(h.loop, 0) == 0);
	if (h.sock >= 0) {
		uint8_t sink[4096];

		while (recv(h.sock, sink, sizeof(sink), MSG_DONTWAIT) > 0)
			;
	}
}

static void send_message(struct script *s, uint8_t n_fds)
{
	uint8_t bytes[12 + 512] = {0};
	uint16_t request_flags = word(s);
	const uint32_t hdr[3] = {request_flags & 0xff, request_flags >> 8, 0};
	uint32_t len, say;
	int fds[16];

	memcpy(bytes, hdr, 12);
	n_fds %= 16;
	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = h.fds[byte(s) % FDS];
	len = byte(s) * 2;
	say = len & 256 ? len + ((uint32_t)byte(s) << 24) : len; /* a length that may lie */
	memcpy(bytes + 8, &say, 4);
	len = len < s->left ? len : (uint32_t)s->left;
	memcpy(bytes + 12, s->at, len);
	s->at += len;
	s->left -= len;
	(void)!fd_send(h.sock, bytes, 12 + (say < 500 ? say : len), fds, n_fds, NULL);
}

static void act_driver(struct script *s, uint8_t what)
{
	const uint64_t one = 1;
	unsigned at;

	if (what & 1) {
		(void)!write(h.fds[2 + byte(s) % 3], &one, sizeof(one));
		return;
	}
	at = word(s) % (MEM - 16);
	for (unsigned i = 0; i < (what / 2) % 16; i++)
		h.mem[at + i] = byte(s);
}

static void act_device(uint8_t what)
{
	h.keep = what & 1;
	h.break_rule = what & 2;
	h.fail = what & 4;
	if (what & 8 && h.has_kept) {
		h.has_kept = false;
		(void)!queue_push(&h.dev.queues[h.kept_ring], h.kept, 1);
		if (h.dev.active)
			virtio_signal(&h.dev, h.kept_ring);
	}
	if (what & 16 && h.dev.active)
		virtio_broken(&h.dev);
	if (what & 32 && !h.closed)
		vhost_user_drop_rss(h.vu);
}

static void play(struct script *s)
{
	while (s->left && !h.closed) {
		uint8_t what = byte(s);

		if (what < 0x40)
			send_message(s, what);
		else if (what < 0x80 && s->left)
			(void)!send(h.sock, s->at, what % 16 < s->left ? what % 16 : s->left, MSG_NOSIGNAL);
		else if (what < 0xc0)
			act_driver(s, what);
		else
			act_device(what);
		run();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct script s = {data, size};
	int pair[2], before, after;

	if (!h.loop)
		setup();
	/* The lowest free number is the same afterwards if every descriptor was closed. */
	before = fcntl(0, F_DUPFD_CLOEXEC, 3);
	(void)close(before);
	memset(h.mem, 0, MEM);
	memset(&h.dev, 0, sizeof(h.dev));
	h.dev.ops = &h.ops;
	h.dev.loop = h.loop;
	h.keep = h.break_rule = h.fail = h.closed = h.has_kept = false;
	assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	h.sock = pair[0];
	assert(vhost_user_new(&h.vu, h.loop, &h.dev, pair[1], on_closed, NULL, NULL) == 0);
	play(&s);
	if (size % 2) {
		close_fd(&h.sock);
		run();
		assert(h.closed);
	}
	vhost_user_free(h.vu);
	close_fd(&h.sock);
	for (unsigned i = 0; i < RINGS; i++)
		assert(!queue_is_started(&h.dev.queues[i]));
	assert(!h.dev.active);
	after = fcntl(0, F_DUPFD_CLOEXEC, 3);
	(void)close(after);
	assert(before == after);
	return 0;
}
