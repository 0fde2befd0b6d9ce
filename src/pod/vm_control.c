/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/vm_control.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "pod/driver_parts.h"

#define REQUEST_MAX 160

/* ---- answers and events ---- */

static void finish(struct vm_control_call *call, const struct err *err)
{
	vm_control_done *done = call->done;

	loop_timer_cancel(&call->timer);
	call->id = 0;
	if (done)
		done(call->ctx, err);
}

static void on_timeout(struct loop_timer *t)
{
	struct err err = {0};

	(void)err_set(&err, ETIMEDOUT, "podvm-vmm did not answer on its control socket in %d s",
		VM_CONTROL_TIMEOUT_MS / 1000);
	finish(container_of(t, struct vm_control_call, timer), &err);
}

static void take_answer(struct vm_control *c, uint64_t id, const json_t *message)
{
	const json_t *error = json_object_get(message, "error");
	struct err err = {0};
	char text[160] = "it did not say why";

	for (unsigned i = 0; i < VM_CONTROL_CALLS_MAX; i++) {
		if (c->calls[i].id != id)
			continue;
		if (json_is_true(json_object_get(message, "ok"))) {
			finish(&c->calls[i], NULL);
			return;
		}
		if (json_is_string(error))
			driver_printable(text, sizeof(text), json_string_value(error), json_string_length(error));
		(void)err_set(&err, EIO, "podvm-vmm: %s", text);
		finish(&c->calls[i], &err);
		return;
	}
}

static void on_line(void *ctx, const char *line, size_t len)
{
	struct vm_control *c = ctx;
	json_t *message = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *event = json_string_value(json_object_get(message, "event"));
	const char *name = json_string_value(json_object_get(message, "name"));
	json_int_t id = json_integer_value(json_object_get(message, "id"));

	if (id > 0)
		take_answer(c, (uint64_t)id, message);
	else if (event && name && str_eq(event, "removed"))
		c->removed(c->ctx, name);
	json_decref(message);
}

/* ---- requests ---- */

static int check_name(const char *name, struct err *err)
{
	size_t n = strlen(name);

	if (n >= 1 && n <= VM_DISK_NAME_MAX &&
		strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") == n)
		return 0;
	return err_set(err, EINVAL, "'%.40s' is no name for a disk", name);
}

/* `text` is a request without its beginning, {"id":N, which is put before it. */
static int request(struct vm_control *c, const char *text, const int *fds, unsigned n_fds, vm_control_done *done,
	void *ctx, struct err *err)
{
	struct vm_control_call *call = NULL;
	char line[REQUEST_MAX];
	int r;

	if (c->lines.fd < 0)
		return err_set(err, EPIPE, "podvm-vmm has closed its control socket");
	for (unsigned i = 0; i < VM_CONTROL_CALLS_MAX && !call; i++)
		if (!c->calls[i].id)
			call = &c->calls[i];
	if (!call)
		return err_set(err, EBUSY, "podvm-vmm has not answered %d requests", VM_CONTROL_CALLS_MAX);
	r = str_format(line, sizeof(line), err, "{\"id\":%llu,%s\n", (unsigned long long)c->last_id + 1, text);
	if (r == 0)
		r = fd_send(c->lines.fd, line, strlen(line), fds, n_fds, err);
	if (r < 0)
		return err_wrap(err, "podvm-vmm's control socket");
	*call = (struct vm_control_call){.id = ++c->last_id, .done = done, .ctx = ctx};
	loop_timer_set(c->loop, &call->timer, VM_CONTROL_TIMEOUT_MS * NS_PER_MS, on_timeout);
	return 0;
}

int vm_control_add_disk(struct vm_control *c, const char *name, int fd, bool read_only, vm_control_done *done,
	void *ctx, struct err *err)
{
	char text[REQUEST_MAX];
	int r = check_name(name, err);

	if (r == 0)
		r = str_format(text, sizeof(text), err,
			"\"op\":\"add-device\",\"kind\":\"disk\",\"name\":\"%s\",\"fd\":0%s}", name,
			read_only ? ",\"read-only\":true" : "");
	return r < 0 ? r : request(c, text, &fd, 1, done, ctx, err);
}

int vm_control_remove(struct vm_control *c, const char *name, struct err *err)
{
	char text[REQUEST_MAX];
	int r = check_name(name, err);

	if (r == 0)
		r = str_format(text, sizeof(text), err, "\"op\":\"remove-device\",\"name\":\"%s\"}", name);
	return r < 0 ? r : request(c, text, NULL, 0, NULL, NULL, err);
}

/* ---- life ---- */

int vm_control_init(struct vm_control *c, struct loop *loop, int fd, void (*removed)(void *ctx, const char *name),
	void *ctx, struct err *err)
{
	c->loop = loop;
	c->removed = removed;
	c->ctx = ctx;
	return lines_init(&c->lines, loop, fd, on_line, c, err);
}

void vm_control_fini(struct vm_control *c)
{
	for (unsigned i = 0; i < VM_CONTROL_CALLS_MAX; i++)
		loop_timer_cancel(&c->calls[i].timer);
	lines_fini(&c->lines);
}
