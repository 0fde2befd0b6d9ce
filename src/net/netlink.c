/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rtnetlink answers in the system call that asks, so a receive timeout never strikes on a sane kernel; it is there so
 * that nothing can hang.
 */
#include "net/netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/bytes.h"

#define ANSWER_MAX 32768 /* what the kernel puts into one datagram of a dump at most */
#define ANSWER_TIMEOUT_S 10

/* ---- requests ---- */

void nl_start(struct nl_request *rq, uint16_t type, uint16_t flags, const void *fixed, size_t n)
{
	memset(rq, 0, sizeof(*rq));
	rq->h.nlmsg_len = (uint32_t)NLMSG_LENGTH(n);
	rq->h.nlmsg_type = type;
	rq->h.nlmsg_flags = NLM_F_REQUEST | flags;
	memcpy(rq->bytes + NLMSG_HDRLEN, fixed, n);
}

void nl_put(struct nl_request *rq, uint16_t type, const void *value, size_t n)
{
	size_t at = NLMSG_ALIGN(rq->h.nlmsg_len);
	struct rtattr a = {.rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(n)};

	if (n > NL_REQUEST_MAX || at + RTA_SPACE(n) > NL_REQUEST_MAX) {
		rq->full = true;
		return;
	}
	memcpy(rq->bytes + at, &a, sizeof(a));
	if (n)
		memcpy(rq->bytes + at + RTA_LENGTH(0), value, n);
	rq->h.nlmsg_len = (uint32_t)(at + RTA_SPACE(n));
}

void nl_put_u32(struct nl_request *rq, uint16_t type, uint32_t v)
{
	nl_put(rq, type, &v, sizeof(v));
}

void nl_put_str(struct nl_request *rq, uint16_t type, const char *text)
{
	nl_put(rq, type, text, strlen(text) + 1);
}

size_t nl_nest(struct nl_request *rq, uint16_t type)
{
	size_t at = NLMSG_ALIGN(rq->h.nlmsg_len);

	nl_put(rq, type, NULL, 0);
	return at;
}

void nl_nest_end(struct nl_request *rq, size_t nest)
{
	struct rtattr a;

	if (rq->full)
		return;
	memcpy(&a, rq->bytes + nest, sizeof(a));
	a.rta_len = (uint16_t)(rq->h.nlmsg_len - nest);
	memcpy(rq->bytes + nest, &a, sizeof(a));
}

/* ---- answers ---- */

bool nl_payload(const struct nlmsghdr *h, const void **ret_fixed, size_t fixed, struct nl_attrs *ret)
{
	size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(fixed);
	const uint8_t *bytes = (const uint8_t *)h;

	if (h->nlmsg_len < NLMSG_HDRLEN + fixed)
		return false;
	*ret_fixed = bytes + NLMSG_HDRLEN;
	*ret = (struct nl_attrs){
		.at = bytes + MIN_OF(skip, h->nlmsg_len), .n = h->nlmsg_len > skip ? h->nlmsg_len - skip : 0};
	return true;
}

bool nl_next(struct nl_attrs *list, struct nl_attr *ret)
{
	struct rtattr a;
	size_t step;

	if (list->n < sizeof(a))
		return false;
	memcpy(&a, list->at, sizeof(a));
	if (a.rta_len < sizeof(a) || a.rta_len > list->n)
		return false;
	*ret = (struct nl_attr){
		.type = a.rta_type & NLA_TYPE_MASK, .value = list->at + RTA_LENGTH(0), .n = a.rta_len - RTA_LENGTH(0)};
	step = MIN_OF((size_t)RTA_ALIGN(a.rta_len), list->n);
	list->at += step;
	list->n -= step;
	return true;
}

bool nl_u32(const struct nl_attr *a, uint32_t *ret)
{
	if (a->n < sizeof(*ret))
		return false;
	memcpy(ret, a->value, sizeof(*ret));
	return true;
}

bool nl_text(const struct nl_attr *a, char *dst, size_t size)
{
	size_t n = strnlen((const char *)a->value, a->n);

	if (n >= size || n + 1 < a->n)
		return false;
	memcpy(dst, a->value, n);
	dst[n] = '\0';
	return true;
}

int nl_walk(const void *bytes, size_t n, int (*fn)(const struct nlmsghdr *h, void *ctx), void *ctx)
{
	const uint8_t *at = bytes;

	while (n >= sizeof(struct nlmsghdr)) {
		const struct nlmsghdr *h = (const struct nlmsghdr *)at;
		size_t step = NLMSG_ALIGN((size_t)h->nlmsg_len);
		int r;

		if (h->nlmsg_len < sizeof(*h) || h->nlmsg_len > n)
			return 0;
		r = fn(h, ctx);
		if (r)
			return r;
		step = MIN_OF(step, n);
		at += step;
		n -= step;
	}
	return 0;
}

