/* SPDX-License-Identifier: Apache-2.0 */
/* The texts of /etc/hosts and /etc/resolv.conf, as the kubelet and containerd write them. */
#include "kube/kube.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/bytes.h"

#define SERVERS_MAX 3
#define SEARCHES_MAX 32
#define SEARCHES_BYTES_MAX 2048
#define OPTIONS_MAX 64
#define LINE_MAX_BYTES 4096

int kube_hosts_text(const struct kube_pod *pod, const char *pod_ip, struct buf *out)
{
	int r = buf_append_str(out, "# Kubernetes-managed hosts file.\n"
				    "127.0.0.1\tlocalhost\n"
				    "::1\tlocalhost ip6-localhost ip6-loopback\n"
				    "fe00::0\tip6-localnet\n"
				    "fe00::0\tip6-mcastprefix\n"
				    "fe00::1\tip6-allnodes\n"
				    "fe00::2\tip6-allrouters\n");
	size_t bare = strlen(pod->hostname), domain = strlen(pod->dns_domain);

	/* With setHostnameAsFQDN the host name has the domain already. */
	if (domain && bare > domain + 1 && str_has_suffix(pod->hostname, pod->dns_domain))
		bare -= domain + 1;
	if (r == 0 && domain)
		r = buf_printf(out, "%s\t%.*s.%s\t%.*s\n", pod_ip, (int)bare, pod->hostname, pod->dns_domain, (int)bare,
			pod->hostname);
	else if (r == 0)
		r = buf_printf(out, "%s\t%s\n", pod_ip, pod->hostname);
	if (r == 0 && pod->n_host_aliases)
		r = buf_append_str(out, "\n# Entries added by HostAliases.\n");
	for (size_t i = 0; r == 0 && i < pod->n_host_aliases; i++) {
		const struct kube_host_alias *alias = &pod->host_aliases[i];

		r = buf_append_str(out, alias->ip);
		for (size_t k = 0; r == 0 && k < alias->hostnames.n; k++)
			r = buf_printf(out, "\t%s", alias->hostnames.v[k]);
		if (r == 0)
			r = buf_append_str(out, "\n");
	}
	return r;
}

/* ---- resolv.conf ---- */

/* Words that point into the host's text (with `len`) or the pod's strings. */
struct word {
	const char *p;
	size_t len;
};

struct resolv {
	struct word servers[SERVERS_MAX], searches[SEARCHES_MAX], options[OPTIONS_MAX];
	size_t n_servers, n_searches, n_options;
	size_t search_bytes;
};

static bool word_is(const struct word *a, const struct word *b)
{
	return a->len == b->len && memcmp(a->p, b->p, a->len) == 0;
}

static bool word_add(struct word *list, size_t *n, size_t max, struct word w)
{
	for (size_t i = 0; i < *n; i++)
		if (word_is(&list[i], &w))
			return false;
	if (*n == max)
		return false;
	list[(*n)++] = w;
	return true;
}

static bool is_loopback(struct word w)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr v6;

	if (w.len >= 4 && memcmp(w.p, "127.", 4) == 0)
		return true;
	if (w.len >= sizeof(text))
		return false;
	memcpy(text, w.p, w.len);
	text[w.len] = '\0';
	return inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

static void add_search(struct resolv *r, struct word w)
{
	if (r->search_bytes + w.len + 1 <= SEARCHES_BYTES_MAX && word_add(r->searches, &r->n_searches, SEARCHES_MAX, w))
		r->search_bytes += w.len + 1;
}

/* An option of the same name gives way ("ndots:5" replaces "ndots:1"). */
static void add_option(struct resolv *r, struct word w)
{
	const char *colon = memchr(w.p, ':', w.len);
	size_t name = colon ? (size_t)(colon - w.p) : w.len;

	for (size_t i = 0; i < r->n_options; i++) {
		const struct word *o = &r->options[i];

		if (o->len >= name && memcmp(o->p, w.p, name) == 0 && (o->len == name || o->p[name] == ':')) {
			r->options[i] = w;
			return;
		}
	}
	(void)word_add(r->options, &r->n_options, OPTIONS_MAX, w);
}

/* The next word of the line [*p, end); false at its end. */
static bool next_word(const char **p, const char *end, struct word *ret)
{
	const char *start;

	while (*p < end && (**p == ' ' || **p == '\t' || **p == '\r'))
		++*p;
	start = *p;
	while (*p < end && **p != ' ' && **p != '\t' && **p != '\r')
		++*p;
	*ret = (struct word){start, (size_t)(*p - start)};
	return ret->len > 0;
}

static bool word_eq(const struct word *w, const char *text)
{
	return w->len == strlen(text) && memcmp(w->p, text, w->len) == 0;
}

/* One line of the host's file; the last "search" and the last "options" count, as for the kubelet. */
static void parse_line(struct resolv *r, const char *p, const char *end)
{
	struct word key, w;

	if (!next_word(&p, end, &key) || key.p[0] == '#' || key.p[0] == ';')
		return;
	if (word_eq(&key, "nameserver")) {
		if (next_word(&p, end, &w) && !is_loopback(w))
			(void)word_add(r->servers, &r->n_servers, SERVERS_MAX, w);
	} else if (word_eq(&key, "search")) {
		r->n_searches = r->search_bytes = 0;
		while (next_word(&p, end, &w))
			if (!word_eq(&w, "."))
				add_search(r, w);
	} else if (word_eq(&key, "options")) {
		r->n_options = 0;
		while (next_word(&p, end, &w))
			add_option(r, w);
	}
}

static void parse_host(struct resolv *r, const char *text)
{
	while (*text) {
		const char *end = strchrnul(text, '\n');

		if (end - text < LINE_MAX_BYTES)
			parse_line(r, text, end);
		text = *end ? end + 1 : end;
	}
}

static int append_words(struct buf *out, const char *key, const struct word *list, size_t n)
{
	int r = n ? buf_append_str(out, key) : 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		r = buf_append(out, " ", 1);
		if (r == 0)
			r = buf_append(out, list[i].p, list[i].len);
	}
	return r == 0 && n ? buf_append(out, "\n", 1) : r;
}

static struct word word_of(const char *text)
{
	return (struct word){text, strlen(text)};
}

int kube_resolv_conf_text(const struct kube_pod *pod, const char *host, struct buf *out)
{
	struct resolv r = {.n_servers = 0};
	int rc;

	if (pod->dns_from_host)
		parse_host(&r, host);
	for (size_t i = 0; i < pod->dns_servers.n; i++)
		(void)word_add(r.servers, &r.n_servers, SERVERS_MAX, word_of(pod->dns_servers.v[i]));
	for (size_t i = 0; i < pod->dns_searches.n; i++)
		add_search(&r, word_of(pod->dns_searches.v[i]));
	for (size_t i = 0; i < pod->dns_options.n; i++)
		add_option(&r, word_of(pod->dns_options.v[i]));
	rc = append_words(out, "search", r.searches, r.n_searches);
	for (size_t i = 0; rc == 0 && i < r.n_servers; i++)
		rc = append_words(out, "nameserver", &r.servers[i], 1);
	return rc < 0 ? rc : append_words(out, "options", r.options, r.n_options);
}
