/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/sandbox.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "rpc/console.h"

#define BOOT_TIMEOUT_MS 120000
#define LOST_WAIT_NS NS_PER_S
#define POLL_AGAIN_NS (30 * NS_PER_S)
#define MIB (UINT64_C(1) << 20)
#define MEMORY_OVERHEAD (SANDBOX_MEMORY_MAX - SANDBOX_CONTAINERS_MAX)
#define MEMORY_STEP (64 * MIB)

void sandbox_note(struct sandbox *sb, const char *fmt, ...)
{
	char text[800];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
	if (sb->log)
		podlog_write(sb->log, "podvm", "-", text, strlen(text));
}

/* ---- times ---- */

int timing_start(struct sandbox *sb, const char *fmt, ...)
{
	struct timing *t;
	va_list ap;

	if (sb->n_timings == TIMINGS_MAX)
		return -1;
	t = &sb->timings[sb->n_timings];
	va_start(ap, fmt);
	(void)vsnprintf(t->name, sizeof(t->name), fmt, ap);
	va_end(ap);
	t->start_ns = time_mono_ns();
	t->end_ns = 0;
	return (int)sb->n_timings++;
}

void timing_end(struct sandbox *sb, int index)
{
	if (index >= 0 && !sb->timings[index].end_ns)
		sb->timings[index].end_ns = time_mono_ns();
}

/* ---- the end ---- */

static void go_down(struct sandbox *sb, bool vm_ended, const char *fmt, ...) printf_like(3, 4);

static void go_down(struct sandbox *sb, bool vm_ended, const char *fmt, ...)
{
	char why[400];
	va_list ap;

	if (sb->over)
		return;
	sb->over = true;
	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	loop_timer_cancel(&sb->timer);
	turn_end(&sb->turn);
	sb->cb.down(sb->cb.ctx, why, vm_ended);
}

void sandbox_stop(struct sandbox *sb)
{
	sb->over = true;
	loop_timer_cancel(&sb->timer);
	turn_end(&sb->turn);
	hvsock_dial_cancel(&sb->agent_dial);
	ttrpc_client_free(take_ptr(sb->agent));
	if (sb->vm)
		sb->driver->free(take_ptr(sb->vm));
	forward_close(take_ptr(sb->forward));
	pod_net_close(take_ptr(sb->net));
}

void sandbox_fini(struct sandbox *sb, bool keep)
{
	if (!sb->loop)
		return;
	sandbox_stop(sb);
	podlog_close(take_ptr(sb->log));
	pod_home_free(&sb->home, keep);
	sb->loop = NULL;
}

static void on_lost(struct loop_timer *t)
{
	struct sandbox *sb = container_of(t, struct sandbox, timer);

	go_down(sb, false, "%s", sb->lost);
}

/* A VM that has died reports itself, with a better reason, in the same moment: give it that moment. */
static void agent_lost(struct sandbox *sb, const char *why)
{
	if (sb->over)
		return;
	(void)str_copy(sb->lost, sizeof(sb->lost), why);
	loop_timer_set(sb->loop, &sb->timer, LOST_WAIT_NS, on_lost);
}

static void on_agent_closed(void *ctx, const struct err *why)
{
	struct sandbox *sb = ctx;

	sandbox_note(sb, "connection to the agent ended: %s", why && *why->msg ? why->msg : "closed");
	agent_lost(sb, "the agent in the guest is gone");
}

static void on_boot_timeout(struct loop_timer *t)
{
	struct sandbox *sb = container_of(t, struct sandbox, timer);

	go_down(sb, false, "the guest did not come up within %u s", BOOT_TIMEOUT_MS / 1000);
}

/* ---- the agent ---- */

static void on_configured(void *ctx, const ProtobufCMessage *reply, const struct err *err)
{
	const Podvm__Agent__V1__ConfigureResponse *r = (const void *)reply;
	struct sandbox *sb = ctx;

	if (err && err->code == ECONNRESET)
		return; /* on_agent_closed follows */
	loop_timer_cancel(&sb->timer);
	if (err) {
		go_down(sb, false, "configure the guest: %s", err->msg);
		return;
	}
	timing_end(sb, sb->timing);
	turn_end(&sb->turn);
	if (r->info && r->info->kernel_release) {
		(void)str_copy(sb->kernel, sizeof(sb->kernel), r->info->kernel_release);
		/* Untrusted text that others will print. */
		for (char *p = sb->kernel; *p; p++)
			if ((unsigned char)*p <= 0x20 || (unsigned char)*p >= 0x7f)
				*p = '?';
	}
	sandbox_note(sb, "guest is up: kernel %s", sb->kernel);
	sb->up = true;
	sb->cb.up(sb->cb.ctx);
}

