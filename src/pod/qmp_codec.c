/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The four kinds of line that QEMU sends, reduced to the few fields that a driver looks at. Everything else is skipped.
 * jansson bounds the depth; the caller bounds the length; text is cut and made printable here, so that it may go to logs.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "base/bytes.h"
#include "pod/qmp.h"

static void text_copy(char *dst, size_t size, const json_t *value)
{
	const char *text = json_string_value(value);

	(void)str_copy(dst, size, text ? text : "");
	for (; *dst; dst++)
		if ((unsigned char)*dst < 0x20 || (unsigned char)*dst >= 0x7f)
			*dst = '?';
}

static uint32_t id_of(const json_t *obj)
{
	const json_t *id = json_object_get(obj, "id");
	json_int_t v = json_integer_value(id);

	return v > 0 && v <= UINT32_MAX ? (uint32_t)v : 0;
}

static void decode_event(struct qmp_message *m, const json_t *obj)
{
	const json_t *data = json_object_get(obj, "data"), *reason = json_object_get(data, "reason");

	m->kind = QMP_EVENT;
	text_copy(m->name, sizeof(m->name), json_object_get(obj, "event"));
	text_copy(m->text, sizeof(m->text), reason ? reason : json_object_get(data, "action"));
	m->guest = json_is_true(json_object_get(data, "guest"));
}

static void decode_error(struct qmp_message *m, const json_t *obj)
{
	const json_t *error = json_object_get(obj, "error");

	m->kind = QMP_ERROR;
	m->id = id_of(obj);
	text_copy(m->name, sizeof(m->name), json_object_get(error, "class"));
	text_copy(m->text, sizeof(m->text), json_object_get(error, "desc"));
}

static void decode_greeting(struct qmp_message *m, const json_t *obj)
{
	const json_t *qemu = json_object_get(json_object_get(json_object_get(obj, "QMP"), "version"), "qemu");

	m->kind = QMP_GREETING;
	(void)snprintf(m->name, sizeof(m->name), "%" PRId64 ".%" PRId64 ".%" PRId64,
		(int64_t)json_integer_value(json_object_get(qemu, "major")),
		(int64_t)json_integer_value(json_object_get(qemu, "minor")),
		(int64_t)json_integer_value(json_object_get(qemu, "micro")));
}

static int decode_object(struct qmp_message *m, const json_t *obj)
{
	if (json_is_string(json_object_get(obj, "event"))) {
		decode_event(m, obj);
	} else if (json_is_object(json_object_get(obj, "error"))) {
		decode_error(m, obj);
	} else if (json_object_get(obj, "return")) {
		m->kind = QMP_RETURN;
		m->id = id_of(obj);
		text_copy(m->text, sizeof(m->text), json_object_get(json_object_get(obj, "return"), "status"));
	} else if (json_is_object(json_object_get(obj, "QMP"))) {
		decode_greeting(m, obj);
	} else {
		return -EPROTO;
	}
	return 0;
}

int qmp_decode(struct qmp_message *ret, const char *line, size_t n, struct err *err)
{
	struct qmp_message m = {0};
	json_error_t why;
	json_t *obj = json_loadb(line, n, JSON_REJECT_DUPLICATES, &why);
	int r;

	/* The parser's own message quotes the input: only its place is passed on. */
	if (!obj)
		return err_set(err, EPROTO, "QMP: the line is no JSON object (at byte %d)", why.position);
	r = decode_object(&m, obj);
	json_decref(obj);
	if (r < 0)
		return err_set(err, EPROTO, "QMP: neither greeting, answer nor event");
	*ret = m;
	return 0;
}

size_t qmp_encode(char dst[96], const char *command, uint32_t id)
{
	return (size_t)snprintf(dst, 96, "{\"execute\":\"%.48s\",\"id\":%" PRIu32 "}\n", command, id);
}
