#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The rig itself, with Debian's runc: what fails here is wrong with the rig, not with podvm. CRI_CONTAINERD chooses the version.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

setup_file() {
	export CRI_HANDLER=runc
	containerd_start "${CRI_CONTAINERD:-1.6}"
}
teardown_file() { containerd_stop; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }

@test "a pod of runc: streams, exit codes, statistics, and nothing is left" {
	cri_pod p
	pod=$("$CRI" run-pod p.pod.json)
	cri_container c 'echo hello; read x; echo got $x; exit 3' '.stdin = true | .stdin_once = true'
	c=$("$CRI" run "$pod" c.json p.pod.json)
	run "$CRI" exec-sync "$c" -- sh -c 'echo hi; exit 4'
	[ "$status" -eq 4 ]
	[ "$output" = hi ]
	run "$CRI" exec -i "$c" -- sh -c 'cat; exit 5' <<<"abc"
	[ "$status" -eq 5 ]
	[ "$output" = abc ]
	[ "$("$CRI" stats "$c" | jq '.memory.working_set_bytes > 0')" = true ]
	run "$CRI" attach -i "$c" <<<"word"
	[ "$output" = "got word" ]
	[ "$("$CRI" wait "$c")" = "3 Error" ]
	[ "$(ended_log logs-p/c.log)" = $'hello\ngot word' ]
	"$CRI" stop-pod "$pod"
	"$CRI" rm-pod "$pod"
	cri_assert_clean
}

@test "the proof that nothing is left can fail" {
	cri_pod p
	pod=$("$CRI" run-pod p.pod.json)
	run ! cri_is_clean
	"$CRI" stop-pod "$pod"
	"$CRI" rm-pod "$pod"
	cri_assert_clean
}
