/* SPDX-License-Identifier: Apache-2.0 */
/* Names: the pod's hostname, its DNS settings, and its own entries for /etc/hosts. */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/value.h"

#define HOSTNAME_MAX 63
#define FQDN_MAX 64 /* __NEW_UTS_LEN */
#define SERVERS_MAX 3
#define SEARCHES_MAX 32
#define SEARCHES_BYTES_MAX 2048
#define OPTIONS_MAX 64
#define CLUSTER_DOMAIN "cluster.local"

static int checked_label(struct loader *l, struct tree_node *spec, const char *field, const char **ret)
{
	const char *wrong;

	*ret = load_str(spec, field);
	wrong = *ret ? value_check_dns_label(*ret) : NULL;
	return wrong ? load_error(l, load_get(spec, field), "%s %s", tree_quote(*ret, strlen(*ret)).s, wrong) : 0;
}

/* A pod's name may be longer than a host name; the kubelet cuts it, and so the end must be made proper again. */
static void cut_hostname(char *name)
{
	size_t n = strlen(name);

	if (n <= HOSTNAME_MAX)
		return;
	for (n = HOSTNAME_MAX; n > 1 && (name[n - 1] == '-' || name[n - 1] == '.'); n--)
		;
	name[n] = '\0';
}

static int load_hostname(struct loader *l, struct tree_node *spec)
{
	struct kube_pod *pod = l->pod;
	const char *hostname, *subdomain, *whole = load_str(spec, "hostnameOverride");
	bool fqdn = load_bool(spec, "setHostnameAsFQDN", false);
	int r = checked_label(l, spec, "hostname", &hostname);

	if (r == 0)
		r = checked_label(l, spec, "subdomain", &subdomain);
	if (r < 0)
		return r;
	if (whole && (strlen(whole) > FQDN_MAX || value_check_dns_subdomain(whole)))
		return load_error(l, load_get(spec, "hostnameOverride"),
			"%s must be a lower case host name of at most %u", tree_quote(whole, strlen(whole)).s,
			FQDN_MAX);
	if (whole && fqdn)
		return load_error(
			l, load_get(spec, "hostnameOverride"), "does not go with setHostnameAsFQDN; remove one");
	pod->hostname = pool_str(l->mem, whole ? whole : hostname ? hostname : pod->name);
	pod->dns_domain = subdomain && !whole ? pool_printf(l->mem, "%s.%s.svc." CLUSTER_DOMAIN, subdomain, pod->ns)
					      : pool_str(l->mem, "");
	if (!pod->hostname || !pod->dns_domain)
		return load_no_memory(l);
	cut_hostname(pod->hostname);
	if (!fqdn || !*pod->dns_domain)
		return 0;
	pod->hostname = pool_printf(l->mem, "%s.%s", pod->hostname, pod->dns_domain);
	if (!pod->hostname)
		return load_no_memory(l);
	if (strlen(pod->hostname) > FQDN_MAX)
		return load_error(l, load_get(spec, "setHostnameAsFQDN"),
			"%s is longer than the %u bytes of a kernel host name; shorten hostname or subdomain",
			tree_quote(pod->hostname, strlen(pod->hostname)).s, FQDN_MAX);
	return 0;
}

/* "ndots:5" or "debug". Later ones of the same name win when the file is made. */
static int load_dns_options(struct loader *l, struct tree_node *list)
{
	struct kube_strings *options = &l->pod->dns_options;

	if (!list || !list->n)
		return 0;
	if (list->n > OPTIONS_MAX)
		return load_error(l, list, "%zu options; at most %u are taken", list->n, OPTIONS_MAX);
	options->v = pool_array(l->mem, list->n, sizeof(char *));
	if (!options->v)
		return load_no_memory(l);
	for (; options->n < list->n; options->n++) {
		struct tree_node *n = list->items[options->n];
		const char *name = load_str(n, "name"), *value = load_str(n, "value");

		/* The file is made of words and lines. */
		if (strpbrk(name, " \t\r\n:") || (value && strpbrk(value, " \t\r\n")))
			return load_error(l, n, "a resolver option is one word; use name and value without spaces");
		options->v[options->n] = pool_printf(l->mem, "%s%s%s", name, value ? ":" : "", value ? value : "");
		if (!options->v[options->n])
			return load_no_memory(l);
	}
	return 0;
}

static int load_dns_config(struct loader *l, struct tree_node *spec)
{
	struct kube_pod *pod = l->pod;
	const char *policy = load_str(spec, "dnsPolicy");
	struct tree_node *config = load_get(spec, "dnsConfig"), *searches = load_get(config, "searches");
	size_t bytes = 0;
	int r;

	pod->dns_from_host = !policy || !str_eq(policy, "None");
	r = load_strings(l, &pod->dns_servers, load_get(config, "nameservers"), SERVERS_MAX, value_check_ip);
	if (r == 0)
		r = load_strings(l, &pod->dns_searches, searches, SEARCHES_MAX, value_check_dns_search);
	if (r == 0)
		r = load_dns_options(l, load_get(config, "options"));
	if (r < 0)
		return r;
	for (size_t i = 0; i < pod->dns_searches.n; i++)
		bytes += strlen(pod->dns_searches.v[i]) + 1;
	if (bytes > SEARCHES_BYTES_MAX)
		return load_error(l, searches, "longer than %u bytes together; shorten it", SEARCHES_BYTES_MAX);
	if (!pod->dns_from_host && !pod->dns_servers.n)
		return load_error(
			l, load_get(spec, "dnsPolicy"), "None needs at least one server in dnsConfig.nameservers");
	return 0;
}

static int load_host_aliases(struct loader *l, struct tree_node *list)
{
	struct kube_pod *pod = l->pod;
	int r = 0;

	if (!list || !list->n)
		return 0;
	if (list->n > LOAD_ALIASES_MAX)
		return load_error(l, list, "%zu entries; at most %u are taken", list->n, LOAD_ALIASES_MAX);
	pod->host_aliases = pool_array(l->mem, list->n, sizeof(*pod->host_aliases));
	if (!pod->host_aliases)
		return load_no_memory(l);
	for (; r == 0 && pod->n_host_aliases < list->n; pod->n_host_aliases++) {
		struct tree_node *n = list->items[pod->n_host_aliases];
		struct kube_host_alias *alias = &pod->host_aliases[pod->n_host_aliases];
		const char *ip = load_str(n, "ip"), *wrong = value_check_ip(ip);

		if (wrong)
			return load_error(l, load_get(n, "ip"), "%s %s", tree_quote(ip, strlen(ip)).s, wrong);
		r = load_copy(l, &alias->ip, ip, "");
		if (r == 0)
			r = load_strings(l, &alias->hostnames, load_get(n, "hostnames"), LOAD_ALIASES_MAX,
				value_check_dns_subdomain);
	}
	return r;
}

int load_dns(struct loader *l, struct tree_node *spec)
{
	int r = load_hostname(l, spec);

	if (r == 0)
		r = load_dns_config(l, spec);
	return r < 0 ? r : load_host_aliases(l, load_get(spec, "hostAliases"));
}
