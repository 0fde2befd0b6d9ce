/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/resize.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

#define MIB (1 << 20)
#define PERIOD_DEFAULT 100000

static void copy_text(char dst[128], const json_t *o, const char *key)
{
	const char *text = json_string_value(json_object_get(o, key));

	(void)snprintf(dst, 128, "%s", text ? text : "");
}

#define TOO_LONG "?"

static void copy_json(char dst[160], const json_t *v)
{
	size_t n = json_array_size(v) ? json_dumpb(v, dst, 159, JSON_COMPACT | JSON_SORT_KEYS) : 0;

	if (n > 159)
		n = (size_t)snprintf(dst, 160, TOO_LONG);
	dst[n] = '\0';
}

void resize_read(struct resize_limits *ret, const json_t *resources)
{
	const json_t *cpu = json_object_get(resources, "cpu");

	copy_text(ret->cpus, cpu, "cpus");
	copy_text(ret->mems, cpu, "mems");
	copy_json(ret->huge, json_object_get(resources, "hugepageLimits"));
	ret->memory = json_integer_value(json_object_get(json_object_get(resources, "memory"), "limit"));
	ret->quota = json_integer_value(json_object_get(cpu, "quota"));
	ret->period = json_integer_value(json_object_get(cpu, "period"));
}

static int check_numbers(json_t *resources, const char *key, const char *now, const char *created, struct err *err)
{
	if (*now && !str_eq(now, created))
		return err_set(err, EINVAL,
			"resources.cpu.%s: '%.60s' are numbers of the node and mean nothing in the pod's VM; this "
			"cannot be changed",
			key, now);
	(void)json_object_del(json_object_get(resources, "cpu"), key);
	return 0;
}

static int check_size(const struct resize_limits *now, const struct resize_limits *created, const struct resize_vm *vm,
	struct err *err)
{
	int64_t period = now->period > 0 ? now->period : PERIOD_DEFAULT;

	if (now->memory > 0 && now->memory != created->memory && (uint64_t)now->memory > vm->memory)
		return err_set(err, EINVAL,
			"resources.memory.limit: %llu MiB are more than the pod's VM has (%llu MiB), and it cannot "
			"grow while it runs",
			(unsigned long long)now->memory / MIB, (unsigned long long)vm->memory / MIB);
	if (now->quota > 0 && (now->quota != created->quota || now->period != created->period) &&
		(now->quota - 1) / period >= vm->vcpus)
		return err_set(err, EINVAL,
			"resources.cpu.quota: %lld in %lld µs are more than the %u CPUs that the pod's VM has, and it "
			"cannot get more while it runs",
			(long long)now->quota, (long long)period, vm->vcpus);
	return 0;
}

int resize_check(json_t *resources, const struct resize_limits *created, const struct resize_vm *vm, struct err *err)
{
	struct resize_limits now;
	int r;

	resize_read(&now, resources);
	r = check_numbers(resources, "cpus", now.cpus, created->cpus, err);
	if (r == 0)
		r = check_numbers(resources, "mems", now.mems, created->mems, err);
	/* The agent refuses what is left. */
	if (!str_eq(now.huge, TOO_LONG) && str_eq(now.huge, created->huge))
		(void)json_object_del(resources, "hugepageLimits");
	return r == 0 ? check_size(&now, created, vm, err) : r;
}
