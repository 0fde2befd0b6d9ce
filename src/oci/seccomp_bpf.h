/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * linux.seccomp as the finished BPF program, made on the host: in an emulated guest libseccomp needs longer for it than
 * for all the rest of a container's creation. The guest's crun takes the program from an annotation (crun(1),
 * run.oci.seccomp_bpf_data) and ignores linux.seccomp.
 */
#include "oci/spec.h"

/*
 * Replaces linux.seccomp by the annotation. 0 also when there is nothing to do: no profile, or one with features that only
 * crun itself knows to serve (flags, listeners, actions beyond allow, errno and the kill ones); it stays as it is then.
 * `run`: PODVM_RUN, where programs are kept for the next container (seccomp_cache.h); NULL: nowhere. -ENOMEM, -EIO.
 */
int oci_compile_seccomp(struct oci_spec *spec, const char *run, struct err *err) must_check;
