#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The seccomp lists of a machine of our own are minimal: each kind of thread has made every call of its list, with the arguments that the list
# asks for, in the tests before this one (tests/kvm, all of them), but for the ones named here with their reason. That they are sufficient
# shows everywhere: filters kill.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

# An assertion that fails; the end of a thread by itself.
ENDS="devices exit|vcpu writev"
# After SIGSTOP and SIGCONT; a signal that nobody sends to it; a log that nobody reads; a heap that grows and shrinks more than in these tests.
RARE="devices restart_syscall|vcpu restart_syscall|devices rt_sigreturn|devices poll|devices brk|devices mremap|devices madvise:2=0x8"
# No call where the kernel's clock can be read without one.
CLOCK="devices clock_gettime|vcpu clock_gettime"

@test "every system call that a machine's threads may make is made" {
	# tools/lab-tests traces when it runs all of them.
	[[ -n ${CALLS_TRACED:-} ]] || skip "only some of the tests were asked for"
	"$ROOT/tests/lib/trace-calls" show >trace
	# Nothing was lost of it.
	[[ $(grep -m 1 entries-in-buffer trace) =~ \ ([0-9]+)/([0-9]+)\  ]]
	[ "${BASH_REMATCH[1]}" -eq "${BASH_REMATCH[2]}" ]
	"$ROOT/b/dev/src/vmm/seccomp_gen" --rules musl >rules
	# What the file server calls for files is proven beside QEMU (tests/func/seccomp.bats), by the same code.
	awk '$1 == "fs" { $1 = ""; seen[$0] = 1; next } { kind = $1; $1 = ""; if (kind != "vm_fs" || !seen[$0]) print kind $0 }' rules >ours
	"$ROOT/tests/lib/calls" ftrace ours devices,vm_fs,vcpu trace | sort >unused
	[ "$(wc -l <unused)" -lt "$(wc -l <ours)" ]
	tr '|' '\n' <<<"$ENDS|$RARE|$CLOCK" | sort >excused
	echo "let through and never made:" && comm -23 unused excused
	[ -z "$(comm -23 unused excused)" ]
}
