/* SPDX-License-Identifier: Apache-2.0 */
/* The table of calls (proto/agent.proto): checks ids and bounds, then hands over to the part that does it. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/boot.h"
#include "agent/cgroup.h"
#include "agent/configure.h"
#include "agent/container_impl.h"
#include "agent/disk.h"
#include "agent/info.h"
#include "agent/live.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define RESOURCES_MAX (64u << 10)
#define POWER_OFF_NS (50 * NS_PER_MS)
#define TIDY_NS (5 * NS_PER_S)

typedef Podvm__Agent__V1__ProcessRequest process_request;

bool id_valid(const char *id)
{
	size_t n = strlen(id);

	return n >= 1 && n <= STREAM_ID_MAX && *id != '.' &&
	       strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == n;
}

static void finish(struct ttrpc_request *rq, int r, const struct err *err)
{
	if (r < 0)
		ttrpc_fail(rq, err);
	else
		agent_reply_empty(rq);
}

/* The container, or an answer to the caller and NULL. */
static struct container *get_container(struct agent *a, struct ttrpc_request *rq, const char *id)
{
	struct container *c = container_find(a, id);
	struct err err = {0};

	if (c)
		return c;
	if (!id_valid(id))
		(void)err_set(&err, EINVAL, "container_id '%.80s' is not an id", id);
	else
		(void)err_set(&err, ENOENT, "no container '%s'", id);
	ttrpc_fail(rq, &err);
	return NULL;
}

static struct process *get_process(struct agent *a, struct ttrpc_request *rq, const char *id, const char *exec)
{
	struct process *p = process_find(a, id, exec);
	struct err err = {0};

	if (p)
		return p;
	if (!id_valid(id) || (*exec && !id_valid(exec)))
		(void)err_set(&err, EINVAL, "'%.80s' or '%.80s' is not an id", id, exec);
	else
		(void)err_set(&err, ENOENT, "no process '%s' in container '%s'", exec, id);
	ttrpc_fail(rq, &err);
	return NULL;
}

/* ---- the guest ---- */

