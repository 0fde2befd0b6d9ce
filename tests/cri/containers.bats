#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What a container of a pod may ask for through the CRI. All containers of this file run in one pod.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

setup_file() {
	containerd_start "${CRI_CONTAINERD:-1.6}" && cri_shared_pod || return 1
	is_vm || return 0
	run_container first true && "$CRI" rm-all "$POD" && cri_shim_traces >"$BATS_FILE_TMPDIR/shim"
}
teardown_file() { containerd_stop; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }
teardown() { "$CRI" rm-all "$POD"; }

@test "containers of a pod share network and volumes, init containers came before" {
	mkdir vol
	mount='.mounts = [{container_path: "/d", host_path: "'$PWD/vol'"}]'
	for i in one two; do
		run_container init-$i "echo $i >>/d/order" "$mount"
	done
	start_container server 'httpd -p 127.0.0.1:8080 -h /d; cat /d/order; exec sleep 1000' "$mount"
	run run_container client 'i=0; until wget -qO- http://127.0.0.1:8080/order; do i=$((i + 1)); [ $i -lt 60 ] || exit 1; sleep 1; done'
	[ "$status" -eq 0 ]
	[ "$output" = $'one\ntwo' ]
	# Its page was there before it wrote this.
	wait_for 60 grep -q 'F two' "$LOGS/server.log"
	[ "$(log_text "$LOGS/server.log")" = $'one\ntwo' ]
}

@test "a container restarts inside the same sandbox: a fresh root filesystem, the volume stays" {
	mkdir vol
	for attempt in 0 1 2; do
		run run_container again 'cat /d/f; test -e /x && echo old root; touch /x; echo '$attempt' >>/d/f; exit 1' \
			'.metadata.attempt = '$attempt' | .log_path = "again.log" | .mounts = [{container_path: "/d", host_path: "'$PWD/vol'"}]'
		[ "$status" -eq 1 ]
		rm "$LOGS/again.log"
	done
	[[ "$output" == *$'0\n1' ]]
	[[ "$output" != *"old root"* ]]
	[ "$("$CRI" pod "$POD" | jq -r .state)" = SANDBOX_READY ]
}

@test "states: created, running, exited with code, reason and times; a running container can be removed" {
	cri_container c 'exec sleep 1000'
	id=$("$CRI" create "$POD" c.json "$POD_JSON")
	[ "$("$CRI" container "$id" | jq -r .state)" = CONTAINER_CREATED ]
	"$CRI" start "$id"
	[ "$("$CRI" container "$id" | jq -r .state)" = CONTAINER_RUNNING ]
	"$CRI" stop --grace 0 "$id"
	run "$CRI" container "$id"
	[ "$(jq -r '[.state, .exit_code, .reason] | join(" ")' <<<"$output")" = "CONTAINER_EXITED 137 Error" ]
	[ "$(jq '.created_at <= .started_at and .started_at < .finished_at' <<<"$output")" = true ]
	run "$CRI" exec-sync "$id" -- true
	[ "$status" -eq 125 ]
	id=$(start_container d 'exec sleep 1000')
	"$CRI" rm "$id"
	run "$CRI" container "$id"
	[[ "$output" == *NOT_FOUND* ]]
}

@test "a command that does not exist is an error of StartContainer that names it" {
	cri_container c '' '.command = ["/bin/no-such-program"]'
	id=$("$CRI" create "$POD" c.json "$POD_JSON")
	run "$CRI" start "$id"
	[ "$status" -eq 125 ]
	[[ "$output" == *no-such-program* ]]
	[ "$("$CRI" container "$id" | jq -r .state)" = CONTAINER_EXITED ]
}

@test "environment, working folder, and what the image says" {
	run run_container c 'echo $A-$B; pwd; id -u; echo $FROM_IMAGE' '.image.image = "localhost/podvm-user:latest"
		| .envs = [{key: "A", value: "1 2"}, {key: "B", value: "ü"}] | .working_dir = "/usr"'
	[ "$status" -eq 0 ]
	[ "$output" = $'1 2-ü\n/usr\n1000\nyes' ]
}

