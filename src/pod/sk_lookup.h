/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * Every TCP connection that is made to 127.0.0.0/8 or ::1 inside of a network namespace, whatever the port, goes to one of
 * two listening sockets: a BPF program of type SK_LOOKUP (Linux 5.9; needs neither netfilter nor a module). accept(2) then
 * gives sockets whose own address is what the client dialled.
 */
#include "base/err.h"

/*
 * `listen4` and `listen6` are listening TCP sockets of the namespace (-1: none of that family). The redirection lasts until
 * *ret_link is closed. -EPERM, -EINVAL or -EOPNOTSUPP where the kernel lacks it or forbids it; the message says so.
 */
int sk_lookup_attach(int *ret_link, int netns, int listen4, int listen6, struct err *err) must_check;
