/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exec_process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/bytes.h"
#include "oci/image_config.h"

/* The user's numbers, from the container's own files, which only the supervisor's mount namespace shows. */
static json_t *resolve_user(const struct exec_process *p, struct err *err)
{
	struct image_user user = {0};
	char run[PATH_LEN], path[2 * PATH_LEN];
	auto_close int fd = -1;
	json_t *groups, *out;

	if (pod_run_path(run, p->pod->id, "shared/containers", err) < 0 ||
		str_format(path, sizeof(path), err, "/proc/%lld/root%s/%s/rootfs", pod_state_number(p->pod, "pid"), run,
			p->container_id) < 0)
		return NULL;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		(void)err_errno(err, "open the root of container '%s'", p->container);
		return NULL;
	}
	if (image_user_resolve(&user, fd, p->user, err) < 0)
		return NULL;
	groups = json_array();
	for (size_t i = 0; i < user.n_groups; i++)
		(void)json_array_append_new(groups, json_integer(user.groups[i]));
	out = json_pack(
		"{s:I s:I s:o}", "uid", (json_int_t)user.uid, "gid", (json_int_t)user.gid, "additionalGids", groups);
	if (!out)
		(void)err_set(err, ENOMEM, "out of memory");
	return out;
}

static json_t *text_array(const char *const *list, size_t n)
{
	json_t *out = json_array();

	for (size_t i = 0; i < n; i++)
		if (json_array_append_new(out, json_string(list[i])) < 0) {
			json_decref(out);
			return NULL;
		}
	return out;
}

static int set_member(json_t *process, const char *key, json_t *value, struct err *err)
{
	if (value && json_object_set_new(process, key, value) == 0)
		return 0;
	return err_set(err, EINVAL, "%s: text that is no UTF-8, or out of memory", key);
}

int exec_process_make(const struct exec_process *p, char **ret, struct err *err)
{
	json_t *process = json_object(), *user = NULL;
	size_t n = 0;
	int r;

	while (p->args[n])
		n++;
	r = set_member(process, "args", text_array((const char *const *)p->args, n), err);
	if (r == 0)
		r = set_member(process, "terminal", json_boolean(p->terminal), err);
	if (r == 0 && p->cwd)
		r = set_member(process, "cwd", json_string(p->cwd), err);
	if (r == 0 && p->terminal && p->rows && p->columns)
		r = set_member(process, "consoleSize",
			json_pack("{s:i s:i}", "height", (int)p->rows, "width", (int)p->columns), err);
	if (r == 0 && p->user) {
		user = resolve_user(p, err);
		r = user ? set_member(process, "user", user, err) : -(err->code ? err->code : EINVAL);
	}
	if (r == 0) {
		*ret = json_dumps(process, JSON_COMPACT);
		r = *ret ? 0 : err_set(err, ENOMEM, "out of memory");
	}
	json_decref(process);
	return r;
}
