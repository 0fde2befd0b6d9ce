/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same calls to the same library as crun makes (runtime-spec config-linux.md, "Seccomp"): names that the library does
 * not know are skipped, an errno that is not given is EPERM, several conditions on one argument become one rule each.
 */
#include "oci/seccomp_bpf.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bytes.h"
#include "oci/json.h"
#include "oci/seccomp_cache.h"

#define ANNOTATION "run.oci.seccomp_bpf_data"
#define BPF_MAX (8u * 4096) /* bytes: the kernel takes 4096 instructions */
#define ARGS_MAX 6

struct compiler {
	scmp_filter_ctx ctx;
	uint32_t default_action;
};

static const struct {
	const char *name;
	uint32_t arch;
} archs[] = {
	{"SCMP_ARCH_X86", SCMP_ARCH_X86},
	{"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
	{"SCMP_ARCH_X32", SCMP_ARCH_X32},
};

static const struct {
	const char *name;
	enum scmp_compare op;
} ops[] = {
	{"SCMP_CMP_NE", SCMP_CMP_NE},
	{"SCMP_CMP_LT", SCMP_CMP_LT},
	{"SCMP_CMP_LE", SCMP_CMP_LE},
	{"SCMP_CMP_EQ", SCMP_CMP_EQ},
	{"SCMP_CMP_GE", SCMP_CMP_GE},
	{"SCMP_CMP_GT", SCMP_CMP_GT},
	{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
};

static const char *text(const json_t *o, const char *key)
{
	const char *t = json_string_value(json_object_get(o, key));

	return t ? t : "";
}

/* 1: known, 0: crun's business. */
static int action_of(const char *name, const json_t *errno_ret, uint32_t *ret)
{
	json_int_t code = json_is_integer(errno_ret) ? json_integer_value(errno_ret) : EPERM;

	if (code < 0 || code > 4095)
		return 0;
	if (str_eq(name, "SCMP_ACT_ALLOW"))
		*ret = SCMP_ACT_ALLOW;
	else if (str_eq(name, "SCMP_ACT_ERRNO"))
		*ret = SCMP_ACT_ERRNO((uint32_t)code);
	else if (str_eq(name, "SCMP_ACT_KILL") || str_eq(name, "SCMP_ACT_KILL_THREAD"))
		*ret = SCMP_ACT_KILL;
	else if (str_eq(name, "SCMP_ACT_KILL_PROCESS"))
		*ret = SCMP_ACT_KILL_PROCESS;
	else
		return 0;
	return 1;
}

/* A number of the profile; those beyond 2^63 are marked text in our tree and crun's business. */
static bool u64_of(const json_t *o, const char *key, uint64_t *ret)
{
	const json_t *v = json_object_get(o, key);

	*ret = 0;
	if (!v)
		return true;
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(v);
	return true;
}

static int arg_of(const json_t *o, struct scmp_arg_cmp *ret)
{
	uint64_t index, value, two;
	const char *op = text(o, "op");

	if (!u64_of(o, "index", &index) || !u64_of(o, "value", &value) || !u64_of(o, "valueTwo", &two) ||
		index >= ARGS_MAX)
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
		if (str_eq(op, ops[i].name)) {
			*ret = (struct scmp_arg_cmp){
				.arg = (unsigned)index, .op = ops[i].op, .datum_a = value, .datum_b = two};
			return 1;
		}
	return 0;
}

static int add_rules(
	const struct compiler *c, const json_t *rule, uint32_t action, const struct scmp_arg_cmp *args, size_t n)
{
	const json_t *name;
	size_t i;
	bool one_each = false;

	for (i = 0; i < n; i++)
		for (size_t k = 0; k < i; k++)
			one_each = one_each || args[i].arg == args[k].arg;
	json_array_foreach (json_object_get(rule, "names"), i, name) {
		int nr = json_is_string(name) ? seccomp_syscall_resolve_name(json_string_value(name)) : __NR_SCMP_ERROR;
		int r = 0;

		if (nr == __NR_SCMP_ERROR)
			continue;
		for (size_t k = 0; k < n && r == 0 && one_each; k++)
			r = seccomp_rule_add_array(c->ctx, action, nr, 1, &args[k]);
		if (!one_each)
			r = seccomp_rule_add_array(c->ctx, action, nr, (unsigned)n, args);
		if (r < 0 && r != -EEXIST)
			return r;
	}
	return 1;
}

static int compile_rule(const struct compiler *c, const json_t *rule)
{
	const json_t *args = json_object_get(rule, "args"), *arg;
	struct scmp_arg_cmp list[ARGS_MAX];
	size_t i, n = 0;
	uint32_t action;

	if (!json_is_object(rule) || !action_of(text(rule, "action"), json_object_get(rule, "errnoRet"), &action))
		return 0;
	if (action == c->default_action)
		return 1;
	if (json_array_size(args) > ARGS_MAX)
		return 0;
	json_array_foreach (args, i, arg)
		if (!arg_of(arg, &list[n++]))
			return 0;
	return add_rules(c, rule, action, list, n);
}

static int add_archs(const struct compiler *c, const json_t *names)
{
	const json_t *name;
	size_t i;

	json_array_foreach (names, i, name) {
		const char *t = json_is_string(name) ? json_string_value(name) : "";
		bool known = false;

		for (size_t k = 0; k < ARRAY_SIZE(archs); k++)
			if (str_eq(t, archs[k].name)) {
				int r = seccomp_arch_add(c->ctx, archs[k].arch);

				if (r < 0 && r != -EEXIST)
					return r;
				known = true;
			}
		if (!known)
			return 0;
	}
	return 1;
}

/* 1: the filter is in c->ctx. */
static int compile(struct compiler *c, const json_t *profile)
{
	const json_t *rule;
	size_t i;
	int r;

	if (json_array_size(json_object_get(profile, "flags")) || json_object_get(profile, "listenerPath"))
		return 0;
	if (!action_of(text(profile, "defaultAction"), json_object_get(profile, "defaultErrnoRet"), &c->default_action))
		return 0;
	c->ctx = seccomp_init(c->default_action);
	if (!c->ctx)
		return -ENOMEM;
	/* A tree, not a list of all calls: the kernel tries every call at once when it takes the filter, to know those always allowed. */
	r = seccomp_attr_set(c->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r < 0)
		return r;
	r = add_archs(c, json_object_get(profile, "architectures"));
	json_array_foreach (json_object_get(profile, "syscalls"), i, rule) {
		if (r <= 0)
			break;
		r = compile_rule(c, rule);
	}
	return r;
}

static char *base64(const uint8_t *in, size_t n)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *out = malloc((n + 2) / 3 * 4 + 1), *p = out;

	for (size_t i = 0; out && i < n; i += 3) {
		uint32_t v = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0) |
			     (i + 2 < n ? in[i + 2] : 0);

		*p++ = digits[v >> 18];
		*p++ = digits[v >> 12 & 63];
		*p++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
		*p++ = i + 2 < n ? digits[v & 63] : '=';
	}
	if (out)
		*p = '\0';
	return out;
}

