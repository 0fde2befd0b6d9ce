/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter: u32 without keys, which matches every frame (with a key, even one that compares nothing, frames shorter than it
 * fall through), and the action mirred, redirect to egress. It has a preference of its own by which it is found again.
 *
 * An interface may have an ingress queueing discipline already, with filters of a CNI: they stay and come first when
 * their preference is lower. The discipline is removed with our filter only when no other filter is in it.
 */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>

#include "base/bytes.h"
#include "pod/net_impl.h"

#define PREFERENCE 0x7076u
#define INGRESS_HANDLE TC_H_MAKE(TC_H_INGRESS, 0) /* ffff: */
/* Both an ingress and a clsact discipline take filters of arriving frames at this parent. */
#define INGRESS_PARENT TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS)

static struct tcmsg filter_msg(uint32_t link)
{
	return (struct tcmsg){.tcm_family = AF_UNSPEC,
		.tcm_ifindex = (int)link,
		.tcm_parent = INGRESS_PARENT,
		.tcm_info = TC_H_MAKE(PREFERENCE << 16, htons(ETH_P_ALL))};
}

static int add_qdisc(struct nl *nl, uint32_t link, struct err *err)
{
	struct tcmsg m = {.tcm_ifindex = (int)link, .tcm_handle = INGRESS_HANDLE, .tcm_parent = TC_H_INGRESS};
	struct nl_request rq;
	int r;

	nl_start(&rq, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	nl_put_str(&rq, TCA_KIND, "ingress");
	r = nl_ask(nl, &rq, err);
	return r == -EEXIST ? 0 : r < 0 ? err_wrap(err, "add the ingress queueing discipline") : 0;
}

/* Not an error that counts: there may be another discipline, or none. */
static void remove_qdisc(struct nl *nl, uint32_t link)
{
	struct tcmsg m = {.tcm_ifindex = (int)link, .tcm_handle = INGRESS_HANDLE, .tcm_parent = TC_H_INGRESS};
	struct nl_request rq;

	nl_start(&rq, RTM_DELQDISC, 0, &m, sizeof(m));
	nl_put_str(&rq, TCA_KIND, "ingress");
	(void)nl_ask(nl, &rq, NULL);
}

static int add_filter(struct nl *nl, uint32_t from, uint32_t to, struct err *err)
{
	struct tcmsg m = filter_msg(from);
	struct tc_u32_sel all = {.flags = TC_U32_TERMINAL};
	struct tc_mirred redirect = {.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = to};
	size_t options, actions, action, parms;
	struct nl_request rq;

	nl_start(&rq, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &m, sizeof(m));
	nl_put_str(&rq, TCA_KIND, "u32");
	options = nl_nest(&rq, TCA_OPTIONS);
	nl_put(&rq, TCA_U32_SEL, &all, sizeof(all));
	actions = nl_nest(&rq, TCA_U32_ACT);
	action = nl_nest(&rq, 1);
	nl_put_str(&rq, TCA_ACT_KIND, "mirred");
	parms = nl_nest(&rq, TCA_ACT_OPTIONS);
	nl_put(&rq, TCA_MIRRED_PARMS, &redirect, sizeof(redirect));
	nl_nest_end(&rq, parms);
	nl_nest_end(&rq, action);
	nl_nest_end(&rq, actions);
	nl_nest_end(&rq, options);
	return nl_ask(nl, &rq, err) < 0
		       ? err_wrap(err, "add the redirecting filter (kernel modules cls_u32 and act_mirred)")
		       : 0;
}

/* ---- what is there ---- */

struct found {
	unsigned ours, others;
	uint32_t target;
};

static void read_action(struct found *f, struct nl_attrs action)
{
	struct nl_attr a, parms;

	while (nl_next(&action, &a)) {
		struct nl_attrs options = nl_inside(&a);

		while (a.type == TCA_ACT_OPTIONS && nl_next(&options, &parms)) {
			struct tc_mirred m;

			if (parms.type != TCA_MIRRED_PARMS || parms.n < sizeof(m))
				continue;
			memcpy(&m, parms.value, sizeof(m));
			f->target = m.ifindex;
		}
	}
}

static void read_options(struct found *f, struct nl_attrs options)
{
	struct nl_attr a, action;

	while (nl_next(&options, &a)) {
		struct nl_attrs actions = nl_inside(&a);

		while (a.type == TCA_U32_ACT && nl_next(&actions, &action))
			read_action(f, nl_inside(&action));
	}
}

static int on_filter(const struct nlmsghdr *h, void *ctx, struct err *err)
{
	struct found *f = ctx;
	struct tcmsg m;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;

	if (h->nlmsg_type != RTM_NEWTFILTER || !nl_payload(h, &fixed, sizeof(m), &list))
		return 0;
	memcpy(&m, fixed, sizeof(m));
	if (TC_H_MAJ(m.tcm_info) >> 16 != PREFERENCE) {
		f->others++;
		return 0;
	}
	f->ours++;
	while (nl_next(&list, &a))
		if (a.type == TCA_OPTIONS)
			read_options(f, nl_inside(&a));
	return 0;
}

static int find(struct nl *nl, uint32_t link, struct found *ret, struct err *err)
{
	struct tcmsg m = {.tcm_ifindex = (int)link, .tcm_parent = INGRESS_PARENT};
	struct nl_request rq;
	int r = -EINTR;

	for (int i = 0; r == -EINTR && i < 10; i++) {
		*ret = (struct found){0};
		nl_start(&rq, RTM_GETTFILTER, 0, &m, sizeof(m));
		r = nl_dump(nl, &rq, on_filter, ret, err);
	}
	return r < 0 ? err_wrap(err, "list filters") : 0;
}

static bool link_lives(struct nl *nl, uint32_t link)
{
	struct ifinfomsg m = {.ifi_index = (int)link};
	struct nl_request rq;

	if (!link)
		return false;
	nl_start(&rq, RTM_GETLINK, 0, &m, sizeof(m));
	return nl_ask(nl, &rq, NULL) == 0;
}

/* ---- the two calls ---- */

int net_redirect_remove(struct nl *nl, uint32_t from, bool only_dead, struct err *err)
{
	struct tcmsg m = filter_msg(from);
	struct nl_request rq;
	struct found f;
	int r = find(nl, from, &f, err);

	if (r < 0 || !f.ours || (only_dead && link_lives(nl, f.target)))
		return r;
	nl_start(&rq, RTM_DELTFILTER, 0, &m, sizeof(m));
	r = nl_ask(nl, &rq, err);
	if (r < 0 && r != -ENOENT && r != -ENODEV)
		return err_wrap(err, "remove the redirecting filter");
	if (!f.others)
		remove_qdisc(nl, from);
	return 0;
}

int net_redirect(struct nl *nl, uint32_t from, uint32_t to, struct err *err)
{
	struct found f = {0};
	int r = add_qdisc(nl, from, err);

	if (r == 0)
		r = find(nl, from, &f, err);
	if (r == 0 && f.ours && link_lives(nl, f.target))
		return err_set(err, EBUSY, "another VM is attached to this network namespace");
	if (r == 0 && f.ours)
		r = net_redirect_remove(nl, from, false, err);
	if (r == 0 && f.ours)
		r = add_qdisc(nl, from, err);
	return r < 0 ? r : add_filter(nl, from, to, err);
}
