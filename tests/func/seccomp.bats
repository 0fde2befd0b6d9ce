#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The seccomp lists of the device process under QEMU are minimal: under strace, a pod that works hard with files and streams makes
# every call of them, but for the ones named here with their reason. That they are sufficient shows everywhere: filters kill.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

LISTS="vmm/thread_syscalls.h virtio/fs_syscalls.h virtio/vsock_syscalls.h virtio/vhost_user_syscalls.h"

# An assertion that fails, and the ends of threads and process that are not a kill.
ENDS="writev getpid gettid tkill tgkill exit exit_group"
# After SIGSTOP and SIGCONT; a heap block above 128 KiB that grows; a log that nobody reads.
RARE="restart_syscall rt_sigreturn mremap poll"
# Made by glibc only, with which builds of clang and the unit tests are linked.
GLIBC="rseq set_robust_list set_tid_address sched_getaffinity newfstatat"

setup() {
	podvm_setup
	mkdir wrap bin traces
	cat >wrap/podvm-vmm <<-E
		#!/bin/sh
		exec strace -D -f -qq -o $PWD/traces/\$\$ $(dirname "$PODVM")/../libexec/podvm/podvm-vmm "\$@"
	E
	chmod +x wrap/podvm-vmm
	export PODVM_LIBEXEC=$PWD/wrap
}
teardown() { assert_clean; }

# The calls that threads made behind their filter, one a line; a thread begins with its parent's.
used() {
	cat traces/* | awk '
		{ name = $2 == "<..." ? $3 : $2; sub(/\(.*/, "", name) }
		name == "seccomp" { behind[$1] = 1; next }
		!behind[$1] { next }
		name == "clone" && $NF ~ /^[0-9]+$/ { behind[$NF] = 1 }
		name ~ /^[a-z]/ { print name }' | sort -u
}
listed() { (cd "$ROOT/src" && sed -nE 's/^ALLOW(_EQUAL|_MASKED)?\(([a-z0-9_]+).*/\2/p' $LISTS) | sort -u; }

@test "every system call that a filter lets through is made" {
	gcc -static -O2 -D_GNU_SOURCE -o bin/fs_stress "$ROOT/tests/guest/fs_stress.c"
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: calls}
		spec:
		  restartPolicy: Never
		  volumes: [{name: bin, hostPath: {path: $PWD/bin}}, {name: tmp, emptyDir: {}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "/bin/fs/fs_stress /work 1 && sync -f /work"]
		    volumeMounts: [{name: bin, mountPath: /bin/fs, readOnly: true}, {name: tmp, mountPath: /work}]
	Y
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "$status" -eq 0 ]
	used >used
	grep -qx epoll_pwait used
	comm -23 <(listed) used >unused
	tr ' ' '\n' <<<"$ENDS $RARE $GLIBC" | sort >excused
	echo "let through and never made:" && comm -23 unused excused
	[ -z "$(comm -23 unused excused)" ]
}
