#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The devices of podvm-vmm with Linux's drivers. Runs where KVM is: on this machine, or in the lab (tools/lab-tests). Booting takes
# longest, so several devices share a guest. Environment: GUEST_KERNEL, a folder with another kernel (vmlinux, modules) than the lab's.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

CMDLINE="earlycon=uart8250,io,0x3f8 keep_bootcon quiet panic=-1 reboot=t 8250.nr_uarts=0 printk.devkmsg=on cryptomgr.notests rdinit=/init"
export VMM=$(dirname "$PODVM")/../libexec/podvm/podvm-vmm

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	kernel=${GUEST_KERNEL:-$PODVM_STATE/lab/current}
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

@test "rng, disks, file as memory, console: what each is for; a read-only disk refuses" {
	head -c 16M /dev/urandom >disk
	head -c 4M /dev/urandom >ro
	head -c 8M /dev/urandom >slow
	blocks=$(stat -c %b disk)
	mkdir tree
	head -c 1M /dev/urandom >tree/file
	truncate -s 7M image
	mkfs.ext4 -q -b 4096 -O ^has_journal -d tree image
	image=$(sum <image) slow=$(sum <slow)
	initramfs '
		say rng $(cat /sys/class/misc/hw_random/rng_current) $(dd if=/dev/hwrng bs=512 count=16 2>/dev/null | wc -c)
		say id $(cat /sys/block/vda/serial) size $(cat /sys/block/vda/size)
		say cached $(dd if=/dev/vda bs=1M 2>/dev/null | md5sum)
		say direct $(dd if=/dev/vda bs=4k count=256 iflag=direct 2>/dev/null | md5sum)
		dd if=/dev/zero of=/dev/vda bs=1M seek=4 count=4 conv=fsync 2>/dev/null && say zeroed
		dd if=/dev/vda of=/dev/vda bs=4096 count=1 seek=2100 conv=fsync 2>/dev/null && say copied
		say ro $(cat /sys/block/vdb/ro) $(md5sum </dev/vdb)
		dd if=/dev/zero of=/dev/vdb bs=512 count=1 2>/dev/null && say written
		blkdiscard -o 10485760 -l 4194304 /dev/vda && say discarded
		say threads $(dd if=/dev/vdc bs=1M iflag=direct 2>/dev/null | md5sum)
		dd if=/dev/zero of=/dev/vdc bs=64k count=16 conv=fsync 2>/dev/null && say zeroed threads
		/sbin/fallocate -z -o 4M -l 1M /dev/vdc && blkdiscard -o 5242880 -l 1048576 /dev/vdc && say discarded threads
		/sbin/fallocate -z -o 2M -l 1M /dev/vda && say zeroed again
		say pmem $(cat /sys/block/pmem0/size) $(md5sum </dev/pmem0)
		mkdir /mnt && mount -t ext4 -o ro,dax /dev/pmem0 /mnt && say file $(md5sum </mnt/file) $(grep -o dax=always /proc/mounts)
		dd if=/dev/zero of=/dev/pmem0 bs=4096 count=1 conv=fsync 2>/dev/null
		echo "T: by hvc0" >/dev/hvc0'
	before=$(sum <disk) first=$(head -c 1M disk | sum)
	"${machine[@]}" --rng --hvc --disk 13 --disk 14,ro --disk 15,threads --pmem 16 10<"$kernel/vmlinux" 11<initramfs 12>>console \
		13<>disk 14<ro 15<>slow 16<image 2>told 3>&- || {
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
	grep -q '^zeroed again$' <<<"$said"
	[ "$(tail -c +2097153 disk | head -c 1M | tr -d '\0' | wc -c)" -eq 0 ]
	cmp <(head -c 4096 disk) <(tail -c +$((2100 * 4096 + 1)) disk | head -c 4096)
	grep -q "^ro 1 $(sum <ro) " <<<"$said"
	run ! grep -q '^written$' <<<"$said"
	grep -q '^discarded$' <<<"$said"
	[ "$(stat -c %b disk)" -lt $((blocks - 8000)) ]
	grep -q "^threads $slow " <<<"$said"
	grep -q '^zeroed threads$' <<<"$said"
	grep -q '^discarded threads$' <<<"$said"
	[ "$(head -c 1M slow | tr -d '\0' | wc -c)" -eq 0 ]
	[ "$(tail -c +4194305 slow | head -c 2M | tr -d '\0' | wc -c)" -eq 0 ]
	# The file, and zeros up to the next 2 MiB; the file itself stays as it was.
	grep -q "^pmem 16384 $({ cat image && head -c 1M /dev/zero; } | sum) " <<<"$said"
	grep -q "^file $(sum <tree/file) - dax=always$" <<<"$said"
	[ "$(sum <image)" = "$image" ]
	grep -q '^by hvc0$' <<<"$said"
}

# node: a network of the test's own with the tap t0, where this runs; goes with the test.
node() {
	ip netns add "d$$"
	ip -n "d$$" link set lo up
	ip -n "d$$" tuntap add t0 mode tap vnet_hdr
	ip -n "d$$" addr add 10.9.0.1/24 dev t0
	ip -n "d$$" link set t0 up
}
teardown() {
	ip netns del "d$$" 2>/dev/null || true
	[[ -z ${loop:-} ]] || losetup -d "$loop"
}

# owner <SCRIPT: plays the owner; what it said is in $output, what the guest said in $said.
owner() {
	run ip netns exec "d$$" "$ROOT/tests/lib/vmm-owner"
	echo "$output"
	said=$(sed -n 's/^.*T: //p' console | tr -d '\r')
	echo "$said"
}

@test "net, balloon, memory: offloads, intact data, memory that comes and goes; pause; a triple fault ends it" {
	node
	head -c 4M /dev/urandom >sent
	initramfs '
		ip addr add 10.9.0.2/24 dev eth0
		ip link set eth0 up
		say eth0 $(cat /sys/class/net/eth0/address) $(cat /sys/class/net/eth0/mtu)
		ping -c 3 -W 20 10.9.0.1 >/dev/null && say pinged
		dd if=/dev/urandom of=/tmp/x bs=1M count=4 2>/dev/null
		say out $(md5sum </tmp/x)
		nc 10.9.0.1 7000 </tmp/x && say sent
		before=$(cat /sys/class/net/eth0/statistics/rx_packets)
		nc 10.9.0.1 7001 </dev/null >/tmp/y
		say frame $((4194304 / ($(cat /sys/class/net/eth0/statistics/rx_packets) - before)))
		say in $(md5sum </tmp/y) $(sed -n "s/^Tcp: [0-9]/&/p" /proc/net/snmp | cut -d " " -f 16)
		dd if=/dev/zero of=/tmp/big bs=1M count=120 2>/dev/null
		say full
		while [ $(grep MemTotal /proc/meminfo | tr -dc 0-9) -lt 400000 ]; do sleep 0.2; done
		say grown
		rm /tmp/*
		say freed
		i=0
		while [ $i -lt 10 ] || [ ! -e /sys/class/net/eth0/carrier ]; do i=$((i + 1)); say tick $i; sleep 0.1; done
		while ping -c 1 -W 10 10.9.0.1 >/dev/null; do i=$((i + 1)); say tick $i; sleep 0.1; done
		reboot -f'
	owner <<EOF
		open kernel $kernel/vmlinux ro
		open initrd initramfs ro
		tap t0
		run socat -u TCP-LISTEN:7000,reuseaddr OPEN:got,creat 3>&- & socat -u OPEN:sent TCP-LISTEN:7001,reuseaddr 3>&- &
		start --kernel @kernel --initrd @initrd --console @console --memory 256 --memory-max 512 --balloon --nic @t0,02:00:00:00:00:02,1400 --cmdline ${CMDLINE// /+}+memhp_default_state=online_movable
		console T: full
		rss > 150
		until nics.0.tx_bytes > 4194304
		until nics.0.rx_bytes > 4194304
		send {"id":1,"op":"resize","memory":1024}
		send {"id":2,"op":"resize","vcpus":2}
		send {"id":3,"op":"resize","memory":512}
		console T: grown
		until plugged = 268435456
		console T: freed
		rss < 150
		until balloon.reported > 67108864
		send {"id":4,"op":"resize","memory":256}
		until plugged = 0
		send {"id":5,"op":"resize","memory":128}
		until balloon.actual = 134217728
		until balloon.free > 1
		until balloon.free < 115000000
		send {"id":6,"op":"resize","memory":256}
		until balloon.actual = 0
		console T: tick 3
		send {"id":7,"op":"pause"}
		send {"id":8,"op":"counters"}
		run sleep 1
		send {"id":9,"op":"counters"}
		send {"id":10,"op":"resume"}
		console T: tick 20
		run ip link set t0 down
EOF
	[ "$status" -eq 4 ]
	grep -q '^eth0 02:00:00:00:00:02 1400$' <<<"$said"
	grep -q '^pinged$' <<<"$said"
	# The average of the frames that came is more than one segment can have; none had a bad checksum. Whether the guest joins segments
	# that it sends is its own affair: on a quick machine nc sends each by itself.
	read -r _ frame < <(grep '^frame ' <<<"$said")
	[ "$frame" -gt 1500 ]
	grep -q "^out $(sum <got) -$" <<<"$said"
	grep -q "^in $(sum <sent) - 0$" <<<"$said"
	[[ $output == *'"id":1,"ok":false,"code":"INVALID"'*'"id":2,"ok":false,"code":"INVALID"'*'"id":3,"ok":true'* ]]
	# What is free may be more than what is available (that leaves out reserves); src/vmm/test_devices.c has each name.
	jq -e '.balloon | 0 < .free and .free < .total and .available < .total and .total <= 536870912' < <(grep '^{"id":8,' <<<"$output")
	# It stood: not one exit in a second.
	exits() { grep "\"id\":$1,.*\"state\":\"paused\"" <<<"$output" | grep -o '"vcpus":.*"devices"'; }
	[ -n "$(exits 8)" ]
	[ "$(exits 8)" = "$(exits 9)" ]
}

@test "a machine that is told what to be; CPUs on and off line; disks and interfaces come and go; a reset ends it" {
	node
	head -c 4M /dev/urandom >disk
	head -c 2M /dev/urandom >second
	disk=$(sum <disk) second=$(sum <second)
	[ -e /dev/loop0 ] || modprobe loop
	loop=$(losetup -r -f --show second) # a block device
	initramfs '
		say cpus $(cat /sys/devices/system/cpu/present /sys/devices/system/cpu/online)
		say waits $(ls /sys/block | grep vd)
		# Until the kernel tells of the disk, without a look at the clock.
		grep -m 1 -q "\[vda\]" /dev/kmsg
		while [ ! -b /dev/vda ]; do sleep 0.2; done
		say disk $(cat /sys/block/vda/serial) $(md5sum </dev/vda)
		dd if=/dev/zero of=/dev/vda bs=64k count=4 conv=fsync 2>/dev/null && say written
		echo 1 >/sys/devices/system/cpu/cpu1/online && say more cpus $(cat /sys/devices/system/cpu/online)
		while [ ! -e /sys/class/net/eth0 ]; do sleep 0.2; done
		# The kernel refuses while the probe that made the interface has not returned.
		until echo 0 >/sys/devices/system/cpu/cpu1/online; do sleep 0.1; done
		say fewer cpus $(cat /sys/devices/system/cpu/online)
		say mtu $(cat /sys/class/net/eth0/mtu)
		ip addr add 10.9.0.2/24 dev eth0
		ip link set eth0 up
		ping -c 3 -W 20 10.9.0.1 >/dev/null && say pinged
		while [ -e /sys/block/vda ]; do sleep 0.2; done
		say disk gone
		while [ -e /sys/class/net/eth0 ]; do sleep 0.2; done
		say interface gone
		while [ ! -b /dev/vda ]; do sleep 0.2; done
		say again $(cat /sys/block/vda/serial) $(cat /sys/block/vda/ro) $(md5sum </dev/vda)
		reboot -f'
	owner <<EOF
		open kernel $kernel/vmlinux ro
		open initrd initramfs ro
		open disk disk
		open second $loop ro
		tap t0
		start --explain
		send {"id":1,"op":"pause"}
		send {"id":2,"op":"start"}
		send {"id":3,"op":"configure","kernel":0,"initrd":"1","console":2,"memory":256,"cmdline":"$CMDLINE reboot=acpi maxcpus=1"} kernel initrd console
		send {"id":4,"op":"configure","hotplug-ports":2,"rng":true,"vcpus":"1,max=2"}
		send {"id":5,"op":"configure","hotplug-ports":99}
		send {"id":6,"op":"configure","no-jail":true}
		send {"id":7,"op":"start"}
		send {"id":8,"op":"configure","vcpus":1}
		console T: waits
		idle 1 100000
		idle 3 150
		send {"id":21,"op":"resize","vcpus":2}
		send {"id":9,"op":"add-device","kind":"disk","name":"data1","fd":0} disk
		console T: more cpus
		send {"id":22,"op":"resize","vcpus":1}
		send {"id":23,"op":"resize","vcpus":2}
		send {"id":10,"op":"add-device","kind":"nic","name":"net1","fd":0,"mac":"02:00:00:00:00:02","mtu":1400} t0
		send {"id":11,"op":"add-device","kind":"disk","name":"data2","fd":0,"read-only":true} second
		send {"id":12,"op":"add-device","kind":"disk","name":"data1","fd":0} second
		send {"id":13,"op":"add-device","kind":"disk","name":"data2","fd":0}
		console T: pinged
		send {"id":24,"op":"resize","vcpus":1}
		send {"id":14,"op":"remove-device","name":"data1"}
		send {"id":15,"op":"remove-device","name":"net1"}
		send {"id":16,"op":"remove-device","name":"data1"}
		event data1
		event net1
		console T: interface gone
		send {"id":18,"op":"remove-device","name":"data1"}
		send {"id":17,"op":"add-device","kind":"disk","name":"data2","fd":0,"read-only":true} second
		console T: again
EOF
	cat console
	[ "$status" -eq 3 ]
	# What the owner was told, a letter each.
	[ "$(grep -o '"id":[0-9]*,"ok":[a-z]*\(,"code":"[A-Z]*"\)\?' <<<"$output" | sed 's/.*"ok":true/+/; s/.*"code":"\(.\).*/\1/' | tr -d '\n')" = "SI++II+S++B++FFI++++F+" ]
	[[ $output == *'"id":21,"ok":true,"online":1}'*'"id":22,"ok":false,"code":"BUSY","error":"vCPU 1 is on line in the guest"}'* ]]
	[[ $output == *'"id":23,"ok":true,"online":2}'*'"id":24,"ok":true,"online":1}'* ]]
	[[ $output == *'{"event":"removed","name":"data1"}'*'{"event":"removed","name":"net1"}'* ]]
	# 5 in the long run (bench/idle); 500 and more with a tick.
	grep -q '^idle: ' <<<"$output"
	# vCPUs are there from the start; the guest takes them on and off line, as far as its owner lets it.
	grep -q '^cpus 0-1 0$' <<<"$said"
	grep -q '^more cpus 0-1$' <<<"$said"
	grep -q '^fewer cpus 0$' <<<"$said"
	grep -q '^waits$' <<<"$said"
	grep -q "^disk data1 $disk -$" <<<"$said"
	[ "$(head -c 256K disk | tr -d '\0' | wc -c)" -eq 0 ]
	grep -q '^mtu 1400$' <<<"$said"
	grep -q '^pinged$' <<<"$said"
	grep -q "^again data2 1 $second -$" <<<"$said"
}

@test "the largest machine: 32 vCPUs, 64 GiB" {
	initramfs 'say cpus $(cat /sys/devices/system/cpu/online) $(grep -c ^processor /proc/cpuinfo)
		say memory $(grep MemTotal /proc/meminfo | tr -dc 0-9)'
	"${machine[@]}" --vcpus 32 --memory 65536 10<"$kernel/vmlinux" 11<initramfs 12>>console 2>told 3>&-
	hear
	grep -q '^cpus 0-31 32$' <<<"$said"
	read -r _ kib < <(grep '^memory ' <<<"$said")
	((kib > 62 << 20))
}
