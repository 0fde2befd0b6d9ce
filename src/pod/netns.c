/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* The namespace that `path` names is the one behind fd. */
static bool is_same(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

int netns_open(int *ret, const char *path, struct err *err)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_errno(err, "open");
	if (ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET)
		return err_set(err, EINVAL, "this is no network namespace");
	/* Its interfaces would be redirected into the guest, and its connections to localhost too. */
	if (is_same(fd, "/proc/self/ns/net") || is_same(fd, "/proc/1/ns/net"))
		return err_set(err, EINVAL, "this is the node's own network namespace, which no pod may have");
	*ret = take_fd(&fd);
	return 0;
}

int netns_enter(struct netns_visit *v, int netns, struct err *err)
{
	auto_close int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	if (home < 0)
		return err_errno(err, "open /proc/self/ns/net");
	if (setns(netns, CLONE_NEWNET) < 0)
		return err_errno(err, "enter the network namespace");
	v->home = take_fd(&home);
	return 0;
}

int netns_leave(struct netns_visit *v, struct err *err)
{
	int r = 0;

	if (v->home >= 0 && setns(v->home, CLONE_NEWNET) < 0)
		r = err_errno(err, "return to the host's network namespace");
	close_fd(&v->home);
	return r;
}

int netns_nl_open(struct nl *ret, int netns, struct err *err)
{
	struct netns_visit v = NETNS_VISIT_INIT;
	struct nl nl = NL_CLOSED;
	int r = netns_enter(&v, netns, err), back;

	if (r == 0)
		r = nl_open(&nl, err);
	back = netns_leave(&v, r < 0 ? NULL : err);
	if (r < 0 || back < 0) {
		nl_close(&nl);
		return r < 0 ? r : back;
	}
	*ret = nl;
	return 0;
}

int netns_socket(int *ret, int netns, int domain, int type, struct err *err)
{
	struct netns_visit v = NETNS_VISIT_INIT;
	auto_close int fd = -1;
	int r = netns_enter(&v, netns, err), back;

	if (r == 0 && (fd = socket(domain, type | SOCK_CLOEXEC, 0)) < 0)
		r = err_errno(err, "socket");
	back = netns_leave(&v, r < 0 ? NULL : err);
	if (r == 0 && back == 0)
		*ret = take_fd(&fd);
	return r < 0 ? r : back;
}