int sandbox_configure(struct sandbox *sb, Podvm__Agent__V1__ConfigureRequest *req, struct err *err)
{
	uint8_t entropy[64];
	int r = 0;

	if (getrandom(entropy, sizeof(entropy), 0) != sizeof(entropy))
		return err_errno(err, "getrandom");
	req->entropy.data = entropy;
	req->entropy.len = sizeof(entropy);
	req->realtime_ns = time_real_ns();
	req->share_tag = (char *)(uintptr_t) "podvm";
	if (sb->net)
		r = pod_net_fill(sb->net, req, err);
	if (r == 0)
		r = sandbox_call(sb, "Configure", &req->base, &podvm__agent__v1__configure_response__descriptor,
			CALL_TIMEOUT_MS, on_configured, sb, NULL, err);
	if (sb->net)
		pod_net_filled(sb->net);
	return r;
}

static void on_agent_dialled(struct hvsock_dial *d, int fd, const struct err *err)
{
	struct sandbox *sb = container_of(d, struct sandbox, agent_dial);
	struct err e = {0};

	if (err) {
		agent_lost(sb, err->msg);
		return;
	}
	timing_end(sb, sb->timing);
	sb->timing = timing_start(sb, "configure");
	if (ttrpc_client_new(&sb->agent, sb->loop, fd, on_agent_closed, sb, &e) < 0) {
		go_down(sb, false, "configure the guest: %s", e.msg);
		return;
	}
	ttrpc_client_unknown(sb->agent, AGENT_TOO_OLD);
	if (sb->cb.fails_calls)
		ttrpc_client_keep_calls(sb->agent);
	sb->cb.connected(sb->cb.ctx);
}

int sandbox_call(struct sandbox *sb, const char *method, const ProtobufCMessage *req,
	const ProtobufCMessageDescriptor *reply_type, unsigned timeout_ms, ttrpc_done *done, void *ctx,
	uint32_t *ret_id, struct err *err)
{
	if (!sb->agent)
		return err_set(err, ENOTCONN, "%s: there is no connection to the agent", method);
	return ttrpc_call(sb->agent, AGENT_SERVICE, method, req, reply_type, timeout_ms, done, ctx, ret_id, err);
}

int sandbox_poll(struct sandbox *sb, const char *method, const ProtobufCMessage *req,
	const ProtobufCMessageDescriptor *reply_type, ttrpc_done *done, void *ctx, struct err *err)
{
	uint64_t missed = sb->agent ? ttrpc_client_missed_ns(sb->agent) : 0;
	uint32_t id;
	int r;

	if (missed && time_mono_ns() - missed < POLL_AGAIN_NS)
		return err_set(err, ETIMEDOUT,
			"%s: the guest did not answer when it was last asked; it is asked again later", method);
	r = sandbox_call(sb, method, req, reply_type, POLL_TIMEOUT_MS, done, ctx, &id, err);
	if (r == 0)
		ttrpc_client_probes(sb->agent, id);
	return r;
}

void sandbox_cancel(struct sandbox *sb, uint32_t id)
{
	if (sb->agent && id)
		ttrpc_cancel(sb->agent, id);
}

void sandbox_fail_calls(struct sandbox *sb, const char *why)
{
	struct err err;

	(void)err_set(&err, ECONNRESET, "%s", why);
	if (sb->agent)
		ttrpc_client_end(sb->agent, &err);
}

int sandbox_stream(struct sandbox *sb, struct hvsock_dial *d, const char *container, const char *exec, unsigned fd,
	struct err *err)
{
	struct stream_header h = {.kind = STREAM_STDIO, .fd = (uint8_t)fd};
	int r;

	if (!str_copy(h.container, sizeof(h.container), container) || !str_copy(h.exec, sizeof(h.exec), exec))
		return err_set(err, EINVAL, "the id of a container or exec is longer than %d bytes", STREAM_ID_MAX);
	r = hvsock_dial_start(d, sb->loop, sb->vsock_path, STREAM_PORT, &h, err);
	if (r == 0)
		hvsock_dial_timeout(d, sb->loop, CALL_TIMEOUT_MS);
	return r;
}

/* ---- the VM ---- */

const char *sandbox_console_line(const struct sandbox *sb, unsigned i)
{
	unsigned first = sb->n_console > CONSOLE_TAIL ? sb->n_console - CONSOLE_TAIL : 0;

	return i < CONSOLE_TAIL && first + i < sb->n_console ? sb->console[(first + i) % CONSOLE_TAIL] : NULL;
}

