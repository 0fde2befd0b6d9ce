/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tables of files that must be refused, with the exact line that says why. */
#include <errno.h>

#include "kube/test_kube.h"

struct bad {
	const char *yaml, *message;
};

static inline void check_bad(const struct bad *bad, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct kube_pod *pod = NULL;
		struct err err = {0};
		int r = kube_load(&pod, "t.yaml", bad[i].yaml, strlen(bad[i].yaml), &test_context, &err);

		if (r == 0)
			fail_msg("was accepted:\n%s", bad[i].yaml);
		if (r != -EINVAL || err.code != EINVAL || pod)
			fail_msg("result %d, code %d, for:\n%s", r, err.code, bad[i].yaml);
		if (strncmp(err.msg, "t.yaml:", 7) != 0 || !str_eq(err.msg + 7, bad[i].message))
			fail_msg("message is\n  %s\ninstead of\n  t.yaml:%s\nfor:\n%s", err.msg, bad[i].message,
				bad[i].yaml);
		assert_null(strchr(err.msg, '\n'));
	}
}
