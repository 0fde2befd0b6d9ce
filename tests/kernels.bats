#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Our monitor with newer kernels of Debian's, and the largest machines it makes. Not part of make test, which fetches only what the machine's own
# Debian has: make kernels-check (tools/kernels-check), which makes the images and runs this in the lab.

bats_require_minimum_version 1.5.0
load lib/common.bash

CMDLINE="earlycon=uart8250,io,0x3f8 keep_bootcon quiet panic=-1 reboot=t 8250.nr_uarts=0 printk.devkmsg=on cryptomgr.notests rdinit=/init"
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

# machine SCRIPT ARGUMENTS: what the guest of such a machine says, in $said.
machine() {
	local kernel=$PODVM_STATE/lab/current
	printf '%s\n' "$1" >init
	"$ROOT/tests/lib/device-guest" "$kernel" init initramfs
	shift
	: >console
	unshare --pid --fork --kill-child "$(dirname "$PODVM")/../libexec/podvm/podvm-vmm" --vm --kernel 10 --initrd 11 --console 12 --cmdline "$CMDLINE" \
		"$@" 10<"$kernel/vmlinux" 11<initramfs 12>>console 3>&-
	said=$(sed -n 's/^.*T: //p' console | tr -d '\r')
	echo "$said"
	[[ $said == *end ]]
}

@test "32 vCPUs come up" {
	machine 'say cpus $(cat /sys/devices/system/cpu/online) $(grep -c ^processor /proc/cpuinfo)' --vcpus 32 --memory 512
	grep -q '^cpus 0-31 32$' <<<"$said"
}

@test "64 GiB are there" {
	machine 'say memory $(grep MemTotal /proc/meminfo | tr -dc 0-9)' --memory 65536
	read -r _ kib < <(grep '^memory ' <<<"$said")
	[ "$kib" -gt $((62 << 20)) ]
}
