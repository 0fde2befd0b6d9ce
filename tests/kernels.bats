#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Our monitor with newer kernels of Debian's. Not part of make test, which fetches only what the machine's own
# Debian has: make kernels-check (tools/kernels-check), which makes the images and runs this in the lab.

bats_require_minimum_version 1.5.0
load lib/common.bash

setup() { podvm_setup; }
teardown() {
	umount "$PODVM_STATE/guest" 2>/dev/null || true
	assert_clean
}

# pod_with SUITE MAJOR: a Pod on the image with that kernel.
pod_with() {
	mount --bind "$ROOT/b/other-kernel/$1.image" "$PODVM_STATE/guest"
	pod job Never "$(sh_container main 'uname -r; cat /proc/meminfo | head -1; exit 7')"
	run --separate-stderr "$PODVM" run --driver vmm job.yaml
	echo "$output" "$stderr"
	[ "$status" -eq 7 ]
	[[ ${lines[0]} == "[main] $2."* ]]
}

@test "a Pod on the kernel of Debian 13 (6.12)" { pod_with trixie 6.12; }

@test "a Pod on the kernel of Debian's unstable (7.x)" { pod_with sid 7; }