static void on_console(void *ctx, const char *line, size_t len)
{
	struct sandbox *sb = ctx;
	char text[CONSOLE_LINE];
	size_t n = MIN_OF(len, sizeof(text) - 1);
	bool agent = memmem(line, MIN_OF(len, (size_t)64), " agent", 6) != NULL;

	if (agent && !sb->agent && memmem(line, len, GUEST_NO_TIMER, strlen(GUEST_NO_TIMER)))
		sb->no_timer = true;
	podlog_write(sb->log, agent ? "agent" : "console", "-", line, len);
	for (size_t i = 0; i < n; i++)
		text[i] = (unsigned char)line[i] < 0x20 || (unsigned char)line[i] >= 0x7f ? '?' : line[i];
	text[n] = '\0';
	memcpy(sb->console[sb->n_console++ % CONSOLE_TAIL], text, n + 1);
}

static void on_vm_log(void *ctx, const char *source, const char *line, size_t len)
{
	struct sandbox *sb = ctx;

	podlog_write(sb->log, source, "-", line, len);
}

static void on_disk_removed(void *ctx, const char *name)
{
	struct sandbox *sb = ctx;

	if (sb->cb.disk_removed && !sb->over)
		sb->cb.disk_removed(sb->cb.ctx, name);
}

int sandbox_check_disks(const struct sandbox *sb, struct err *err)
{
	if (!sb->driver || !sb->driver->add_disk)
		return err_set(err, ENOTSUP,
			"block devices need KVM and PodVM's own monitor: this VM is QEMU's microvm, which has no "
			"hot-plug");
	return 0;
}

int sandbox_add_disk(struct sandbox *sb, const struct vm_disk *disk, vm_disk_done *done, void *ctx, struct err *err)
{
	if (!sb->vm)
		return err_set(err, ENOTCONN, "there is no VM");
	return sb->driver->add_disk(sb->vm, disk, done, ctx, err);
}

int sandbox_remove_disk(struct sandbox *sb, const char *name, struct err *err)
{
	if (!sb->vm)
		return err_set(err, ENOTCONN, "there is no VM");
	return sb->driver->remove_disk(sb->vm, name, err);
}

/* Inside of the old VM's `ended`, which allows it. */
static void start_again(struct sandbox *sb)
{
	struct sandbox_config cfg = sb->cfg;
	struct err err = {0};

	sb->restarts++;
	sb->no_timer = false;
	sandbox_note(sb, "the guest's kernel found no timer that works: the VM is started again");
	timing_end(sb, sb->timing);
	loop_timer_cancel(&sb->timer);
	turn_end(&sb->turn);
	hvsock_dial_cancel(&sb->agent_dial);
	sb->driver->free(take_ptr(sb->vm));
	if (sandbox_start(sb, &cfg, &err) < 0)
		go_down(sb, true, "start the VM again: %s", err.msg);
	else if (sb->cb.restarted)
		sb->cb.restarted(sb->cb.ctx);
}

static void on_vm_ended(void *ctx, enum vm_end how, const char *why)
{
	struct sandbox *sb = ctx;

	if (!sb->no_timer || sb->over)
		go_down(sb, true, "the VM ended: %s", why);
	else if (sb->restarts < SANDBOX_RESTARTS_MAX)
		start_again(sb);
	else
		go_down(sb, true, "the guest's kernel found no timer that works, %u times; the machine may be too busy",
			sb->restarts + 1);
}

static int choose_size(struct sandbox *sb, const struct sandbox_config *cfg, struct err *err)
{
	uint64_t memory = cfg->memory;

	sb->vcpus = cfg->vcpus ? MIN_OF(cfg->vcpus, SANDBOX_VCPUS_MAX) : 1;
	if (memory > SANDBOX_CONTAINERS_MAX)
		return err_set(err, EINVAL,
			"the containers' memory limits add up to more than a VM can have (%llu MiB); lower them",
			(unsigned long long)(SANDBOX_CONTAINERS_MAX / MIB));
	memory = memory ? memory + MEMORY_OVERHEAD : SANDBOX_MEMORY_DEFAULT;
	sb->memory = (memory + MEMORY_STEP - 1) / MEMORY_STEP * MEMORY_STEP;
	return 0;
}

static int guest_file(char dst[PATH_LEN], const char *name, struct err *err)
{
	int r = str_format(dst, PATH_LEN, err, "%s/guest/current/%s", path_state(), name);

	if (r == 0 && access(dst, R_OK) < 0)
		r = err_errno(err, "guest image '%s' (make it with 'podvm image build')", dst);
	return r;
}

static void boot_begins(struct sandbox *sb)
{
	sb->timing = timing_start(sb, "boot");
	loop_timer_set(sb->loop, &sb->timer, BOOT_TIMEOUT_MS * NS_PER_MS, on_boot_timeout);
}

