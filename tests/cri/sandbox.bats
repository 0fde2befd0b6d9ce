#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a pod as a whole may ask for through the CRI.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash
load ../lib/net.bash

setup_file() {
	gcc -O1 -static -o "$BATS_FILE_TMPDIR/net_peer" "$ROOT/tests/guest/net_peer.c" || return 1
	containerd_start "${CRI_CONTAINERD:-1.6}"
}
teardown_file() { containerd_stop; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }
teardown() {
	cri_remove_all
	ip link del out0 2>/dev/null || true
	netns_delete_all
	cri_assert_clean
}

# The two calls of the Sandbox API that containerd's CRI does not make.
sandbox_api() { "$ROOT/tests/lib/shim-call" "$PODVM_RUN/pods/${POD:0:12}/shim.sock" "$@"; }
api_before() {
	[ "$(sandbox_api PingSandbox "$POD")" = "{}" ]
	sandbox_api SandboxMetrics "$POD" >metrics
	run sandbox_api PingSandbox another
	[ "$status" -eq 1 ]
	[ "$output" = "shim-call: PingSandbox: 5: no sandbox 'another'" ]
	run sandbox_api SandboxMetrics another
	[ "$status" -eq 1 ]
}
# After a container was at work: the numbers are those of the whole guest, of this moment.
api_after() {
	local began
	began=$(date +%s)
	sandbox_api SandboxMetrics "$POD" >metrics2
	cat metrics metrics2
	jq -es --argjson began "$began" --argjson now "$(date +%s)" 'map(.metrics) | .[1].timestamp.seconds as $at | $at >= $began and $at <= $now
		and .[1].data.cpu.usage_usec > .[0].data.cpu.usage_usec + 1000 and .[1].data.memory.usage > 1048576
		and .[1].data.memory.usage < 536870912 and .[1].data.pids.current >= 1' metrics metrics2
}

@test "a pod with everything: name, DNS, sysctls, shared PID namespace, address, statistics; and its end" {
	cri_shared_pod '.linux.security_context.namespace_options.pid = "POD" | .hostname = "my-name"
		| .linux.sysctls = {"net.ipv4.ip_local_port_range": "2000 3000", "kernel.shm_rmid_forced": "1"}'
	share='.linux.security_context.namespace_options.pid = "POD"'
	a=$(start_container a 'exec sleep 4321' "$share")
	a_sleeps() { "$CRI" exec-sync "$a" -- ps -o args | grep -qx 'sleep 4321'; }
	wait_for 60 a_sleeps
	! is_vm || api_before
	run run_container b 'hostname; cat /etc/hostname; cat /etc/resolv.conf; cat /proc/sys/net/ipv4/ip_local_port_range /proc/sys/kernel/shm_rmid_forced
		ps -o args | grep -v grep | grep -c "sleep 4321"' "$share"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = my-name ]
	[ "${lines[1]}" = my-name ]
	[[ "$output" == *"nameserver 10.88.0.1"* && "$output" == *"search test.local"* && "$output" == *"options ndots:5"* ]]
	[[ "$output" == *$'2000\t3000'$'\n1\n1' ]]
	run "$CRI" pod "$POD"
	ip=$(jq -r .network.ip <<<"$output")
	[[ $ip == 10.88.* ]]
	[ "$(jq -r .runtime_handler <<<"$output")" = "$CRI_HANDLER" ]
	[ "$("$CRI" pod-stats "$POD" | jq '.linux.cpu.usage_core_nano_seconds > 0 and .linux.memory.working_set_bytes > 0 and (.linux.containers | length) > 0')" = true ]
	! is_vm || api_after
	"$CRI" stop-pod "$POD"
	[ "$("$CRI" pod "$POD" | jq -r .state)" = SANDBOX_NOTREADY ]
	[ "$("$CRI" container "$a" | jq -r .state)" = CONTAINER_EXITED ]
	"$CRI" stop-pod "$POD"
	"$CRI" rm-pod "$POD"
	"$CRI" rm-pod "$POD"
}

