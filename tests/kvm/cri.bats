#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The shim on our own monitor: pods of a real containerd, on KVM. What they can do is tested with QEMU (tests/cri); here, that nothing of it
# depends on the driver.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

setup_file() { containerd_start 1.6; }
# A second network for each pod, by ipvlan where the kernel has it (the lab's has). The far end of its cable is this namespace's too.
second_network() {
	local type=ipvlan
	modprobe ipvlan 2>/dev/null || true
	ip link add ext1 type veth peer name far1 && ip link set ext1 up && ip link set far1 up
	ip link add probe0 link ext1 type ipvlan mode l2 2>/dev/null || type=macvlan
	ip link del probe0 2>/dev/null || true
	echo "# the second interface is of $type" >&3
	ip addr add 10.91.0.251/24 dev far1
	jq -n --arg type $type --arg dir "$CONTAINERD_DIR/ipam" '{cniVersion: "0.4.0", name: "second", plugins: [{type: $type, master: "ext1",
		ipam: {type: "host-local", dataDir: $dir, ranges: [[{subnet: "10.91.0.0/24"}]]}}]}' >"$CONTAINERD_DIR/cni/20-second.conflist"
	containerd_networks podvm-test second
}
teardown_file() { containerd_stop; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }
teardown() {
	local l
	cri_remove_all
	if [ -e "$CONTAINERD_DIR/cni/20-second.conflist" ]; then # the next pods have one network
		rm "$CONTAINERD_DIR/cni/20-second.conflist"
		containerd_networks podvm-test
		ip link del ext1 2>/dev/null || true
	fi
	cri_assert_clean
	for l in $(losetup -nO NAME,BACK-FILE | awk -v d="$BATS_TEST_TMPDIR" 'index($2, d) {print $1}'); do losetup -d "$l"; done
}

