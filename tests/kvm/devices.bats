#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The devices of podvm-vmm with Linux's drivers. Runs where KVM is: on this machine, or in the lab (tools/lab-tests). Booting takes
# longest, so several devices share a guest.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

CMDLINE="earlycon=uart8250,io,0x3f8 keep_bootcon quiet panic=-1 reboot=t 8250.nr_uarts=0 printk.devkmsg=on cryptomgr.notests rdinit=/init"
VMM=$(dirname "$PODVM")/../libexec/podvm/podvm-vmm

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	kernel=$PODVM_STATE/lab/current
	: >console
	machine=(unshare --pid --fork --kill-child "$VMM" --vm --explain --kernel 10 --initrd 11 --console 12 --memory 256 --cmdline "$CMDLINE")
}

# initramfs SCRIPT: what the guest runs.
initramfs() {
	printf '%s\n' "$1" >init
	"$ROOT/tests/lib/device-guest" "$kernel" init initramfs
}

# What the guest said, in $said; the test fails unless it came to its end.
hear() {
	said=$(sed -n 's/^.*T: //p' console | tr -d '\r')
	echo "$said"
	cat told
	[[ $said == *end ]]
	grep -q 'the guest powered off' told
}
sum() { md5sum | cut -d ' ' -f 1; }

@test "rng, disks: random numbers; reads, writes, flushes, discards; a read-only disk refuses" {
	head -c 16M /dev/urandom >disk
	head -c 4M /dev/urandom >ro
	blocks=$(stat -c %b disk)
	initramfs '
		say rng $(cat /sys/class/misc/hw_random/rng_current) $(dd if=/dev/hwrng bs=512 count=16 2>/dev/null | wc -c)
		say id $(cat /sys/block/vda/serial) size $(cat /sys/block/vda/size)
		say cached $(dd if=/dev/vda bs=1M 2>/dev/null | md5sum)
		say direct $(dd if=/dev/vda bs=4k count=256 iflag=direct 2>/dev/null | md5sum)
		dd if=/dev/zero of=/dev/vda bs=1M seek=4 count=4 conv=fsync 2>/dev/null && say zeroed
		dd if=/dev/vda of=/dev/vda bs=4096 count=1 seek=2100 conv=fsync 2>/dev/null && say copied
		say ro $(cat /sys/block/vdb/ro) $(md5sum </dev/vdb)
		dd if=/dev/zero of=/dev/vdb bs=512 count=1 2>/dev/null && say written
		blkdiscard -o 10485760 -l 4194304 /dev/vda && say discarded'
	before=$(sum <disk) first=$(head -c 1M disk | sum)
	"${machine[@]}" --rng --disk 13 --disk 14,ro 10<"$kernel/vmlinux" 11<initramfs 12>>console 13<>disk 14<ro 2>told 3>&- || {
		cat told console
		false
	}
	hear
	grep -q '^rng virtio_rng.0 8192$' <<<"$said"
	grep -q '^id disk0 size 32768$' <<<"$said"
	grep -q "^cached $before " <<<"$said"
	grep -q "^direct $first " <<<"$said"
	grep -q '^zeroed$' <<<"$said"
	[ "$(tail -c +4194305 disk | head -c 4M | tr -d '\0' | wc -c)" -eq 0 ]
	grep -q '^copied$' <<<"$said"
	cmp <(head -c 4096 disk) <(tail -c +$((2100 * 4096 + 1)) disk | head -c 4096)
	grep -q "^ro 1 $(sum <ro) " <<<"$said"
	run ! grep -q '^written$' <<<"$said"
	grep -q '^discarded$' <<<"$said"
	[ "$(stat -c %b disk)" -lt $((blocks - 8000)) ]
}