@test "the pod has a kernel of its own, and privileged means the guest's devices only" {
	is_vm || skip "runc shares the kernel"
	# Under a cgroup as systemd names them: containerd asks for "slice:prefix:name".
	cri_shared_pod '.linux.security_context.privileged = true | .linux.cgroup_parent = "/podvmtest.slice/podvmtest-burst.slice"'
	in_slice() {
		while read -r p; do
			basename "$(readlink "/proc/$p/exe")"
		done < <(cat /sys/fs/cgroup/{,memory/}podvmtest.slice/podvmtest-burst.slice/"cri-containerd-$POD.scope/cgroup.procs" 2>/dev/null) >in-slice
		[ "$(sort -u in-slice | tr '\n' ' ')" = "containerd-shim-podvm-v2 podvm-vmm qemu-system-x86_64 " ]
	}
	wait_for 60 in_slice || cat in-slice
	in_slice
	run run_container k 'cat /proc/version; grep CapEff /proc/self/status; ls /dev' '.linux.security_context.privileged = true'
	[ "$status" -eq 0 ]
	[ "${lines[0]}" != "$(cat /proc/version)" ]
	echo "$output"
	caps=${lines[1]##*[[:space:]]}
	# containerd passes on those that it has itself: in a container as a test machine, not CAP_SYS_RESOURCE (24).
	[ $((16#$caps | 1 << 24)) -eq $((16#1ffffffffff)) ]
	run ! grep -qx kvm <<<"$output"
	cri_remove_all
	[ -z "$(find /sys/fs/cgroup -name "cri-containerd-$POD.scope")" ]
	find /sys/fs/cgroup -depth -path "*/podvmtest.slice*" -type d -exec rmdir {} +
}

@test "the VM has the size of the pod's limits" {
	is_vm || skip "runc's pods have no size of their own"
	cri_shared_pod '.linux.resources = {cpu_quota: 200000, cpu_period: 100000, memory_limit_in_bytes: 335544320}'
	run run_container s 'nproc; grep MemTotal /proc/meminfo | tr -dc 0-9'
	[ "$status" -eq 0 ]
	echo "$output"
	[ "${lines[0]}" -eq 2 ]
	# 320 MiB and 128 more for the guest itself, less what its kernel keeps; one without limits has 512.
	((lines[1] > 340 << 10 && lines[1] < 448 << 10))
}

@test "podvm's own commands see the pods that containerd runs, by name and by containerd's id" {
	is_vm || skip "about our pods"
	cri_shared_pod
	start_container a 'echo from a; exec sleep 1000' >/dev/null
	"$PODVM" ps | grep -q '^shared .* Running'
	[ "$("$PODVM" inspect "$POD" | jq -r '.containerd.id, .containers[0].name')" = "$POD"$'\n'a ]
	[ "$("$PODVM" exec "${POD:0:20}" -- echo inside)" = inside ]
	"$PODVM" stats --no-stream shared | grep -q '(guest)'
	"$PODVM" logs --all shared | grep -q 'guest is up'
	"$PODVM" debug -o debug.tgz shared
	tar -xzf debug.tgz
	grep -q "^containerd " podvm-debug-*/versions.txt
	grep -q '^pids.current: [0-9]' podvm-debug-*/cgroups.txt
	grep -q ' inet 10.88' podvm-debug-*/network.txt
}

@test "the host's namespaces are refused at once, with the reason" {
	is_vm || skip "runc can share them"
	for kind in network pid ipc; do
		# containerd 2.1.9 itself crashes (bundle.go: no spec) before it asks its shim.
		[[ $kind == network && $CRI_HANDLER == podvm-shim ]] && continue
		cri_pod "host-$kind" ".linux.security_context.namespace_options.$kind = \"NODE\""
		run "$CRI" run-pod "host-$kind.pod.json"
		[ "$status" -eq 125 ]
		case $kind in
		network) [[ "$output" == *hostNetwork* ]] ;;
		pid) [[ "$output" == *hostPID* ]] ;;
		ipc) [[ "$output" == *hostIPC* ]] ;;
		esac
	done
}

# network FILE NAME PLUGIN-JSON SUBNET...: one more network of the node.
network() {
	local ranges
	ranges=$(printf '%s\n' "${@:4}" | jq -R '[{subnet: .}]' | jq -s .)
	jq -n --arg name "$2" --argjson plugin "$3" --argjson ranges "$ranges" --arg dir "$CONTAINERD_DIR/ipam" \
		'{cniVersion: "0.4.0", name: $name, plugins: [{ipam: {type: "host-local", dataDir: $dir, ranges: $ranges}} * $plugin]}' >"$CONTAINERD_DIR/cni/$1"
}
# What comes back, over the namespace FROM ("-": this one).
echoed() { # FROM PROTOCOL ADDRESS PORT
	local in=() address=$3
	[[ $1 == - ]] || in=(within "$1")
	[[ $3 != *:* ]] || address="[$3]"
	case $2 in
	UDP) "${in[@]}" python3 "$ROOT/tests/lib/udp-echo" "$address:$4" "by $1 $2 $3" ;;
	TCP) "${in[@]}" socat -t 60 - "TCP:$address:$4" <<<"by $1 $2 $3" ;;
	esac
}
assert_echoed() { [ "$(echoed "$@")" = "by $1 $2 $3" ]; }

