/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message of the agent's protocol, and the envelope, from hostile bytes. The first byte chooses the message.
 * What is unpacked must pack again, within bounds.
 */
#include "agent.pb-c.h"
#include "base/bytes.h"
#include "rpc/ttrpc_impl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
	&podvm__agent__v1__configure_request__descriptor,
	&podvm__agent__v1__configure_response__descriptor,
	&podvm__agent__v1__create_container_request__descriptor,
	&podvm__agent__v1__create_container_response__descriptor,
	&podvm__agent__v1__create_exec_request__descriptor,
	&podvm__agent__v1__process_request__descriptor,
	&podvm__agent__v1__wait_process_response__descriptor,
	&podvm__agent__v1__signal_process_request__descriptor,
	&podvm__agent__v1__resize_pty_request__descriptor,
	&podvm__agent__v1__list_processes_response__descriptor,
	&podvm__agent__v1__get_stats_response__descriptor,
	&podvm__agent__v1__update_container_request__descriptor,
	&podvm__agent__v1__next_events_request__descriptor,
	&podvm__agent__v1__next_events_response__descriptor,
	&podvm__agent__v1__empty__descriptor,
	&podvm__agent__v1__sync_folders_request__descriptor,
	&podvm__agent__v1__get_info_response__descriptor,
	&podvm__agent__v1__start_process_response__descriptor,
	&podvm__agent__v1__container_request__descriptor,
	&podvm__agent__v1__find_disk_request__descriptor,
	&podvm__agent__v1__find_disk_response__descriptor,
	&podvm__agent__v1__release_disk_request__descriptor,
};

static void message(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t size)
{
	enum ttrpc_code code = TTRPC_OK;
	ProtobufCMessage *m = ttrpc_unpack(type, data, size, &code);
	ProtobufCMessage *again;
	uint8_t *wire;
	size_t n;

	if (!m) {
		if (code != TTRPC_INVALID_ARGUMENT && code != TTRPC_RESOURCE_EXHAUSTED)
			abort();
		return;
	}
	n = protobuf_c_message_get_packed_size(m);
	/*
	 * Ten bytes of padding in a number are the worst that input can waste; output is never larger for another
	 * reason.
	 */
	if (n > 10 * size + 64)
		abort();
	wire = malloc(n + 1);
	if (protobuf_c_message_pack(m, wire) != n)
		abort();
	/* protobuf-c takes an unknown field with the number 0 in two bytes, writes it in one, and refuses that. */
	again = protobuf_c_message_unpack(type, NULL, n, wire);
	if (again)
		protobuf_c_message_free_unpacked(again, NULL);
	protobuf_c_message_free_unpacked(m, NULL);
	free(wire);
}

static void envelope(const uint8_t *data, size_t size)
{
	const struct ttrpc_slice bytes = {data, size};
	const struct ttrpc_slice *slices[3];
	struct ttrpc_request_head head = {0};
	ProtobufCMessage *reply = NULL;
	struct err err = {0};
	char text[64];

	if (ttrpc_request_parse(&head, data, size) == 0) {
		slices[0] = &head.service;
		slices[1] = &head.method;
		slices[2] = &head.payload;
		for (size_t i = 0; i < ARRAY_SIZE(slices); i++)
			if (slices[i]->n && (slices[i]->p < data || slices[i]->n > size ||
						    slices[i]->p + slices[i]->n > data + size))
				abort();
	}
	if (ttrpc_response_read(&reply, "M", types[10], &bytes, &err) == 0)
		protobuf_c_message_free_unpacked(reply, NULL);
	for (const char *p = err.msg; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			abort();
	ttrpc_text(text, sizeof(text), data, size);
	if (strlen(text) >= sizeof(text))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 1)
		return 0;
	if (data[0] < ARRAY_SIZE(types))
		message(types[data[0]], data + 1, size - 1);
	else
		envelope(data + 1, size - 1);
	return 0;
}
