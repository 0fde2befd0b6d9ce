/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * The broker: how podvm-vmm, which can open no socket itself, gets one for a connection that the guest dials. A pair of
 * SOCK_SEQPACKET unix sockets between podvm-vmm (option --broker) and the process that started it; one message a packet,
 * numbers in the machine's byte order (both ends run on it).
 *
 *   podvm-vmm -> parent  struct broker_dial     the guest wants to reach `port` of the host
 *   parent -> podvm-vmm  struct broker_answer   ok = 1 and one connected stream socket (SCM_RIGHTS), or ok = 0 and none
 *
 * Every dial is answered once, in any order; an answer that comes after the guest gave up is ignored. podvm-vmm drops a dial
 * (the guest sees a reset) when the socket is full, so a parent that does not read is not flooded. The parent treats `port`
 * as hostile. A packet of another size, or a descriptor too many, ends podvm-vmm; end of file on either side ends it too.
 */
#include <stdint.h>

struct broker_dial {
	uint64_t token; /* names the dial; never used twice */
	uint32_t port;
} __attribute__((packed));

struct broker_answer {
	uint64_t token;
	uint32_t ok;
} __attribute__((packed));