three_networks() {
	netns_new outside
	ip link add out0 type veth peer name eth0 netns "$NETS/outside"
	ip addr add 172.20.0.1/24 dev out0 && ip addr add fd20::1/64 dev out0 nodad && ip link set out0 up
	within outside sh -c 'ip addr add 172.20.0.2/24 dev eth0 && ip addr add fd20::2/64 dev eth0 nodad && ip link set eth0 up'
	# The macvlan is at the other end of that, and so is a neighbour.
	within outside ip addr add 10.90.0.250/24 dev eth0
	rm "$CONTAINERD_DIR"/cni/*
	# The plugins run at the same time: only one may bring a default route and hostPorts.
	network 1-ptp.conflist test-ptp '{"type": "ptp", "mtu": 9000, "ipam": {"routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}}' 10.89.0.0/24 fd89::/64
	jq '.plugins += [{type: "portmap", capabilities: {portMappings: true}, snat: true}]' "$CONTAINERD_DIR/cni/1-ptp.conflist" >ptp
	cp ptp "$CONTAINERD_DIR/cni/1-ptp.conflist"
	network 2-br.conflist test-br '{"type": "bridge", "bridge": "pvtest0", "isGateway": true}' 10.88.0.0/16
	network 3-mv.conflist test-mv '{"type": "macvlan", "master": "out0", "mode": "bridge"}' 10.90.0.0/24
	containerd_networks test-ptp test-br test-mv
}
# port-forward reaches servers that listen on the pod's localhost, IPv4 and IPv6; a port without one is an error.
assert_forwarded() {
	start_container web 'mkdir /w; echo forwarded >/w/index.html; exec httpd -f -p 127.0.0.1:8080 -h /w'
	forwarded() { [[ "$(printf 'GET / HTTP/1.0\r\n\r\n' | "$CRI" port-forward "$POD" 8080 2>&1)" == *forwarded* ]]; }
	wait_for 60 forwarded
	# runc's pods say "refused" here. The forwarder of ours has accepted before the guest can refuse; what comes is an error all the same.
	run "$CRI" port-forward "$POD" 9999 </dev/null
	[ "$status" -eq 1 ]
	if is_vm; then [[ "$output" == *9999*reset* ]]; else [[ "$output" == *9999*refused* ]]; fi
	# A server that has ::1 only.
	start_container six 'mkdir /w; echo "by six" >/w/index.html; exec httpd -f -p "[::1]:8086" -h /w'
	by_six() { [[ "$(printf 'GET / HTTP/1.0\r\n\r\n' | "$CRI" port-forward "$POD" 8086 2>&1)" == *"by six"* ]]; }
	wait_for 60 by_six
}

@test "the network: ptp with jumbo frames, both families and hostPorts, a bridge, a macvlan; port-forward to the pod's localhost" {
	three_networks
	cri_shared_pod '.port_mappings = [{protocol: "TCP", container_port: 7000, host_port: 8088}, {protocol: "UDP", container_port: 7000, host_port: 8088}]'
	a=$(start_container peer 'ip -o addr; exec /net_peer :: 7000' '.mounts = [{container_path: "/net_peer", host_path: "'"$BATS_FILE_TMPDIR"'/net_peer"}]')
	wait_for 60 grep -q 'F ready' "$LOGS/peer.log"
	"$CRI" pod "$POD" | jq -r '.network | .ip, .additional_ips[].ip' >addresses
	{ read -r v4 && read -r v6; } <addresses
	[[ "$v4 $v6" == "10.89.0."*" fd89::"* ]]
	log_text "$LOGS/peer.log" >interfaces
	grep -E "eth0 .*inet $v4/24" interfaces
	grep -E "eth0 .*inet6 $v6/64" interfaces
	grep -E 'eth1 .*inet 10[.]88[.]' interfaces
	mv=$(grep -oE 'eth2 .*inet 10[.]90[.]0[.][0-9]+' interfaces | grep -o '10[.]90.*')
	[ "$("$CRI" exec-sync "$a" -- cat /sys/class/net/eth0/mtu /sys/class/net/eth1/mtu)" = $'9000\n1500' ]
	# Jumbo frames, in one piece, both ways.
	ping -q -c 1 -w 60 -M "do" -s 8972 "$v4"
	ping -6 -q -c 1 -w 60 -M "do" -s 8952 "$v6"
	"$CRI" exec-sync "$a" -- ping -q -c 1 -W 60 -s 8972 10.89.0.1
	"$CRI" exec-sync "$a" -- ping -6 -q -c 1 -W 60 -s 8952 fd89::1
	for t in TCP UDP; do
		assert_echoed - $t "$v4" 7000
		assert_echoed - $t "$v6" 7000
		# hostPort, from elsewhere and from the node itself.
		assert_echoed outside $t 172.20.0.1 8088
		assert_echoed outside $t fd20::1 8088
		assert_echoed - $t 172.20.0.1 8088
	done
	assert_echoed - TCP 127.0.0.1 8088
	assert_echoed outside TCP "$mv" 7000
	assert_forwarded
	cri_remove_all
	run ! socat -u OPEN:/dev/null TCP:172.20.0.1:8088
	rm "$CONTAINERD_DIR"/cni/*
	containerd_cni
	containerd_networks podvm-test
}
