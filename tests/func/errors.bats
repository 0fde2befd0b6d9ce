#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Bad input: one line on stderr that says what, where, and what to do; exit 1 (2 for wrong usage); nothing left behind.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() { podvm_setup; }
teardown() { assert_clean; }

# refuse TEXT: podvm run p.yaml fails with one line that contains TEXT.
refuse() {
	run --separate-stderr "$PODVM" run -q "${2:-p.yaml}"
	echo "status $status: $stderr"
	[ "$status" -eq 1 ]
	[ -z "$output" ]
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	[[ "$stderr" == "podvm: "*"$1"* ]]
}

@test "no file, a folder, an empty file, no YAML, no Pod" {
	refuse "nosuch.yaml" nosuch.yaml
	mkdir folder && refuse "folder" folder
	: >p.yaml && refuse "p.yaml"
	printf '{[' >p.yaml && refuse "p.yaml:"
	printf 'kind: ConfigMap\napiVersion: v1\nmetadata: {name: x}\n' >p.yaml && refuse "Pod"
	head -c 4000000 /dev/zero | tr '\0' a >p.yaml && refuse "larger"
}

@test "an unknown field is named with its line and the nearest known one" {
	printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: a\n    imagee: b\n' >p.yaml
	refuse 'p.yaml:7: spec.containers[0].imagee: unknown field'
	[[ "$stderr" == *'"image"'* ]]
}

@test "wrong types and huge numbers" {
	pod p Never "{name: a, image: $IMAGE, ports: [{containerPort: 99999}]}"
	refuse "spec.containers[0].ports[0].containerPort"
	pod p Never "{name: a, image: $IMAGE, resources: {limits: {memory: 9999999999999999999Ei}}}"
	refuse "spec.containers[0].resources.limits.memory"
	pod p Never "{name: a, image: $IMAGE, command: echo}"
	refuse "spec.containers[0].command"
	pod p Never "{name: a, image: $IMAGE, resources: {limits: {memory: 100Ti}}}"
	refuse "p.yaml:8: spec.containers[0].resources.limits.memory: the pod's containers ask for"
}

@test "what cannot be done says why" {
	pod p Never "{name: a, image: $IMAGE}"
	sed -i 's/^spec:/spec:\n  hostNetwork: true/' p.yaml
	refuse "hostNetwork"
}

@test "what does nothing here is a warning, and nothing with -q" {
	pod p Never "{name: a, image: $IMAGE, command: [\"true\"], livenessProbe: {exec: {command: [\"false\"]}}}"
	run --separate-stderr "$PODVM" run p.yaml
	[ "$status" -eq 0 ]
	[[ "$stderr" == "podvm: warning: p.yaml:"*"spec.containers[0].livenessProbe: "*"kubelet"* ]]
	run --separate-stderr "$PODVM" run -q p.yaml
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
}

@test "a missing image, a missing command, a missing hostPath, an unknown user" {
	pod p Never "{name: a, image: localhost/no/such:tag, imagePullPolicy: Never}"
	refuse "localhost/no/such:tag"
	pod p Never "{name: a, image: 'oci:/nonexistent'}"
	refuse "/nonexistent"
	pod p Never "{name: a, image: $IMAGE, command: [/no/such/program]}"
	refuse "container a: executable file '/no/such/program' not found"
	pod p Never "{name: a, image: $IMAGE, volumeMounts: [{name: h, mountPath: /h}]}"
	echo "  volumes: [{name: h, hostPath: {path: /no/such/folder, type: Directory}}]" >>p.yaml
	refuse "p.yaml:9: spec.volumes[0].hostPath.path: '/no/such/folder': No such file or directory"
	sed -i 's|, type: Directory||' p.yaml
	refuse "'/no/such/folder' (type: DirectoryOrCreate makes it when it is not there): No such file or directory"
	sed -i 's|/no/such/folder|/dev/null|' p.yaml
	refuse "p.yaml:9: spec.volumes[0].hostPath.path: '/dev/null' is a socket, fifo or device"
}

@test "no guest image, no QEMU" {
	pod p Never "{name: a, image: $IMAGE}"
	mkdir -p state && cp -a "$PODVM_STATE/images" state/
	PODVM_STATE=$PWD/state refuse "podvm image build"
	printf '#!/bin/sh\nPATH=/nonexistent\nexec "%s" "$@"\n' "$PODVM" >no-qemu && chmod +x no-qemu
	PODVM=$PWD/no-qemu refuse "qemu"
}

@test "a guest image with the agent of another podvm" {
	pod p Never "{name: a, image: $IMAGE}"
	mkdir -p state/guest/current && cp -a "$PODVM_STATE/images" state/
	ln "$PODVM_STATE/guest/current/vmlinux" state/guest/current/ || cp "$PODVM_STATE/guest/current/vmlinux" state/guest/current/
	# One call has another name in this agent.
	sed 's/CreateContainer\x00/CreateContainxx\x00/g' "$PODVM_STATE/guest/current/initramfs" >state/guest/current/initramfs
	run ! cmp -s "$PODVM_STATE/guest/current/initramfs" state/guest/current/initramfs
	PODVM_STATE=$PWD/state refuse "container a: CreateContainer: the pod's guest image is older than podvm; make a new one with 'podvm image build'"
}

@test "not root" {
	cp "$PODVM" ./podvm && chmod 755 podvm . && pod p Never "{name: a, image: $IMAGE}"
	run --separate-stderr setpriv --reuid 65534 --regid 65534 --clear-groups ./podvm run p.yaml
	[ "$status" -eq 1 ]
	[ "$(wc -l <<<"$stderr")" -eq 1 ]
	[[ "$stderr" == *root* ]]
}

@test "wrong usage is exit 2" {
	for args in "run" "run a b" "run --no-such-option x" "no-such-command" "logs" "exec" "stop" "run --driver other x"; do
		# shellcheck disable=SC2086 # words on purpose
		run --separate-stderr "$PODVM" $args
		echo "podvm $args: $status $stderr"
		[ "$status" -eq 2 ]
		[[ "$stderr" == *podvm* ]]
	done
}

@test "a full disk stops the writer in the guest, not the pod's host side" {
	mkdir small && mount -t tmpfs -o size=6m t small
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: full}
		spec:
		  restartPolicy: Never
		  volumes: [{name: h, hostPath: {path: $PWD/small}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "dd if=/dev/zero of=/h/big bs=64k count=300; echo status \$?; df /h | tail -n 1 | wc -l"]
		    volumeMounts: [{name: h, mountPath: /h}]
	Y
	run "$PODVM" run -q p.yaml
	umount small
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "$output" == *"No space left on device"* ]]
	[[ "$output" == *"status 1"* ]]
}
