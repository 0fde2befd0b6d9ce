#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The network of a pod: interfaces as CNI plugins make them, in namespaces of the test's own. Two pods run through the whole
# file: `a` with a bridge (both families), a ptp link with jumbo frames and a macvlan, `b` with the bridge. ipvlan is in tests/lab/net.bats.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/net.bash

# Addresses and routes as busybox shows them, in a namespace and in a guest.
SHAPE='ip -o addr show; ip route show; ip -6 route show; ip route show table 100; ip rule show'
BRIDGE='"bridge": "br0", "isGateway": true, "mtu": 1400'

setup_file() {
	load ../lib/common.bash
	load ../lib/net.bash
	export PODVM_RUN=$BATS_FILE_TMPDIR/run
	mkdir -p "$PODVM_RUN" "$BATS_FILE_TMPDIR/t"
	gcc -O1 -static -o "$BATS_FILE_TMPDIR/t/net_peer" "$ROOT/tests/guest/net_peer.c"
	cd "$BATS_FILE_TMPDIR"
	netns_new node
	netns_new a
	netns_new b
	netns_new wire
	cable ext0
	cni ADD a eth0 bridge <<<"$(conf br bridge "$BRIDGE" 10.88.0.0/24 fd88::/64)" >/dev/null
	cni ADD a net1 ptp <<<"$(conf ptp ptp '"mtu": 9000' 10.89.0.0/24 fd89::/64)" >/dev/null
	cni ADD a net2 macvlan <<<"$(conf mv macvlan '"master": "ext0", "mode": "bridge"' 10.90.0.0/24)" >/dev/null
	cni ADD b eth0 bridge <<<"$(conf br bridge "$BRIDGE" 10.88.0.0/24 fd88::/64)" >/dev/null
	within a ip neigh add 10.88.0.99 lladdr 02:00:00:00:00:99 dev eth0 nud permanent
	within a ip route add default via 10.89.0.1 dev net1 table 100
	within a ip rule add from "$(address a net1 4)" table 100 priority 5000
	within a ip -6 rule add from "$(address a net1 6)" table 1000 priority 5001
	within a ip route add blackhole 192.0.2.0/24
	within a ip route add 198.51.100.0/24 via 10.99.99.99 dev eth0 onlink mtu 1300
	wait_for 60 linked
	within a busybox sh -c "$SHAPE" >a.shape
	start_pod a
	start_pod b
}

# The kernel has given each interface its IPv6 address of the link, and found nobody else who has it.
linked() {
	local i
	for i in eth0 net1 net2; do
		[[ $(within a ip -j -6 addr show dev $i scope link | jq '[.[].addr_info[]? | select(.scope == "link" and (.tentative | not))] | length') == 1 ]] || return 1
	done
}

# An interface of the node that is connected to something.
cable() {
	node ip link add "$1" type veth peer name "$1" netns "$NETS/wire"
	node ip link set "$1" up
	within wire ip link set "$1" up
}

teardown_file() {
	local p
	for p in a b; do "$PODVM" rm -f "$p" >/dev/null 2>&1 || true; done
	netns_delete_all
}

# start_pod NAME [YAML-FIELDS]: in namespace NAME, with echo servers on 7000 (any address), 7001 (127.0.0.1) and 7002 (::1).
start_pod() {
	cat >"$1.yaml" <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: $1}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: 1
		  volumes: [{name: t, hostPath: {path: $BATS_FILE_TMPDIR/t}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "trap 'exit 0' TERM; /t/net_peer :: 7000 & /t/net_peer 127.0.0.1 7001 & /t/net_peer ::1 7002 & wait"]
		    volumeMounts: [{name: t, mountPath: /t}]
	Y
	"$PODVM" run -d --netns "$NETS/$1" "$1.yaml"
	wait_for 60 serves "$1"
}
serves() { [[ $("$PODVM" logs "$1" | grep -c ready) == 3 ]]; }
guest() { # POD COMMAND...
	local pod=$1
	shift
	"$PODVM" exec "$pod" -- "$@"
}
# echoed FROM ADDRESS-FOR-SOCAT [TEXT]: what comes back, in namespace FROM: through socat, and of UDP, which has no end of file, the first answer.
echoed() {
	case $2 in
	UDP*) within "$1" python3 "$ROOT/tests/lib/udp-echo" "${2#UDP?:}" "${3:-hello}" ;;
	*) within "$1" socat -t 60 - "$2" <<<"${3:-hello}" ;;
	esac
}
v6() { printf '[%s]' "$(address "$@" 6)"; }

setup() {
	export PODVM_RUN=$BATS_FILE_TMPDIR/run
	cd "$BATS_TEST_TMPDIR" || return 1
}

