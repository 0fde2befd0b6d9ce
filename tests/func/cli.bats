#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The commands that look into running pods, on one detached pod.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup_file() {
	load ../lib/common.bash
	export BATS_TEST_TMPDIR=$BATS_FILE_TMPDIR
	podvm_setup
	cat >web.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: web}
		spec:
		  terminationGracePeriodSeconds: 60
		  containers:
		  - {name: main, image: $IMAGE, workingDir: /tmp, env: [{name: COLOUR, value: red}], command: [sh, -c, "trap 'exit 0' TERM; echo out line; echo err line >&2; while :; do sleep 0.1; done"]}
		  - {name: other, image: $IMAGE, command: [sh, -c, "trap 'exit 0' TERM; echo other line; while :; do sleep 0.1; done"]}
	Y
	"$PODVM" run -d -q web.yaml >id
	wait_for 60 traps_are_set
}
traps_are_set() { [[ $("$PODVM" logs web | grep -c line) == 3 ]]; }

teardown_file() {
	load ../lib/common.bash
	"$PODVM" rm -f web
	cd / || return 1
}

setup() {
	export PODVM_RUN=$BATS_FILE_TMPDIR/run
	cd "$BATS_TEST_TMPDIR" || return 1
	ID=$(cat "$BATS_FILE_TMPDIR/id")
}

@test "ps lists it, in a table, as ids, as JSON" {
	run "$PODVM" ps
	[ "$status" -eq 0 ]
	[[ "${lines[1]}" == *web*"$ID"*Running* ]]
	[ "$("$PODVM" ps -q)" = "$ID" ]
	"$PODVM" ps --json | jq -e '.[0].name == "web"'
	[ "$("$PODVM" ps --containers)" = $'main\nother' ]
	[ "$("$PODVM" ps -c web web)" = $'main\nother' ]
	[ "$("$PODVM" ps -q "${ID:0:6}")" = "$ID" ]
	run --separate-stderr "$PODVM" ps web nosuch
	[ "$status" -eq 1 ]
	[ -z "$output" ]
	[[ "$stderr" == "podvm: no pod 'nosuch'"* ]]
}

@test "logs: by container, all of one timeline, tail, follow" {
	wait_for 60 eval '"$PODVM" logs web | grep -q "other line"'
	[ "$("$PODVM" logs -c other web)" = "other line" ]
	wait_for 60 eval '"$PODVM" logs web | grep -q "out line"'
	"$PODVM" logs --all web >all
	grep -q "phase Running" all
	# The kernel does not complain of what the machine leaves out on purpose, and prints errors once the agent is up.
	run ! grep 'console .*\(PCI\|initial console\)' all
	run "$PODVM" exec -c main web cat /proc/sys/kernel/printk
	[[ $output == 4[[:space:]]* ]]
	[ "$("$PODVM" logs -c main --tail 1 web | wc -l)" -eq 1 ]
	timeout 120 "$PODVM" logs -f -c main web >followed &
	"$PODVM" exec -c main web -- sh -c 'echo later >/proc/1/fd/1'
	wait_for 60 grep -q later followed
	kill %1 || true
	run "$PODVM" logs -c nosuch web
	[ "$status" -eq 1 ]
	[[ "$output" == *nosuch* ]]
}

@test "exec: output, exit code, standard input, environment, user, folder" {
	run --separate-stderr "$PODVM" exec web -- sh -c 'echo out; echo err >&2; exit 9'
	[ "$status" -eq 9 ]
	[ "$output" = out ]
	[ "$stderr" = err ]
	[ "$(printf 'one\ntwo\n' | "$PODVM" exec -i web -- wc -l)" -eq 2 ]
	[ "$("$PODVM" exec web -- sh -c 'echo $COLOUR; pwd; id -u')" = $'red\n/tmp\n0' ]
	[ "$("$PODVM" exec -e COLOUR=blue -w / -u 65534 web -- sh -c 'echo $COLOUR; pwd; id -u')" = $'blue\n/\n65534' ]
	run -127 "$PODVM" exec web -- /no/such/program
	[ "$output" = "podvm: container 'main' of pod 'web': executable file '/no/such/program' not found" ]
	run -127 "$PODVM" exec web -- nosuch
	[ "$output" = "podvm: container 'main' of pod 'web': executable file 'nosuch' not found in \$PATH" ]
	run "$PODVM" exec web -- /etc/hosts
	[ "$status" -eq 126 ]
	[ "$output" = "podvm: container 'main' of pod 'web': '/etc/hosts' cannot be executed: Permission denied" ]
	run "$PODVM" exec web -- /etc
	[ "$status" -eq 126 ]
	[ "$output" = "podvm: container 'main' of pod 'web': '/etc' cannot be executed: it is a directory or a special file" ]
	run -127 "$PODVM" exec web -- ''
	[ "$output" = "podvm: container 'main' of pod 'web': executable file '' not found in \$PATH" ]
	run "$PODVM" exec -w /nosuch web -- pwd
	[ "$status" -eq 126 ]
	[ "$output" = "podvm: container 'main' of pod 'web': working folder '/nosuch': No such file or directory" ]
	run "$PODVM" exec web -- sh -c 'kill -9 $$'
	[ "$status" -eq 137 ]
}

@test "exec with a terminal" {
	run script -qec "stty rows 33 cols 77; '$PODVM' exec -it web -- sh -c 'tty; stty size; exit 5'" /dev/null
	[ "$status" -eq 5 ]
	[[ "$output" == *"/dev/pts/"* ]]
	[[ "$output" == *"33 77"* ]]
}