@test "exec: streams apart, exit codes, environment of the container, the end of stdin" {
	c=$(start_container c 'exec sleep 1000' '.envs = [{key: "A", value: "x y"}] | .working_dir = "/tmp"')
	run --separate-stderr "$CRI" exec-sync "$c" -- sh -c 'echo out $A $PWD; echo err >&2; exit 42'
	[ "$status" -eq 42 ]
	[ "$output" = "out x y /tmp" ]
	[ "$stderr" = err ]
	run --separate-stderr "$CRI" exec -i "$c" -- sh -c 'wc -c; echo err >&2; exit 7' < <(head -c 1000000 /dev/zero)
	[ "$status" -eq 7 ]
	[ "$output" = 1000000 ]
	[ "$stderr" = err ]
	head -c 300000 /dev/urandom >data
	"$CRI" exec -i "$c" -- cat <data >back
	cmp data back
	run "$CRI" exec-sync "$c" -- /no/such
	[ "$status" -ne 0 ]
	[[ "$output" == */no/such* ]]
}

@test "exec: nothing is lost at the end, whatever the size" {
	c=$(start_container c 'exec sleep 1000')
	for n in 1 4095 4096 65536 65537 200001; do
		[ "$("$CRI" exec "$c" -- sh -c "head -c $n /dev/zero; printf E" | wc -c)" -eq $((n + 1)) ]
	done
}

# CRI_PROCESSES=1000 is the release test; every tenth process is a container of its own, the rest are execs.
@test "the last byte before an exit always arrives: many processes, random sizes" {
	mkdir vol
	head -c 153600 /dev/urandom | base64 -w 0 >vol/text
	mount='.mounts = [{container_path: "/d", host_path: "'$PWD/vol'"}]'
	c=$(start_container last 'cp /d/text /dev/shm/text; echo ready; exec sleep 10000' "$mount")
	wait_for 60 grep -q ready "$LOGS/last.log"
	run "$CRI" last-bytes "$c" "$POD" last.json "$POD_JSON" /dev/shm/text vol/text --count "${CRI_PROCESSES:-60}" --seed "${CRI_SEED:-$RANDOM}"
	echo "$output"
	[ "$status" -eq 0 ]
	[[ "$output" == "${CRI_PROCESSES:-60} processes, "* ]]
	"$CRI" exec-sync "$c" -- rm /dev/shm/text
}

@test "ExecSync ends with an error at its timeout, and its process with it" {
	c=$(start_container c 'exec sleep 1000')
	run "$CRI" exec-sync --timeout 1 "$c" -- sleep 777
	[ "$status" -eq 125 ]
	[[ "$output" == *"timeout 1s exceeded"* ]]
	no_process() { ! "$CRI" exec-sync "$c" -- sh -c 'ps -o args | grep -v grep | grep "sleep 777"'; }
	wait_for 60 no_process
}