/* The program's bytes. -E2BIG: more than the kernel takes. */
static ssize_t export_bytes(const struct compiler *c, uint8_t bytes[BPF_MAX + 1])
{
	auto_close int fd = memfd_create("seccomp", MFD_CLOEXEC);
	ssize_t n;
	int r;

	if (fd < 0)
		return -ENOMEM;
	r = seccomp_export_bpf(c->ctx, fd);
	if (r < 0)
		return r;
	n = pread(fd, bytes, BPF_MAX + 1, 0);
	if (n <= 0)
		return -EIO;
	return (size_t)n > BPF_MAX ? -E2BIG : n;
}

static int export_text(const struct compiler *c, char **ret)
{
	auto_free uint8_t *bytes = malloc(BPF_MAX + 1);
	ssize_t n = bytes ? export_bytes(c, bytes) : -ENOMEM;

	/* A tree is an eighth larger than a list. */
	if (n == -E2BIG && seccomp_attr_set(c->ctx, SCMP_FLTATR_CTL_OPTIMIZE, 1) == 0)
		n = export_bytes(c, bytes);
	if (n < 0)
		return (int)n;
	*ret = base64(bytes, (size_t)n);
	return *ret ? 0 : -ENOMEM;
}

static int make_program(const json_t *profile, char **ret, struct err *err)
{
	struct compiler c = {0};
	int r = compile(&c, profile);

	if (r > 0)
		r = export_text(&c, ret);
	if (c.ctx)
		seccomp_release(c.ctx);
	return r < 0 ? err_set(err, r == -ENOMEM ? ENOMEM : EIO, "seccomp profile: %s", strerror(-r)) : 0;
}

int oci_compile_seccomp(struct oci_spec *spec, const char *run, struct err *err)
{
	const json_t *profile = json_object_get(json_object_get(spec->root, "linux"), "seccomp");
	auto_free char *text = NULL, *program = NULL;
	json_t *annotations;
	size_t len;
	int r;

	if (!json_is_object(profile))
		return 0;
	r = json_text_write(profile, &text, &len, err);
	if (r < 0)
		return r;
	program = seccomp_cache_get(run, text, len);
	if (!program) {
		r = make_program(profile, &program, err);
		if (r < 0 || !program)
			return r;
		seccomp_cache_put(run, text, len, program);
	}
	annotations = json_member_object(spec->root, "annotations");
	if (!annotations || json_set_string(annotations, ANNOTATION, program) < 0)
		return err_set(err, ENOMEM, "seccomp profile: out of memory");
	oci_clear_seccomp(spec);
	return 0;
}
