#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What goes over vsock besides calls and stdio: connections that the guest makes, and published UDP ports. The programs in the
# guest are the host's own socat, seen through a read-only volume.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

SOCAT="/host/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 --library-path /host/lib/x86_64-linux-gnu /host/bin/socat"

setup() { podvm_setup; }
teardown() {
	[[ -z ${server:-} ]] || kill "$server" 2>/dev/null || true
	# A test that failed half-way must not leave its pod to the next one.
	for left in "$PODVM_RUN"/pods/*; do
		[[ ! -d $left ]] || "$PODVM" rm -f "${left##*/}" >/dev/null 2>&1 || true
	done
	assert_clean
}

# socat_pod NAME PORTS COMMAND: a pod whose one container runs a shell command, with the host's /usr at /host.
socat_pod() {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: $1}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: 1
		  volumes: [{name: host, hostPath: {path: /usr}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    securityContext: {seccompProfile: {type: Unconfined}}
		    command: [sh, -c, $(jq -Rs . <<<"$3")]
		    volumeMounts: [{name: host, mountPath: /host, readOnly: true}]
		    ports: $2
	Y
}

pod_folder() { echo "$PODVM_RUN"/pods/*; }

@test "a process in the guest reaches <vsock.sock>_PORT on the host, both ways and with half-close; other ports are refused" {
	socat_pod dialler "[]" "
		until [ -e /tmp/go ]; do sleep 0.05; done
		echo 'from the guest' | $SOCAT -t 60 - VSOCK-CONNECT:2:7000
		$SOCAT -u /dev/null VSOCK-CONNECT:2:7001 2>&1 | grep -o 'Connection reset by peer'
		$SOCAT -u /dev/null VSOCK-CONNECT:2:1024 2>&1 | grep -o 'Connection reset by peer'"
	"$PODVM" run -d -q p.yaml
	# tr speaks only after the guest's end of file, and its answer must still arrive.
	socat UNIX-LISTEN:"$(pod_folder)/vsock.sock_7000" SYSTEM:'tr a-z A-Z' &
	server=$!
	wait_for 60 test -S "$(pod_folder)/vsock.sock_7000"
	"$PODVM" exec dialler -- touch /tmp/go
	wait_for 60 bash -c "'$PODVM' logs dialler >out && [ \$(wc -l <out) -ge 3 ]"
	cat out
	[ "$(grep -c 'FROM THE GUEST' out)" -eq 1 ]
	[ "$(grep -c 'Connection reset by peer' out)" -eq 2 ]
	"$PODVM" rm -f dialler
}

@test "a packet to the guest's own CID, or another's, reaches nobody" {
	socat_pod selfish "[]" "
		for cid in 3 4 77; do
			$SOCAT -u /dev/null VSOCK-CONNECT:\$cid:1025 2>&1 | grep -o 'Connection timed out\|Connection reset by peer\|No such device\|Network is unreachable'
		done"
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "${#lines[@]}" -eq 3 ]
	[[ "$output" != *"reset by peer"* ]]
}

@test "a published UDP port: each client has its own answers, also from a server on IPv6 alone" {
	socat_pod udp "[{containerPort: 5353, protocol: UDP, hostPort: 15353}, {containerPort: 5454, protocol: UDP, hostPort: 15454}]" "
		$SOCAT UDP4-LISTEN:5353,bind=127.0.0.1,fork PIPE &
		exec $SOCAT UDP6-LISTEN:5454,bind=[::1],fork PIPE"
	"$PODVM" run -d -q p.yaml
	answers() { [[ $(echo "$2" | socat -t 2 - "UDP4:127.0.0.1:$1" 2>/dev/null | head -1) == "$2" ]]; }
	wait_for 60 answers 15353 ready
	wait_for 60 answers 15454 ready
	for i in 1 2 3 4 5 6; do
		wait_for 60 answers 15353 "client $i" & # socat loses some while it forks
		clients[i]=$!
	done
	for i in 1 2 3 4 5 6; do wait "${clients[i]}"; done
	"$PODVM" inspect udp | jq -e '.ports | map(.protocol) == ["UDP", "UDP"]'
	run "$PODVM" run -q <(sed 's/name: udp}/name: other}/' p.yaml)
	[ "$status" -eq 1 ]
	[[ "$output" == *"publish UDP port 15353"*"Address already in use"* ]]
	"$PODVM" rm -f udp
}

@test "a large datagram passes whole, and one to a port without a server is lost without harm" {
	socat_pod big "[{containerPort: 5353, protocol: UDP, hostPort: 15353}, {containerPort: 9, protocol: UDP, hostPort: 10009}]" "
		exec $SOCAT -b 65507 UDP4-LISTEN:5353,fork PIPE"
	"$PODVM" run -d -q p.yaml
	cat >client.py <<-'P'
		import hashlib, os, socket, sys, time
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		s.settimeout(1)
		for n in range(3):
		    s.sendto(b"x", ("127.0.0.1", 10009))
		deadline = time.monotonic() + 120
		for size in (1, 1472, 9000, 65507):
		    data = os.urandom(size)
		    while True:
		        s.sendto(data, ("127.0.0.1", 15353))
		        try:
		            got = s.recv(65536)
		        except TimeoutError:
		            got = b""
		        if got == data:
		            break
		        if time.monotonic() > deadline:
		            sys.exit(f"{size} bytes: got {len(got)}")
	P
	python3 client.py
	"$PODVM" rm -f big
}
