/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Published TCP ports (ports_udp.c has the others): a listener on 127.0.0.1 for every TCP port of the pod; relay.h carries the
 * connections.
 */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "pod/pod_impl.h"
#include "pod/relay.h"

struct ports {
	struct relay relay;
	struct ports_udp *udp;
	size_t n;
	struct relay_listener listeners[];
};

static int listen_on(struct ports *ports, const struct kube_container *c, const struct kube_port *p, struct err *err)
{
	uint16_t host_port = p->host_port ? p->host_port : p->container_port;
	struct sockaddr_in sa = {
		.sin_family = AF_INET, .sin_port = htons(host_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	auto_close int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int one = 1;

	if (fd < 0)
		return err_errno(err, "socket");
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, RELAY_BACKLOG) < 0)
		return err_errno(err,
			"%s: publish port %u of container %s on 127.0.0.1 (set another hostPort, or end what uses it)",
			p->where, host_port, c->name);
	return relay_listen(&ports->relay, &ports->listeners[ports->n++], take_fd(&fd), p->container_port, err);
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
	relay_init(&ports->relay, pod->loop, pod->sb.vsock_path);
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
	relay_fini(&ports->relay);
	free(ports);
}