@test "a terminal: exec -t with its size, resized while it runs" {
	c=$(start_container c 'exec sleep 1000')
	run "$CRI" exec -it --size 100x40 --resize-on ready=77x22 --keep-stdin "$c" -- \
		sh -c 'test -t 0 || exit 9; trap w=1 WINCH; echo ready; i=0
			# The first size may come as a change, or before the start.
			until [ -n "$w" ] && [ "$(stty size)" = "22 77" ]; do sleep 0.1; i=$((i + 1)); [ $i -lt 1200 ] || exit 8; done
			stty size; exit 3' </dev/null
	[ "$status" -eq 3 ]
	output=${output//$'\r'/}
	[[ "$output" == *"22 77" ]]
}

@test "a container with a terminal: its log, attach with stdin" {
	c=$(start_container tty 'test -t 1 && echo terminal; read x; echo got $x' '.tty = true | .stdin = true')
	run "$CRI" attach -it --keep-stdin "$c" <<<"hello"
	[[ "$output" == *"got hello"* ]]
	[ "$("$CRI" wait "$c")" = "0 Completed" ]
	[[ "$(ended_log "$LOGS/tty.log" | tr -d '\r')" == terminal*"got hello" ]]
}

@test "attach: stdin once, streams apart, and the end" {
	c=$(start_container once 'cat; echo end >&2' '.stdin = true | .stdin_once = true')
	run --separate-stderr "$CRI" attach -i "$c" <<<"line"
	[ "$output" = line ]
	[ "$stderr" = end ]
	[ "$("$CRI" wait "$c")" = "0 Completed" ]
}

@test "the log: both streams by name, long lines whole" {
	run run_container log 'echo out; sleep 0.2; echo err >&2; sleep 0.2; head -c 40000 /dev/zero | tr "\0" a; echo'
	[ "$status" -eq 0 ]
	[ "${#output}" -eq $((8 + 40000)) ]
	grep -q ' stdout F out$' "$LOGS/log.log"
	grep -q ' stderr F err$' "$LOGS/log.log"
}

@test "the log is rotated without losing a line" {
	c=$(start_container rot 'i=0; until [ -e /tmp/enough ]; do echo $i; i=$((i+1)); sleep 0.01; done; echo $i >/dev/shm/rot')
	for i in 1 2 3; do
		wait_for 60 test -s "$LOGS/rot.log"
		mv "$LOGS/rot.log" "$LOGS/rot.log.$i"
		"$CRI" reopen-log "$c"
	done
	wait_for 60 test -s "$LOGS/rot.log"
	# The container ends at that, and may take the exec with it before it has said so.
	"$CRI" exec-sync "$c" -- touch /tmp/enough || [ $? -eq 137 ]
	[ "$("$CRI" wait "$c")" = "0 Completed" ]
	wait_for 60 log_closed "$LOGS/rot.log"
	for f in rot.log.1 rot.log.2 rot.log.3 rot.log; do
		log_text "$LOGS/$f"
	done >all
	n=$(run_container count 'cat /dev/shm/rot; rm /dev/shm/rot')
	((n > 4))
	cmp all <(seq 0 $((n - 1)))
}

@test "users and groups: numbers, a name, supplemental groups" {
	run run_container u 'id -u; id -g; id -G | tr " " "\n" | sort -n | tr "\n" " "' '.linux.security_context += {run_as_user: {value: 1234}, run_as_group: {value: 55}, supplemental_groups: [77, 88]}'
	[ "$output" = $'1234\n55\n55 77 88 ' ]
	run run_container n 'id -un; id -g' '.linux.security_context += {run_as_username: "www-data"}'
	[ "$output" = $'www-data\n33' ]
}

status_field() { printf 'grep "^%s:" /proc/self/status | tr -d "\\t " | cut -d: -f2; ' "$@"; }

@test "capabilities: dropped, added, none for another user" {
	run run_container drop "$(status_field CapEff CapBnd)" '.linux.security_context.capabilities = {drop_capabilities: ["ALL"], add_capabilities: ["NET_BIND_SERVICE"]}'
	[ "$output" = $'0000000000000400\n0000000000000400' ]
	run run_container user "$(status_field CapEff)" '.linux.security_context.run_as_user = {value: 1000}'
	[ "$output" = 0000000000000000 ]
	run run_container add "$(status_field CapEff)" '.linux.security_context.capabilities = {add_capabilities: ["SYS_TIME"]}'
	((16#$output & 1 << 25))
	((!(16#$output & 1 << 21)))
}

@test "no new privileges, and seccomp: the default profile, none, one of the node" {
	run run_container nnp "$(status_field NoNewPrivs Seccomp)" '.linux.security_context += {no_new_privs: true}'
	[ "$output" = $'1\n2' ]
	run run_container un "$(status_field NoNewPrivs Seccomp)" '.linux.security_context += {seccomp: {profile_type: "Unconfined"}}'
	[ "$output" = $'0\n0' ]
	cat >profile.json <<<'{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]}'
	run run_container local 'mkdir /tmp/x' '.linux.security_context.seccomp = {profile_type: "Localhost", localhost_ref: "'$PWD/profile.json'"}'
	[ "$status" -eq 1 ]
	[[ "$("$CRI" containers "$POD")" == *local* ]]
	grep -q 'Function not implemented' "$LOGS/local.log"
}

@test "root filesystem read-only, masked and read-only paths" {
	run run_container ro 'exec 2>&1; touch /x; touch /tmp/x; echo $?' '.linux.security_context.readonly_rootfs = true'
	[ "$output" = "$(printf 'touch: /x: Read-only file system\ntouch: /tmp/x: Read-only file system\n1')" ]
	run run_container masked 'exec 2>&1; cat /proc/version | wc -c; ls /sys/kernel | wc -l; echo 1 >/proc/sys/kernel/domainname' \
		'.linux.security_context += {masked_paths: ["/proc/version", "/sys/kernel"], readonly_paths: ["/proc/sys"]}'
	[ "${lines[0]}" = 0 ]
	[ "${lines[1]}" = 0 ]
	[[ "${lines[2]}" == *"Read-only file system"* ]]
}

@test "out of memory: OOMKilled, 137" {
	cri_container oom 'tail /dev/zero' '.linux.resources = {memory_limit_in_bytes: 33554432, memory_swap_limit_in_bytes: 33554432} | .command = ["tail", "/dev/zero"]'
	c=$("$CRI" run "$POD" oom.json "$POD_JSON")
	[ "$("$CRI" wait "$c")" = "137 OOMKilled" ]
}

@test "graceful end: SIGTERM once and the container's own exit code; SIGKILL after the grace period" {
	c=$(start_container term 'trap "echo TERM; exit 5" TERM; echo up; while :; do sleep 0.1; done')
	wait_for 60 grep -q up "$LOGS/term.log"
	"$CRI" stop --grace 100 "$c"
	[ "$("$CRI" wait "$c")" = "5 Error" ]
	[ "$(ended_log "$LOGS/term.log")" = $'up\nTERM' ]
	c=$(start_container kill 'trap "echo TERM" TERM; echo up; while :; do sleep 0.1; done')
	wait_for 60 grep -q up "$LOGS/kill.log"
	"$CRI" stop --grace 5 "$c"
	[ "$("$CRI" wait "$c")" = "137 Error" ]
	[ "$(ended_log "$LOGS/kill.log")" = $'up\nTERM' ]
}

@test "the stop signal of the image" {
	c=$(start_container usr1 'trap "exit 6" USR1; echo up; while :; do sleep 0.1; done' '.image.image = "localhost/podvm-user:latest"')
	wait_for 60 grep -q up "$LOGS/usr1.log"
	"$CRI" stop --grace 100 "$c"
	[ "$("$CRI" wait "$c")" = "6 Error" ]
}

@test "statistics of a container are real: CPU grows with work, memory with use" {
	c=$(start_container s 'head -c 20000000 /dev/zero >/dev/shm/f; echo full; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo done; sleep 1000')
	wait_for 120 grep -q 'F done' "$LOGS/s.log"
	run "$CRI" stats "$c"
	[ "$(jq .cpu.usage_core_nano_seconds <<<"$output")" -gt 20000000 ]
	[ "$(jq .memory.usage_bytes <<<"$output")" -gt 20000000 ]
	[ "$(jq .memory.working_set_bytes <<<"$output")" -gt 20000000 ]
	"$CRI" exec-sync "$c" -- rm /dev/shm/f
}

# limit VERSION-2-FILE VERSION-1-PATH: a limit of the container as its own cgroup says it.
limit() { "$CRI" exec-sync "$c" -- sh -c "cat /sys/fs/cgroup/$1 2>/dev/null || cat /sys/fs/cgroup/$2"; }

@test "UpdateContainerResources changes the container's cgroup" {
	c=$(start_container up 'exec sleep 1000' '.linux.resources = {memory_limit_in_bytes: 67108864, cpu_period: 100000, cpu_quota: 20000, cpu_shares: 102}')
	[ "$(limit memory.max memory/memory.limit_in_bytes)" = 67108864 ]
	[[ "$(limit cpu.max cpu/cpu.cfs_quota_us)" == 20000* ]]
	"$CRI" update "$c" memory_limit_in_bytes=100663296 cpu_quota=50000 cpu_period=100000
	[ "$(limit memory.max memory/memory.limit_in_bytes)" = 100663296 ]
	[[ "$(limit cpu.max cpu/cpu.cfs_quota_us)" == 50000* ]]
	"$CRI" update "$c" cpu_shares=512
	if is_vm; then [ "$(limit cpu.weight -)" = 20 ]; else [ "$(limit - cpu/cpu.shares)" = 512 ]; fi
	if is_vm; then
		"$CRI" update "$c" memory_limit_in_bytes=100663296 memory_swap_limit_in_bytes=134217728
		[ "$(limit memory.swap.max -)" = 33554432 ]
	fi
	run "$CRI" update "$c" cpuset_cpus=4000
	[ "$status" -eq 125 ]
	[[ "$output" == *cpu* ]]
	is_vm || return 0
	# What the VM does not have cannot be given, and nothing is changed by the attempt.
	run "$CRI" update "$c" memory_limit_in_bytes=1099511627776
	[ "$status" -eq 125 ]
	[[ "$output" == *memory.limit*"cannot grow"* ]]
	run "$CRI" update "$c" cpu_quota=6400000 cpu_period=100000
	[ "$status" -eq 125 ]
	[[ "$output" == *cpu.quota*CPUs* ]]
	[ "$(limit memory.max -) $(limit cpu.max -)" = "100663296 50000 100000" ]
}

@test "a container that was created with CPU numbers of the node can have its other limits changed" {
	c=$(start_container numbers 'exec sleep 1000' '.linux.resources = {memory_limit_in_bytes: 67108864, cpuset_cpus: "0", cpuset_mems: "0"}')
	"$CRI" update "$c" memory_limit_in_bytes=100663296
	[ "$(limit memory.max memory/memory.limit_in_bytes)" = 100663296 ]
}

@test "/dev/shm is the pod's: shared by its containers, of its size" {
	run_container a 'echo word >/dev/shm/f; test "$(df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2)" -gt 1000'
	run run_container b 'cat /dev/shm/f; rm /dev/shm/f'
	[ "$output" = word ]
}

@test "debugging containers join the PID namespace of their target, whatever else runs; one that has ended cannot be joined" {
	other=$(start_container other 'exec sleep 4320')
	target=$(start_container target 'echo mine >/tmp/mark; exec sleep 4321')
	runs() { "$CRI" exec-sync "$1" -- ps -o args | grep -qx "sleep $2"; }
	wait_for 60 runs "$target" 4321
	wait_for 60 runs "$other" 4320
	for t in "$target" "$other"; do
		n=$([ "$t" = "$target" ] && echo 4321 || echo 4320)
		run run_container "debug$n" 'ps -o pid,args | grep -v grep | grep "sleep 432"; cat /proc/1/root/tmp/mark 2>&1; kill -0 1; echo $?' \
			'.linux.security_context.namespace_options = {pid: "TARGET", target_id: "'"$t"'"}
			| .linux.security_context.capabilities = {add_capabilities: ["SYS_PTRACE"]}'
		[ "$status" -eq 0 ]
		[[ "${lines[0]}" == *"1 sleep $n" ]]
		[ "${lines[2]}" = 0 ]
		[ "$n" = 4320 ] || [ "${lines[1]}" = mine ]
		[ "${#lines[@]}" -eq 3 ]
	done
	"$CRI" stop --grace 0 "$target"
	cri_container late 'true' '.linux.security_context.namespace_options = {pid: "TARGET", target_id: "'"$target"'"}'
	run "$CRI" run "$POD" late.json "$POD_JSON"
	[ "$status" -eq 125 ]
	[[ "$output" == *"running"* ]]
}

@test "probes and hooks: by exec, by HTTP and TCP to the pod's address" {
	ip=$("$CRI" pod "$POD" | jq -r .network.ip)
	c=$(start_container app 'mkdir /w; echo fine >/w/health; until [ -e /tmp/post-start ]; do sleep 0.1; done
		httpd -p 8088 -h /w; trap "test -e /tmp/pre-stop && exit 3" TERM; while :; do sleep 0.1; done')
	# postStart: an exec right after the start. Until then nothing listens, and the probe is refused.
	run wget -qO- -T 60 "http://$ip:8088/health"
	[ "$status" -ne 0 ]
	run socat -u OPEN:/dev/null "TCP:$ip:8088"
	[ "$status" -ne 0 ]
	[[ "$output" == *"Connection refused"* ]]
	"$CRI" exec-sync "$c" -- touch /tmp/post-start
	answers() { [ "$(wget -qO- -T 60 "http://$ip:8088/health")" = fine ]; }
	wait_for 60 answers
	socat -u OPEN:/dev/null "TCP:$ip:8088"
	run wget -SO- -T 60 "http://$ip:8088/nothing"
	[[ "$output" == *404* ]]
	run "$CRI" exec-sync --timeout 100 "$c" -- sh -c 'test -e /tmp/unready || { echo not yet; exit 7; }'
	[ "$status" -eq 7 ]
	[ "$output" = "not yet" ]
	# preStop: an exec that has to end before SIGTERM.
	"$CRI" exec-sync "$c" -- touch /tmp/pre-stop
	"$CRI" stop --grace 100 "$c"
	[ "$("$CRI" wait "$c")" = "3 Error" ]
}

@test "processes of a container see themselves only" {
	start_container other 'exec sleep 4322'
	run run_container alone 'ps -o args | grep -v grep | grep -c "sleep 4322"; echo $$'
	[ "${lines[0]}" = 0 ]
	[ "${lines[1]}" = 1 ]
}

@test "many containers come and go in one pod" {
	for i in 1 2 3 4 5 6 7 8; do
		(run_container "many$i" "echo $i" >"out$i") &
	done
	wait
	cat out? >all
	cmp all <(seq 8)
}

@test "containers and execs that came and went have left nothing in the pod's shim" {
	is_vm || skip "about our shim"
	"$CRI" rm-all "$POD"
	cri_assert_shim_as "$BATS_FILE_TMPDIR/shim"
}
