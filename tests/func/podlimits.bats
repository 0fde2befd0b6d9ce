#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Limits of a pod as a whole, which end it.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() { podvm_setup; }
teardown() { assert_clean; }

# The time has to be enough for the shell to set its trap on a slow machine too.
@test "activeDeadlineSeconds ends the pod, which fails and says so" {
	pod late Always "$(sh_container main 'trap "echo asked; exit 0" TERM; while :; do sleep 0.1; done')"
	sed -i 's/^  restartPolicy/  activeDeadlineSeconds: 8\n&/' late.yaml
	run "$PODVM" run -q late.yaml
	echo "$output"
	[ "$status" -ne 0 ]
	[[ "$output" == *"[main] asked"* ]]
	[[ "$output" == *"DeadlineExceeded: activeDeadlineSeconds (8) passed"* ]]
}

@test "an emptyDir beyond its sizeLimit evicts the pod; one below does not" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: greedy}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: 1
		  volumes: [{name: d, emptyDir: {sizeLimit: 1Mi}}, {name: e, emptyDir: {sizeLimit: 64Mi}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "dd if=/dev/zero of=/e/f bs=65536 count=32; dd if=/dev/zero of=/d/f bs=65536 count=32; exec sleep 1000"]
		    volumeMounts: [{name: d, mountPath: /d}, {name: e, mountPath: /e}]
	Y
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "$status" -ne 0 ]
	[[ "$output" == *"Evicted: emptyDir 'd' is larger than its sizeLimit"* ]]
	[[ "$output" != *"emptyDir 'e'"* ]]
}
