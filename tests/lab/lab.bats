#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What the lab promises to those who test in it. Runs inside: tools/lab-tests.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

@test "KVM is real: it runs what stock kernels do" {
	run "$(dirname "$PODVM")/../libexec/podvm/podvm-vmm" --probe
	[ "$status" -eq 0 ]
	[ "$(jq .kvm <<<"$output")" = true ]
}

@test "vhost devices and tun are there" {
	for d in vhost-net vhost-vsock net/tun; do [ -c "/dev/$d" ]; done
}

@test "cgroups are v2, with the controllers that pods need" {
	[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ]
	for c in cpu cpuset io memory pids hugetlb; do grep -qw $c /sys/fs/cgroup/cgroup.subtree_control; done
}

@test "what is written stays in memory, and the machine's root below is read-only" {
	echo lab >"$ROOT/b/lab-was-here"
	[ "$(cat "$ROOT/b/lab-was-here")" = lab ]
	[ "$(stat -f -c %T /)" = overlayfs ]
	mkdir "$BATS_TEST_TMPDIR/below"
	mount -t virtiofs host "$BATS_TEST_TMPDIR/below"
	run ! touch "$BATS_TEST_TMPDIR/below/lab-was-here"
	run ! ls "$BATS_TEST_TMPDIR/below/proc/1"
	umount "$BATS_TEST_TMPDIR/below"
}

@test "tc: everything on an interface goes to another, with the matchers that PodVM may use" {
	ip link add lab0 type veth peer name lab1
	tc qdisc add dev lab0 ingress
	tc filter add dev lab0 parent ffff: protocol all u32 match u8 0 0 action mirred egress redirect dev lab1
	tc filter add dev lab0 parent ffff: protocol all matchall action mirred egress redirect dev lab1
	ip link del lab0
}

@test "netfilter: modules come when they are asked for" {
	for m in nf_tables nft_chain_nat nft_masq xt_comment xt_MASQUERADE iptable_nat ip6table_filter xt_addrtype nf_conntrack; do modprobe $m; done
}

@test "a container of runc starts through containerd" {
	d=$BATS_TEST_TMPDIR
	PATH=$("$ROOT/tools/containerd" 1.6)/bin:$PATH
	containerd --root "$d/root" --state "$d/state" --address "$d/c.sock" >"$d/log" 2>&1 3>&- &
	pid=$!
	wait_for 60 ctr -a "$d/c.sock" version
	"$ROOT/tests/lib/mkimage" "$d/oci"
	tar -C "$d/oci" -cf "$d/image.tar" .
	ctr -a "$d/c.sock" image import --base-name localhost/lab "$d/image.tar"
	run ctr -a "$d/c.sock" run --rm "$(ctr -a "$d/c.sock" image ls -q | head -n 1)" one echo from runc
	kill "$pid"
	wait "$pid" || true
	[ "$status" -eq 0 ]
	[ "$output" = "from runc" ]
}
