/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Network namespaces, for a process of one thread: go in, open something, come back. */
#include "base/err.h"
#include "net/netlink.h"

struct netns_visit {
	int home; /* private; -1: at home */
};
#define NETNS_VISIT_INIT                                                                                               \
	{                                                                                                              \
		.home = -1                                                                                             \
	}

/* Opens a network namespace by path. -EINVAL when the path is something else. */
int netns_open(int *ret, const char *path, struct err *err) must_check;
/* Until netns_leave the process is in that namespace. */
int netns_enter(struct netns_visit *v, int netns, struct err *err) must_check;
/* No-op at home. A failure (nobody has seen one) leaves the process where it is: it must end. */
int netns_leave(struct netns_visit *v, struct err *err) must_check;

/* A netlink socket, and a socket(2), of that namespace. */
int netns_nl_open(struct nl *ret, int netns, struct err *err) must_check;
int netns_socket(int *ret, int netns, int domain, int type, struct err *err) must_check;
