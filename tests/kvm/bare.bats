#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The bare guests of tests/guest on a KVM that runs stock kernels, which may do other things than the KVM that the unit tests find: on this
# machine, or in the lab (tools/lab-tests).

bats_require_minimum_version 1.5.0
load ../lib/common.bash

bare() { "$ROOT/b/dev/tests/test_$1" "$(dirname "$PODVM")/../libexec/podvm/podvm-vmm" "$ROOT/b/dev/tests"; }

# A flood of 262,144 characters, each an exit, takes too long in the lab.
@test "machines with bare guests end as they should, hostile ones too" {
	MACHINE_SHORT=1 bare machine
}

@test "machines obey good and bad owners" {
	bare machine_owner
}

@test "every device calls hostile rings broken" {
	bare machine_rings
}

@test "a vCPU that the guest starts runs when its owner lets it" {
	bare machine_two
}
