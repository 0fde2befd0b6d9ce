/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd.runtime.sandbox.v1.Sandbox (sandboxer = "shim"): the pod without a pause container. The configuration of the pod comes as
 * the CRI's own message; there is no OCI spec for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "shim/shim.h"

#define TYPE_CONFIG "runtime.v1.PodSandboxConfig"
#define CONFIG_MAX (1u << 20)
#define HOST_FILE_MAX (256u << 10)
#define NODE 2 /* runtime.v1.NamespaceMode */

/* False: the caller was answered. */
static bool is_ours(struct shim *sh, struct ttrpc_request *rq, const char *id)
{
	if (str_eq(sh->args.id, id))
		return true;
	refuse(rq, ENOENT, "no sandbox '%.80s'", id);
	return false;
}

static int check_namespaces(const Ctrd__PodSandboxConfig *c, struct err *err)
{
	const Ctrd__SandboxSecurity *security = c->linux_config ? c->linux_config->security_context : NULL;
	const Ctrd__NamespaceOptions *o = security ? security->namespace_options : NULL;
	const char *type = NULL;

	if (o)
		type = o->network == NODE ? "network" : o->pid == NODE ? "pid" : o->ipc == NODE ? "ipc" : NULL;
	return type ? spec_refuse_namespace(type, err) : 0;
}

static json_t *sysctls_json(const Ctrd__LinuxSandboxConfig *c)
{
	json_t *o = json_object();

	for (size_t i = 0; c && i < c->n_sysctls; i++)
		(void)json_object_set_new(o, c->sysctls[i]->key, json_string(c->sysctls[i]->value));
	return o;
}

/* linux.cgroupsPath as containerd makes it for the pause container. */
static int cgroups_path(const char *parent, const char *id, char *dst, size_t size, struct err *err)
{
	const char *name = strrchr(parent, '/');

	if (!*parent)
		return str_format(dst, size, err, "%s", "");
	if (str_has_suffix(parent, ".slice"))
		return str_format(dst, size, err, "%s:cri-containerd:%s", name ? name + 1 : parent, id);
	return str_format(dst, size, err, "%s/%s", parent, id);
}

static int add_words(struct buf *b, const char *key, char *const *words, size_t n)
{
	int r = buf_append_str(b, key);

	for (size_t i = 0; i < n && r == 0; i++)
		r = buf_printf(b, " %s", words[i]);
	return r == 0 ? buf_append_str(b, "\n") : r;
}

static int resolv_conf(const Ctrd__DnsConfig *dns, struct buf *b)
{
	int r = 0;

	for (size_t i = 0; dns && i < dns->n_servers && r == 0; i++)
		r = buf_printf(b, "nameserver %s\n", dns->servers[i]);
	if (r == 0 && dns && dns->n_searches)
		r = add_words(b, "search", dns->searches, dns->n_searches);
	if (r == 0 && dns && dns->n_options)
		r = add_words(b, "options", dns->options, dns->n_options);
	return r;
}

/* A file of the node, or nothing when there is none. */
static int copy_host_file(const char *path, struct buf *b)
{
	auto_free char *text = NULL;
	size_t n;

	return file_read(AT_FDCWD, path, HOST_FILE_MAX, &text, &n, NULL) < 0 ? 0 : buf_append(b, text, n);
}

/*
 * shared/pod/{hosts,hostname,resolv.conf}: without a pause container nobody else makes them. As containerd does it there: the node's
 * hosts, and its resolv.conf when the pod has no DNS configuration of its own.
 */
static int write_files(struct shim *sh, const Ctrd__PodSandboxConfig *c, struct err *err)
{
	auto_buf struct buf hosts = BUF_INIT(HOST_FILE_MAX), resolv = BUF_INIT(HOST_FILE_MAX), name = BUF_INIT(256);
	int r = copy_host_file("/etc/hosts", &hosts);

	if (r == 0)
		r = resolv_conf(c->dns_config, &resolv);
	if (r == 0 && !resolv.len)
		r = copy_host_file("/etc/resolv.conf", &resolv);
	if (r == 0)
		r = buf_printf(&name, "%s\n", c->hostname);
	if (r < 0)
		return err_set(err, -r, "the pod's hosts and resolv.conf: %s", strerrordesc_np(-r));
	r = share_dir(&sh->share, "pod", 0755, err);
	if (r == 0)
		r = share_file(&sh->share, "pod/hosts", buf_data(&hosts), hosts.len, 0644, err);
	if (r == 0)
		r = share_file(&sh->share, "pod/resolv.conf", buf_data(&resolv), resolv.len, 0644, err);
	if (r == 0)
		r = share_file(&sh->share, "pod/hostname", buf_data(&name), name.len, 0644, err);
	return r;
}