@test "exec carries a lot in both directions" {
	head -c 20000000 /dev/urandom >big
	"$PODVM" exec -i web -- cat <big >back
	cmp big back
}

@test "stats and inspect tell numbers and facts" {
	"$PODVM" stats --no-stream --json web | jq -e '.. | objects | select(has("containers"))' >/dev/null
	run "$PODVM" stats --no-stream web
	[[ "$output" == *main* ]]
	"$PODVM" inspect web | jq -e '.. | objects | select(.name? == "main" and .state? == "Running")' >/dev/null
	"$PODVM" inspect web | jq -e '.. | .kernel? // empty' | grep -q '[0-9]'
}

@test "debug: one archive, for its owner only, without what the environment holds" {
	run --separate-stderr "$PODVM" debug web
	[ "$status" -eq 0 ]
	[ "$output" = "podvm-debug-$ID.tar.gz" ]
	[ "$(stat -c %a "$output")" = 600 ]
	tar -xzf "$output"
	cd "podvm-debug-$ID"
	[ "$(jq -r .name pod.json)" = web ]
	grep -q 'guest is up' log.txt
	grep -q "^podvm $("$PODVM" version | cut -d ' ' -f 2)$" versions.txt
	grep -q '^Linux ' versions.txt
	grep -q 'kvm' check.txt
	jq -e '.. | objects | select(has("memoryUsage"))' stats.json >/dev/null
	for p in podvm qemu vmm; do
		grep -q '^State:' "processes/$p/status"
		grep -q ' -> ' "processes/$p/fds"
		grep -q '^wchan:' "processes/$p/threads"
	done
	run ! grep -rqa 'COLOUR=red' .
	cd ..
	run "$PODVM" debug web
	[ "$status" -eq 1 ]
	[ "$output" = "podvm: archive 'podvm-debug-$ID.tar.gz': File exists" ]
	"$PODVM" debug -o - web | tar -tz | grep -qx "podvm-debug-$ID/pod.json"
	run "$PODVM" debug nosuch
	[ "$status" -eq 1 ]
	[[ "$output" == "podvm: no pod 'nosuch'"* ]]
	[ -z "$(find . -name 'podvm-debug-*.tar.gz' -newer "podvm-debug-$ID.tar.gz")" ]
}

@test "the host's processes of an idle pod, QEMU aside, are small" {
	rss() {
		total=0
		for pid in $(jq -r '.pid, (.vm.processes[] | select(.name != "qemu") | .pid)' "$PODVM_RUN/pods/$ID/state.json"); do
			total=$((total + $(awk '/^VmRSS:/{print $2}' "/proc/$pid/status")))
		done
		echo "total $total KiB"
		((total <= 4096))
	}
	# The device process gives page-table entries of guest memory back when it has been idle for a while.
	wait_for 60 rss
}

@test "the device process has its relocated tables read-only" {
	local pid base start size range mode seen=0
	pid=$(jq -r '.vm.processes[] | select(.name == "vmm") | .pid' "$PODVM_RUN/pods/$ID/state.json")
	read -r start size < <(readelf -lW "$(dirname "$PODVM")/../libexec/podvm/podvm-vmm" | awk '$1 == "GNU_RELRO" {print $3, $6}')
	base=$((0x$(grep -m1 podvm-vmm "/proc/$pid/maps" | cut -d- -f1)))
	while read -r range mode _; do
		((0x${range%-*} < base + start + size && 0x${range#*-} > base + start)) || continue
		seen=1
		echo "$range $mode"
		[[ $mode == r--p ]]
	done <"/proc/$pid/maps"
	((seen))
}

@test "a pod is found by name, id and the beginning of its id; others are an error" {
	for what in web "$ID" "${ID:0:6}"; do
		"$PODVM" inspect "$what" >/dev/null
	done
	run "$PODVM" inspect nosuch
	[ "$status" -eq 1 ]
	[[ "$output" == *"no pod 'nosuch'"* ]]
}

@test "a second pod of that name is refused; rm of a running one too" {
	run "$PODVM" run -d -q "$BATS_FILE_TMPDIR/web.yaml"
	[ "$status" -eq 1 ]
	[[ "$output" == *"already running"* ]]
	run "$PODVM" rm web
	[ "$status" -eq 1 ]
	[[ "$output" == *"running"* ]]
}

@test "stop is graceful; logs and inspect still work; rm removes it" {
	"$PODVM" stop web
	[ -z "$("$PODVM" ps -q)" ]
	"$PODVM" ps -a | grep -q Succeeded
	"$PODVM" logs -c main web | grep -q "out line"
	"$PODVM" inspect web | jq -e '.phase == "Succeeded"'
	"$PODVM" rm web
	[ -z "$("$PODVM" ps -aq)" ]
}

@test "help everywhere, man pages, completion, version" {
	"$PODVM" --help | grep -q run
	for c in run ps logs exec stop rm stats inspect check version "image ls"; do
		# shellcheck disable=SC2086 # "image ls" is two words
		"$PODVM" $c --help | grep -qi example
	done
	"$PODVM" completion bash | bash -n
	"$PODVM" help image | grep -q '^  podvm image pull '
	"$PODVM" man | head -n 5 | grep -q '^\.TH'
	[[ "$("$PODVM" version)" == *podvm* ]]
}
