#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The shim as ctr, nerdctl and docker use it: a container and its VM in one, without the CRI; and what a kill -9 leaves.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

setup_file() { containerd_start "${CRI_CONTAINERD:-1.6}"; }
teardown_file() { containerd_stop; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

RUNTIME=(--runtime io.containerd.podvm.v2)
run_ctr() { k8s_ctr run "${RUNTIME[@]}" "$@"; }
shim_pid() { jq -r .pid "$PODVM_RUN"/pods/*/state.json; }
vm_pid() { jq -r ".vm.processes[] | select(.name == \"$1\") | .pid" "$PODVM_RUN"/pods/*/state.json; }
task_status() { k8s_ctr task ls | awk -v id="$1" '$1 == id {print $3}'; }
is_stopped() { [[ $(task_status "$1") == STOPPED ]]; }
is_running() { [[ $(task_status "$1") == RUNNING ]]; }

@test "ctr run: output, exit code, a kernel of its own; the end leaves nothing" {
	run run_ctr --rm "$IMAGE" one sh -c 'uname -r; echo to-stderr >&2; exit 3'
	[ "$status" -eq 3 ]
	[[ "$output" == *to-stderr* && "$output" != *"$(uname -r)"* ]]
	cri_assert_clean
}

# More than all buffers on the way hold (1.3 MB): ctr 1.6 tells the end of its stdin only when it sees it after the task was created.
@test "stdin to its end, and megabytes through stdout" {
	head -c 4000000 /dev/urandom | base64 -w 0 >in
	run_ctr --rm "$IMAGE" two sh -c 'cat' <in >out
	cmp in out
}

@test "options of the runtime: a file that sizes the VM; one that is wrong is refused with its line" {
	echo 'vcpus = 2' >two.conf
	run run_ctr --rm --runtime-config-path "$PWD/two.conf" "$IMAGE" sized nproc
	[ "$status" -eq 0 ]
	[ "${lines[-1]}" = 2 ]
	printf '# none\nvcpus = 0\n' >bad.conf
	run run_ctr --rm --runtime-config-path "$PWD/bad.conf" "$IMAGE" wrong true
	[ "$status" -ne 0 ]
	[[ "$output" == *"bad.conf"*"line 2"*vcpus* ]]
	k8s_ctr container rm wrong >/dev/null 2>&1 || true
	cri_assert_clean
}

@test "a task that is paused stands still" {
	mkdir -p vol
	run_ctr -d --mount "type=bind,src=$PWD/vol,dst=/v,options=rbind:rw" "$IMAGE" still sh -c 'while :; do n=$((n + 1)); echo $n >/v/next; mv /v/next /v/n; done'
	moves() { local n; n=$(cat vol/n) && for _ in 1 2 3 4 5; do k8s_ctr task ls >/dev/null && [ "$(cat vol/n)" != "$n" ] && return; done; return 1; }
	wait_for 60 moves
	k8s_ctr task pause still
	[ "$(task_status still)" = PAUSED ]
	run ! moves
	k8s_ctr task resume still
	[ "$(task_status still)" = RUNNING ]
	wait_for 60 moves
	k8s_ctr task kill -s KILL still
	wait_for 60 is_stopped still
	k8s_ctr task rm still || true
	k8s_ctr container rm still
	cri_assert_clean
}

@test "exec, pids, metrics, kill of all and of one; delete" {
	run_ctr -d "$IMAGE" three sh -c 'sleep 1001 & sleep 1002 & exec sleep 1000'
	run k8s_ctr task exec --exec-id e1 three sh -c 'echo in $(hostname); exit 4'
	[ "$status" -eq 4 ]
	[[ "$output" == "in "* ]]
	pids() { k8s_ctr task ps three | awk 'NR > 1 {print $1}' | sort -un; }
	have() { [ "$(pids | wc -l)" -eq "$1" ]; }
	wait_for 60 have 3
	all=$(pids)
	# The first process of a PID namespace does not see a signal that it has no handler for; the others do.
	k8s_ctr task kill --all -s TERM three
	wait_for 60 have 1
	[ "$(comm -13 <(echo "$all") <(pids))" = "" ]
	run k8s_ctr task metrics three
	[[ "$output" == *memory* ]]
	run k8s_ctr task checkpoint three
	[ "$status" -ne 0 ]
	[[ "$output" == *"cannot checkpoint"* ]]
	k8s_ctr task kill -s KILL three
	wait_for 60 is_stopped three
	run k8s_ctr task rm three
	[[ "$output" == *137* || "$status" -eq 137 ]]
	k8s_ctr container rm three
	cri_assert_clean
}

@test "a mount that is read-only with everything below it, and one that is not" {
	mkdir -p vol/below
	mount -t tmpfs tmpfs vol/below
	run run_ctr --rm --mount "type=bind,src=$PWD/vol,dst=/a,options=rbind:rro" --mount "type=bind,src=$PWD/vol,dst=/b,options=rbind:ro" \
		"$IMAGE" rro sh -c 'touch /a/x; touch /a/below/x; touch /b/x; touch /b/below/y && echo written'
	umount vol/below
	[[ "$output" == *"/a/x: Read-only"*"/a/below/x: Read-only"*"/b/x: Read-only"*written* ]]
}

@test "events of a container come in order" {
	"$CONTAINERD_BIN/ctr" -a "$CONTAINERD_ADDRESS" -n k8s.io events >events.log 3>&- &
	local events=$! n=0
	listens() { k8s_ctr images label "$IMAGE" "test=$((n++))" >/dev/null && [ -s events.log ]; }
	wait_for 60 listens
	run_ctr -d "$IMAGE" four sh -c 'exec sleep 1000'
	k8s_ctr task exec --exec-id e1 four true
	k8s_ctr task pause four
	k8s_ctr task resume four
	k8s_ctr task kill -s KILL four
	wait_for 60 is_stopped four
	k8s_ctr task rm four || true
	got_delete() { grep -q /tasks/delete events.log; }
	wait_for 60 got_delete
	kill "$events"
	grep -o '/tasks/[a-z-]*' events.log | cut -d / -f 3 | tr '\n' ' ' >order
	cat order
	[ "$(cat order)" = "create start exec-added exec-started exit paused resumed exit delete " ]
	k8s_ctr container rm four
}

@test "logging URIs and host networking are refused with the reason" {
	run run_ctr --rm --log-uri binary:///bin/true "$IMAGE" five true
	[ "$status" -ne 0 ]
	[[ "$output" == *"named pipes"* ]]
	run run_ctr --rm --net-host "$IMAGE" six true
	[ "$status" -ne 0 ]
	[[ "$output" == *hostNetwork* ]]
	run_clean() { k8s_ctr container rm five six >/dev/null 2>&1 || true; }
	run_clean
	cri_assert_clean
}

@test "kill -9 of the shim, of QEMU, of the device process: an exit, and nothing is left" {
	local what
	for what in shim qemu vmm; do
		run_ctr -d "$IMAGE" "k-$what" sh -c 'exec sleep 1000'
		is_running "k-$what"
		if [[ $what == shim ]]; then kill -9 "$(shim_pid)"; else kill -9 "$(vm_pid $what)"; fi
		gone() { ! is_running "k-$what"; }
		wait_for 60 gone
		k8s_ctr task rm "k-$what" >/dev/null 2>&1 || true
		k8s_ctr container rm "k-$what"
		cri_assert_clean
	done
}

@test "containerd restarts: the container lives, and is reached again" {
	run_ctr -d "$IMAGE" seven sh -c 'exec sleep 1000'
	containerd_kill TERM
	containerd_launch
	is_running seven
	run k8s_ctr task exec --exec-id e2 seven echo still here
	[ "$output" = "still here" ]
	k8s_ctr task kill -s KILL seven
	wait_for 60 is_stopped seven
	k8s_ctr task rm seven >/dev/null || true
	k8s_ctr container rm seven
	cri_assert_clean
}

@test "-info tells the runtime's features, among them recursive read-only mounts, and that there are no user namespaces" {
	"$ROOT/b/root/bin/containerd-shim-podvm-v2" -info </dev/null | grep -ao '{.*}' >features.json
	[ "$(jq -c '[(.mountOptions | index("rro") != null), (.linux.namespaces | index("user")), .linux.mountExtensions.idmap.enabled]' features.json)" = '[true,null,false]' ]
	# containerd's own reader: 1.x does not ask.
	[[ $CONTAINERD_VERSION == 2 ]] || return 0
	[ "$(k8s_ctr plugins inspect-runtime --runtime=io.containerd.podvm.v2 | jq -r '.Features.mountOptions | index("rro") != null')" = true ]
}

@test "the shim is small" {
	run_ctr -d "$IMAGE" eight sh -c 'exec sleep 1000'
	rss=$(awk '/^VmRSS/ {print $2}' "/proc/$(shim_pid)/status")
	pss=$(awk '/^Pss:/ {print $2}' "/proc/$(shim_pid)/smaps_rollup")
	echo "RSS $rss KiB, PSS $pss KiB"
	((rss <= 2560))
	k8s_ctr task kill -s KILL eight
	wait_for 60 is_stopped eight
	k8s_ctr task rm eight >/dev/null || true
	k8s_ctr container rm eight
}