static int create(struct shim *sh, const Ctrd__PodSandboxConfig *c, const char *netns, struct err *err)
{
	const Ctrd__LinuxResources *res = c->linux_config ? c->linux_config->resources : NULL;
	json_t *sysctls = sysctls_json(c->linux_config);
	char path[512];
	struct vm_wish w = {
		.hostname = c->hostname, .netns = *netns ? netns : NULL, .cgroups_path = path, .sysctls = sysctls};
	int r = check_namespaces(c, err);

	if (c->metadata) {
		(void)str_copy(sh->pod_name, sizeof(sh->pod_name), c->metadata->name);
		(void)str_copy(sh->pod_ns, sizeof(sh->pod_ns), c->metadata->namespace_);
		(void)str_copy(sh->pod_uid, sizeof(sh->pod_uid), c->metadata->uid);
	}
	if (res && res->cpu_quota > 0 && res->cpu_period > 0)
		w.vcpus = (unsigned)MIN_OF((res->cpu_quota - 1) / res->cpu_period + 1, INT64_C(1) << 16);
	if (res && res->memory_limit > 0)
		w.memory = (uint64_t)res->memory_limit;
	if (r == 0)
		r = cgroups_path(
			c->linux_config ? c->linux_config->cgroup_parent : "", sh->args.id, path, sizeof(path), err);
	if (r == 0)
		r = write_files(sh, c, err);
	if (r == 0)
		r = vm_start(sh, &w, err);
	json_decref(sysctls);
	return r;
}

static void on_create(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Ctrd__CreateSandboxRequest *req = (const void *)msg;
	Ctrd__PodSandboxConfig *config = NULL;
	struct shim *sh = ctx;
	struct err err = {0};
	int r = 0;

	if (!is_ours(sh, rq, req->sandbox_id))
		return;
	if (sh->vm != VM_NONE)
		r = err_set(&err, EEXIST, "sandbox '%s' exists", req->sandbox_id);
	else if (!req->options || !str_has_suffix(req->options->type_url, TYPE_CONFIG))
		r = err_set(&err, EINVAL, "the sandbox's options are '%.100s', not " TYPE_CONFIG,
			req->options ? req->options->type_url : "");
	else if (req->options->value.len > CONFIG_MAX ||
		 !(config = ctrd__pod_sandbox_config__unpack(NULL, req->options->value.len, req->options->value.data)))
		r = err_set(&err, EINVAL, "the sandbox's options are malformed");
	if (r == 0)
		r = create(sh, config, req->netns_path, &err);
	if (config)
		ctrd__pod_sandbox_config__free_unpacked(config, NULL);
	if (r < 0) {
		ttrpc_fail(rq, &err);
		return;
	}
	sh->by_sandbox_api = true;
	reply_empty(rq);
}

static void answer_start(struct shim *sh, struct ttrpc_request *rq)
{
	Ctrd__StartSandboxResponse reply = CTRD__START_SANDBOX_RESPONSE__INIT;
	Ctrd__Timestamp at = events_time(sh->created_ns);

	reply.pid = vm_pid(sh);
	reply.created_at = &at;
	ttrpc_reply(rq, &reply.base);
}

static void on_start(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct shim *sh = ctx;

	if (!is_ours(sh, rq, ((const Ctrd__SandboxRequest *)msg)->sandbox_id))
		return;
	if (sh->vm == VM_UP)
		answer_start(sh, rq);
	else if (sh->vm != VM_STARTING || sh->start_rq)
		refuse(rq, EBUSY, "sandbox '%s' %s", sh->args.id,
			sh->start_rq	    ? "is being started"
			: sh->vm == VM_NONE ? "was not created"
					    : sh->down_why);
	else
		sh->start_rq = rq;
}

void sandbox_api_up(struct shim *sh)
{
	if (sh->start_rq)
		answer_start(sh, take_ptr(sh->start_rq));
}

static void answer_wait(struct shim *sh, struct ttrpc_request *rq)
{
	Ctrd__WaitResponse reply = CTRD__WAIT_RESPONSE__INIT;
	Ctrd__Timestamp at = events_time(sh->ended_ns);

	reply.exit_status = sh->exit_status;
	reply.exited_at = &at;
	ttrpc_reply(rq, &reply.base);
}

