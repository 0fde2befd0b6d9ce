/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-net (virtio 1.2 §5.1) on a tap descriptor. Frames move between the tap and guest buffers without a copy of ours:
 * one readv or writev a frame.
 *
 * Offered: checksum and segmentation offload (TSO for IPv4 and IPv6) both ways, mergeable buffers, MTU, MAC, link status.
 * Not offered: UFO, USO, ECN, control queue, several queue pairs.
 *
 * The 12-byte header of a frame to the host is copied once, checked against what was negotiated, and the copy is what the
 * tap sees. Back pressure goes both ways: with no guest buffers the tap is not read (its queue fills and the kernel drops),
 * with a full tap no chain is taken. Work per turn is bounded both ways.
 */
#include "virtio/device.h"

#define NET_FRAME_MAX 65562 /* header, Ethernet header with VLAN tag, 64 KiB */

struct net;

struct net_options {
	int tap_fd; /* IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, non-blocking; consumed */
	uint8_t mac[6];
	uint16_t mtu; /* 68..65535 */
	/* TUNSETVNETHDRSZ and TUNSETOFFLOAD; NULL: ioctl(2). For tests that have no tap. */
	int (*tap_ioctl)(int fd, unsigned long request, unsigned arg);
};

struct net_counters {
	uint64_t rx_frames, rx_bytes, tx_frames, tx_bytes; /* rx: to the guest; bytes with the header */
	uint64_t rx_dropped;				   /* too long for the guest's buffers */
	uint64_t tx_dropped;				   /* malformed, or refused by the kernel */
};

int net_new(struct net **ret, struct loop *loop, const struct net_options *opts, struct err *err) must_check;
void net_free(struct net *net);
struct virtio_dev *net_dev(struct net *net);
/* The rest on the device's loop. Link status as the guest sees it; up at first, and down for ever once the tap has gone. */
void net_set_link(struct net *net, bool up);
const struct net_counters *net_get_counters(const struct net *net);
