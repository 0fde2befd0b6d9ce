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
	cri_remove_all
	ip link del ext1 2>/dev/null || true
	cri_assert_clean
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
