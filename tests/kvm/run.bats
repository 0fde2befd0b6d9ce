#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods on real KVM: on this machine's, or in the lab (tools/lab-tests).

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() { podvm_setup; }
teardown() { assert_clean; }

@test "podvm check says that KVM can be used" {
	run "$PODVM" check
	[ "$status" -eq 0 ]
	[[ "$output" == *"kvm          usable: "* ]]
}

@test "a Pod runs on KVM" {
	pod job Never "$(sh_container main 'echo hello; exit 7')"
	run --separate-stderr "$PODVM" run --timings job.yaml
	echo "$stderr"
	[ "$status" -eq 7 ]
	[ "$output" = "[main] hello" ]
}
