/* SPDX-License-Identifier: Apache-2.0 */
/* What a container is: name, image, policies, ports, resources. */
#include "kube/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "kube/value.h"

/* Less than this can hold no process; it comes from "512m", which is half a byte. */
#define MEMORY_LIMIT_MIN 4096

/* ---- resources ---- */

static int load_resource(struct loader *l, struct kube_resources *ret, const struct tree_node *n, bool limit)
{
	static const char *const known[] = {"cpu", "memory", "ephemeral-storage"};
	const char *wrong = value_check_qualified_name(n->key), *nearest;
	unsigned distance = 0;

	if (wrong)
		return load_error(l, n, "a resource name %s", wrong);
	if (str_eq(n->key, "cpu")) {
		*(limit ? &ret->cpu_limit_milli : &ret->cpu_request_milli) = load_quantity(n, VALUE_MILLI);
		return 0;
	}
	if (str_eq(n->key, "memory")) {
		uint64_t bytes = load_quantity(n, VALUE_UNIT);

		*(limit ? &ret->memory_limit : &ret->memory_request) = bytes;
		if (limit && bytes && bytes < MEMORY_LIMIT_MIN)
			return load_error(l, n, "%s is %llu byte(s); write for example 64Mi for mebibytes",
				tree_quote(n->text, n->len).s, (unsigned long long)bytes);
		return 0;
	}
	if (str_eq(n->key, "ephemeral-storage")) {
		*(limit ? &ret->storage_limit : &ret->storage_request) = load_quantity(n, VALUE_UNIT);
		return limit ? load_note(l, n, "accepted, but not enforced: use sizeLimit of an emptyDir") : 0;
	}
	if (str_has_prefix(n->key, "hugepages-"))
		return load_error(l, n, "huge pages are not set aside in the guest; leave it out");
	if (strchr(n->key, '/'))
		return load_error(
			l, n, "devices and other extended resources are not passed into the VM; leave it out");
	nearest = schema_nearest(n->key, known, ARRAY_SIZE(known), &distance);
	return load_error(l, n, "unknown resource; did you mean \"%s\"?", nearest);
}

static int check_request(
	struct loader *l, const struct tree_node *requests, const char *name, uint64_t request, uint64_t limit)
{
	if (!limit || request <= limit)
		return 0;
	return load_error(l, tree_find(requests, name), "is more than the limit; lower it or raise limits.%s", name);
}

int load_resources(struct loader *l, struct kube_resources *ret, struct tree_node *resources)
{
	struct tree_node *limits = load_get(resources, "limits"), *requests = load_get(resources, "requests");
	int r = 0;

	for (size_t i = 0; r == 0 && limits && i < limits->n; i++)
		if (limits->items[i]->kind != TREE_NULL)
			r = load_resource(l, ret, limits->items[i], true);
	for (size_t i = 0; r == 0 && requests && i < requests->n; i++)
		if (requests->items[i]->kind != TREE_NULL)
			r = load_resource(l, ret, requests->items[i], false);
	if (r < 0)
		return r;
	/* The API server's defaults: a limit without a request is the request too. */
	if (!tree_find(requests, "cpu"))
		ret->cpu_request_milli = ret->cpu_limit_milli;
	if (!tree_find(requests, "memory"))
		ret->memory_request = ret->memory_limit;
	if (!tree_find(requests, "ephemeral-storage"))
		ret->storage_request = ret->storage_limit;
	r = check_request(l, requests, "cpu", ret->cpu_request_milli, ret->cpu_limit_milli);
	if (r == 0)
		r = check_request(l, requests, "memory", ret->memory_request, ret->memory_limit);
	if (r == 0)
		r = check_request(l, requests, "ephemeral-storage", ret->storage_request, ret->storage_limit);
	return r;
}

/* ---- ports ---- */

static enum kube_protocol protocol_of(const char *text)
{
	if (text && str_eq(text, "UDP"))
		return KUBE_UDP;
	return text && str_eq(text, "SCTP") ? KUBE_SCTP : KUBE_TCP;
}

/* The port of the host on which `p` is published. */
static uint16_t published(const struct kube_port *p)
{
	return p->host_port ? p->host_port : p->container_port;
}

/*
 * The container in front of `upto` (or `upto` itself) that publishes on the same port of the host. Containers share the
 * pod's addresses and all ports are published, so one number can serve once.
 */
static const struct kube_container *find_publisher(
	const struct loader *l, const struct kube_container *upto, const struct kube_port *p)
{
	for (const struct kube_container *c = l->pod->containers; c <= upto; c++)
		for (size_t i = 0; i < c->n_ports; i++)
			if (&c->ports[i] != p && c->ports[i].protocol == p->protocol &&
				published(&c->ports[i]) == published(p))
				return c;
	return NULL;
}

