#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What happens when a part of a pod dies or hangs, at any step of its life, or containerd itself: containerd tells the truth soon, every call
# comes back, everything can be removed, and nothing is left. The work is done by tests/lib/cri-faults, three pods at a time, while the
# tests here wait for one result after the other. With CRI_CONTAINERD=1.6 every part dies in every step (the agent in some); with others one part in
# each, another one for each handler. CRI_FAULTS=all: every part in every step, calls to a guest that hangs are waited for to their deadlines, and
# containerd dies five times. CRI_FAULTS_SEED changes the moments; CRI_FAULTS_ONLY=REGEX chooses scenarios.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

# planned WORD: the scenarios of this run whose name matches WORD, in their order: those that hang leave a CPU idle.
planned() {
	local part step all="" list=() i=0
	[[ ${CRI_FAULTS:-} != all && $CRI_CONTAINERD != 1.6 ]] || all=yes
	[[ $CRI_HANDLER != podvm-shim ]] || i=1
	for step in run create start exec stop delete delpod runpod; do
		for part in shim vm device; do
			[[ ! $all && $((i++ % 3)) != 0 ]] || list+=("$part-$step")
		done
		((++i))
	done
	list+=(shim-rmpod)
	# The agent, which only a program in the guest can end: tests/guest/kill_agent.c.
	case ${CRI_FAULTS:-}$CRI_CONTAINERD$CRI_HANDLER in
	all*) list+=(agent-{run,create,start,exec,stop,delete,delpod}) ;;
	1.6*) list+=(agent-{run,exec,stop,delpod}) ;;
	*shim) list+=(agent-create) ;;
	*) list+=(agent-start) ;;
	esac
	if [[ $all ]]; then
		list=(vm-hangs device-hangs "${list[@]:0:6}" agent-hangs panic runc0 "${list[@]:6:8}" runc1 "${list[@]:14}" runc2)
	elif [[ $CRI_HANDLER == podvm-shim ]]; then
		list=(agent-hangs "${list[@]}" panic runc0 runc1 runc2)
	else
		list=(vm-hangs runc0 "${list[@]}" panic runc1 runc2)
	fi
	printf '%s\n' "${list[@]}" | grep -E -- "${CRI_FAULTS_ONLY:-}" | grep -E -- "${1:-}"
}

setup_file() {
	export CRI_CONTAINERD=${CRI_CONTAINERD:-1.6}
	is_vm || { echo "about the parts of podvm" && return 1; }
	containerd_start "$CRI_CONTAINERD"
	export RESULTS=$BATS_FILE_TMPDIR/results
	mkdir "$RESULTS"
	export GREEDY=$BATS_FILE_TMPDIR/greedy
	gcc -static -Wall -Werror -o "$GREEDY" "$ROOT/tests/guest/greedy.c" || return 1
	export KILL_AGENT=$BATS_FILE_TMPDIR/kill_agent
	gcc -static -Wall -Werror -o "$KILL_AGENT" "$ROOT/tests/guest/kill_agent.c" || return 1
	# shellcheck disable=SC2046 # words
	"$ROOT/tests/lib/cri-faults" "$RESULTS" $(planned) >"$RESULTS/log" 2>&1 3>&- &
	echo $! >"$RESULTS/pid"
}
teardown_file() {
	[[ ! -f ${RESULTS:-}/pid ]] || kill "$(cat "$RESULTS/pid")" 2>/dev/null || true
	containerd_stop
}

