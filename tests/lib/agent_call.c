/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call to a pod's agent, from a shell: what a method takes and gives is read from the messages' descriptors.
 *
 *   agent_call SOCKET METHOD [FIELD=VALUE]...
 *
 * The reply is printed as a JSON object in one line. A call that fails is one line on stderr, "ERRNO-NAME: text", and exit 1;
 * wrong usage is exit 2.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.pb-c.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "pod/hvsock.h"
#include "rpc/ttrpc.h"

#define CONNECT_MS 30000
#define CALL_MS 120000
#define AGENT_CALL_PORT 1024 /* proto/agent.proto */

static _Noreturn void usage(const char *what, const char *arg)
{
	(void)fprintf(stderr, "agent_call: %s '%s'\nusage: agent_call SOCKET METHOD [FIELD=VALUE]...\n", what, arg);
	exit(2);
}

static uint64_t number(const char *arg, const char *text, uint64_t max)
{
	uint64_t v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 10);
	if (*text < '0' || *text > '9' || *end || errno || v > max)
		usage("no number, or too large", arg);
	return v;
}

/* `arg` stays where it is: texts and bytes point into it. */
static void set_field(ProtobufCMessage *msg, char *arg)
{
	char *value = strchr(arg, '=');
	const ProtobufCFieldDescriptor *f;
	ProtobufCBinaryData *bytes;
	uint8_t *at;

	if (!value)
		usage("no '='", arg);
	*value++ = '\0';
	f = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, arg);
	if (!f || f->label == PROTOBUF_C_LABEL_REPEATED)
		usage("no such field, or one of many values:", arg);
	at = (uint8_t *)msg + f->offset;
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		*(char **)(void *)at = value;
		break;
	case PROTOBUF_C_TYPE_BYTES:
		bytes = (void *)at;
		*bytes = (ProtobufCBinaryData){strlen(value), (uint8_t *)value};
		break;
	case PROTOBUF_C_TYPE_UINT32:
		*(uint32_t *)(void *)at = (uint32_t)number(arg, value, UINT32_MAX);
		break;
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)(void *)at = number(arg, value, UINT64_MAX);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)(void *)at = (protobuf_c_boolean)number(arg, value, 1);
		break;
	default:
		usage("a field of a type that cannot be given", arg);
	}
}

static json_t *message_json(const ProtobufCMessage *msg);

/* What the agent's messages are made of; a type that is not here ends the program, it is not left out. */
static json_t *value_json(const ProtobufCFieldDescriptor *f, const uint8_t *at)
{
	const ProtobufCEnumValue *name;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return json_string(*(char *const *)(const void *)at);
	case PROTOBUF_C_TYPE_UINT32:
		return json_integer(*(const uint32_t *)(const void *)at);
	case PROTOBUF_C_TYPE_UINT64:
		return json_integer((json_int_t) * (const uint64_t *)(const void *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)(const void *)at);
	case PROTOBUF_C_TYPE_ENUM:
		name = protobuf_c_enum_descriptor_get_value(f->descriptor, *(const int *)(const void *)at);
		return name ? json_string(name->name) : json_integer(*(const int *)(const void *)at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return message_json(*(ProtobufCMessage *const *)(const void *)at);
	default:
		usage("a reply with a field of an unknown type:", f->name);
	}
}

static size_t element_size(const ProtobufCFieldDescriptor *f)
{
	if (f->type == PROTOBUF_C_TYPE_MESSAGE || f->type == PROTOBUF_C_TYPE_STRING)
		return sizeof(void *);
	return f->type == PROTOBUF_C_TYPE_UINT64 ? sizeof(uint64_t) : sizeof(uint32_t);
}

static json_t *list_json(const ProtobufCFieldDescriptor *f, const ProtobufCMessage *msg)
{
	const uint8_t *base = (const uint8_t *)msg;
	size_t n = *(const size_t *)(const void *)(base + f->quantifier_offset);
	const uint8_t *items = *(uint8_t *const *)(const void *)(base + f->offset);
	json_t *list = json_array();

	for (size_t i = 0; i < n; i++)
		(void)json_array_append_new(list, value_json(f, items + i * element_size(f)));
	return list;
}

static json_t *message_json(const ProtobufCMessage *msg)
{
	json_t *o = json_object();

	for (unsigned i = 0; msg && i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &msg->descriptor->fields[i];
		json_t *v = f->label == PROTOBUF_C_LABEL_REPEATED ? list_json(f, msg)
								  : value_json(f, (const uint8_t *)msg + f->offset);

		(void)json_object_set_new(o, f->name, v);
	}
	return o;
}

static int call(const char *path, const ProtobufCMethodDescriptor *m, const ProtobufCMessage *req, struct err *err)
{
	const char *service = podvm__agent__v1__agent__descriptor.name;
	ProtobufCMessage *reply = NULL;
	auto_close int sock = -1;
	json_t *o;
	int r = hvsock_connect(path, AGENT_CALL_PORT, CONNECT_MS, &sock, err);

	if (r == 0)
		r = ttrpc_call_sync(sock, service, m->name, req, m->output, CALL_MS, &reply, err);
	if (r < 0)
		return r;
	o = message_json(reply);
	r = json_dumpf(o, stdout, JSON_COMPACT);
	(void)putchar('\n');
	json_decref(o);
	protobuf_c_message_free_unpacked(reply, NULL);
	return r == 0 && fflush(stdout) == 0 ? 0 : err_set(err, EIO, "the reply cannot be printed");
}

int main(int argc, char **argv)
{
	const ProtobufCMethodDescriptor *m;
	ProtobufCMessage *req;
	struct err err = {0};
	int r;

	if (argc < 3)
		usage("missing", argc < 2 ? "SOCKET" : "METHOD");
	m = protobuf_c_service_descriptor_get_method_by_name(&podvm__agent__v1__agent__descriptor, argv[2]);
	if (!m)
		usage("no such method:", argv[2]);
	req = calloc(1, m->input->sizeof_message);
	if (!req)
		return 1;
	protobuf_c_message_init(m->input, req);
	for (int i = 3; i < argc; i++)
		set_field(req, argv[i]);
	r = call(argv[1], m, req, &err);
	free(req);
	if (r < 0)
		(void)fprintf(stderr, "%s: %s\n", strerrorname_np(-r), err.msg);
	return r < 0;
}
