#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A pod with Debian 13's QEMU (10.0) instead of the machine's own: the machine model and the vhost-user devices must be the same to us.

bats_require_minimum_version 1.5.0
load lib/common.bash

setup_file() {
	load lib/common.bash
	export QEMU10
	QEMU10=$(mktemp -d /tmp/podvm-qemu.XXXXXX)
	chmod 755 "$QEMU10" # a pod's QEMU has a user of its own
	"$ROOT/tools/newer-qemu" "$QEMU10" >"$BATS_FILE_TMPDIR/version"
}
teardown_file() { rm -rf "$QEMU10"; }

setup() {
	podvm_setup
	export PATH=$QEMU10/bin:$PATH
}
teardown() { assert_clean; }

qemu_pid() { jq -er '.vm.processes[] | select(.name == "qemu") | .pid' "$PODVM_RUN"/pods/*/state.json; }
gone() { [[ ! -e /proc/$1 ]]; }

@test "it is QEMU 10" {
	cat "$BATS_FILE_TMPDIR/version"
	[[ $(cat "$BATS_FILE_TMPDIR/version") == "QEMU emulator version 10."* ]]
}

@test "files, streams and a published port; then an orderly end" {
	mkdir h
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: ten}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: 5
		  volumes: [{name: h, hostPath: {path: $PWD/h}}]
		  initContainers: [{name: first, image: $IMAGE, command: [sh, -c, "for i in \$(seq 200); do echo \$i >/h/f\$i; done"], volumeMounts: [{name: h, mountPath: /h}]}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "trap 'exit 3' TERM; mkdir /w; cp /h/f* /w; httpd -p 80 -h /w; echo ready; while :; do sleep 0.1; done"]
		    ports: [{containerPort: 80, hostPort: 18082}]
		    volumeMounts: [{name: h, mountPath: /h}]
	Y
	"$PODVM" run -q p.yaml >out 2>err &
	local run=$! pid
	wait_for 60 grep -q ready out
	pid=$(qemu_pid)
	tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q "^$QEMU10/lib/ld-linux-x86-64.so.2 .*$QEMU10/share/program"
	# virtio-fs: what the guest wrote is here, byte for byte.
	[ "$(cat h/f* | sort -n | md5sum)" = "$(seq 200 | md5sum)" ]
	# vsock: 2 MiB there and back, and TCP through it.
	head -c 2097152 /dev/urandom >bytes
	"$PODVM" exec -i ten -- cat <bytes | cmp - bytes
	[ "$(curl -sf http://127.0.0.1:18082/f123)" = 123 ]
	"$PODVM" stop ten
	local status=0
	wait $run || status=$?
	cat err
	[ "$status" -eq 3 ]
	wait_for 60 gone "$pid"
}

@test "its death is noticed and cleaned up" {
	pod victim Never "$(sh_container main 'echo ready; exec sleep 1000')"
	"$PODVM" run -q victim.yaml >out 2>err &
	local run=$! status=0
	wait_for 60 grep -q ready out
	kill -9 "$(qemu_pid)"
	wait $run || status=$?
	cat err
	[ "$status" -eq 1 ]
	grep -q "VM ended" err
}
