/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program, in C:
 *
 *	if (ctx->protocol == IPPROTO_TCP) {
 *		if (ctx->family == AF_INET && the first byte of local_ip4 is 127)
 *			key = 0;
 *		else if (ctx->family == AF_INET6 && local_ip6 is ::1)
 *			key = 1;
 *		else
 *			return SK_PASS;
 *		sk = bpf_map_lookup_elem(&sockets, &key);
 *		if (sk) {
 *			bpf_sk_assign(ctx, sk, 0);
 *			bpf_sk_release(sk);
 *		}
 *	}
 *	return SK_PASS;
 *
 * It is 37 instructions, so it is written as such: no compiler, no object file and no library at run time.
 */
#include "pod/sk_lookup.h"

#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { KEY_IPV4, KEY_IPV6, KEYS };

static int bpf(int cmd, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static int make_map(const int sockets[KEYS], struct err *err)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_SOCKMAP, .key_size = 4, .value_size = 8, .max_entries = KEYS};
	auto_close int map = bpf(BPF_MAP_CREATE, &attr);

	if (map < 0)
		return err_errno(err, "make a BPF map of sockets (needs CONFIG_BPF_SYSCALL and CAP_BPF)");
	for (uint32_t key = 0; key < KEYS; key++) {
		uint64_t value = (uint64_t)sockets[key];

		if (sockets[key] < 0)
			continue;
		memset(&attr, 0, sizeof(attr));
		attr.map_fd = (uint32_t)map;
		attr.key = (uint64_t)(uintptr_t)&key;
		attr.value = (uint64_t)(uintptr_t)&value;
		if (bpf(BPF_MAP_UPDATE_ELEM, &attr) < 0)
			return err_errno(err, "put a listening socket into a BPF map");
	}
	return take_fd(&map);
}

/* Where jumps go. */
enum { IPV6 = 11, KEY = 21, PASS = 35, END = 37 };

#define DO(at, code_, dst, src, off_, imm_)                                                                            \
	[at] = {.code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (off_), .imm = (int32_t)(imm_)}
#define MOVE(at, dst, src) DO(at, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0)
#define SET(at, dst, imm_) DO(at, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm_)
#define LOAD(at, dst, field) DO(at, BPF_LDX | BPF_MEM | BPF_W, dst, BPF_REG_6, offsetof(struct bpf_sk_lookup, field), 0)
#define JUMP(at, op, dst, imm_, to) DO(at, BPF_JMP | (op) | BPF_K, dst, 0, (to) - (at)-1, imm_)
#define CALL(at, fn) DO(at, BPF_JMP | BPF_CALL, 0, 0, 0, fn)

static int load_program(int map, struct err *err)
{
	const struct bpf_insn program[] = {
		MOVE(0, BPF_REG_6, BPF_REG_1),
		LOAD(1, BPF_REG_2, protocol),
		JUMP(2, BPF_JNE, BPF_REG_2, IPPROTO_TCP, PASS),
		LOAD(3, BPF_REG_2, family),
		JUMP(4, BPF_JEQ, BPF_REG_2, AF_INET6, IPV6),
		JUMP(5, BPF_JNE, BPF_REG_2, AF_INET, PASS),
		LOAD(6, BPF_REG_2, local_ip4),
		DO(7, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, htonl(0xff000000)),
		JUMP(8, BPF_JNE, BPF_REG_2, htonl(0x7f000000), PASS),
		SET(9, BPF_REG_7, KEY_IPV4),
		JUMP(10, BPF_JA, 0, 0, KEY),
		LOAD(IPV6, BPF_REG_2, local_ip6[0]),
		JUMP(12, BPF_JNE, BPF_REG_2, 0, PASS),
		LOAD(13, BPF_REG_2, local_ip6[1]),
		JUMP(14, BPF_JNE, BPF_REG_2, 0, PASS),
		LOAD(15, BPF_REG_2, local_ip6[2]),
		JUMP(16, BPF_JNE, BPF_REG_2, 0, PASS),
		LOAD(17, BPF_REG_2, local_ip6[3]),
		JUMP(18, BPF_JNE, BPF_REG_2, htonl(1), PASS),
		SET(19, BPF_REG_7, KEY_IPV6),
		JUMP(20, BPF_JA, 0, 0, KEY),
		DO(KEY, BPF_STX | BPF_MEM | BPF_W, BPF_REG_10, BPF_REG_7, -4, 0),
		DO(22, BPF_LD | BPF_IMM | BPF_DW, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map),
		DO(23, 0, 0, 0, 0, 0), /* the upper half of the one before */
		MOVE(24, BPF_REG_2, BPF_REG_10),
		DO(25, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, -4),
		CALL(26, BPF_FUNC_map_lookup_elem),
		JUMP(27, BPF_JEQ, BPF_REG_0, 0, PASS),
		MOVE(28, BPF_REG_7, BPF_REG_0),
		MOVE(29, BPF_REG_1, BPF_REG_6),
		MOVE(30, BPF_REG_2, BPF_REG_0),
		SET(31, BPF_REG_3, 0),
		CALL(32, BPF_FUNC_sk_assign),
		/* sk_release takes r1; its result is of no interest */
		MOVE(33, BPF_REG_1, BPF_REG_7),
		CALL(34, BPF_FUNC_sk_release),
		SET(PASS, BPF_REG_0, SK_PASS),
		DO(36, BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};
	union bpf_attr attr = {.prog_type = BPF_PROG_TYPE_SK_LOOKUP, .expected_attach_type = BPF_SK_LOOKUP};
	int fd;

	_Static_assert(ARRAY_SIZE(program) == END, "no instruction is missing");
	attr.insns = (uint64_t)(uintptr_t)program;
	attr.insn_cnt = ARRAY_SIZE(program);
	attr.license = (uint64_t)(uintptr_t) "Apache-2.0";
	fd = bpf(BPF_PROG_LOAD, &attr);
	if (fd >= 0)
		return fd;
	return err_errno(err, "load a BPF program of type SK_LOOKUP (Linux 5.9, CAP_BPF and CAP_NET_ADMIN)");
}

int sk_lookup_attach(int *ret_link, int netns, int listen4, int listen6, struct err *err)
{
	const int sockets[KEYS] = {[KEY_IPV4] = listen4, [KEY_IPV6] = listen6};
	union bpf_attr attr = {0};
	auto_close int map = make_map(sockets, err), program = map < 0 ? map : load_program(map, err);
	int link;

	if (program < 0)
		return program;
	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.target_fd = (uint32_t)netns;
	attr.link_create.attach_type = BPF_SK_LOOKUP;
	link = bpf(BPF_LINK_CREATE, &attr);
	if (link < 0)
		return err_errno(err, "attach a BPF program to the network namespace");
	*ret_link = link;
	return 0;
}
