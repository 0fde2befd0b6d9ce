/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published TCP ports (ports_udp.c has the others): a listener on 127.0.0.1 for every TCP port of the pod; each connection is carried over vsock to the agent,
 * which dials the guest's own localhost. Bytes go both ways through one small buffer a direction; the end of one direction is
 * passed on as half-close. At most CONNS_MAX connections are open at once, further ones wait in the listener's backlog.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/pod_impl.h"

#define CONNS_MAX 256
#define PIPE_SIZE 16384

struct side {
	struct conn *conn;
	struct loop_fd src;
	int fd;
	uint8_t *bytes; /* read from this side, to be written to the other; made with the first byte */
	size_t from, to;
	bool eof, eof_passed;
};

struct conn {
	struct ports *ports;
	struct conn *next, **prev;
	struct hvsock_dial dial;
	struct side a, b; /* the host's client, the guest */
};

struct listener {
	struct ports *ports;
	struct loop_fd src;
	int fd;
	uint16_t guest_port;
};

struct ports {
	struct pod *pod;
	struct conn *conns;
	unsigned n_conns;
	struct ports_udp *udp;
	size_t n;
	struct listener listeners[];
};

static void conn_free(struct conn *c);

static void accepting(struct ports *ports, bool on)
{
	for (size_t i = 0; i < ports->n; i++)
		loop_mod_fd(&ports->listeners[i].src, on ? EPOLLIN : 0);
}

static void on_side(struct loop_fd *src, uint32_t events);

/* A side with nothing to wait for leaves the loop: its EPOLLHUP would be reported over and over. */
static bool side_watch(struct side *s, const struct side *other)
{
	uint32_t events = 0;

	if (!s->eof && s->from == s->to)
		events |= EPOLLIN;
	if (other->from < other->to)
		events |= EPOLLOUT;
	if (!events)
		loop_remove_fd(&s->src);
	else if (s->src.loop)
		loop_mod_fd(&s->src, events);
	else
		return loop_add_fd(s->conn->ports->pod->loop, &s->src, s->fd, events, on_side, NULL) == 0;
	return true;
}