/* ---- the socket ---- */

int nl_open(struct nl *ret, struct err *err)
{
	struct timeval wait = {.tv_sec = ANSWER_TIMEOUT_S};
	struct sockaddr_nl sa = {.nl_family = AF_NETLINK};
	auto_close int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	int one = 1;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return err_errno(err, "route netlink socket");
	/* Only for better words in refusals. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one));
	*ret = (struct nl){.fd = take_fd(&fd)};
	return 0;
}

void nl_close(struct nl *nl)
{
	close_fd(&nl->fd);
}

struct answers {
	struct nl *nl;
	int (*fn)(const struct nlmsghdr *h, void *ctx, struct err *err);
	void *ctx;
	struct err *err;
	unsigned visited;
	bool changed, done;
};

/* NLMSG_ERROR: an errno, and with NETLINK_EXT_ACK a sentence. */
static int read_status(const struct nlmsghdr *h, struct err *err)
{
	struct nlmsgerr e;
	struct nl_attrs list;
	struct nl_attr a;
	const void *fixed;
	char text[160] = "";

	if (!nl_payload(h, &fixed, sizeof(e), &list))
		return err_set(err, EPROTO, "netlink: a status of %u bytes", h->nlmsg_len);
	memcpy(&e, fixed, sizeof(e));
	if (e.error >= 0)
		return 0;
	while ((h->nlmsg_flags & NLM_F_ACK_TLVS) && nl_next(&list, &a))
		if (a.type == NLMSGERR_ATTR_MSG && !nl_text(&a, text, sizeof(text)))
			text[0] = '\0';
	return err_set(err, e.error < -4095 ? EIO : -e.error, "%s%s%s%s",
		e.error < -4095 ? "unknown error" : strerror(-e.error), *text ? " (" : "", text, *text ? ")" : "");
}

static int on_answer(const struct nlmsghdr *h, void *ctx)
{
	struct answers *as = ctx;
	int r;

	if (h->nlmsg_seq != as->nl->seq)
		return 0; /* of a request that was given up */
	if (h->nlmsg_flags & NLM_F_DUMP_INTR)
		as->changed = true;
	if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
		as->done = true;
		return h->nlmsg_type == NLMSG_ERROR ? read_status(h, as->err) : 1;
	}
	if (!as->fn || h->nlmsg_type < NLMSG_MIN_TYPE)
		return 0;
	if (++as->visited > NL_DUMP_MAX)
		return err_set(as->err, E2BIG, "netlink: a list of more than %d entries", NL_DUMP_MAX);
	r = as->fn(h, as->ctx, as->err);
	return r;
}

static int exchange(struct nl *nl, struct nl_request *rq, struct answers *as, struct err *err)
{
	struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
	auto_free uint8_t *bytes = malloc(ANSWER_MAX);
	int r = 0;

	if (!bytes || rq->full)
		return err_set(err, bytes ? EMSGSIZE : ENOMEM, "netlink: %s", bytes ? "request too long" : "no memory");
	rq->h.nlmsg_seq = ++nl->seq;
	if (sendto(nl->fd, rq->bytes, rq->h.nlmsg_len, 0, (const struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		/* cppcheck-suppress memleak ; auto_free frees it */
		return err_errno(err, "netlink: send");
	while (r == 0 && !as->done) {
		struct sockaddr_nl from = {0};
		socklen_t len = sizeof(from);
		ssize_t n = recvfrom(nl->fd, bytes, ANSWER_MAX, 0, (struct sockaddr *)&from, &len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "netlink: receive");
		if (from.nl_pid == 0)
			r = nl_walk(bytes, (size_t)n, on_answer, as);
	}
	return r < 0 ? r : 0;
}

int nl_ask(struct nl *nl, struct nl_request *rq, struct err *err)
{
	struct answers as = {.nl = nl, .err = err};

	rq->h.nlmsg_flags |= NLM_F_ACK;
	return exchange(nl, rq, &as, err);
}

int nl_dump(struct nl *nl, struct nl_request *rq, int (*fn)(const struct nlmsghdr *h, void *ctx, struct err *err),
	void *ctx, struct err *err)
{
	struct answers as = {.nl = nl, .fn = fn, .ctx = ctx, .err = err};
	int r;

	rq->h.nlmsg_flags |= NLM_F_DUMP;
	r = exchange(nl, rq, &as, err);
	if (r == 0 && as.changed)
		return err_set(err, EINTR, "netlink: the list changed while it was read");
	return r;
}
