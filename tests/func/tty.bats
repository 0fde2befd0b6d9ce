#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Terminals: `podvm run` and `podvm exec` on a pseudo-terminal, as a person uses them.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

PTY=$ROOT/tests/lib/terminal

setup() { podvm_setup; }
teardown() {
	local left
	for left in "$PODVM_RUN"/pods/*; do
		[[ ! -d $left ]] || "$PODVM" rm -f "${left##*/}" >/dev/null 2>&1 || true
	done
	assert_clean
}

# A pod whose container is a shell on the terminal.
tty_pod() {
	pod shell Never "{name: main, image: $IMAGE, command: [sh], stdin: true, tty: true, env: [{name: PS1, value: 'ready> '}]}"
}

@test "run, tty: the terminal is raw, keys and Ctrl-C go to the container, the size follows, the mode comes back" {
	tty_pod
	run "$PTY" 'size 33 111
		mode raw
		type stty size; stty -a | grep -o "[-]*icanon"\r
		wait 33 111
		wait icanon
		size 44 122
		type sh -c "echo st\$((1+1)); exec sleep 1000"\r
		wait st2
		type \x03
		wait ready>
		type stty size; echo in$((1+1))\r
		wait 44 122
		wait in2
		type exit 7\r' -- "$PODVM" run -q shell.yaml
	echo "$output"
	[ "$status" -eq 7 ]
}

@test "run, tty: SIGTERM, SIGINT, SIGHUP, SIGQUIT end the pod and the mode comes back" {
	for signal in SIGTERM SIGINT SIGHUP SIGQUIT; do
		pod polite Never "{name: main, image: $IMAGE, command: [sh, -c, \"trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done\"], stdin: true, tty: true}"
		run "$PTY" "mode raw
			wait up
			kill $signal" -- "$PODVM" run -q polite.yaml
		echo "$signal: $status: $output"
		[ "$status" -eq 3 ]
	done
}

# The first restart comes at once, the second after 10 seconds: in them nobody reads. What is typed goes to the second run, and
# nothing is left for the third: Ctrl-C is not seen behind bytes that wait for a reader.
second_run() { "$PODVM" inspect reader | jq -e '.containers[0] | .restarts == 1 and .state == "Running"' >/dev/null; }
@test "run, tty: while no container reads, Ctrl-C stops the pod" {
	export -f second_run
	export PODVM
	pod reader Always "$(sh_container main "trap '' INT; read x; echo got \$x" | sed 's/}$/, stdin: true, tty: true}/')"
	run "$PTY" 'mode raw
		type word\r
		wait got word
		until second_run
		type more\r
		wait got more
		press \x03 for stopping' -- "$PODVM" run reader.yaml
	echo "$output"
	[ "$status" -eq 0 ]
}

@test "run without tty: the terminal stays as it is, and Ctrl-C stops the pod" {
	pod plain Never "{name: main, image: $IMAGE, command: [sh, -c, \"trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done\"], stdin: true}"
	run "$PTY" 'wait up
		mode cooked
		type \x03
		wait stopping' -- "$PODVM" run plain.yaml
	echo "$output"
	[ "$status" -eq 3 ]
}

# One Ctrl-C, and only when its reader is in the foreground: several in a row break the heap of BusyBox 1.35's shell.
@test "exec -it: raw, sized, and back" {
	pod sleeper Never "$(sh_container main 'exec sleep 1000')"
	"$PODVM" run -d -q sleeper.yaml
	run "$PTY" 'size 21 99
		mode raw
		type stty size\r
		wait 21 99
		size 22 98
		type sh -c "echo go""ing; exec sleep 1000"\r
		wait going
		type \x03
		wait #\x20
		type stty size\r
		wait 22 98
		type exit 5\r' -- "$PODVM" exec -it sleeper -- sh
	echo "$output"
	[ "$status" -eq 5 ]
	"$PODVM" rm -f sleeper
}
