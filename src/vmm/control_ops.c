/* SPDX-License-Identifier: Apache-2.0 */
/* The requests of the control socket. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "vmm/json.h"
#include "vmm/monitor.h"

#define REPLY_MAX 32768

static void reply_failed(struct control *c, uint64_t id, const struct err *why)
{
	const char *code = why->code == EINVAL || why->code == ERANGE ? "INVALID"
			   : why->code == EBUSY			      ? "BUSY"
			   : why->code == ENOTSUP		      ? "UNSUPPORTED"
								      : "FAILED";

	control_reply_error(c, id, code, why->msg);
}

static void reply_result(struct control *c, uint64_t id, int r, const struct err *err)
{
	if (r < 0)
		reply_failed(c, id, err);
	else
		control_reply(c, id);
}

/* ---- members ---- */

/* Every member is one that the request knows. */
static int only(const struct json_object *obj, const char *const names[], struct err *err)
{
	for (unsigned i = 0; i < obj->n; i++) {
		const char *key = obj->members[i].key;
		bool known = str_eq(key, "id") || str_eq(key, "op");

		for (unsigned n = 0; names[n] && !known; n++)
			known = str_eq(key, names[n]);
		if (!known)
			return err_set(err, EINVAL, "a member '%.40s' that this request does not know", key);
	}
	return 0;
}

static int get_text(const struct json_object *obj, const char *key, const char **ret, struct err *err)
{
	const struct json_member *m = json_find(obj, key);

	if (!m || m->type != JSON_STRING)
		return err_set(err, EINVAL, "a string \"%s\" is missing", key);
	*ret = m->string;
	return 0;
}

static int get_number(const struct json_object *obj, const char *key, uint64_t *ret, struct err *err)
{
	const struct json_member *m = json_find(obj, key);

	if (!m || m->type != JSON_NUMBER)
		return err_set(err, EINVAL, "a number \"%s\" is missing", key);
	*ret = m->number;
	return 0;
}

static int get_flag(const struct json_object *obj, const char *key, bool *ret, struct err *err)
{
	const struct json_member *m = json_find(obj, key);

	if (m && m->type != JSON_BOOL)
		return err_set(err, EINVAL, "\"%s\" must be true or false", key);
	*ret = m && m->number;
	return 0;
}

/* A descriptor that came with the line, by its place; it is the caller's then. */
static int get_fd(struct control *c, uint64_t place, int *ret, struct err *err)
{
	if (place >= c->n_fds || c->fds[place] < 0)
		return err_set(err, EINVAL, "no descriptor number %" PRIu64 " came with the request", place);
	*ret = take_fd(&c->fds[place]);
	return 0;
}

/* ---- before there is a machine ---- */

/* The value of an option that begins with a descriptor: a number that says which one of those that came with the request. */
static int set_fd(struct control *c, struct options *next, const char *key, const char *value, struct err *err)
{
	char text[96], place[24] = "";
	size_t n = strcspn(value, ",");
	uint64_t number = 0;
	int fd = -1, r;

	(void)snprintf(place, sizeof(place), "%.*s", (int)MIN_OF(n, sizeof(place)), value);
	r = str_to_u64(place, CONTROL_FDS_MAX, &number, err);
	if (r == 0)
		r = get_fd(c, number, &fd, err);
	if (r < 0)
		return err_wrap(err, "'%.40s'", key);
	(void)snprintf(text, sizeof(text), "%d%s", fd, value + n);
	r = options_set(next, key, text, err);
	if (r < 0)
		close_fd(&fd);
	return r;
}

/* Members have the names and the meaning of the command line's options. */
static int set_member(struct control *c, struct options *next, const struct json_member *m, struct err *err)
{
	char number[24];
	const char *value = m->string;

	if (m->type == JSON_BOOL)
		return m->number ? options_set(next, m->key, NULL, err)
				 : err_set(err, EINVAL, "'%.40s': leave it out rather than false", m->key);
	if (m->type == JSON_NUMBER) {
		(void)snprintf(number, sizeof(number), "%" PRIu64, m->number);
		value = number;
	} else if (m->type != JSON_STRING) {
		return err_set(err, EINVAL, "'%.40s': null", m->key);
	}
	return options_takes_fd(m->key) ? set_fd(c, next, m->key, value, err) : options_set(next, m->key, value, err);
}