@test "the guest has the namespace's interfaces, addresses and routes, and no others" {
	guest a sh -c "$SHAPE" >guest.shape
	diff <(shape_of "$BATS_FILE_TMPDIR/a.shape") <(shape_of guest.shape)
	grep -q "from $(address a net1 4) lookup 100" guest.shape
	grep -q "^blackhole 192.0.2.0/24" guest.shape
	[[ $(guest a ip neigh show) == *"10.88.0.99"*"02:00:00:00:00:99"*PERMANENT* ]]
	for i in eth0 net1 net2; do
		[ "$(guest a cat "/sys/class/net/$i/address")" = "$(within a ip -j link show "$i" | jq -r '.[0].address')" ]
	done
	[ "$(guest a cat /sys/class/net/eth0/mtu) $(guest a cat /sys/class/net/net1/mtu)" = "1400 9000" ]
}
# Without what may differ: numbers of interfaces, life times and flags of addresses, taps.
shape_of() { sed -E 's/@[^ :]+//; s/^[0-9]+: //; s/ (noprefixroute|nodad|tentative|flags [0-9a-f]+)//g; s/ +/ /g; s/ ?\\.*//; s/ $//; / lo /d; /^multicast|podvm[0-9]/d' "$1" | sort; }

@test "the node reaches the pod and the pod the node: ICMP, TCP, UDP, both families" {
	local t a4 a6
	a4=$(address a eth0 4) a6=$(v6 a eth0)
	node ping -q -c 2 -W 60 "$a4"
	node ping -q -c 2 -W 60 "${a6:1:-1}"
	for t in "TCP4:$a4:7000" "TCP6:$a6:7000" "UDP4:$a4:7000" "UDP6:$a6:7000"; do
		[ "$(echoed node "$t" "by $t")" = "by $t" ]
	done
	guest a ping -q -c 2 10.88.0.1
	guest a ping -6 -q -c 2 fd88::1
}

@test "two pods reach each other" {
	guest a ping -q -c 2 "$(address b eth0 4)"
	guest b ping -6 -q -c 2 "$(address a eth0 6)"
	[ "$(guest a sh -c "echo across | nc -w 60 $(address b eth0 4) 7000")" = across ]
}

@test "jumbo frames go through unfragmented, and larger ones than the link do not" {
	local p
	p=$(address a net1 4)
	node ping -q -c 2 -W 60 -M "do" -s 8972 "$p"
	run -1 node ping -q -c 1 -W 2 -M "do" -s 8973 "$p"
	p=$(address a eth0 4)
	node ping -q -c 2 -W 60 -M "do" -s 1372 "$p"
}

@test "32 MiB there and back over TCP with offloads are intact" {
	head -c 33554432 /dev/urandom >sent
	node socat -t 60 - "TCP4:$(address a eth0 4):7000" <sent | cmp - sent
	node socat -t 60 - "TCP6:$(v6 a net1):7000" <sent | cmp - sent
	[[ $(guest a cat /sys/class/net/eth0/statistics/rx_errors) == 0 ]]
}

@test "macvlan: a neighbour on the same link reaches the pod" {
	node ip link add mv0 link ext0 type macvlan mode bridge
	node ip addr add 10.90.0.250/24 dev mv0
	node ip link set mv0 up
	node ping -q -c 2 -W 60 "$(address a net2 4)"
	[ "$(echoed node "TCP4:$(address a net2 4):7000")" = hello ]
}

@test "port-forward: localhost in the namespace is the guest's, whatever the port and family" {
	local t
	for t in 'TCP4:127.0.0.1:7001' 'TCP6:[::1]:7001' 'TCP4:127.0.0.1:7002' 'TCP6:[::1]:7002' 'TCP4:127.0.0.1:7000' 'TCP4:127.5.6.7:7001'; do
		[ "$(echoed a "$t" "by $t")" = "by $t" ]
	done
	# Nobody listens there: a reset, not an orderly end.
	run within a bash -c 'exec 3<>/dev/tcp/127.0.0.1/9 && cat <&3'
	[[ $output == *"reset by peer"* ]]
	head -c 16777216 /dev/urandom >sent
	within a socat -t 60 - TCP4:127.0.0.1:7001 <sent | cmp - sent
}

@test "port-forward takes many connections at once, and what it cannot take waits" {
	local i
	for i in $(seq 270); do
		{ echo "$i" | within a socat -t 120 - TCP4:127.0.0.1:7001 >"out.$i" 2>&1; } &
	done
	wait
	for i in $(seq 270); do [ "$(cat "out.$i")" = "$i" ] || { echo "connection $i: $(cat "out.$i")" && false; }; done
}

