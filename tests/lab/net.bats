#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The network of a pod where the kernel has what many test machines lack: ipvlan. Runs in the lab (tools/lab-tests).

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/net.bash

setup() { podvm_setup; }
teardown() {
	"$PODVM" rm -f iv >/dev/null 2>&1 || true
	netns_delete_all
	assert_clean
}

# L2: the child interfaces have the parent's MAC address, and the kernel sorts what arrives by IP address.
@test "ipvlan: the pod and its neighbours on the same link reach each other, by ICMP, TCP and UDP, and host-local's address is the guest's" {
	modprobe ipvlan
	mkdir t
	gcc -O1 -static -o t/net_peer "$ROOT/tests/guest/net_peer.c"
	netns_new node
	netns_new wire
	netns_new iv
	node ip link add ext1 type veth peer name ext1 netns "$NETS/wire"
	node ip link set ext1 up
	within wire ip link set ext1 up
	within wire ip addr add 10.91.0.251/24 dev ext1
	cni ADD iv eth0 ipvlan <<<"$(conf iv ipvlan '"master": "ext1", "mode": "l2"' 10.91.0.0/24)" >/dev/null
	node ip link add iv0 link ext1 type ipvlan mode l2
	node ip addr add 10.91.0.250/24 dev iv0
	node ip link set iv0 up
	pod iv Never "$(sh_container main '/t/net_peer :: 7000 & wait')"
	yaml=$(jq -n --arg t "$PWD/t" '[{name: "t", hostPath: {path: $t}}]' -c)
	sed -i "s|image: |volumeMounts: [{name: t, mountPath: /t}], image: |; \$a\\  volumes: $yaml" iv.yaml
	"$PODVM" run -d --netns "$NETS/iv" iv.yaml
	ready() { [[ $("$PODVM" logs iv) == *ready* ]]; }
	wait_for 60 ready
	a=$(address iv eth0 4)
	[[ "$("$PODVM" exec iv -- ip -o -4 addr show eth0)" == *"inet $a/24"* ]]
	[ "$("$PODVM" exec iv -- cat /sys/class/net/eth0/address)" = "$(within iv ip -j link show eth0 | jq -r '.[0].address')" ]
	for from in node wire; do
		within "$from" ping -q -c 2 -W 60 "$a"
		[ "$(within "$from" socat -t 60 - "TCP4:$a:7000" <<<"tcp from $from")" = "tcp from $from" ]
		[ "$(within "$from" python3 "$ROOT/tests/lib/udp-echo" "$a:7000" "udp from $from")" = "udp from $from" ]
	done
	# By our own monitor's device, with offloads, both ways at once: the peer sends back what it gets.
	[[ "$("$PODVM" logs --all iv)" == *"driver vmm"* ]]
	head -c 2M /dev/urandom >sent
	within node socat -t 60 - "TCP4:$a:7000" <sent | cmp - sent
	for to in 250 251; do "$PODVM" exec iv -- ping -q -c 2 -W 60 10.91.0.$to; done
	"$PODVM" rm -f iv
}