static int load_port(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	struct kube_port *p = &c->ports[c->n_ports];
	const char *name = load_str(n, "name"), *wrong = name ? value_check_port_name(name) : NULL;
	const struct kube_container *other;
	struct tree_node *host_port = load_get(n, "hostPort");
	int r = load_copy(l, &p->name, name, "");

	if (wrong)
		return load_error(l, load_get(n, "name"), "%s %s", tree_quote(name, strlen(name)).s, wrong);
	if (r == 0)
		r = load_where(l, &p->where, host_port ? host_port : load_get(n, "containerPort"));
	if (r < 0)
		return r;
	for (size_t i = 0; name && i < c->n_ports; i++)
		if (str_eq(c->ports[i].name, name))
			return load_error(l, load_get(n, "name"), "a second port %s; rename one",
				tree_quote(name, strlen(name)).s);
	p->container_port = (uint16_t)load_int(n, "containerPort", 0);
	p->host_port = (uint16_t)load_int(n, "hostPort", 0);
	p->protocol = protocol_of(load_str(n, "protocol"));
	other = find_publisher(l, c, p);
	if (other && p->host_port)
		return load_error(
			l, host_port, "port %u is taken by container %s; use another", p->host_port, other->name);
	if (other)
		return load_note(l, n, "port %u is published for container %s already", p->container_port, other->name);
	c->n_ports++;
	return 0;
}

static int load_ports(struct loader *l, struct kube_container *c, struct tree_node *list)
{
	int r = 0;

	if (!list || !list->n)
		return 0;
	if (list->n > LOAD_PORTS_MAX)
		return load_error(l, list, "%zu ports; at most %u are taken", list->n, LOAD_PORTS_MAX);
	c->ports = pool_array(l->mem, list->n, sizeof(*c->ports));
	if (!c->ports)
		return load_no_memory(l);
	for (size_t i = 0; r == 0 && i < list->n; i++)
		r = load_port(l, c, list->items[i]);
	return r;
}

/* ---- policies ---- */

static enum kube_pull pull_policy(const char *text)
{
	if (text && str_eq(text, "Always"))
		return KUBE_PULL_ALWAYS;
	return text && str_eq(text, "Never") ? KUBE_PULL_NEVER : KUBE_PULL_IF_NOT_PRESENT;
}

static int load_restart(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	static const char *const init_forbids[] = {"livenessProbe", "readinessProbe", "startupProbe", "lifecycle"};
	const char *policy = load_str(n, "restartPolicy");

	if (policy && !c->init)
		return load_error(l, load_get(n, "restartPolicy"),
			"only an init container has its own (Always: a sidecar); use spec.restartPolicy");
	if (policy && !str_eq(policy, "Always"))
		return load_error(l, load_get(n, "restartPolicy"), "an init container takes only Always; leave it out");
	c->sidecar = policy != NULL;
	for (size_t i = 0; c->init && !c->sidecar && i < ARRAY_SIZE(init_forbids); i++) {
		struct tree_node *member = load_get(n, init_forbids[i]);

		if (member)
			return load_error(l, member, "an init container that runs to its end takes none; remove it");
	}
	return 0;
}

/* SIGNAME of signal(7), and SIGRTMIN+n, SIGRTMAX-n. */
static bool is_signal(const char *text)
{
	static const char *const names[] = {"ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT",
		"IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM",
		"TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN",
		"RTMAX"};
	uint64_t offset;

	if (!str_has_prefix(text, "SIG"))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(text + 3, names[i]))
			return true;
	if (str_has_prefix(text, "SIGRTMIN+"))
		return str_to_u64(text + 9, 15, &offset, NULL) == 0 && offset;
	return str_has_prefix(text, "SIGRTMAX-") && str_to_u64(text + 9, 14, &offset, NULL) == 0 && offset;
}

static int load_policies(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	struct tree_node *lifecycle = load_get(n, "lifecycle");
	const char *signal = load_str(lifecycle, "stopSignal"), *message = load_str(n, "terminationMessagePolicy");
	const char *path = load_str(n, "terminationMessagePath"), *cwd = load_str(n, "workingDir"), *wrong;
	int r = load_copy(l, &c->stop_signal, signal, "");

	if (signal && !is_signal(signal))
		return load_error(l, load_get(lifecycle, "stopSignal"), "unknown signal %s; write for example SIGUSR1",
			tree_quote(signal, strlen(signal)).s);
	wrong = path ? value_check_absolute_path(path) : NULL;
	if (wrong)
		return load_error(
			l, load_get(n, "terminationMessagePath"), "%s %s", tree_quote(path, strlen(path)).s, wrong);
	wrong = cwd ? value_check_absolute_path(cwd) : NULL;
	if (wrong)
		return load_error(l, load_get(n, "workingDir"), "%s %s", tree_quote(cwd, strlen(cwd)).s, wrong);
	if (r == 0)
		r = load_copy(l, &c->termination_message_path, path, "/dev/termination-log");
	if (r == 0 && cwd)
		r = load_copy(l, &c->working_dir, cwd, "");
	c->termination_fallback_to_logs = message && str_eq(message, "FallbackToLogsOnError");
	c->pull = pull_policy(load_str(n, "imagePullPolicy"));
	c->stdin_open = load_bool(n, "stdin", false);
	c->stdin_once = load_bool(n, "stdinOnce", false);
	c->tty = load_bool(n, "tty", false);
	return r < 0 ? r : load_restart(l, c, n);
}