void sandbox_api_down(struct shim *sh)
{
	if (sh->start_rq)
		refuse(take_ptr(sh->start_rq), ECONNRESET, "sandbox '%s': %s", sh->args.id, sh->down_why);
	while (sh->waiters) {
		struct waiter *w = sh->waiters;

		sh->waiters = w->next;
		answer_wait(sh, w->rq);
		free(w);
	}
	sh->n_waiters = 0;
}

static void on_platform(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	Ctrd__PlatformResponse reply = CTRD__PLATFORM_RESPONSE__INIT;
	Ctrd__Platform platform = CTRD__PLATFORM__INIT;

	platform.os = (char *)(uintptr_t) "linux";
	platform.architecture = (char *)(uintptr_t) "amd64";
	reply.platform = &platform;
	ttrpc_reply(rq, &reply.base);
}

static void on_stop(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct shim *sh = ctx;

	if (!is_ours(sh, rq, ((const Ctrd__SandboxRequest *)msg)->sandbox_id))
		return;
	/* The CRI has stopped the containers before, each with its own grace period. */
	vm_kill(sh, 0, "containerd stopped the sandbox");
	reply_empty(rq);
}

static void on_wait(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct shim *sh = ctx;
	struct waiter *w;

	if (!is_ours(sh, rq, ((const Ctrd__SandboxRequest *)msg)->sandbox_id))
		return;
	if (sh->vm == VM_DOWN) {
		answer_wait(sh, rq);
		return;
	}
	waiters_sweep(&sh->waiters, &sh->n_waiters);
	w = sh->n_waiters < SHIM_WAITERS_MAX ? waiter_add(&sh->waiters, rq) : NULL;
	if (!w)
		refuse(rq, ENOBUFS, "sandbox '%s': %u callers wait already", sh->args.id, sh->n_waiters);
	else
		sh->n_waiters++;
}

static void on_status(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	Ctrd__SandboxStatusResponse reply = CTRD__SANDBOX_STATUS_RESPONSE__INIT;
	struct shim *sh = ctx;
	Ctrd__Timestamp created = events_time(sh->created_ns), ended = events_time(sh->ended_ns);

	if (!is_ours(sh, rq, ((const Ctrd__SandboxRequest *)msg)->sandbox_id))
		return;
	reply.sandbox_id = sh->args.id;
	reply.pid = vm_pid(sh);
	reply.state = (char *)(uintptr_t)(sh->vm == VM_UP ? "SANDBOX_READY" : "SANDBOX_NOTREADY");
	reply.created_at = &created;
	if (sh->vm == VM_DOWN)
		reply.exited_at = &ended;
	ttrpc_reply(rq, &reply.base);
}

static void on_ping(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct shim *sh = ctx;

	if (!is_ours(sh, rq, ((const Ctrd__SandboxRequest *)msg)->sandbox_id))
		return;
	if (sh->vm == VM_DOWN)
		refuse(rq, ECONNRESET, "sandbox '%s': %s", sh->args.id, sh->down_why);
	else
		reply_empty(rq);
}

static void on_shutdown(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct shim *sh = ctx;

	if (!is_ours(sh, rq, ((const Ctrd__SandboxRequest *)msg)->sandbox_id))
		return;
	vm_kill(sh, 137, "containerd shut the sandbox down");
	reply_empty(rq);
	shim_quit(sh);
}

static void on_metrics(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	struct shim *sh = ctx;

	if (is_ours(sh, rq, ((const Ctrd__SandboxRequest *)msg)->sandbox_id))
		metrics_sandbox(sh, rq);
}

#define REQUEST &ctrd__sandbox_request__descriptor

const struct ttrpc_method sandbox_methods[] = {
	{"CreateSandbox", &ctrd__create_sandbox_request__descriptor, on_create},
	{"StartSandbox", REQUEST, on_start},
	{"Platform", REQUEST, on_platform},
	{"StopSandbox", REQUEST, on_stop},
	{"WaitSandbox", REQUEST, on_wait},
	{"SandboxStatus", REQUEST, on_status},
	{"PingSandbox", REQUEST, on_ping},
	{"ShutdownSandbox", REQUEST, on_shutdown},
	{"SandboxMetrics", REQUEST, on_metrics},
};
const unsigned sandbox_n_methods = ARRAY_SIZE(sandbox_methods);
