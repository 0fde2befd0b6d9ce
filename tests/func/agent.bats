#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The agent's calls that the command line does not make, for real: pause, limits, events, lists, and bad requests. One pod for all.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

CALL=$ROOT/b/dev/tests/agent_call

# Containers: main counts into a file of the host; eater takes memory when told to; brief ends with 7 when told to.
setup_file() {
	load ../lib/common.bash
	export PODVM_RUN=$BATS_FILE_TMPDIR/run H=$BATS_FILE_TMPDIR/h
	mkdir -p "$PODVM_RUN" "$H"
	cd "$BATS_FILE_TMPDIR" || return 1
	local mounts='volumeMounts: [{name: h, mountPath: /h}]'
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: calls}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: 1
		  volumes: [{name: h, hostPath: {path: $H}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "n=0; while :; do n=\$((n + 1)); echo \$n >/h/n.new; mv /h/n.new /h/n; sleep 0.1; done"]
		    resources: {limits: {memory: 64Mi, cpu: 500m}}
		    $mounts
		  - name: eater
		    image: $IMAGE
		    command: [sh, -c, "until [ -e /h/eat ]; do sleep 0.1; done; tail /dev/zero; echo \$? >/h/survived; exec sleep 1000"]
		    resources: {limits: {memory: 16Mi}}
		    $mounts
		  - name: brief
		    image: $IMAGE
		    command: [sh, -c, "until [ -e /h/end ]; do sleep 0.1; done; exit 7"]
		    $mounts
	Y
	"$PODVM" run -d -q p.yaml
	export SOCKET MAIN EATER BRIEF
	SOCKET=$(echo "$PODVM_RUN"/pods/*/vsock.sock)
	MAIN=$(id_of main) EATER=$(id_of eater) BRIEF=$(id_of brief)
}
# What the pod has to say, when a test fails.
teardown() { [ -n "$BATS_TEST_COMPLETED" ] || "$PODVM" logs --all calls | tail -n 30; }
teardown_file() { ! "$PODVM" ps -q | grep -q . || "$PODVM" rm -f calls; }

id_of() { jq -er ".containers[] | select(.name == \"$1\") | .id" "$PODVM_RUN"/pods/*/state.json; }
call() { "$CALL" "$SOCKET" "$@"; }
# refused ERRNO CALL...: fails with that error and one line of text.
refused() {
	local code=$1
	shift
	run --separate-stderr call "$@"
	echo "$*: $status $stderr"
	[ "$status" -eq 1 ]
	[ -z "$output" ]
	[[ "$stderr" == "$code: "?* && "$stderr" != *$'\n'* ]]
}
counter() { cat "$H/n" 2>/dev/null || echo 0; }
counts_beyond() { (($(counter) > $1)); }
in_main() { "$PODVM" exec -c main calls -- "$@"; }
limit() { in_main cat "/sys/fs/cgroup/$1"; }

@test "GetInfo says what the guest is" {
	call GetInfo >info
	cat info
	jq -e '.configured and .cpus >= 1 and .memory_total > 16777216 and .uptime_ns >= .agent_start_ns' info
	[[ $(jq -r .crun_version info) =~ ^[0-9]+\.[0-9]+ ]]
	[ "$(jq -r .kernel_release info)" = "$(in_main uname -r)" ]
	[ "$(jq -r .agent_version info)" = "$("$PODVM" version | sed -n '1s/.* //p')" ]
}

@test "a paused container stands still, and goes on when resumed" {
	wait_for 60 counts_beyond 0
	[ "$(call PauseContainer container_id="$MAIN")" = "{}" ]
	local before
	before=$(counter)
	# Other work of the guest goes on meanwhile: two processes are made and waited for in another container.
	"$PODVM" exec -c eater calls -- sleep 1
	"$PODVM" exec -c eater calls -- true
	[ "$(counter)" -eq "$before" ]
	# Pausing twice is no error, and one resume is enough.
	call PauseContainer container_id="$MAIN"
	call ResumeContainer container_id="$MAIN"
	wait_for 60 counts_beyond $((before + 3))
	call ResumeContainer container_id="$MAIN"
}

@test "UpdateContainer changes the guest's limits" {
	[ "$(limit memory.max)" = 67108864 ]
	[ "$(limit cpu.max)" = "50000 100000" ]
	call UpdateContainer container_id="$MAIN" resources='{"memory":{"limit":50331648},"cpu":{"quota":30000,"period":50000},"pids":{"limit":99}}'
	[ "$(limit memory.max)" = 50331648 ]
	[ "$(limit cpu.max)" = "30000 50000" ]
	[ "$(limit pids.max)" = 99 ]
	[ "$(call GetStats container_id="$MAIN" | jq .memory_limit)" = 50331648 ]
	call UpdateContainer container_id="$MAIN" resources='{"pids":{"limit":-1}}'
	[ "$(limit pids.max)" = max ]
}

@test "UpdateContainer refuses what cannot be done and changes nothing" {
	local before
	before="$(limit memory.max) $(limit cpu.max) $(limit pids.max)"
	# The first part of each could be done.
	refused EINVAL UpdateContainer container_id="$MAIN" resources='{"memory":{"limit":40000000},"blockIO":{"weight":5}}'
	refused EINVAL UpdateContainer container_id="$MAIN" resources='{"memory":{"limit":40000000},"cpu":{"quota":1,"period":100000}}'
	refused EINVAL UpdateContainer container_id="$MAIN" resources='{"memory":{"limit":40000000},"cpu":{"shares":1}}'
	refused EINVAL UpdateContainer container_id="$MAIN" resources='{"memory":{"limit":40000000},"unified":{"no.such":"1"}}'
	refused EINVAL UpdateContainer container_id="$MAIN" resources='{"unified":{"cgroup.procs":"1"}}'
	refused EINVAL UpdateContainer container_id="$MAIN" resources='{"memory":{"limit":99999999999999999999999}}'
	refused EINVAL UpdateContainer container_id="$MAIN" resources='{"memory":'
	refused EINVAL UpdateContainer container_id="$MAIN" resources=
	[ "$(limit memory.max) $(limit cpu.max) $(limit pids.max)" = "$before" ]
}

@test "ListProcesses names the processes, GetStats counts them" {
	"$PODVM" exec -c brief calls -- sleep 882 &
	local client=$!
	# The shell and what it waits with, and the exec.
	wait_for 60 bash -c "'$CALL' '$SOCKET' ListProcesses container_id='$BRIEF' | jq -e '.pids | length == 3'"
	call ListProcesses container_id="$BRIEF" | jq -e '.pids | all(. > 1) and (unique | length) == length'
	kill $client
	wait $client || true
	# Its end is told as an event, the last thing of it; the tests of events begin behind that.
	wait_for 60 bash -c "'$CALL' '$SOCKET' NextEvents | jq -e 'any(.events[]; .container_id == \"$BRIEF\" and .exec_id != \"\")'"
	call ListProcesses container_id="$BRIEF" | jq -e '.pids | length <= 2'

	call GetStats container_id="$EATER" >stats
	cat stats
	jq -e '.memory_limit == 16777216 and .memory_usage > 0 and .cpu_usage_ns > 0 and .pids_current >= 1 and .oom_kills == 0' stats
	call GetStats >guest
	jq -e '.memory_available > 0 and .cpu_usage_ns > 0 and any(.networks[]; .name == "lo")' guest
}

@test "NextEvents: nothing new is an empty answer at the time-out; exits and OOM kills come as they happen" {
	local last
	last=$(call NextEvents | jq '[.events[].seq] | max // 0')
	SECONDS=0
	[ "$(call NextEvents after_seq="$last" timeout_ms=1500)" = '{"events":[]}' ]
	((SECONDS >= 1))

	call NextEvents after_seq="$last" timeout_ms=60000 >exit.json &
	local poll=$!
	touch "$H/end"
	wait $poll
	cat exit.json
	jq -e ".events[0] | .kind == \"EVENT_EXIT\" and .container_id == \"$BRIEF\" and .exec_id == \"\" and .exit_code == 7 and
		.seq == $last + 1 and .at_ns > 0" exit.json
	last=$((last + 1))

	call NextEvents after_seq="$last" timeout_ms=60000 >oom.json &
	poll=$!
	touch "$H/eat"
	wait $poll
	cat oom.json
	jq -e ".events[0] | .kind == \"EVENT_OOM\" and .container_id == \"$EATER\" and .seq == $last + 1" oom.json
	# The kernel kills the whole container (memory.oom.group, as the kubelet sets it): the shell that waits has no say.
	call WaitProcess container_id="$EATER" | jq -e '.exit_code == 137 and .oom_killed'
	# Each process that it killed may be an event of its own; the end is the last.
	call NextEvents after_seq="$last" >eaten.json
	cat eaten.json
	jq -e "all(.events[]; .container_id == \"$EATER\") and all(.events[:-1][]; .kind == \"EVENT_OOM\") and
		(.events[-1] | .kind == \"EVENT_EXIT\" and .exit_code == 137)" eaten.json
	[ ! -e "$H/survived" ]
	call GetStats container_id="$EATER" | jq -e '.oom_kills >= 1'
	# The past is kept, without holes, and asking again does not take it away.
	call NextEvents | jq -e '[.events[].seq] as $s | $s == [range(1; ($s | length) + 1)]'
	call NextEvents after_seq="$last" | jq -e '.events[0].kind == "EVENT_OOM"'
}

@test "without memory.oom.group the kernel kills one process and the container goes on" {
	[ "$(limit memory.oom.group)" = 1 ]
	call UpdateContainer container_id="$MAIN" resources='{"memory":{"limit":16777216},"unified":{"memory.oom.group":"0"}}'
	[ "$(limit memory.oom.group)" = 0 ]
	run -137 in_main tail /dev/zero
	call GetStats container_id="$MAIN" | jq -e '.oom_kills >= 1'
	local before
	before=$(counter)
	wait_for 60 counts_beyond "$before"
}

@test "bad ids, numbers and states are refused, and the agent goes on" {
	local long
	long=$(printf 'a%.0s' {1..65})
	for m in PauseContainer ResumeContainer ListProcesses GetStats UpdateContainer DeleteProcess WaitProcess StartProcess; do
		refused ENOENT "$m" container_id=nosuch
		refused EINVAL "$m" container_id=../etc
		refused EINVAL "$m" container_id="$long"
	done
	refused EINVAL PauseContainer
	refused ENOENT WaitProcess container_id="$MAIN" exec_id=nosuch
	refused EINVAL WaitProcess container_id="$MAIN" exec_id=a/b
	refused EINVAL SignalProcess container_id="$MAIN" signal=0
	refused EINVAL SignalProcess container_id="$MAIN" signal=65
	refused EINVAL SignalProcess container_id="$MAIN" signal=4294967295
	refused EBUSY StartProcess container_id="$MAIN"
	refused EBUSY Configure hostname=other
	refused ENOENT ReleaseDisk serial=nosuch
	refused EINVAL ReleaseDisk
	refused EEXIST CreateContainer container_id="$MAIN" oci_spec='{}'
	refused EINVAL CreateContainer container_id=other oci_spec='{}'
	refused EINVAL CreateContainer container_id=other oci_spec='['
	refused EINVAL CreateExec container_id="$MAIN" exec_id=e1 process='{"args":'
	call GetInfo | jq -e .configured
	counter_now=$(counter)
	wait_for 60 counts_beyond "$counter_now"
}

@test "a pod with a paused container ends like any other" {
	call PauseContainer container_id="$MAIN"
	"$PODVM" rm -f calls
	[ -z "$(ls "$PODVM_RUN/pods")" ]
	[ -z "$(podvm_processes)" ]
}
