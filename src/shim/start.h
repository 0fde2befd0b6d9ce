/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What containerd runs the shim's program for. Each writes its answer to stdout. */
#include "shim/shim.h"

/* The caller's process answers and returns; the shim itself goes on as a daemon when there was none for the pod. */
int shim_start(struct shim_args *args, struct err *err) must_check;
int shim_delete(struct shim_args *args, struct err *err) must_check;
int shim_info(struct err *err) must_check;

/* The id of the pod in podvm's registry: the beginning of a CRI sandbox's id, else made from namespace and id. */
void shim_pod_id(char dst[POD_ID_LEN + 1], const char *ns, const char *id);
/*
 * The answer to `start`. containerd up to 1.6 reads the bare address; 1.7 and later JSON. Version 3 is for those known to be
 * 2.x: by their own word (`version`, of BootstrapParams), or by the version of the spec that they write.
 */
int shim_answer(char *dst, size_t size, const char *address, const char *version, const char *oci_version,
	bool knows_json, struct err *err) must_check;