/* ---- containers ---- */

static int load_names(struct loader *l, struct kube_container *c, struct tree_node *n)
{
	const char *name = load_str(n, "name"), *image = load_str(n, "image"), *wrong = value_check_dns_label(name);
	int r;

	if (wrong)
		return load_error(l, load_get(n, "name"), "%s %s", tree_quote(name, strlen(name)).s, wrong);
	for (const struct kube_container *other = l->pod->containers; other < c; other++)
		if (str_eq(other->name, name))
			return load_error(l, load_get(n, "name"), "a second container %s; rename one",
				tree_quote(name, strlen(name)).s);
	if (strpbrk(image, " \t\r\n"))
		return load_error(l, load_get(n, "image"), "%s has white space; write it without",
			tree_quote(image, strlen(image)).s);
	r = load_copy(l, &c->name, name, "");
	return r < 0 ? r : load_copy(l, &c->image, image, "");
}

/* A pod-level limit is for all containers together, so none may have more. */
static int check_pod_limit(struct loader *l, const struct kube_container *c, struct tree_node *resources)
{
	const struct kube_resources *pod = &l->pod->resources;
	struct tree_node *limits = load_get(resources, "limits");

	if (pod->cpu_limit_milli && c->resources.cpu_limit_milli > pod->cpu_limit_milli)
		return load_error(l, tree_find(limits, "cpu"), "is more than spec.resources.limits.cpu; lower it");
	if (pod->memory_limit && c->resources.memory_limit > pod->memory_limit)
		return load_error(
			l, tree_find(limits, "memory"), "is more than spec.resources.limits.memory; lower it");
	return 0;
}

static int load_container(struct loader *l, struct tree_node *spec, struct tree_node *n, bool init)
{
	struct kube_pod *pod = l->pod;
	struct kube_container *c = &pod->containers[pod->n_containers];
	struct tree_node *resources = load_get(n, "resources");
	int r;

	c->init = init;
	l->container_nodes[pod->n_containers] = n;
	r = load_names(l, c, n);
	if (r == 0)
		r = load_policies(l, c, n);
	if (r == 0)
		r = load_ports(l, c, load_get(n, "ports"));
	if (r == 0 && resources)
		r = load_resources(l, &c->resources, resources);
	if (r == 0)
		r = check_pod_limit(l, c, resources);
	if (r == 0)
		r = load_security(l, &c->security, load_get(n, "securityContext"), load_get(spec, "securityContext"));
	pod->n_containers++;
	pod->n_init += init;
	return r;
}

int load_containers(struct loader *l, struct tree_node *spec)
{
	struct tree_node *lists[] = {load_get(spec, "initContainers"), load_get(spec, "containers")};
	size_t n = (lists[0] ? lists[0]->n : 0) + lists[1]->n;
	int r = 0;

	if (n > LOAD_CONTAINERS_MAX)
		return load_error(l, lists[1], "%zu containers in all; at most %u are taken", n, LOAD_CONTAINERS_MAX);
	l->pod->containers = pool_array(l->mem, n, sizeof(*l->pod->containers));
	l->container_nodes = pool_array(l->mem, n, sizeof(*l->container_nodes));
	if (!l->pod->containers || !l->container_nodes)
		return load_no_memory(l);
	for (size_t k = 0; k < ARRAY_SIZE(lists); k++)
		for (size_t i = 0; r == 0 && lists[k] && i < lists[k]->n; i++)
			r = load_container(l, spec, lists[k]->items[i], k == 0);
	return r;
}

/* ---- the sum ---- */

static struct tree_node *memory_node(struct tree_node *resources)
{
	struct tree_node *limit = load_get(load_get(resources, "limits"), "memory");

	return limit ? limit : load_get(load_get(resources, "requests"), "memory");
}

int load_check_memory(struct loader *l, struct tree_node *spec)
{
	const struct kube_pod *pod = l->pod;
	struct tree_node *at = memory_node(load_get(spec, "resources"));
	uint64_t most = 0, sum;
	unsigned cpus;

	kube_pod_size(pod, &cpus, &sum);
	if (!l->ctx->max_memory || sum <= l->ctx->max_memory)
		return 0;
	/* The pod's own limit counts first; else the largest share is the one to look at. */
	for (size_t i = 0; !pod->resources.memory_limit && i < pod->n_containers; i++) {
		const struct kube_resources *r = &pod->containers[i].resources;
		uint64_t share = r->memory_limit ? r->memory_limit : r->memory_request;

		if (share <= most)
			continue;
		most = share;
		at = memory_node(load_get(l->container_nodes[i], "resources"));
	}
	return load_error(l, at ? at : spec,
		"the pod's containers ask for %llu MiB in all, and a VM has %llu MiB for them at most; ask for less",
		(unsigned long long)(sum >> 20), (unsigned long long)(l->ctx->max_memory >> 20));
}