static void fill_info(struct agent *a, Podvm__Agent__V1__GetInfoResponse *info, struct utsname *un)
{
	struct timespec ts;
	struct sysinfo si;

	(void)uname(un);
	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	info->agent_version = (char *)(uintptr_t)PODVM_VERSION;
	info->kernel_release = un->release;
	info->crun_version = a->crun_version;
	info->uptime_ns = (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
	info->cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	if (sysinfo(&si) == 0)
		info->memory_total = (uint64_t)si.totalram * si.mem_unit;
	info->configured = a->configured;
	info->agent_start_ns = a->start_ns;
}

static void get_info(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	Podvm__Agent__V1__GetInfoResponse info = PODVM__AGENT__V1__GET_INFO_RESPONSE__INIT;
	struct utsname un;

	fill_info(ctx, &info, &un);
	ttrpc_reply(rq, &info.base);
}

/* The modules' files: not while the first containers are being started. */
static void on_tidy(struct loop_timer *t)
{
	struct agent *a = container_of(t, struct agent, tidy_timer);

	disk_keep_driver(&a->disks);
	boot_free_modules(&a->initramfs_fd);
}

static void configure(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	Podvm__Agent__V1__ConfigureResponse reply = PODVM__AGENT__V1__CONFIGURE_RESPONSE__INIT;
	Podvm__Agent__V1__GetInfoResponse info = PODVM__AGENT__V1__GET_INFO_RESPONSE__INIT;
	struct agent *a = ctx;
	struct utsname un;
	struct err err = {0};
	int r;

	if (a->configuring)
		r = err_set(&err, EBUSY, "the guest was configured already");
	else
		r = configure_guest(a, (const Podvm__Agent__V1__ConfigureRequest *)req, &err);
	if (!a->configuring)
		loop_timer_set(a->loop, &a->tidy_timer, TIDY_NS, on_tidy);
	if (r < 0) {
		if (!a->configuring)
			log_error("configure: %s", err.msg);
		a->configuring = true;
		ttrpc_fail(rq, &err);
		return;
	}
	a->configuring = a->configured = true;
	fill_info(a, &info, &un);
	reply.info = &info;
	ttrpc_reply(rq, &reply.base);
}

static void on_power(struct loop_timer *t)
{
	(void)reboot(RB_POWER_OFF);
}

static void shut_down(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *req)
{
	struct agent *a = ctx;
	struct err err = {0};

	if (cgroup_kill(a->cgroup_fd, &err) < 0)
		log_warn("shutdown: %s, ignoring", err.msg);
	sync();
	agent_reply_empty(rq);
	/* The answer gets on its way first. */
	loop_timer_set(a->loop, &a->power_timer, POWER_OFF_NS, on_power);
}

/* ---- containers and processes ---- */

static void create_container(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__CreateContainerRequest *req = (const void *)msg;
	struct agent *a = ctx;
	struct err err = {0};

	if (!a->configured)
		(void)err_set(&err, EBUSY, "the guest is not configured");
	else if (!id_valid(req->container_id))
		(void)err_set(&err, EINVAL, "container_id '%.80s' is not an id", req->container_id);
	if (err.code)
		ttrpc_fail(rq, &err);
	else
		container_create(a, rq, req);
}

static void sync_folders(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	live_sync(ctx, rq, (const void *)msg);
}

static void find_disk(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	disk_find(ctx, rq, (const void *)msg);
}

static void release_disk(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	disk_release(ctx, rq, ((const Podvm__Agent__V1__ReleaseDiskRequest *)msg)->serial);
}

static void create_exec(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__CreateExecRequest *req = (const void *)msg;
	struct container *c = get_container(ctx, rq, req->container_id);
	struct err err = {0};

	if (!c)
		return;
	if (!id_valid(req->exec_id)) {
		(void)err_set(&err, EINVAL, "exec_id '%.80s' is not an id", req->exec_id);
		ttrpc_fail(rq, &err);
		return;
	}
	container_exec(c, rq, req);
}

static void start_process(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const process_request *req = (const void *)msg;
	struct process *p = get_process(ctx, rq, req->container_id, req->exec_id);

	if (p)
		container_start(p, rq);
}

static void wait_process(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const process_request *req = (const void *)msg;
	struct process *p = get_process(ctx, rq, req->container_id, req->exec_id);

	if (p)
		process_wait(p, rq);
}

static void signal_process(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__SignalProcessRequest *req = (const void *)msg;
	struct process *p = get_process(ctx, rq, req->container_id, req->exec_id);
	struct err err = {0};
	int r;

	if (!p)
		return;
	if (req->signal < 1 || req->signal > 64)
		r = err_set(&err, EINVAL, "signal %u", req->signal);
	else
		r = container_signal(p, (int)req->signal, req->all, &err);
	finish(rq, r, &err);
}

static void resize_pty(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__ResizePtyRequest *req = (const void *)msg;
	struct process *p = get_process(ctx, rq, req->container_id, req->exec_id);
	struct err err = {0};

	if (p)
		finish(rq, process_resize(p, req->rows, req->columns, &err), &err);
}

static void close_stdin(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const process_request *req = (const void *)msg;
	struct process *p = get_process(ctx, rq, req->container_id, req->exec_id);

	if (!p)
		return;
	process_close_stdin(p);
	agent_reply_empty(rq);
}

static void delete_process(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const process_request *req = (const void *)msg;
	struct process *p = process_find(ctx, req->container_id, req->exec_id);

	/* One that was never made may have folders all the same. */
	if (id_valid(req->container_id) && !container_find(ctx, req->container_id))
		live_remove(ctx, req->container_id);
	if (!p && container_was_deleted(ctx, req->container_id, req->exec_id))
		agent_reply_empty(rq);
	else if ((p = get_process(ctx, rq, req->container_id, req->exec_id)))
		container_delete(p, rq);
}

static void list_processes(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__ContainerRequest *req = (const void *)msg;
	Podvm__Agent__V1__ListProcessesResponse reply = PODVM__AGENT__V1__LIST_PROCESSES_RESPONSE__INIT;
	struct container *c = get_container(ctx, rq, req->container_id);
	auto_free uint32_t *pids = NULL;
	struct err err = {0};

	if (!c)
		return;
	if (c->cgroup_fd >= 0 && cgroup_pids(c->cgroup_fd, &pids, &reply.n_pids, &err) < 0) {
		ttrpc_fail(rq, &err);
		return;
	}
	reply.pids = pids;
	ttrpc_reply(rq, &reply.base);
}

static void get_stats(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__ContainerRequest *req = (const void *)msg;
	Podvm__Agent__V1__GetStatsResponse reply = PODVM__AGENT__V1__GET_STATS_RESPONSE__INIT;
	struct container *c = NULL;

	if (*req->container_id) {
		c = get_container(ctx, rq, req->container_id);
		if (!c)
			return;
		if (c->cgroup_fd >= 0)
			cgroup_stats(c->cgroup_fd, &reply);
	} else {
		info_stats(ctx, &reply);
	}
	ttrpc_reply(rq, &reply.base);
}

static void update_container(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__UpdateContainerRequest *req = (const void *)msg;
	struct container *c = get_container(ctx, rq, req->container_id);
	struct cgroup_change changes[CGROUP_CHANGES_MAX];
	struct err err = {0};
	json_error_t at;
	json_t *resources;
	int r;

	if (!c)
		return;
	if (req->resources.len > RESOURCES_MAX || c->cgroup_fd < 0) {
		(void)err_set(&err, EINVAL, "resources larger than %u bytes, or the container is not there yet",
			RESOURCES_MAX);
		ttrpc_fail(rq, &err);
		return;
	}
	resources = json_loadb((const char *)req->resources.data, req->resources.len, JSON_REJECT_DUPLICATES, &at);
	r = json_is_object(resources) ? cgroup_plan(resources, changes, &err)
				      : err_set(&err, EINVAL, "resources: no JSON object: %s", at.text);
	if (r > 0)
		r = cgroup_apply(c->cgroup_fd, changes, (size_t)r, &err);
	json_decref(resources);
	finish(rq, r, &err);
}

static void pause_container(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__ContainerRequest *req = (const void *)msg;
	struct container *c = get_container(ctx, rq, req->container_id);

	if (c)
		container_freeze(c, rq, true);
}

static void resume_container(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__ContainerRequest *req = (const void *)msg;
	struct container *c = get_container(ctx, rq, req->container_id);

	if (c)
		container_freeze(c, rq, false);
}

static void next_events(void *ctx, struct ttrpc_request *rq, const ProtobufCMessage *msg)
{
	const Podvm__Agent__V1__NextEventsRequest *req = (const void *)msg;
	struct agent *a = ctx;

	events_poll(&a->events, rq, req->after_seq, req->timeout_ms);
}

#define REQUEST(name) &podvm__agent__v1__##name##__descriptor

static const struct ttrpc_method methods[] = {
	{"Configure", REQUEST(configure_request), configure},
	{"GetInfo", REQUEST(empty), get_info},
	{"SyncFolders", REQUEST(sync_folders_request), sync_folders},
	{"FindDisk", REQUEST(find_disk_request), find_disk},
	{"ReleaseDisk", REQUEST(release_disk_request), release_disk},
	{"CreateContainer", REQUEST(create_container_request), create_container},
	{"CreateExec", REQUEST(create_exec_request), create_exec},
	{"StartProcess", REQUEST(process_request), start_process},
	{"WaitProcess", REQUEST(process_request), wait_process},
	{"SignalProcess", REQUEST(signal_process_request), signal_process},
	{"ResizePty", REQUEST(resize_pty_request), resize_pty},
	{"CloseStdin", REQUEST(process_request), close_stdin},
	{"DeleteProcess", REQUEST(process_request), delete_process},
	{"ListProcesses", REQUEST(container_request), list_processes},
	{"GetStats", REQUEST(container_request), get_stats},
	{"UpdateContainer", REQUEST(update_container_request), update_container},
	{"PauseContainer", REQUEST(container_request), pause_container},
	{"ResumeContainer", REQUEST(container_request), resume_container},
	{"NextEvents", REQUEST(next_events_request), next_events},
	{"Shutdown", REQUEST(empty), shut_down},
};

static struct ttrpc_service service = {
	.name = "podvm.agent.v1.Agent", .methods = methods, .n_methods = ARRAY_SIZE(methods)};

/* Only the host may speak here: a container in the guest can open AF_VSOCK sockets too (the local CID). */
static void on_accept(struct loop_fd *src, uint32_t events)
{
	struct agent *a = container_of(src, struct agent, rpc_listener);
	struct sockaddr_vm peer = {0};
	socklen_t len = sizeof(peer);
	struct err err = {0};
	int fd = accept4(src->fd, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (peer.svm_family != AF_VSOCK || peer.svm_cid != VMADDR_CID_HOST) {
		(void)close(fd);
		return;
	}
	if (ttrpc_server_add(a->server, fd, &err) < 0)
		log_warn("a call connection was refused: %s", err.msg);
}

int rpc_start(struct agent *a, struct err *err)
{
	int r;

	service.ctx = a;
	r = ttrpc_server_new(&a->server, a->loop, &service, 1, AGENT_CONNS_MAX, AGENT_CALLS_MAX, err);
	if (r == 0)
		r = loop_add_fd(a->loop, &a->rpc_listener, a->rpc_fd, EPOLLIN, on_accept, err);
	return r;
}
