/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/bytes.h"
#include "pod/net_impl.h"
#include "pod/netns.h"

#define MTU_MIN 68
#define MTU_MAX 65521 /* of a tap */

/* ---- which interfaces ---- */

static int refuse_link(const struct net_link *link, const char *why, struct err *err)
{
	return err_set(err, ENOTSUP, "interface %s %s: a pod's VM cannot have it", link->name, why);
}

static int check_link(const struct net_conf *conf, const struct net_link *link, struct err *err)
{
	if (!link_name_valid(link->name))
		return refuse_link(link, "has an unusual name", err);
	if (link->arp_type != ARPHRD_ETHER || !link->has_mac)
		return refuse_link(link, "does not carry Ethernet frames", err);
	if (link->mtu < MTU_MIN || link->mtu > MTU_MAX)
		return refuse_link(link, "has an MTU that is not in 68 to 65521", err);
	if (link->master)
		return refuse_link(link, "is part of a bridge or bond", err);
	for (unsigned i = 0; i < conf->n_links; i++) {
		if (link->lower && conf->links[i].index == link->lower)
			return refuse_link(link, "stands on another interface of the same namespace", err);
		if (&conf->links[i] != link && memcmp(conf->links[i].mac, link->mac, sizeof(link->mac)) == 0)
			return refuse_link(link, "has the MAC address of another interface", err);
	}
	return 0;
}

/* ---- taps ---- */

static int open_taps(struct pod_net *net, int netns, unsigned n, struct err *err)
{
	struct netns_visit visit = NETNS_VISIT_INIT;
	int r = netns_enter(&visit, netns, err), back;

	for (unsigned i = 0; r == 0 && i < n; i++) {
		net->nics[i].tap_fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (net->nics[i].tap_fd < 0)
			r = err_errno(err, "open /dev/net/tun (kernel module tun)");
	}
	back = netns_leave(&visit, r < 0 ? NULL : err);
	return r < 0 ? r : back;
}

struct by_name {
	const char *name;
	uint32_t index;
};

static int on_named_link(const struct nlmsghdr *h, void *ctx, struct err *err)
{
	struct by_name *want = ctx;
	struct ifinfomsg info;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;
	char name[IFNAMSIZ];

	if (h->nlmsg_type != RTM_NEWLINK || !nl_payload(h, &fixed, sizeof(info), &list))
		return 0;
	memcpy(&info, fixed, sizeof(info));
	while (nl_next(&list, &a))
		if (a.type == IFLA_IFNAME && nl_text(&a, name, sizeof(name)) && str_eq(name, want->name))
			want->index = (uint32_t)info.ifi_index;
	return 0;
}

static int tap_index(int fd, uint32_t *ret, struct nl *nl, struct err *err)
{
	struct ifinfomsg any = {0};
	struct ifreq ifr = {0};
	struct by_name want = {.name = ifr.ifr_name};
	struct nl_request rq;
	int r = -EINTR;

	if (ioctl(fd, TUNGETIFF, &ifr) < 0)
		return err_errno(err, "ask for the tap's name");
	for (int i = 0; r == -EINTR && i < 10; i++) {
		nl_start(&rq, RTM_GETLINK, 0, &any, sizeof(any));
		r = nl_dump(nl, &rq, on_named_link, &want, err);
	}
	if (r == 0 && !want.index)
		return err_set(err, ENODEV, "the tap %s is not in the namespace any more", ifr.ifr_name);
	*ret = want.index;
	return r;
}

/* The namespace is the one in which the device file was opened. */
static int make_tap(struct pod_net *net, unsigned i, struct err *err)
{
	struct ifreq ifr = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};

	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), NET_TAP_PREFIX "%%d");
	if (ioctl(net->nics[i].tap_fd, TUNSETIFF, &ifr) < 0)
		return err_errno(err, "make a tap");
	return tap_index(net->nics[i].tap_fd, &net->tap[i], &net->nl, err);
}

/* Without IPv6: else this kernel would speak to the guest from the tap. */
static int silence_tap(struct pod_net *net, unsigned i, struct err *err)
{
	struct ifinfomsg m = {.ifi_index = (int)net->tap[i]};
	uint8_t none = IN6_ADDR_GEN_MODE_NONE;
	size_t families, inet6;
	struct nl_request rq;
	int r;

	nl_start(&rq, RTM_NEWLINK, 0, &m, sizeof(m));
	families = nl_nest(&rq, IFLA_AF_SPEC);
	inet6 = nl_nest(&rq, AF_INET6);
	nl_put(&rq, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof(none));
	nl_nest_end(&rq, inet6);
	nl_nest_end(&rq, families);
	r = nl_ask(&net->nl, &rq, err);
	return r == -EAFNOSUPPORT ? 0 : r; /* a kernel without IPv6 */
}