/* All of it, or nothing. */
static void do_configure(struct control *c, uint64_t id, const struct json_object *obj)
{
	struct options next = *c->options;
	struct err err = {0};
	int r = 0;

	for (unsigned i = 0; i < obj->n && r == 0; i++)
		if (!str_eq(obj->members[i].key, "id") && !str_eq(obj->members[i].key, "op"))
			r = set_member(c, &next, &obj->members[i], &err);
	if (r < 0) {
		options_drop(&next, c->options);
	} else {
		options_drop(c->options, &next);
		*c->options = next;
	}
	reply_result(c, id, r, &err);
}

static void do_start(struct control *c, uint64_t id)
{
	struct err err = {0};

	if (options_check_machine(c->options, &err) < 0) {
		reply_failed(c, id, &err);
		return;
	}
	c->start_id = id;
	c->state = CONTROL_STARTING;
	loop_stop(c->loop, 0);
}

/* ---- devices ---- */

static int parse_device(struct control *c, const struct json_object *obj, struct option_nic *nic,
	struct option_disk *disk, struct err *err)
{
	static const char *const of_disk[] = {"kind", "name", "fd", "read-only", NULL};
	static const char *const of_nic[] = {"kind", "name", "fd", "mac", "mtu", NULL};
	const char *kind = "", *mac = "";
	uint64_t place = 0, mtu = 0;
	int r = get_text(obj, "kind", &kind, err), fd = -1;

	nic->fd = disk->fd = -1;
	if (r == 0 && !str_eq(kind, "nic") && !str_eq(kind, "disk"))
		r = err_set(err, EINVAL, "\"kind\" must be nic or disk");
	if (r == 0)
		r = only(obj, str_eq(kind, "nic") ? of_nic : of_disk, err);
	if (r == 0)
		r = get_number(obj, "fd", &place, err);
	if (r == 0 && str_eq(kind, "disk"))
		r = get_flag(obj, "read-only", &disk->read_only, err);
	if (r == 0 && str_eq(kind, "nic")) {
		r = get_text(obj, "mac", &mac, err);
		if (r == 0)
			r = get_number(obj, "mtu", &mtu, err);
		if (r == 0)
			r = options_nic(nic, mac, mtu, err);
	}
	if (r == 0)
		r = get_fd(c, place, &fd, err);
	if (r == 0)
		*(str_eq(kind, "nic") ? &nic->fd : &disk->fd) = fd;
	return r;
}

static void do_add_device(struct control *c, uint64_t id, const struct json_object *obj)
{
	struct option_nic nic = {0};
	struct option_disk disk = {0};
	struct err err = {0};
	const char *name = "";
	int r = get_text(obj, "name", &name, &err);

	if (r == 0)
		r = parse_device(c, obj, &nic, &disk, &err);
	if (r == 0)
		r = nic.fd >= 0 ? hotplug_add_nic(&c->monitor->hotplug, name, &nic, &err)
				: hotplug_add_disk(&c->monitor->hotplug, name, &disk, &err);
	reply_result(c, id, r, &err);
}

static void do_remove_device(struct control *c, uint64_t id, const struct json_object *obj)
{
	static const char *const known[] = {"name", NULL};
	struct err err = {0};
	const char *name = "";
	int r = only(obj, known, &err);

	if (r == 0)
		r = get_text(obj, "name", &name, &err);
	if (r == 0)
		r = hotplug_remove(&c->monitor->hotplug, name, &err);
	reply_result(c, id, r, &err);
}

void control_on_released(void *ctx)
{
	struct control *c = ctx;

	vm_pause(&c->monitor->vm);
	control_settle(c);
}

/* ---- running ---- */

/* All vCPUs stand: lets as many run as was asked for, if the guest has the others off line, and tells how many it has on line. */
static void resize_vcpus(struct control *c)
{
	auto_buf struct buf b = BUF_INIT(256);
	struct vm *vm = &c->monitor->vm;
	struct err err = {0};

	if (vm_allow(vm, c->resizing, &err) < 0)
		reply_failed(c, c->resize_id, &err);
	else if (buf_printf(&b, "{\"id\":%" PRIu64 ",\"ok\":true,\"online\":%u}", c->resize_id, vm_online(vm)) == 0)
		control_send(c, &b);
	c->resizing = 0;
}

void control_settle(struct control *c)
{
	struct monitor *m = c->monitor;

	if (!vm_is_parked(&m->vm))
		return;
	hotplug_take_out(&m->hotplug);
	if (c->resizing)
		resize_vcpus(c);
	if (c->pausing)
		control_reply(c, c->pause_id);
	c->pausing = false;
	if (!c->paused)
		vm_resume(&m->vm);
}

