/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Port forwarding into a pod: containerd (kubectl port-forward) connects to localhost:PORT inside of the pod's network namespace on
 * the host. Every such connection, whatever the port, over IPv4 and IPv6, is taken here and carried to the guest's own
 * localhost (relay.h). The agent tries IPv4, then IPv6.
 */
#include "base/loop.h"

struct forward;

/*
 * Listens in the namespace at path `netns` and brings its lo up. vsock_path is borrowed. Needs BPF programs of type
 * SK_LOOKUP (Linux 5.9): -EPERM, -EINVAL ... with a message that says so where there are none.
 */
int forward_open(
	struct forward **ret, struct loop *loop, const char *netns, const char *vsock_path, struct err *err) must_check;
/* Ends every connection. NULL is fine. */
void forward_close(struct forward *fw);
