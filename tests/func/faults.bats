#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# kill -9 of every host process in every phase of a pod: the pod's end is reported, and the next command leaves nothing behind.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() { podvm_setup; }

phase() { jq -r .phase "$PODVM_RUN"/pods/*/state.json 2>/dev/null; }
process() { jq -r ".vm.processes[] | select(.name == \"$1\") | .pid" "$PODVM_RUN"/pods/*/state.json 2>/dev/null; }
has_process() { [[ -n $(process "$1") ]]; }
supervisor() { jq -r '.pid // empty' "$PODVM_RUN"/pods/*/state.json 2>/dev/null; }
has_timing() { jq -e ".timings[]? | select(.phase == \"$1\")" "$PODVM_RUN"/pods/*/state.json >/dev/null 2>&1; }

# The phases at which a kill is tried: a name and how to know that it is reached.
reached() {
	case $1 in
	folders) [[ -n $(ls "$PODVM_RUN/pods" 2>/dev/null) ]] ;;
	boot) has_timing boot && [[ -n $(process qemu) ]] ;;
	init) [[ $(phase) == Initializing ]] ;;
	running) [[ $(phase) == Running ]] && grep -q "main up" out ;;
	stopping) [[ $(phase) == Stopping ]] ;;
	esac
}

start_pod() {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: victim}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: 300
		  volumes: [{name: d, emptyDir: {}}, {name: h, hostPath: {path: $BATS_TEST_TMPDIR}}]
		  initContainers:
		  - {name: first, image: $IMAGE, command: [sh, -c, "until [ -e /h/go ]; do sleep 0.1; done"], volumeMounts: [{name: h, mountPath: /h}]}
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "trap '' TERM; echo main up; while :; do sleep 0.2; done"]
		    ports: [{containerPort: 80, hostPort: 18081}]
		    volumeMounts: [{name: d, mountPath: /d}, {name: h, mountPath: /h}]
	Y
	"$PODVM" run -q p.yaml >out 2>err &
	RUN_PID=$!
}

forgotten() {
	[[ $("$PODVM" ps -a | wc -l) -le 1 ]]
}

kill_at() { # PHASE PROCESS
	local pid
	# The init container waits where that is the phase to be seen.
	if [[ $1 == init ]]; then rm -f go; else touch go; fi
	start_pod
	if [[ $1 == stopping ]]; then
		wait_for 60 reached running
		kill -TERM $RUN_PID
	fi
	wait_for 60 reached "$1"
	if [[ $2 == supervisor ]]; then pid=$RUN_PID; else
		wait_for 60 has_process "$2"
		pid=$(process "$2")
	fi
	kill -9 "$pid"
	local status=0
	wait $RUN_PID || status=$?
	[[ $status -ne 0 ]] || { echo "exit status 0 after a kill of $2 at $1" && return 1; }
	if [[ $2 != supervisor ]]; then
		grep -q "VM ended" err || { echo "no reason given:" && cat err && return 1; }
	fi
	# A child that was just forked has the supervisor's lock until it calls exec(2).
	wait_for 60 forgotten
	wait_for 60 assert_clean
}

@test "kill -9 of podvm at folders, boot, init, running, stopping" {
	for phase in folders boot init running stopping; do
		echo "phase $phase"
		kill_at $phase supervisor
	done
}

@test "kill -9 of QEMU at boot, init, running, stopping" {
	for phase in boot init running stopping; do
		echo "phase $phase"
		kill_at $phase qemu
	done
}

@test "kill -9 of the device process at boot, init, running, stopping" {
	for phase in boot init running stopping; do
		echo "phase $phase"
		kill_at $phase vmm
	done
}

@test "kill -9 of a detached pod's supervisor" {
	pod bg Always "$(sh_container main 'sleep 1000')"
	"$PODVM" run -d -q bg.yaml
	kill -9 "$(supervisor)"
	wait_for 60 forgotten
	run "$PODVM" logs bg
	[ "$status" -eq 1 ]
	wait_for 60 assert_clean
}

@test "a guest kernel panic is reported with the console's last lines" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: panic}
		spec:
		  restartPolicy: Never
		  containers:
		  - name: main
		    image: $IMAGE
		    securityContext: {privileged: true}
		    command: [sh, -c, "mount -t proc p /mnt; echo c >/mnt/sysrq-trigger || echo c >/proc/sysrq-trigger; sleep 1000"]
	Y
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "$status" -eq 1 ]
	[[ "$output" == *"VM ended"* ]]
	[[ "$output" == *"sysrq"* || "$output" == *"anic"* ]]
	assert_clean
}

