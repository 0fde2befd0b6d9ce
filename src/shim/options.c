/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/options.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "containerd.pb-c.h"

#define CONFIG_MAX (64u << 10)
#define TYPE_OPTIONS "runtimeoptions.v1.Options"
#define MIB (UINT64_C(1) << 20)

/* ---- the configuration ---- */

static char *trim(char *text)
{
	size_t n;

	text += strspn(text, " \t\r");
	n = strlen(text);
	while (n > 0 && strchr(" \t\r", text[n - 1]))
		text[--n] = '\0';
	return text;
}

static int set_driver(struct shim_options *o, const char *value, struct err *err)
{
	if (str_eq(value, "\"auto\""))
		o->driver = DRIVER_AUTO;
	else if (str_eq(value, "\"qemu\""))
		o->driver = DRIVER_QEMU;
	else if (str_eq(value, "\"vmm\""))
		o->driver = DRIVER_VMM;
	else
		return err_set(err, EINVAL, "driver is \"auto\", \"qemu\" or \"vmm\", not %.40s", value);
	return 0;
}

static const struct {
	const char *key;
	uint64_t min, max;
} numbers[] = {{"vcpus", 1, 32}, {"memory", 64, 65536}, {"disks", 0, VM_DISK_SLOTS_MAX}};

static int set_key(struct shim_options *o, const char *key, const char *value, struct err *err)
{
	uint64_t n = 0;
	size_t i = 0;
	int r;

	if (str_eq(key, "driver"))
		return set_driver(o, value, err);
	while (i < ARRAY_SIZE(numbers) && !str_eq(key, numbers[i].key))
		i++;
	if (i == ARRAY_SIZE(numbers))
		return err_set(err, EINVAL, "unknown key '%.40s'; driver, vcpus, memory and disks are known", key);
	r = str_to_u64(value, numbers[i].max, &n, err);
	if (r == 0 && n < numbers[i].min)
		r = err_set(err, ERANGE, "%s is too small", key);
	if (r < 0)
		return err_wrap(err, "%s", key);
	if (*key == 'v')
		o->vcpus = (unsigned)n;
	else if (*key == 'm')
		o->memory = n * MIB;
	else
		o->disks = (unsigned)n;
	return 0;
}

int options_parse(struct shim_options *ret, char *text, size_t len, struct err *err)
{
	unsigned number = 0;

	if (strlen(text) != len)
		return err_set(err, EINVAL, "it has a NUL byte");
	for (char *next, *line = text; line; line = next) {
		char *eq, *at;
		int r;

		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		number++;
		line[strcspn(line, "#")] = '\0';
		at = trim(line);
		if (!*at)
			continue;
		eq = strchr(at, '=');
		if (!eq)
			return err_set(err, EINVAL, "line %u: '%.60s' is not KEY = VALUE", number, at);
		*eq = '\0';
		r = set_key(ret, trim(at), trim(eq + 1), err);
		if (r < 0)
			return err_wrap(err, "line %u", number);
	}
	return 0;
}

/* ---- what containerd sends ---- */

void bootstrap_fini(struct bootstrap *b)
{
	free(take_ptr(b->config_body));
}

static int take_options(struct bootstrap *b, const Ctrd__Any *any, struct err *err)
{
	Ctrd__RuntimeOptions *o;
	int r = 0;

	/* runc's options, which containerd sends by default, are not for us. */
	if (!str_has_suffix(any->type_url, TYPE_OPTIONS))
		return 0;
	o = ctrd__runtime_options__unpack(NULL, any->value.len, any->value.data);
	if (!o)
		return err_set(err, EINVAL, "the runtime's options are malformed");
	if (!str_copy(b->config_path, sizeof(b->config_path), o->config_path))
		r = err_set(err, ENAMETOOLONG, "the path of the runtime's configuration is too long");
	if (r == 0 && o->config_body.len) {
		b->config_body = malloc(o->config_body.len + 1);
		if (!b->config_body) {
			r = err_set(err, ENOMEM, "out of memory");
		} else {
			memcpy(b->config_body, o->config_body.data, o->config_body.len);
			b->config_body[o->config_body.len] = '\0';
			b->config_len = o->config_body.len;
		}
	}
	ctrd__runtime_options__free_unpacked(o, NULL);
	return r;
}

static int take_params(struct bootstrap *b, const Ctrd__BootstrapParams *p, struct err *err)
{
	int r = 0;

	if (!str_copy(b->ttrpc_address, sizeof(b->ttrpc_address), p->ttrpc_address))
		return err_set(err, ENAMETOOLONG, "containerd's ttrpc address is too long");
	(void)str_copy(b->version, sizeof(b->version), p->containerd_version);
	for (size_t i = 0; i < p->n_extensions && r == 0; i++)
		if (p->extensions[i]->value)
			r = take_options(b, p->extensions[i]->value, err);
	return r;
}

int bootstrap_parse(struct bootstrap *ret, const char *id, const uint8_t *bytes, size_t n, struct err *err)
{
	Ctrd__BootstrapParams *params = n ? ctrd__bootstrap_params__unpack(NULL, n, bytes) : NULL;
	Ctrd__Any *any;
	int r = 0;

	*ret = (struct bootstrap){0};
	/* Both begin with a text: our own id, or a type url. */
	if (params && str_eq(params->instance_id, id)) {
		r = take_params(ret, params, err);
	} else if (n) {
		any = ctrd__any__unpack(NULL, n, bytes);
		r = any ? take_options(ret, any, err) : err_set(err, EINVAL, "stdin is neither options nor parameters");
		if (any)
			ctrd__any__free_unpacked(any, NULL);
	}
	if (params)
		ctrd__bootstrap_params__free_unpacked(params, NULL);
	if (r < 0)
		bootstrap_fini(ret);
	return r;
}

int bootstrap_options(const struct bootstrap *b, struct shim_options *ret, struct err *err)
{
	auto_free char *text = NULL;
	size_t len;
	int r;

	*ret = (struct shim_options){.disks = SHIM_DISKS_DEFAULT};
	if (*b->config_path) {
		r = file_read(AT_FDCWD, b->config_path, CONFIG_MAX, &text, &len, err);
		if (r == 0)
			r = options_parse(ret, text, len, err);
		return r < 0 ? err_wrap(err, "the runtime's configuration '%.100s'", b->config_path) : 0;
	}
	if (!b->config_body)
		return 0;
	text = strdup(b->config_body);
	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	r = options_parse(ret, text, b->config_len, err);
	return r < 0 ? err_wrap(err, "the runtime's options in containerd's configuration") : 0;
}
