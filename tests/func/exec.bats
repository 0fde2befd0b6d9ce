#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `podvm exec` that ends in ways it was not meant to: its process in the guest must not be forgotten.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() {
	podvm_setup
	pod sleeper Never "$(sh_container main 'exec sleep 1000')"
	"$PODVM" run -d -q sleeper.yaml
}
teardown() {
	"$PODVM" rm -f sleeper
	assert_clean
}

# A process whose command line has the pattern; a bracket in it keeps the search from finding itself.
runs() { "$PODVM" exec sleeper -- sh -c "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q '$1'"; }
runs_not() { ! runs "$1"; }

@test "podvm exec killed with -9: SIGHUP for its process, which is reaped and deleted" {
	"$PODVM" exec sleeper -- sleep 771 &
	client=$!
	wait_for 60 runs "sleep 77[1]"
	kill -9 $client
	wait_for 60 runs_not "sleep 77[1]"
	# What the agent says comes by a way of its own.
	wait_for 60 bash -c "'$PODVM' logs --all sleeper >log && grep -q 'its streams are gone: SIGHUP' log"
	[ "$(grep -c 'its streams are gone: SIGHUP' log)" -eq 1 ]
}

@test "podvm exec -it killed with -9: the terminal hangs up" {
	export -f runs
	export PODVM
	"$ROOT/tests/lib/terminal" 'type sleep 772; echo over\r
		until runs "sleep 77[2]"
		kill SIGKILL' -- "$PODVM" exec -it sleeper -- sh >out || true
	wait_for 60 runs_not "sleep 77[2]"
}

@test "a process that ignores SIGHUP goes on, and its end is not forgotten" {
	"$PODVM" exec sleeper -- sh -c "trap '' HUP; touch /tmp/up; until [ -e /tmp/go ]; do sleep 0.1; done; touch /tmp/done" &
	client=$!
	wait_for 60 "$PODVM" exec sleeper -- test -e /tmp/up
	kill -9 $client
	wait_for 60 bash -c "'$PODVM' logs --all sleeper | grep -q 'streams are gone'"
	"$PODVM" exec sleeper -- touch /tmp/go
	wait_for 60 "$PODVM" exec sleeper -- test -e /tmp/done
	wait_for 60 runs_not "unti[l]"
}

@test "a reader that goes away ends the writer: exec ... yes | head" {
	timeout 120 "$PODVM" exec sleeper -- yes | head -n 1 >out
	[ "$(cat out)" = y ]
	wait_for 60 runs_not "ye[s] "
}

@test "podvm exec -it without a terminal goes on without one, to the end of its input" {
	run bash -c "echo 'echo from a pipe; tty' | timeout 120 '$PODVM' exec -it sleeper -- sh"
	[[ "$output" == *"standard input is no terminal, going on without one"* ]]
	[[ "$output" == *"from a pipe"* ]]
	[[ "$output" == *"not a tty"* ]]
}