# A process that ends while a read ahead is under way must not take the file system of its root down with it: the guest's kernel
# stops at that (submount.h). Answers that take 20 ms make it likely in every second container.
@test "containers end while the device process is slow: the guest's kernel goes on" {
	cat >slow.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: slow}
		spec:
		  restartPolicy: OnFailure
		  initContainers:
		$(for i in 1 2 3 4 5 6 7 8; do echo "  - {name: i$i, image: $IMAGE, command: [sh, -c, exit 0]}"; done)
		  containers:
		  - {name: a, image: $IMAGE, command: [sh, -c, 'test -e /vol/once || { : >/vol/once; exit 1; }; stat -c %d /vol'], volumeMounts: [{name: vol, mountPath: /vol}]}
		  - {name: b, image: $IMAGE, command: [sh, -c, 'stat -c %d /vol; cat /proc/sys/kernel/panic_on_oops'], volumeMounts: [{name: vol, mountPath: /vol}]}
		  volumes: [{name: vol, emptyDir: {}}]
	Y
	"$PODVM" run slow.yaml >out 2>err &
	RUN_PID=$!
	wait_for 60 reached boot
	local vmm device status=0
	vmm=$(process vmm)
	while kill -STOP "$vmm" 2>/dev/null; do
		sleep 0.02
		kill -CONT "$vmm" 2>/dev/null || true
		sleep 0.002
	done
	wait $RUN_PID || status=$?
	cat out err
	[ "$status" -eq 0 ]
	# One file system for both, so that they share what they map, and an oops ends the VM instead of leaving it half dead.
	device=$(sed -n 's/^\[a\] //p' out)
	[[ -n $device ]]
	grep -qx "\[b\] $device" out
	grep -qx '\[b\] 1' out
	assert_clean
}

@test "three pods at once do not disturb each other" {
	for i in 1 2 3; do
		pod "many$i" Never "$(sh_container main "echo pod $i; exit $i")"
		"$PODVM" run -q "many$i.yaml" >"out$i" &
		pids[i]=$!
	done
	for i in 1 2 3; do
		local status=0
		wait "${pids[$i]}" || status=$?
		[ "$status" -eq "$i" ]
		[ "$(cat "out$i")" = "[main] pod $i" ]
	done
	assert_clean
}

# QEMU under a wrapper: its first $1 starts have a kernel that is told to do without its timer.
no_timer_for() {
	WRAPPER=$(mktemp -d /tmp/podvm-qemu-XXXXXX) # QEMU's own id must be able to execute it
	chmod 777 "$WRAPPER"
	cat >"$WRAPPER/qemu-system-x86_64" <<-S
		#!/bin/bash
		PATH=$PATH
		n=\$(find $WRAPPER -name 'starts.*' | wc -l)
		: >$WRAPPER/starts.\$n
		for a; do
			shift
			[[ \${last:-} != -append || \$n -ge $1 ]] || a+=" nolapic_timer"
			set -- "\$@" "\$a"
			last=\$a
		done
		exec qemu-system-x86_64 "\$@"
	S
	chmod 755 "$WRAPPER/qemu-system-x86_64"
}
teardown() { rm -rf "${WRAPPER:-}"; }

@test "a guest whose kernel finds no timer is started again, three times at most" {
	"$PODVM" check | grep -q "emulat" || skip "the timer is measured under emulation only"
	pod timer Never '{name: main, image: '"$IMAGE"', command: [sh, -c, "sleep 0.1; echo slept"]}'
	no_timer_for 1
	PATH=$WRAPPER:$PATH run "$PODVM" run -q timer.yaml
	echo "$output"
	[ "$status" = 0 ]
	[[ $output == *slept* ]]
	# On a busy machine the second may find none either, of itself.
	starts=("$WRAPPER"/starts.*)
	((${#starts[@]} >= 2 && ${#starts[@]} <= 4))
	rm -rf "$WRAPPER"
	no_timer_for 99
	PATH=$WRAPPER:$PATH run "$PODVM" run -q timer.yaml
	echo "$output"
	[ "$status" = 1 ]
	[[ $output == *"no timer"*"4 times"* ]]
	starts=("$WRAPPER"/starts.*)
	[ ${#starts[@]} = 4 ]
	assert_clean
}
