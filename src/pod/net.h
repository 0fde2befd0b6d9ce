/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The network of a pod: what a CNI left in the pod's network namespace, moved into the guest.
 *
 *   pod_net_open     reads the namespace, makes a tap for each interface, ties the two together
 *   pod_net_nics     for vm_config          pod_net_fill   for the agent's Configure
 *   pod_net_close    undoes all of it       pod_net_clean  the same for a pod whose processes are gone
 *
 * Between an interface and its tap stand two tc filters that match everything: what arrives at the interface leaves by
 * the tap, to the guest, and what the guest sends leaves by the interface. So any CNI works whose interfaces carry
 * Ethernet frames, and frames of any protocol and size pass.
 *
 * The namespace's own stack keeps the addresses (CNI's CHECK and DEL, and ipvlan, want them there) but hears nothing from
 * outside any more, so it neither answers ARP or neighbour solicitations nor resets connections that are the guest's. The
 * taps take no part in IPv6 and have no address.
 *
 * No thread but the caller's may exist: it enters the namespace for the moment of opening a socket or a device, and
 * comes back. Everything else is done through descriptors.
 */
#include "agent.pb-c.h"
#include "pod/driver.h"

#define NET_ADDRESSES_MAX 32 /* of one interface */
#define NET_ROUTES_MAX 256
#define NET_NEIGHBOURS_MAX 256
#define NET_RULES_MAX 64

struct pod_net;

/*
 * `netns` is the path of a network namespace. Its interfaces that are up, but lo, are taken: at most VM_NICS_MAX, each
 * Ethernet, with an MTU of 68 to 65521, and not part of a bridge or lower device of another one in there (-ENOTSUP, the
 * message names it). None is fine. What a crashed pod left is replaced; -EBUSY when another VM is attached.
 * Addresses, static neighbours, routes of all tables but local, and policy rules are read. A multipath route, or a rule that does
 * more than choose a table, is -ENOTSUP.
 */
int pod_net_open(struct pod_net **ret, const char *netns, struct err *err) must_check;
/* Removes filters, queueing disciplines and taps. NULL is fine. */
void pod_net_close(struct pod_net *net);

/* *ret is good until pod_net_close. Returns how many. */
unsigned pod_net_nics(const struct pod_net *net, const struct vm_nic **ret);
/* Sets interfaces, routes and neighbours of `req`. They are the net's, good until the next call or pod_net_close. -ENOMEM. */
int pod_net_fill(struct pod_net *net, Podvm__Agent__V1__ConfigureRequest *req, struct err *err) must_check;
/* Frees what pod_net_fill made, once Configure was sent. */
void pod_net_filled(struct pod_net *net);
/*
 * The first IPv4 address, else the first IPv6 one, of the first interface that has a global one, as text without
 * prefix; "" when there is none. What the pod's own /etc/hosts and status.podIP say.
 */
const char *pod_net_ip(const struct pod_net *net);

/* What pod_net_ip would say, before anything is opened or changed. "" when there is no address. */
int pod_net_lookup(const char *netns, char ret_ip[64], struct err *err) must_check;

/*
 * Removes from `netns` the filters whose tap is gone. For a pod that died by SIGKILL: its taps went with its
 * processes, the filters stayed. A namespace that does not exist is success, and so is a VM that is attached: nothing is changed.
 */
int pod_net_clean(const char *netns, struct err *err);