# All of them have been played.
over() { ! kill -0 "$(cat "$RESULTS/pid")" 2>/dev/null; }
finished() { wait_for 900 over; }
# result SCENARIO: waits for it, shows what it noted, and fails when it did.
result() {
	there_or_over() { [[ -f $RESULTS/$1 ]] || over; }
	wait_for 900 there_or_over "$1"
	[[ -f $RESULTS/$1 ]] || { tail -n 20 "$RESULTS/log" && return 1; }
	jq -r --arg name "$1" '"# " + $name + ": " + ((.ms | map("\(.) ms")) + ["\(.seconds) s in all"] | join(", "))' "$RESULTS/$1" >&3
	jq -r --arg name "$1" '$name, .error, .notes[]' "$RESULTS/$1"
	jq -e '.error == ""' "$RESULTS/$1" >/dev/null
}
results() {
	local name n=0 bad=0
	for name in $(planned "$1"); do
		result "$name" || bad=1
		n=$((n + 1))
	done
	((bad == 0 && n > 0))
}
# play SCENARIO...: here and now, with nothing else going on.
play() {
	local name bad=0
	"$ROOT/tests/lib/cri-faults" "$RESULTS" "$@"
	for name in "$@"; do result "$name" || bad=1; done
	cri_assert_clean 30
	return $bad
}
often() { [[ ${CRI_FAULTS:-} == all ]] && echo "$1" || echo "$2"; }

@test "kill -9 of a part of a running pod" { results -run$; }
@test "kill -9 of a part during create" { results -create; }
@test "kill -9 of a part during start" { results -start; }
@test "kill -9 of a part during exec" { results -exec; }
@test "kill -9 of a part during stop" { results -stop; }
@test "kill -9 of a part while a container is deleted" { results -delete; }
@test "kill -9 of a part while the pod is deleted" { results -delpod; }
@test "kill -9 of the shim while the pod is removed" { results -rmpod; }
@test "kill -9 of a part while the pod starts" { results -runpod; }

@test "a guest that hangs blocks nobody, and errors name the step" { results hangs; }
@test "a panic of the guest's kernel is an end, with the console's last lines" { results panic; }

@test "containerd knows within 2 s" {
	finished
	read -r median limit < <(cd "$RESULTS" && jq -rs 'def median: sort | .[length / 2 | floor];
		(map(select(.name | test("^runc") | not).ms[]) | median) as $m | (map(select(.name | test("^runc")).ms[]) | median) as $r |
		"\($m) \(2000 + $r)"' < <(for name in $(planned); do jq --arg name "$name" '.name = $name' "$name"; done))
	echo "# median $median ms, limit $limit ms" >&3
	((median <= limit))
}

@test "none of these left anything" { finished && cri_assert_clean 30; }

@test "containerd is killed in the middle of everything, and starts again" {
	for ((i = 0; i < $(often 5 1); i++)); do play containerd$i; done
}
@test "containerd is killed while a pod starts, and starts again" {
	for ((i = 0; i < $(often 5 1); i++)); do play containerd-runpod$i; done
}

@test "everything is killed at once: containerd cleans up when it starts again" {
	cd "$BATS_TEST_TMPDIR" && cri_shared_pod
	C=$(start_container main 'sleep 1000')
	containerd_kill KILL
	for name in containerd-shim-podvm-v2 qemu-system-x86_64 podvm-vmm; do
		cri_processes $name | cut -d' ' -f1 | xargs -r kill -9 2>/dev/null || true
	done
	containerd_launch
	not_ready() { [ "$("$CRI" pod "$POD" | jq -r .state)" = SANDBOX_NOTREADY ]; }
	exited() { [ "$("$CRI" container "$C" | jq -r .state)" = CONTAINER_EXITED ]; }
	wait_for 30 not_ready
	wait_for 30 exited
	cri_remove_all
	cri_assert_clean 30
}

@test "a pod whose virtual machine cannot start leaves nothing" {
	cd "$BATS_TEST_TMPDIR"
	containerd_kill
	PODVM_STATE=$PWD/empty containerd_launch
	cri_pod shared
	run "$CRI" run-pod shared.pod.json
	containerd_kill
	containerd_launch
	[ "$status" -eq 125 ]
	[[ "$output" == *"podvm image build"* ]]
	cri_assert_clean
}