static int raise_tap(struct pod_net *net, unsigned i, struct err *err)
{
	struct ifinfomsg m = {.ifi_index = (int)net->tap[i], .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct nl_request rq;

	nl_start(&rq, RTM_NEWLINK, 0, &m, sizeof(m));
	nl_put_u32(&rq, IFLA_MTU, net->nics[i].mtu);
	return nl_ask(&net->nl, &rq, err);
}

static int tie(struct pod_net *net, unsigned i, struct err *err)
{
	int r = make_tap(net, i, err);

	if (r == 0)
		r = silence_tap(net, i, err);
	if (r == 0)
		r = raise_tap(net, i, err);
	if (r == 0)
		r = net_redirect(&net->nl, net->tap[i], net->index[i], err);
	if (r < 0)
		return r;
	r = net_redirect(&net->nl, net->index[i], net->tap[i], err);
	net->tied[i] = r == 0;
	return r;
}

/* ---- open, close ---- */

static void choose_ip(char ip[INET_TEXT_MAX], const struct net_conf *conf)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};

	ip[0] = '\0';
	for (unsigned l = 0; l < conf->n_links; l++)
		for (size_t f = 0; f < ARRAY_SIZE(families); f++)
			for (unsigned i = 0; i < conf->n_addresses && !*ip; i++) {
				const struct net_address *a = &conf->addresses[i];

				if (a->link == conf->links[l].index && a->local.family == families[f] &&
					!inet_is_link_local6(&a->local))
					inet_text(ip, &a->local, false);
			}
}

static int choose_links(struct pod_net *net, struct err *err)
{
	const struct net_conf *conf = net->conf;

	for (unsigned i = 0; i < conf->n_links; i++) {
		const struct net_link *link = &conf->links[i];
		struct vm_nic *nic = &net->nics[net->n];
		int r = check_link(conf, link, err);

		if (r < 0)
			return r;
		if (net->n == VM_NICS_MAX)
			return err_set(err, E2BIG, "more than %d interfaces", VM_NICS_MAX);
		net->index[net->n++] = link->index;
		nic->mtu = (uint16_t)link->mtu;
		memcpy(nic->mac, link->mac, sizeof(nic->mac));
	}
	choose_ip(net->ip, conf);
	return 0;
}

static int open_in(struct pod_net *net, int netns, struct err *err)
{
	int r = netns_nl_open(&net->nl, netns, err);

	if (r == 0)
		r = net_conf_read(net->conf, &net->nl, err);
	if (r == 0)
		r = choose_links(net, err);
	if (r == 0)
		r = open_taps(net, netns, net->n, err);
	for (unsigned i = 0; r == 0 && i < net->n; i++) {
		r = tie(net, i, err);
		for (unsigned l = 0; r < 0 && l < net->conf->n_links; l++)
			if (net->conf->links[l].index == net->index[i])
				return err_wrap(err, "interface %s", net->conf->links[l].name);
	}
	return r;
}

int pod_net_open(struct pod_net **ret, const char *netns, struct err *err)
{
	auto_close int fd = -1;
	struct pod_net *net = calloc(1, sizeof(*net));
	int r;

	if (!net || !(net->conf = malloc(sizeof(*net->conf)))) {
		free(net);
		return err_set(err, ENOMEM, "the pod's network: out of memory");
	}
	net->nl = (struct nl)NL_CLOSED;
	for (unsigned i = 0; i < VM_NICS_MAX; i++)
		net->nics[i].tap_fd = -1;
	r = netns_open(&fd, netns, err);
	if (r == 0)
		r = open_in(net, fd, err);
	if (r < 0) {
		pod_net_close(net);
		return err_wrap(err, "network namespace '%s'", netns);
	}
	*ret = net;
	return 0;
}

void pod_net_close(struct pod_net *net)
{
	if (!net)
		return;
	for (unsigned i = 0; i < VM_NICS_MAX; i++) {
		/* The namespace may be gone already, and everything with it. */
		if (net->tied[i])
			(void)net_redirect_remove(&net->nl, net->index[i], false, NULL);
		close_fd(&net->nics[i].tap_fd);
	}
	nl_close(&net->nl);
	pod_net_filled(net);
	free(net->conf);
	free(net);
}

unsigned pod_net_nics(const struct pod_net *net, const struct vm_nic **ret)
{
	*ret = net->nics;
	return net->n;
}

const char *pod_net_ip(const struct pod_net *net)
{
	return net->ip;
}

/* The namespace's netlink socket and what is there. */
static int look(struct nl *nl, struct net_conf *conf, const char *netns, struct err *err)
{
	auto_close int fd = -1;
	int r = conf ? netns_open(&fd, netns, err) : err_set(err, ENOMEM, "the pod's network: out of memory");

	if (r == 0)
		r = netns_nl_open(nl, fd, err);
	return r < 0 ? r : net_conf_read(conf, nl, err);
}

int pod_net_lookup(const char *netns, char ret_ip[64], struct err *err)
{
	auto_free struct net_conf *conf = malloc(sizeof(*conf));
	struct nl nl = NL_CLOSED;
	int r = look(&nl, conf, netns, err);

	nl_close(&nl);
	if (r < 0)
		return err_wrap(err, "network namespace '%s'", netns);
	choose_ip(ret_ip, conf);
	return 0;
}

int pod_net_clean(const char *netns, struct err *err)
{
	auto_free struct net_conf *conf = malloc(sizeof(*conf));
	struct nl nl = NL_CLOSED;
	int r = look(&nl, conf, netns, err);

	if (r == -ENOENT || r == -EINVAL) {
		nl_close(&nl);
		return 0; /* removed, or not a namespace any more */
	}
	for (unsigned i = 0; r == 0 && i < conf->n_links; i++)
		r = net_redirect_remove(&nl, conf->links[i].index, true, err);
	nl_close(&nl);
	return r < 0 ? err_wrap(err, "network namespace '%s'", netns) : 0;
}
