#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The lab from outside: output, status, time-out, and that nothing is left however it ends. What is inside: tests/lab.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

# The kernel is fetched once, and says so on stderr.
setup_file() { "$(dirname "$BATS_TEST_FILENAME")/../../tools/lab" --prepare; }
setup() {
	export TMPDIR=$BATS_TEST_TMPDIR/tmp
	mkdir "$TMPDIR"
	cd "$TMPDIR" || return 1
}

# Processes of this test's lab, by their environment.
lab_processes() {
	local p
	for p in /proc/[0-9]*; do
		{ tr '\0' '\n' <"$p/environ"; } 2>/dev/null | grep -qxF "TMPDIR=$TMPDIR" || continue
		case $(readlink "$p/exe") in */qemu-system-x86_64 | */virtiofsd | */timeout) return 1 ;; esac
	done
}
lab_is_up() { grep -qs 'lab: up' "$TMPDIR"/podvm-lab.*/console; }

@test "output and exit status are the command's, byte by byte" {
	seed=$(head -c 300000 /dev/urandom | tee data | sha256sum)
	cp data "$BATS_TEST_TMPDIR/data"
	tools=$ROOT/tools/lab
	"$tools" "cat '$BATS_TEST_TMPDIR/data'; echo to stderr >&2; pwd >&2; exit 7" >out 2>err || status=$?
	[ "$status" -eq 7 ]
	[ "$(sha256sum <out)" = "$seed" ]
	[ "$(cat err)" = $'to stderr\n'"$TMPDIR" ]
	[ -z "$(ls -d podvm-lab.* 2>/dev/null)" ]
	lab_processes
}

@test "it is ended when its time is over" {
	LAB_TIMEOUT=3 run -124 "$ROOT/tools/lab" true
	[ "$output" = "lab: ended after 3 s (LAB_TIMEOUT)" ]
	[ -z "$(ls -d podvm-lab.* 2>/dev/null)" ]
	lab_processes
}

@test "a VM that ends before its command is an error, with its console" {
	run -125 "$ROOT/tools/lab" 'echo c >/proc/sysrq-trigger; sleep 60'
	[[ "$output" == *"sysrq triggered crash"*"lab: the VM ended"* ]]
	lab_processes
}

@test "Ctrl-C ends all of it; kill -9 leaves no process" {
	for signal in INT KILL; do
		# As a shell starts a foreground job: with SIGINT not ignored.
		setsid env --default-signal=INT "$ROOT/tools/lab" 'sleep 600' 3>&- &
		pid=$!
		wait_for 120 lab_is_up
		kill -$signal $pid
		wait $pid || true
		wait_for 60 lab_processes
		[ $signal = KILL ] || [ -z "$(ls -d podvm-lab.* 2>/dev/null)" ]
		rm -rf podvm-lab.*
	done
}