static void on_turn(struct turn *turn)
{
	struct sandbox *sb = container_of(turn, struct sandbox, turn);
	struct err err = {0};

	timing_end(sb, sb->timing);
	boot_begins(sb);
	if (sb->driver->run(sb->vm, &err) < 0)
		go_down(sb, false, "start the guest: %s", err.msg);
}

static int start_vm(struct sandbox *sb, const struct sandbox_config *cfg, bool *ret_held, struct err *err)
{
	struct vm_callbacks cb = {.console = on_console,
		.log = on_vm_log,
		.ended = on_vm_ended,
		.disk_removed = on_disk_removed,
		.ctx = sb};
	struct vm_config vm = {.id = sb->home.id, .cmdline_extra = "", .share_dir = cfg->share_dir};
	char kernel[PATH_LEN], initrd[PATH_LEN];
	struct driver_probe probe;
	int r = guest_file(kernel, "vmlinux", err);

	if (r == 0)
		r = guest_file(initrd, "initramfs", err);
	if (r == 0)
		r = driver_probe(&probe, false, err);
	if (r == 0)
		r = driver_choose(&sb->driver, cfg->driver, &probe, sb->driver_reason, err);
	if (r == 0)
		r = choose_size(sb, cfg, err);
	if (r < 0)
		return r;
	sb->cid = 3;
	vm.kernel = kernel;
	vm.initrd = initrd;
	vm.vcpus = sb->vcpus;
	vm.memory = sb->memory;
	vm.run_dir = sb->home.run_dir;
	vm.vsock_path = sb->vsock_path;
	vm.cid = sb->cid;
	vm.kvm = probe.kvm_usable;
	vm.disk_slots = cfg->disk_slots;
	if (sb->driver->run && !vm.kvm)
		vm.held = turn_wait(&sb->turn, sb->loop, on_turn) == 0;
	if (sb->net)
		vm.n_nics = pod_net_nics(sb->net, &vm.nics);
	sandbox_note(sb, "driver %s: %s", sb->driver->name, sb->driver_reason);
	sandbox_note(sb, "VM: %u vCPU, %llu MiB", sb->vcpus, (unsigned long long)(sb->memory / MIB));
	if (cfg->vcpus > sb->vcpus)
		sandbox_note(sb, "the containers' CPU limits add up to %u, more than a VM can have", cfg->vcpus);
	*ret_held = vm.held;
	return sb->driver->start(&sb->vm, sb->loop, &vm, &cb, err);
}

int sandbox_network(struct sandbox *sb, const char *netns, struct err *err)
{
	const struct vm_nic *nics;
	struct err e = {0};
	int timing = timing_start(sb, "network"), r;

	/* First the record: whatever happens next, pod_reap knows where to look. */
	r = pod_home_netns(&sb->home, netns, err);
	if (r == 0)
		r = pod_net_open(&sb->net, netns, err);
	timing_end(sb, timing);
	if (r < 0)
		return r;
	/* A pod without it is a good pod: only port-forward needs it. */
	if (forward_open(&sb->forward, sb->loop, netns, sb->vsock_path, &e) < 0)
		sandbox_note(sb, "port-forward to this pod will not work: %s", e.msg);
	sandbox_note(sb, "network %s: %u interfaces, address %s", netns, pod_net_nics(sb->net, &nics),
		*pod_net_ip(sb->net) ? pod_net_ip(sb->net) : "none");
	return r;
}

int sandbox_start(struct sandbox *sb, const struct sandbox_config *cfg, struct err *err)
{
	int timing = timing_start(sb, "vm processes");
	bool held = false;
	int r;

	sb->cfg = *cfg;
	r = start_vm(sb, cfg, &held, err);
	timing_end(sb, timing);
	if (r < 0)
		return r;
	sb->agent_dial.done = on_agent_dialled;
	if (held) {
		sandbox_note(sb, "the guest waits for its turn: as many boot already as there are CPUs");
		sb->timing = timing_start(sb, "wait for a turn");
	} else {
		boot_begins(sb);
	}
	/* The driver listens before it returns and the VMM holds the connection until the guest is up: no polling. */
	return hvsock_dial_start(&sb->agent_dial, sb->loop, sb->vsock_path, AGENT_PORT, NULL, err);
}

int sandbox_init(struct sandbox *sb, struct loop *loop, const struct pod_home *home, const struct sandbox_callbacks *cb,
	struct err *err)
{
	int r;

	*sb = (struct sandbox){.loop = loop, .cb = *cb, .home = *home, .timing = -1};
	r = podlog_open(&sb->log, sb->home.state_dir, err);
	if (r == 0)
		r = pod_run_path(sb->vsock_path, sb->home.id, "vsock.sock", err);
	if (r < 0)
		sandbox_fini(sb, false);
	return r;
}