/* Reads from `s` when its buffer is empty and writes to `d` what there is. false: the connection is broken. */
static bool pump(struct side *s, struct side *d)
{
	if (!s->eof && s->from == s->to) {
		ssize_t n;

		if (!s->bytes && !(s->bytes = malloc(PIPE_SIZE)))
			return false;
		n = recv(s->fd, s->bytes, PIPE_SIZE, 0);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		s->eof = n == 0;
		s->from = 0;
		s->to = n > 0 ? (size_t)n : 0;
	}
	while (s->from < s->to) {
		ssize_t n = send(d->fd, s->bytes + s->from, s->to - s->from, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		s->from += (size_t)n;
	}
	if (s->eof && !s->eof_passed) {
		(void)shutdown(d->fd, SHUT_WR);
		s->eof_passed = true;
	}
	return true;
}

static void on_side(struct loop_fd *src, uint32_t events)
{
	struct conn *c = container_of(src, struct side, src)->conn;

	if (!pump(&c->a, &c->b) || !pump(&c->b, &c->a) || (c->a.eof_passed && c->b.eof_passed) || (events & EPOLLERR) ||
		!side_watch(&c->a, &c->b) || !side_watch(&c->b, &c->a))
		conn_free(c);
}

static void conn_free(struct conn *c)
{
	struct ports *ports = c->ports;

	hvsock_dial_cancel(&c->dial);
	loop_remove_fd(&c->a.src);
	loop_remove_fd(&c->b.src);
	close_fd(&c->a.fd);
	close_fd(&c->b.fd);
	free(c->a.bytes);
	free(c->b.bytes);
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	free(c);
	if (ports->n_conns-- == CONNS_MAX)
		accepting(ports, true);
}

static void on_dialled(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct conn *c = container_of(d, struct conn, dial);
	struct loop *loop = c->ports->pod->loop;

	c->b.fd = fd;
	if (err || loop_add_fd(loop, &c->b.src, fd, EPOLLIN, on_side, NULL) < 0 ||
		loop_add_fd(loop, &c->a.src, c->a.fd, EPOLLIN, on_side, NULL) < 0)
		conn_free(c);
}

static void conn_start(struct listener *l, int fd)
{
	struct stream_header h = {.kind = STREAM_DIAL, .port = l->guest_port};
	struct ports *ports = l->ports;
	struct conn *c = calloc(1, sizeof(*c));
	int one = 1;

	if (!c) {
		(void)close(fd);
		return;
	}
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->ports = ports;
	c->a = (struct side){.conn = c, .fd = fd};
	c->b = (struct side){.conn = c, .fd = -1};
	c->dial.done = on_dialled;
	c->next = ports->conns;
	c->prev = &ports->conns;
	if (c->next)
		c->next->prev = &c->next;
	ports->conns = c;
	if (++ports->n_conns == CONNS_MAX)
		accepting(ports, false);
	if (hvsock_dial_start(&c->dial, ports->pod->loop, ports->pod->sb.vsock_path, STREAM_PORT, &h, NULL) < 0)
		conn_free(c);
	else
		hvsock_dial_timeout(&c->dial, ports->pod->loop, CALL_TIMEOUT_MS);
}

static void on_accept(struct loop_fd *src, uint32_t events)
{
	struct listener *l = container_of(src, struct listener, src);
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		conn_start(l, fd);
}

static int listen_on(struct ports *ports, const struct kube_container *c, const struct kube_port *p, struct err *err)
{
	uint16_t host_port = p->host_port ? p->host_port : p->container_port;
	struct sockaddr_in sa = {
		.sin_family = AF_INET, .sin_port = htons(host_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct listener *l = &ports->listeners[ports->n];
	int one = 1;

	*l = (struct listener){.ports = ports, .guest_port = p->container_port};
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return err_errno(err, "socket");
	(void)setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(l->fd, 128) < 0) {
		int r = err_errno(err,
			"container %s: publish port %u on 127.0.0.1 (set another hostPort, or end what uses it)",
			c->name, host_port);

		close_fd(&l->fd);
		return r;
	}
	ports->n++;
	return loop_add_fd(ports->pod->loop, &l->src, l->fd, EPOLLIN, on_accept, err);
}

int ports_open(struct ports **ret, struct pod *pod, struct err *err)
{
	struct ports *ports;
	size_t count = 0;
	int r = 0;

	*ret = NULL;
	for (size_t i = 0; i < pod->spec->n_containers; i++)
		count += pod->spec->containers[i].n_ports;
	if (!count)
		return 0;
	ports = calloc(1, sizeof(*ports) + count * sizeof(ports->listeners[0]));
	if (!ports)
		return err_set(err, ENOMEM, "publish ports: out of memory");
	ports->pod = pod;
	for (size_t i = 0; r == 0 && i < pod->spec->n_containers; i++) {
		const struct kube_container *c = &pod->spec->containers[i];

		for (size_t p = 0; r == 0 && p < c->n_ports; p++) {
			if (c->ports[p].protocol == KUBE_TCP)
				r = listen_on(ports, c, &c->ports[p], err);
			else if (c->ports[p].protocol == KUBE_SCTP)
				sandbox_note(&pod->sb,
					"container %s: SCTP port %u is not published: no way into the VM carries SCTP",
					c->name, c->ports[p].container_port);
		}
	}
	if (r == 0)
		r = ports_udp_open(&ports->udp, pod, err);
	if (r < 0) {
		ports_free(ports);
		return r;
	}
	*ret = ports;
	return 0;
}

void ports_free(struct ports *ports)
{
	if (!ports)
		return;
	ports_udp_free(ports->udp);
	while (ports->conns) {
		ports->n_conns = 1; /* no need to accept again */
		conn_free(ports->conns);
	}
	for (size_t i = 0; i < ports->n; i++) {
		loop_remove_fd(&ports->listeners[i].src);
		close_fd(&ports->listeners[i].fd);
	}
	free(ports);
}