# disk FILE: a loop device of 4 MiB over a new file.
disk() {
	[ -e /dev/loop-control ] || modprobe loop
	truncate -s 4M "$1"
	losetup --show -f "$1"
}
# device NODE PATH rw|r: for a container's configuration.
device() { printf '.devices += [{host_path: "%s", container_path: "%s", permissions: "%s"}]' "$1" "$2" "$3"; }
# Gone for good: nothing on the host has it open. losetup -d of one in use only says that it will go, and says nothing.
detached() {
	losetup -d "$1" 2>/dev/null || true
	[ -z "$(cat "/sys/block/${1#/dev/}/loop/backing_file" 2>/dev/null)" ]
}

@test "containerd's pod runs on our monitor: two interfaces, exec, streams, log, statistics; a monitor that dies is told" {
	second_network
	cri_shared_pod
	a=$(start_container a 'trap "exit 0" TERM; mkdir /w; echo by the monitor >/w/index.html; httpd -p 80 -h /w; echo up; while :; do sleep 1; done')
	"$PODVM" inspect "$POD" >pod.json
	[ "$(jq -r '.vm.driver, (.vm.processes | map(.name) | join(" "))' pod.json)" = $'vmm\nvmm' ]
	pid=$(jq '.vm.processes[0].pid' pod.json)
	tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q ' --vm '
	ip=$("$CRI" pod "$POD" | jq -r .network.ip)
	served() { [ "$(curl -sf "http://$ip/")" = "by the monitor" ]; }
	wait_for 60 served
	"$CRI" exec-sync "$a" -- ip -o -4 addr show eth1 >eth1
	second=$(grep -oE '10[.]91[.]0[.][0-9]+' eth1 | head -n 1)
	[ "$(curl -sf "http://$second/")" = "by the monitor" ]
	"$CRI" exec-sync "$a" -- ping -q -c 1 -W 60 10.91.0.251
	run "$CRI" exec -i "$a" -- sh -c 'cat; exit 5' <<<"abc"
	[ "$status" -eq 5 ]
	[ "$output" = abc ]
	[ "$("$CRI" stats "$a" | jq '.memory.working_set_bytes > 0')" = true ]
	# Not more: containerd 1.6 closes a pipe that it is too slow to empty into its log, runc's as well.
	run run_container b 'seq 1 1000; exit 3'
	[ "$status" -eq 3 ]
	[ "$output" = "$(seq 1 1000)" ]
	[ "$(log_text "$LOGS/a.log")" = up ]
	"$PODVM" debug -o - "$POD" | tar -xzO "podvm-debug-${POD:0:12}/log.txt" >log
	grep -q 'first instruction' log
	kill -9 "$pid"
	[ "$("$CRI" wait "$a")" = "137 Error" ]
	not_ready() { [ "$("$CRI" pod "$POD" | jq -r .state)" = SANDBOX_NOTREADY ]; }
	wait_for 60 not_ready
}

@test "block devices of the node: two containers with one, one for reading only; the last end gives it back, and so does the VM's" {
	cri_shared_pod
	x=$(disk x) && y=$(disk y) && z=$(disk z)
	echo untouched | dd of=y conv=notrunc 2>/dev/null
	stay='trap "exit 0" TERM; while :; do sleep 1; done'
	other=$(start_container other "$stay")
	disks() { "$CRI" exec "$other" -- sh -c 'ls /sys/block | grep ^vd | tr "\n" " "'; }
	a=$(start_container a "$stay" "$(device "$x" /dev/x rw) | $(device "$y" /mnt/some/y r)")
	# With fsync the guest flushes its disk, so that the file has it, not only the loop device.
	"$CRI" exec "$a" -- sh -c 'test -b /dev/x && echo from the first | dd of=/dev/x bs=512 seek=3 conv=fsync 2>/dev/null'
	[ "$(dd if=x bs=512 skip=3 count=1 2>/dev/null | tr -d '\0')" = "from the first" ]
	# Outside of /dev, with the owner and mode of the node's.
	[ "$("$CRI" exec "$a" -- head -n 1 /mnt/some/y)" = untouched ]
	[ "$("$CRI" exec "$a" -- stat -c '%F %a %u %g' /mnt/some/y)" = "block special file $(stat -c '%a %u %g' "$y")" ]
	run "$CRI" exec "$a" -- sh -c 'echo changed >/mnt/some/y'
	[ "$status" -ne 0 ]
	[ "$("$CRI" exec "$other" -- sh -c 'cat /sys/block/vd*/ro | sort | tr "\n" " "')" = "0 1 " ]
	# Under another path, only to be read there: it is the same disk.
	b=$(start_container b "$stay" "$(device "$x" /dev/same r)")
	[ "$("$CRI" exec "$b" -- sh -c 'dd if=/dev/same bs=512 skip=3 count=1 2>/dev/null | tr -d "\0"')" = "from the first" ]
	run "$CRI" exec "$b" -- sh -c 'dd if=/dev/zero of=/dev/same bs=512 count=1'
	[ "$status" -ne 0 ]
	[[ "$output" == *"not permitted"* ]]
	[ "$(disks | wc -w)" -eq 2 ]
	run start_container c true "$(device "$z" /dev/z rw)"
	[ "$status" -ne 0 ]
	[[ "$output" == *"device '/dev/z'"*"slots for 2 block devices"* ]]
	# Its first container goes, the second one keeps it.
	"$CRI" stop "$a" && "$CRI" rm "$a"
	wait_for 120 detached "$y"
	run ! grep 'does not release it' "$CONTAINERD_DIR/log"
	[ "$(disks | wc -w)" -eq 1 ]
	[ "$("$CRI" exec "$b" -- sh -c 'dd if=/dev/same bs=512 skip=3 count=1 2>/dev/null | tr -d "\0"')" = "from the first" ]
	[ "$(head -n 1 y)" = untouched ]
	# All is given back when the VM dies.
	kill -9 "$(cri_pid podvm-vmm)"
	wait_for 60 detached "$x"
	detached "$z"
}

@test "as many block devices as the runtime's configuration says" {
	x=$(disk x) && y=$(disk y) && z=$(disk z)
	echo 'disks = 3' >three
	run k8s_ctr run --rm --runtime io.containerd.podvm.v2 --runtime-config-path "$PWD/three" --device "$x" --device "$y" --device "$z" "$IMAGE" three \
		sh -c "test -b $x && test -b $y && test -b $z && ls -d /sys/block/vd? | wc -l"
	[ "$status" -eq 0 ]
	[ "${lines[-1]}" = 3 ]
}
