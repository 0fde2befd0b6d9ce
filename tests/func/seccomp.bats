#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The seccomp lists of the device process under QEMU are minimal: under strace, a pod that works hard with files and streams makes
# every call of them, with the arguments that they ask for, but for the ones named here with their reason. That they are sufficient shows everywhere: filters kill.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

# An assertion that fails, and the ends of threads and process that are not a kill.
ENDS="writev exit exit_group"
# After SIGSTOP and SIGCONT; a heap block above 128 KiB that grows; a log that nobody reads.
RARE="restart_syscall rt_sigreturn mremap poll"
# No call where the kernel's clock can be read without one.
CLOCK="clock_gettime"

setup() {
	podvm_setup
	mkdir wrap bin traces
	cat >wrap/podvm-vmm <<-E
		#!/bin/sh
		exec strace -D -f -qq -e raw=all -o $PWD/traces/\$\$ $(dirname "$PODVM")/../libexec/podvm/podvm-vmm "\$@"
	E
	chmod +x wrap/podvm-vmm
	export PODVM_LIBEXEC=$PWD/wrap
}
teardown() { assert_clean; }

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
	"$ROOT/b/dev/src/vmm/seccomp_gen" --rules musl >rules
	"$ROOT/tests/lib/calls" strace rules fs,vsock traces/* | sort >unused
	[ "$(wc -l <unused)" -lt "$(wc -l <rules)" ]
	tr ' ' '\n' <<<"$ENDS $RARE $CLOCK" | sort >excused
	echo "let through and never made:" && comm -23 unused excused
	[ -z "$(comm -23 unused excused)" ]
}
