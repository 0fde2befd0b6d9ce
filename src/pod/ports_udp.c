/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published UDP ports: a socket on 127.0.0.1 for each. Every client (address and port) gets a flow: a stream to the agent, and in
 * the guest a socket of its own, so that answers come back to who asked. Flows end when they idle (rpc/dgram.h) or when FLOWS_MAX
 * are there and a new client comes: then the one that was quiet for longest goes. What does not fit is lost, as with UDP.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "pod/pod_impl.h"
#include "rpc/dgram.h"

#define FLOWS_MAX 128
#define BATCH 16 /* datagrams a turn */

struct listener {
	struct ports_udp *all;
	struct loop_fd src;
	int fd;
	uint16_t guest_port;
};

struct flow {
	struct flow *next; /* the one used last comes first */
	struct listener *listener;
	struct sockaddr_in client;
	struct hvsock_dial dial;
	int fd; /* the stream; -1: being dialled */
	struct dgram pipe;
};

struct ports_udp {
	struct pod *pod;
	struct flow *flows;
	unsigned n_flows;
	size_t n;
	struct listener listeners[];
};

static void flow_free(struct flow *f)
{
	struct ports_udp *all = f->listener->all;
	struct flow **p = &all->flows;

	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	all->n_flows--;
	hvsock_dial_cancel(&f->dial);
	dgram_close(&f->pipe);
	close_fd(&f->fd);
	free(f);
}

/* From the guest, back to the client. */
static void on_datagram(struct dgram *d, const uint8_t *bytes, size_t n)
{
	struct flow *f = container_of(d, struct flow, pipe);

	(void)sendto(f->listener->fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&f->client,
		sizeof(f->client));
}

static void on_flow_ended(struct dgram *d)
{
	flow_free(container_of(d, struct flow, pipe));
}

static void on_dialled(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct flow *f = container_of(d, struct flow, dial);

	f->fd = fd;
	if (err || dgram_open(&f->pipe, fd, NULL) < 0)
		flow_free(f);
}

/* The flow of a client, moved to the front. */
static struct flow *flow_find(struct ports_udp *all, const struct listener *l, const struct sockaddr_in *client)
{
	for (struct flow **p = &all->flows, *f; (f = *p); p = &f->next) {
		if (f->listener != l || f->client.sin_port != client->sin_port ||
			f->client.sin_addr.s_addr != client->sin_addr.s_addr)
			continue;
		*p = f->next;
		f->next = all->flows;
		all->flows = f;
		return f;
	}
	return NULL;
}

static void free_oldest(struct ports_udp *all)
{
	struct flow *f = all->flows;

	while (f->next)
		f = f->next;
	flow_free(f);
}

static struct flow *flow_new(struct listener *l, const struct sockaddr_in *client)
{
	struct stream_header h = {.kind = STREAM_DIAL_UDP, .port = l->guest_port};
	struct ports_udp *all = l->all;
	struct loop *loop = all->pod->loop;
	struct flow *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	if (all->n_flows == FLOWS_MAX)
		free_oldest(all);
	*f = (struct flow){.next = all->flows, .listener = l, .client = *client, .fd = -1, .dial.done = on_dialled};
	all->flows = f;
	all->n_flows++;
	dgram_init(&f->pipe, loop, on_datagram, on_flow_ended);
	if (hvsock_dial_start(&f->dial, loop, all->pod->sb.vsock_path, STREAM_PORT, &h, NULL) < 0) {
		flow_free(f);
		return NULL;
	}
	hvsock_dial_timeout(&f->dial, loop, CALL_TIMEOUT_MS);
	return f;
}

static void on_client(struct loop_fd *src, uint32_t events)
{
	static uint8_t bytes[DGRAM_MAX];
	struct listener *l = container_of(src, struct listener, src);

	for (int i = 0; i < BATCH; i++) {
		struct sockaddr_in client = {0};
		socklen_t len = sizeof(client);
		ssize_t n = recvfrom(l->fd, bytes, sizeof(bytes), MSG_DONTWAIT, (struct sockaddr *)&client, &len);
		struct flow *f;

		if (n < 0)
			return;
		f = flow_find(l->all, l, &client);
		if (!f)
			f = flow_new(l, &client);
		if (f)
			(void)dgram_send(&f->pipe, bytes, (size_t)n);
	}
}

static int listen_on(struct ports_udp *all, const struct kube_container *c, const struct kube_port *p, struct err *err)
{
	uint16_t host_port = p->host_port ? p->host_port : p->container_port;
	struct sockaddr_in sa = {
		.sin_family = AF_INET, .sin_port = htons(host_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct listener *l = &all->listeners[all->n];

	*l = (struct listener){.all = all, .guest_port = p->container_port};
	l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_errno(err, "UDP socket");
	all->n++;
	if (bind(l->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		return err_errno(err,
			"%s: publish UDP port %u of container %s on 127.0.0.1 (set another hostPort, or end what uses "
			"it)",
			p->where, host_port, c->name);
	return loop_add_fd(all->pod->loop, &l->src, l->fd, EPOLLIN, on_client, err);
}

int ports_udp_open(struct ports_udp **ret, struct pod *pod, struct err *err)
{
	struct ports_udp *all;
	size_t count = 0;
	int r = 0;

	*ret = NULL;
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		for (size_t p = 0; p < pod->spec->containers[i].n_ports; p++)
			count += pod->spec->containers[i].ports[p].protocol == KUBE_UDP;
	if (!count)
		return 0;
	all = calloc(1, sizeof(*all) + count * sizeof(all->listeners[0]));
	if (!all)
		return err_set(err, ENOMEM, "publish ports: out of memory");
	all->pod = pod;
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		for (size_t p = 0; r == 0 && p < pod->spec->containers[i].n_ports; p++)
			if (pod->spec->containers[i].ports[p].protocol == KUBE_UDP)
				r = listen_on(all, &pod->spec->containers[i], &pod->spec->containers[i].ports[p], err);
	if (r < 0) {
		ports_udp_free(all);
		return r;
	}
	*ret = all;
	return 0;
}

void ports_udp_free(struct ports_udp *all)
{
	if (!all)
		return;
	while (all->flows)
		flow_free(all->flows);
	for (size_t i = 0; i < all->n; i++) {
		loop_remove_fd(&all->listeners[i].src);
		close_fd(&all->listeners[i].fd);
	}
	free(all);
}
