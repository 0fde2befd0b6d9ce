/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-vsock (virtio 1.2 §5.10), streams only, all in user space. The host's side is an AF_UNIX listening socket:
 * a client connects, writes "CONNECT <port>\n", and reads "OK <port>\n" when the guest accepted (the convention that Firecracker,
 * Cloud Hypervisor and vhost-device-vsock share); on refusal the socket is closed. A guest-initiated connection (to CID 2)
 * is handed to `dial`, whose owner connects to "<socket>_<port>".
 * A CONNECT that arrives before the guest's driver is ready waits for it.
 */
#include "virtio/device.h"

#define VSOCK_CONNS_MAX 1024		/* per VM, both directions; more are refused */
#define VSOCK_BUF_ALLOC (1024u * 1024u) /* receive credit given to the guest per connection, bytes */

struct vsock;

struct vsock_options {
	uint64_t cid;	   /* of the guest, > 2 */
	int listen_fd;	   /* consumed; -1: no host-initiated connections */
	unsigned hello_ms; /* how long a client may take for its CONNECT line; 0: 5000 */
	/*
	 * The guest dials host port `port`; answer, at once or later, with vsock_dialed(vs, token, ...). NULL: every dial is reset.
	 */
	void (*dial)(void *ctx, uint32_t port, uint64_t token);
	void *ctx;
};

/* The device; *ret is freed with vsock_free after its transport is gone. */
int vsock_new(struct vsock **ret, struct loop *loop, const struct vsock_options *opts, struct err *err) must_check;
void vsock_free(struct vsock *vs);
DEFINE_FREEP(vsock);
struct virtio_dev *vsock_dev(struct vsock *vs);

/* Answers a dial: `fd` (consumed) is a connected stream socket, or -1 to refuse. An old token is ignored. */
void vsock_dialed(struct vsock *vs, uint64_t token, int fd);

/*
 * The guest goes on in another place (a clone, a restored template): every connection is dropped without a word, the guest is
 * told by a TRANSPORT_RESET event (virtio 1.2 §5.10.6.7) as soon as its driver gives a buffer for it, and reads the new CID.
 */
void vsock_transport_reset(struct vsock *vs, uint64_t cid);
