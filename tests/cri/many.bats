#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Many pods at once, in rounds, with a comparison of everything that may leak. CRI_PODS pods (4), CRI_ROUNDS rounds (2); the release test is
# CRI_PODS=30 CRI_ROUNDS=3.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

setup_file() { containerd_start "${CRI_CONTAINERD:-1.6}"; }
teardown_file() { containerd_stop; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

# The life of pod NUMBER; prints "ok" at its end.
one_pod() {
	local pod c end log
	cri_pod "p$1" || return 1
	cri_container "c$1" "echo from $1; exit 3"
	pod=$("$CRI" run-pod --timeout 600 "p$1.pod.json") || return 1
	c=$("$CRI" run "$pod" "c$1.json" "p$1.pod.json") || return 1
	end=$("$CRI" wait --timeout 300 "$c") log=$(ended_log "logs-p$1/c$1.log")
	[[ $end == "3 Error" && $log == "from $1" ]] || { echo "exit '$end', log '$log'" && return 1; }
	"$CRI" stop-pod "$pod" && "$CRI" rm-pod "$pod" && echo ok
}

few_fds() {
	now=$(ls "/proc/$(cat "$CONTAINERD_DIR/pid")/fd" | wc -l)
	((fds == 0 || now <= fds + 2))
}

@test "pods come and go in parallel, and nothing is left" {
	pods=${CRI_PODS:-4}
	fds=0
	for ((round = 0; round < ${CRI_ROUNDS:-2}; round++)); do
		rm -rf logs-*
		for ((i = 0; i < pods; i++)); do
			one_pod $i >"out$i" 2>&1 3>&- &
		done
		wait
		for ((i = 0; i < pods; i++)); do
			[[ $(cat "out$i") == ok ]] || { echo "pod $i: $(cat "out$i")" && false; }
		done
		cri_assert_clean 60
		# It closes some a little later.
		wait_for 60 few_fds || { echo "containerd had $fds descriptors, has $now" && false; }
		fds=$now
	done
}