static void do_pause(struct control *c, uint64_t id)
{
	if (c->pausing) {
		control_reply_error(c, id, "BUSY", "another pause is under way");
		return;
	}
	c->pausing = c->paused = true;
	c->pause_id = id;
	vm_pause(&c->monitor->vm);
	control_settle(c);
}

static void do_resume(struct control *c, uint64_t id)
{
	if (c->pausing)
		control_reply_error(c, c->pause_id, "CANCELLED", "resumed before all vCPUs stood");
	c->pausing = c->paused = false;
	if (!hotplug_waits(&c->monitor->hotplug) && !c->resizing)
		vm_resume(&c->monitor->vm);
	control_reply(c, id);
}

static void do_stop(struct control *c, uint64_t id)
{
	control_reply(c, id);
	if (c->monitor)
		monitor_stop(c->monitor);
	else
		loop_stop(c->loop, 0);
}

static void do_counters(struct control *c, uint64_t id)
{
	auto_buf struct buf b = BUF_INIT(REPLY_MAX);

	if (buf_printf(&b, "{\"id\":%" PRIu64 ",\"ok\":true,", id) == 0 && counters_put(c->monitor, &b) == 0 &&
		buf_append_str(&b, "}") == 0)
		control_send(c, &b);
	else
		control_reply_error(c, id, "FAILED", "the counters do not fit");
}

/* The answer comes when all vCPUs stand. */
static int start_resize_vcpus(struct control *c, uint64_t id, uint64_t n, struct err *err)
{
	if (n < 1 || n > c->monitor->vm.cfg.vcpus)
		return err_set(err, EINVAL, "%" PRIu64 " vCPUs: this machine has 1 to %u", n, c->monitor->vm.cfg.vcpus);
	if (c->resizing)
		return err_set(err, EBUSY, "another resize of vCPUs is under way");
	c->resizing = (unsigned)n;
	c->resize_id = id;
	vm_pause(&c->monitor->vm);
	control_settle(c);
	return 0;
}

static void do_resize(struct control *c, uint64_t id, const struct json_object *obj)
{
	static const char *const of_memory[] = {"memory", NULL}, *const of_vcpus[] = {"vcpus", NULL};
	bool vcpus = json_find(obj, "vcpus");
	uint64_t n = 0;
	struct err err = {0};
	int r = only(obj, vcpus ? of_vcpus : of_memory, &err);

	if (r == 0)
		r = get_number(obj, vcpus ? "vcpus" : "memory", &n, &err);
	if (r == 0 && vcpus)
		r = start_resize_vcpus(c, id, n, &err);
	else if (r == 0)
		r = devices_resize(&c->monitor->devices, MIN_OF(n, UINT32_MAX) << 20, &err);
	if (r < 0 || !vcpus)
		reply_result(c, id, r, &err);
}

static const struct {
	const char *name;
	enum control_state state;
	void (*plain)(struct control *c, uint64_t id); /* takes no further members */
	void (*fn)(struct control *c, uint64_t id, const struct json_object *obj);
} ops[] = {
	{"configure", CONTROL_IDLE, NULL, do_configure},
	{"start", CONTROL_IDLE, do_start, NULL},
	{"stop", CONTROL_IDLE, do_stop, NULL},
	{"start", CONTROL_RUNNING, do_resume, NULL},
	{"stop", CONTROL_RUNNING, do_stop, NULL},
	{"pause", CONTROL_RUNNING, do_pause, NULL},
	{"resume", CONTROL_RUNNING, do_resume, NULL},
	{"counters", CONTROL_RUNNING, do_counters, NULL},
	{"resize", CONTROL_RUNNING, NULL, do_resize},
	{"add-device", CONTROL_RUNNING, NULL, do_add_device},
	{"remove-device", CONTROL_RUNNING, NULL, do_remove_device},
};

void control_serve(struct control *c, uint64_t id, const char *op, const struct json_object *obj)
{
	static const char *const none[] = {NULL};
	struct err err = {0};
	bool known = false;

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		if (!str_eq(op, ops[i].name))
			continue;
		known = true;
		if (c->state != ops[i].state)
			continue;
		if (ops[i].fn)
			ops[i].fn(c, id, obj);
		else if (only(obj, none, &err) < 0)
			reply_failed(c, id, &err);
		else
			ops[i].plain(c, id);
		return;
	}
	(void)err_set(&err, ENOENT, "no request '%.40s'", op);
	if (known)
		control_reply_error(c, id, "STATE",
			c->state == CONTROL_IDLE ? "there is no machine yet" : "the machine has started");
	else
		control_reply_error(c, id, "UNKNOWN", err.msg);
}
