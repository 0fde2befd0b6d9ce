#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What happens when a part of a pod dies: containerd tells the truth soon, everything can be removed, and nothing is left.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

setup_file() { containerd_start "${CRI_CONTAINERD:-1.6}"; }
teardown_file() { containerd_stop; }
setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	is_vm || skip "about the parts of podvm"
}
teardown() {
	is_vm || return 0
	cri_remove_all
	cri_assert_clean 30
}

exited() { [ "$("$CRI" container "$1" | jq -r .state)" = CONTAINER_EXITED ]; }
not_ready() { [ "$("$CRI" pod "$1" | jq -r .state)" = SANDBOX_NOTREADY ]; }

# One pod with one container that runs.
running_pod() {
	cri_shared_pod
	C=$(start_container main 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.1; done')
}

# truth COMMAND...: it becomes true soon after now: within 2 s on a quiet machine, which a busy one cannot show (CRI_TRUTH_MS, 10000).
truth() {
	local start=${EPOCHREALTIME/./} ms
	wait_for 30 "$@"
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	echo "# after $ms ms: $1" >&3
	((ms <= ${CRI_TRUTH_MS:-10000}))
}

# The death of part NAME of a running pod.
part_dies() {
	running_pod
	kill -9 "$(cri_pid "$1")"
	truth exited "$C"
	truth not_ready "$POD"
	run "$CRI" exec-sync --timeout 10 "$C" -- true
	[ "$status" -ne 0 ]
	run "$CRI" container "$C"
	[ "$(jq .exit_code <<<"$output")" -ne 0 ]
	"$CRI" rm "$C"
}

@test "kill -9 of the shim" { part_dies containerd-shim-podvm-v2; }
@test "kill -9 of the virtual machine" { part_dies qemu-system-x86_64; }
@test "kill -9 of the device process" { part_dies podvm-vmm; }

@test "a panic of the guest's kernel" {
	cri_shared_pod '.linux.security_context.privileged = true'
	C=$(start_container main 'sleep 1; echo c >/proc/sysrq-trigger; sleep 1000' '.linux.security_context.privileged = true')
	wait_for 60 exited "$C"
	wait_for 30 not_ready "$POD"
}

@test "containerd is killed and starts again: the pod has gone on" {
	running_pod
	quick=$(start_container quick 'while [ ! -e /d/go ]; do sleep 0.1; done; exit 9' '.mounts = [{host_path: "'"$PWD"'", container_path: "/d"}]')
	containerd_kill KILL
	touch go
	containerd_launch
	[ "$("$CRI" pod "$POD" | jq -r .state)" = SANDBOX_READY ]
	[ "$("$CRI" exec-sync "$C" -- echo alive)" = alive ]
	[ "$("$CRI" wait "$quick")" = "9 Error" ]
	before=$(wc -l <"$LOGS/main.log")
	more() { (($(wc -l <"$LOGS/main.log") > before)); }
	wait_for 20 more
	[ "$(run_container again 'echo again')" = again ]
	"$CRI" stop --grace 0 "$C"
	[ "$("$CRI" wait "$C")" = "137 Error" ]
}

@test "everything is killed at once: containerd cleans up when it starts again" {
	running_pod
	containerd_kill KILL
	for name in containerd-shim-podvm-v2 qemu-system-x86_64 podvm-vmm; do
		cri_processes $name | cut -d' ' -f1 | xargs -r kill -9 2>/dev/null || true
	done
	containerd_launch
	wait_for 30 not_ready "$POD"
	wait_for 30 exited "$C"
}

@test "kill -9 of the shim while the pod starts" {
	cri_pod shared
	"$CRI" run-pod shared.pod.json >out 2>&1 3>&- &
	runner=$!
	vm_starts() { cri_processes qemu-system-x86_64 | grep -q .; }
	wait_for 30 vm_starts
	kill -9 $(cri_processes containerd-shim-podvm-v2 | cut -d' ' -f1)
	# The pod may have been up by then; if it was, it is no more.
	if wait $runner; then
		wait_for 30 not_ready "$(cat out)"
	fi
}

# dies_during PART STEP: STEP is a command that is under way when PART is killed. It ends, somehow, and the pod with it.
dies_during() {
	local part=$1 step=$2 runner
	cri_shared_pod
	C=$(start_container main 'trap "echo asked" TERM; while :; do sleep 0.2; done')
	cri_container late 'sleep 1000'
	case $step in
	create) "$CRI" run "$POD" late.json "$POD_JSON" ;;
	exec) "$CRI" exec-sync --timeout 60 "$C" -- sleep 1000 ;;
	stop) "$CRI" stop --grace 60 "$C" ;;
	esac >out 2>&1 3>&- &
	runner=$!
	# What the step leaves in the guest is seen, or (create) it has just begun.
	case $step in
	exec) wait_for 30 in_guest "sleep 1000" ;;
	stop) wait_for 30 stopping ;;
	esac
	kill -9 "$(cri_pid "$part")"
	wait $runner || true
	truth exited "$C"
	truth not_ready "$POD"
	cri_remove_all
	cri_assert_clean 30
}
stopping() { log_text "$LOGS/main.log" | grep -q asked; }
in_guest() { "$CRI" exec-sync --timeout 10 "$C" -- ps 2>/dev/null | grep -q "$1"; }

@test "kill -9 of each part during create" {
	for part in containerd-shim-podvm-v2 qemu-system-x86_64 podvm-vmm; do dies_during $part create; done
}
@test "kill -9 of each part during exec" {
	for part in containerd-shim-podvm-v2 qemu-system-x86_64 podvm-vmm; do dies_during $part exec; done
}
@test "kill -9 of each part during stop" {
	for part in containerd-shim-podvm-v2 qemu-system-x86_64 podvm-vmm; do dies_during $part stop; done
}

@test "a device process that hangs blocks nobody" {
	running_pod
	kill -STOP "$(cri_pid podvm-vmm)"
	run "$CRI" exec-sync --timeout 2 "$C" -- true
	[ "$status" -ne 0 ]
	"$CRI" stop-pod "$POD"
	"$CRI" rm-pod "$POD"
}

@test "a virtual machine that hangs blocks nobody" {
	running_pod
	vm=$(cri_pid qemu-system-x86_64)
	kill -STOP "$vm"
	run "$CRI" exec-sync --timeout 2 "$C" -- true
	[ "$status" -ne 0 ]
	"$CRI" stop-pod "$POD"
	"$CRI" rm-pod "$POD"
}

@test "a pod whose virtual machine cannot start leaves nothing" {
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