@test "hostPort: the portmap plugin's rule leads into the guest" {
	local result
	netns_new outside
	node ip link add out0 type veth peer name eth0 netns "$NETS/outside"
	node ip addr add 172.20.0.1/24 dev out0
	node ip link set out0 up
	within outside ip addr add 172.20.0.2/24 dev eth0
	within outside ip link set eth0 up
	result=$(jq -n --arg ip "$(address b eth0 4)/24" '{cniVersion: "0.4.0", interfaces: [{name: "eth0", sandbox: "/x"}], ips: [{version: "4", interface: 0, address: $ip}]}')
	cni ADD b eth0 portmap <<<"$(jq -n --argjson prev "$result" '{cniVersion: "0.4.0", name: "br", type: "portmap", prevResult: $prev, capabilities: {portMappings: true},
		runtimeConfig: {portMappings: [{hostPort: 8088, containerPort: 7000, protocol: "tcp"}, {hostPort: 8088, containerPort: 7000, protocol: "udp"}]}}')" >/dev/null
	[ "$(echoed outside TCP4:172.20.0.1:8088)" = hello ]
	[ "$(echoed outside UDP4:172.20.0.1:8088)" = hello ]
}

@test "the guest's counters tell what went over an interface" {
	local before sent
	# What was sent, with what TCP sent twice on a busy machine, is what the namespace's end of the link has got.
	sent=$(arrived)
	before=$(guest a cat /sys/class/net/net1/statistics/rx_bytes)
	head -c 1000000 /dev/zero | node socat -t 60 - "TCP4:$(address a net1 4):7000" >/dev/null
	came=$(($(guest a cat /sys/class/net/net1/statistics/rx_bytes) - before))
	sent=$(($(arrived) - sent))
	echo "sent $sent, counted $came"
	((came > 1000000 && came < sent + 100000))
}
arrived() { within a ip -s -j link show net1 | jq '.[0].stats64.rx.bytes'; }

@test "a second VM on the same namespace is refused and the first lives on" {
	sed 's/name: a}/name: second}/' "$BATS_FILE_TMPDIR/a.yaml" >second.yaml
	run -1 "$PODVM" run --netns "$NETS/a" second.yaml
	[[ $output == *"network namespace '$NETS/a': interface eth0: another VM is attached"* ]]
	[ "$(echoed node "TCP4:$(address a eth0 4):7000")" = hello ]
}

@test "what is no namespace, and what a VM cannot have, is refused by name" {
	run -1 "$PODVM" run --netns /etc/hostname "$BATS_FILE_TMPDIR/a.yaml"
	[[ $output == *"'/etc/hostname': this is no network namespace"* ]]
	run -1 "$PODVM" run --netns "$NETS/nowhere" "$BATS_FILE_TMPDIR/a.yaml"
	[[ $output == *"'$NETS/nowhere': open: No such file"* ]]
	run -2 "$PODVM" run --netns relative "$BATS_FILE_TMPDIR/a.yaml"
	netns_new odd
	within odd ip link add d0 type veth peer name d1
	within odd ip link set d0 up
	within odd ip link add d0.5 link d0 type macvlan
	within odd ip link set d0.5 up
	sed 's/name: a}/name: odd}/' "$BATS_FILE_TMPDIR/a.yaml" >odd.yaml
	run -1 "$PODVM" run --netns "$NETS/odd" odd.yaml
	[[ $output == *"interface d0.5 stands on another interface"* ]]
	[ -z "$(within odd tc qdisc show dev d0 ingress)" ]
}

@test "sixteen interfaces, in the order and with the names of the namespace" {
	netns_new many
	for i in $(seq 0 15); do
		within many ip link add "net$i" type veth peer name "far$i" netns "$NETS/wire"
		within many ip addr add "10.64.$i.2/24" dev "net$i"
		within many ip link set "net$i" up
	done
	cat >many.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: many}
		spec:
		  restartPolicy: Never
		  containers: [{name: main, image: $IMAGE, command: [sh, -c, 'ip -o -4 addr show']}]
	Y
	run -0 "$PODVM" run --netns "$NETS/many" many.yaml
	for i in $(seq 0 15); do
		[[ $output == *" net$i "*"10.64.$i.2/24"* ]]
	done
	no_tap many
	within many ip link add one-more type veth peer name far-too
	within many ip link set one-more up
	run -1 "$PODVM" run --netns "$NETS/many" many.yaml
	[[ $output == *"more than 16 interfaces"* ]]
	no_tap many
}

@test "kill -9 of the supervisor: taps end with it, the next command removes the filters" {
	netns_new k
	cni ADD k eth0 bridge <<<"$(conf br bridge "$BRIDGE" 10.88.0.0/24)" >/dev/null
	start_pod k
	within k tc filter show dev eth0 ingress | grep -q mirred
	kill -9 "$("$PODVM" inspect k | jq .pid)"
	wait_for 60 no_tap k
	"$PODVM" ps >/dev/null
	[ -z "$(within k tc qdisc show dev eth0 ingress)" ]
	# And the namespace can be used again.
	start_pod k
	[ "$(echoed node "TCP4:$(address k eth0 4):7000")" = hello ]
	"$PODVM" rm -f k
	[ -z "$(within k tc qdisc show dev eth0 ingress)" ]
	no_tap k
}
no_tap() { ! within "$1" ip -o link | grep -q podvm; }
