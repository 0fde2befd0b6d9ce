#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The commands about pods, on records made by hand: ps, logs, inspect, rm, and the refusals of the others. No VM is needed.

load ../lib/common.bash
bats_require_minimum_version 1.5.0

setup() {
	podvm_setup
	export PODVM_STATE=$BATS_TEST_TMPDIR/state
	ID=0123456789ab
}

teardown() { [[ -z ${PIDS:-} ]] || kill -9 $PIDS 2>/dev/null || true; }

# record ID NAME PHASE [EXITCODE]: a pod that has a container, an init container and a sidecar.
record() {
	local id=$1 name=$2 phase=$3 code=${4:-0}
	mkdir -p "$PODVM_RUN/pods/$id" "$PODVM_STATE/pods/$id"
	: >"$PODVM_RUN/pods/$id/lock"
	: >"$PODVM_STATE/pods/$id/log"
	cat >"$PODVM_RUN/pods/$id/state.json" <<-J
		{"version": 1, "id": "$id", "name": "$name", "namespace": "default", "phase": "$phase", "message": "", "exitCode": $code,
		 "createdNs": $(date +%s%N), "vm": {"driver": "qemu", "kernel": "6.1.0", "processes": []},
		 "containers": [{"name": "setup", "id": "setup-0", "init": true, "state": "Terminated"},
		                {"name": "web", "id": "web-0", "init": false, "state": "Running"},
		                {"name": "side", "id": "side-0", "init": true, "sidecar": true, "state": "Running"}]}
	J
}
# line SOURCE STREAM TAG TEXT [SECOND]: one record of the log.
line() { printf '2026-11-23T08:30:%02d.123456789Z %s %s %s %s\n' "${5:-0}" "$1" "$2" "$3" "$4" >>"$PODVM_STATE/pods/$ID/log"; }
# Holds the lock of a pod, as its supervisor does.
alive() {
	exec {LOCK}<"$PODVM_RUN/pods/$1/lock"
	flock "$LOCK"
}
ended() { exec {LOCK}<&-; }

@test "ps: running pods, all pods, ids, names, JSON" {
	record $ID web Running
	alive $ID
	record aaaaaaaaaaaa job Failed 3
	run "$PODVM" ps
	[ "${#lines[@]}" -eq 2 ]
	[[ ${lines[0]} == NAME*ID*STATUS*AGE*CONTAINERS ]]
	[[ ${lines[1]} =~ ^web\ +$ID\ +Running\ +[0-9]+s\ +2/2$ ]]
	run "$PODVM" ps -a
	[ "${#lines[@]}" -eq 3 ]
	[[ ${lines[2]} == job*aaaaaaaaaaaa*"Failed (3)"*0/2 ]]
	[ "$("$PODVM" ps -q)" = $ID ]
	[ "$("$PODVM" ps -aq | xargs)" = "$ID aaaaaaaaaaaa" ]
	[ "$("$PODVM" ps -a --names | xargs)" = "web job" ]
	"$PODVM" ps -a --json | jq -e '.[0].alive and (.[1].alive | not) and .[1].name == "job"'
}

@test "a crashed pod is gone with the next command, whichever it is" {
	local c
	for c in "ps -a" "logs x" "stop x" "inspect x" "image ls"; do
		record $ID web Running
		# shellcheck disable=SC2086
		run "$PODVM" $c
		[ -z "$(ls "$PODVM_RUN/pods" "$PODVM_STATE/pods" | grep $ID)" ]
	done
}

@test "logs: containers with their names, in order, parts joined" {
	record $ID web Succeeded
	line podvm - F "phase Running"
	line container/web stdout F "one"
	line container/side stderr F "two"
	line container/web stdout P "long "
	line container/web stdout F "line"
	line console - F "boot"
	line container/web stdout P "broken"
	line container/side stdout F "in"
	line container/web stdout F "off"
	line container/web stdout P "no end"
	run "$PODVM" logs web
	[ "$status" -eq 0 ]
	[ "$output" = $'[web] one\n[side] two\n[web] long line\n[web] broken\n[side] in\n[web] off\n[web] no end' ]
	[ "$("$PODVM" logs -c side web)" = $'two\nin' ]
	run "$PODVM" logs -c none web
	[ "$status" -eq 1 ]
	[[ $output == *"has no container 'none'; it has setup, web, side" ]]
	run "$PODVM" logs --timestamps -c side $ID
	[ "${lines[0]}" = "2026-11-23T08:30:00.123456789Z two" ]
}

@test "logs --all: one timeline in which nobody can control the terminal" {
	record $ID web Succeeded
	line podvm - F "phase Running"
	line console - F $'evil \e[2J\x9b\x7f'
	line container/web stdout F $'red \e[31m'
	line agent - F $'gr\xc3\xbcn'
	run "$PODVM" logs --all web
	[ "${lines[0]}" = '08:30:00.123 podvm        phase Running' ]
	[ "${lines[1]}" = '08:30:00.123 console      evil \x1b[2J\x9b\x7f' ]
	[ "${lines[2]}" = '08:30:00.123 web          red \x1b[31m' ]
	[ "${lines[3]}" = $'08:30:00.123 agent        gr\xc3\xbcn' ]
	[ "$("$PODVM" logs -c web web)" = $'red \e[31m' ] # what a container wrote comes as it is
}

@test "logs --tail and --since" {
	record $ID web Succeeded
	local i
	for i in {1..20}; do line container/web stdout F "line $i" "$i"; done
	[ "$("$PODVM" logs --tail 2 -c web web)" = $'line 19\nline 20' ]
	[ -z "$("$PODVM" logs --tail 0 web)" ]
	[ "$("$PODVM" logs --tail 100 web | wc -l)" -eq 20 ]
	[ "$("$PODVM" logs --since 2026-11-23T08:30:19Z -c web web)" = $'line 19\nline 20' ]
	[ "$("$PODVM" logs --since 2026-11-23T09:30:20+01:00 -c web web)" = "line 20" ]
	[ "$("$PODVM" logs --since 2026-11-23T08:30:10.5Z --tail 1 -c web web)" = "line 20" ]
	for i in "" x 10 10x m 2026-11-23 2026-11-23T08:30:10 99999999999s; do
		run "$PODVM" logs --since "$i" web
		[ "$status" -eq 2 ]
	done
	run "$PODVM" logs --tail -1 web
	[ "$status" -eq 2 ]
}

@test "logs: rotated files come first, damaged lines are left out" {
	record $ID web Succeeded
	line container/web stdout F old
	mv "$PODVM_STATE/pods/$ID/log" "$PODVM_STATE/pods/$ID/log.1"
	{
		printf 'no record\n\n2026-11-23T08:30:00.123456789Z container/web stdout X tag\n'
		head -c 100000 /dev/zero | tr '\0' x
		printf '\n'
	} >"$PODVM_STATE/pods/$ID/log"
	line container/web stdout F new
	printf '2026-11-23T08:30:00.123456789Z container/web stdout F cut off' >>"$PODVM_STATE/pods/$ID/log"
	[ "$("$PODVM" logs -c web web)" = $'old\nnew' ]
}

@test "logs --follow goes on over a rotation until the pod ends" {
	record $ID web Running
	alive $ID
	line container/web stdout F first
	"$PODVM" logs -f -c web web >out {LOCK}<&- &
	PIDS=$!
	wait_for 60 grep -q first out
	line container/web stdout F second
	wait_for 60 grep -q second out
	mv "$PODVM_STATE/pods/$ID/log" "$PODVM_STATE/pods/$ID/log.1"
	line container/web stdout F third
	wait_for 60 grep -q third out
	line container/web stdout F last
	ended
	sed -i 's/"phase": "Running"/"phase": "Succeeded"/' "$PODVM_RUN/pods/$ID/state.json"
	wait "$PIDS"
	PIDS=
	[ "$(cat out)" = $'first\nsecond\nthird\nlast' ]
}

@test "inspect: the whole record, with paths" {
	record $ID web Succeeded
	run "$PODVM" inspect web
	[ "$status" -eq 0 ]
	[ "$(jq -r .name <<<"$output")" = web ]
	[ "$(jq -r .alive <<<"$output")" = false ]
	[ "$(jq -r .paths.log <<<"$output")" = "$PODVM_STATE/pods/$ID/log" ]
	run "$PODVM" inspect web nope
	[ "$status" -eq 1 ]
}

@test "rm removes what has ended, and nothing else" {
	record $ID web Succeeded
	record aaaaaaaaaaaa run Running
	alive aaaaaaaaaaaa
	run "$PODVM" rm run
	[ "$status" -eq 1 ]
	[[ $output == *"is running: 'podvm stop run' first, or 'podvm rm -f run'" ]]
	run "$PODVM" rm web nope
	[ "$status" -eq 1 ]
	[[ $output == *web*"no pod 'nope'"* ]]
	[ "$(ls "$PODVM_RUN/pods")" = aaaaaaaaaaaa ]
	[ "$(ls "$PODVM_STATE/pods")" = aaaaaaaaaaaa ]
}

@test "names, ids and beginnings of ids; what is not unique is refused" {
	record $ID web Succeeded
	record 0123aaaaaaaa job Succeeded
	[ "$("$PODVM" inspect 01234 | jq -r .name)" = web ]
	[ "$("$PODVM" inspect job | jq -r .id)" = 0123aaaaaaaa ]
	run "$PODVM" inspect 0123
	[ "$status" -eq 1 ]
	[[ $output == *"2 pods"* ]]
	run "$PODVM" inspect ""
	[ "$status" -eq 1 ]
}

@test "what needs a running pod says so" {
	record $ID web Failed
	local c
	for c in "exec web -- ls" "stats --no-stream web"; do
		# shellcheck disable=SC2086
		run "$PODVM" $c
		[ "$status" -eq 1 ]
		[ "${#lines[@]}" -eq 1 ]
		[[ $output == "podvm: pod 'web' is not running: it is Failed" ]]
	done
	run "$PODVM" stop web # is stopped already
	[ "$status" -eq 0 ]
}

@test "a pod whose agent does not answer is an error, not a hang" {
	record $ID web Running
	alive $ID
	run timeout 120 "$PODVM" exec web -- ls
	[ "$status" -eq 1 ]
	[[ $output == *vsock.sock* ]]
	run timeout 120 "$PODVM" inspect web
	[ "$status" -eq 0 ]
	[[ $(jq -r .guestError <<<"$output") == *vsock.sock* ]]
}

@test "state files of any content do no harm" {
	local s
	for s in '' '[]' '{' '{"phase":5,"containers":7}' '{"phase":"Failed","containers":[1,{"name":3}],"vm":{"processes":{}}}' '{"phase":"Failed","name":"\u001b[2J"}'; do
		record $ID web Failed
		printf '%s' "$s" >"$PODVM_RUN/pods/$ID/state.json"
		run "$PODVM" ps -a
		[ "$status" -eq 0 ]
		[[ $output != *$'\e'* ]]
		record $ID web Failed
		printf '%s' "$s" >"$PODVM_RUN/pods/$ID/state.json"
		run "$PODVM" inspect $ID
		[ "$status" -le 1 ]
		rm -rf "$PODVM_RUN/pods/$ID"
	done
}

@test "usage errors: one line, exit 2, and what is near" {
	usage() { # PATTERN ARGUMENT...
		local pattern=$1
		shift
		run "$PODVM" "$@"
		[ "$status" -eq 2 ] && [ "${#lines[@]}" -eq 1 ] && [[ $output == $pattern ]] || { echo "$output" && return 1; }
	}
	usage "*unknown command 'rnu'; did you mean 'run'?*" rnu
	usage "*unknown command 'image plul'; did you mean 'image pull'?*" image plul
	usage "*unknown option '--follw'; did you mean '--follow'?*" logs --follw web
	usage "*unknown option '-z'*" ps -z
	usage "*option '--tail' needs a value*" logs web --tail
	usage "*option '--all' takes no value*" ps --all=1
	usage "*one argument too many*" version web
	usage "*give the command to run*" exec web
	usage "*give NAME=VALUE*" exec -e A web ls
	usage "*absolute path*" exec -w x web ls
	usage "*--time*" stop -t x web
	usage "*options follow the command*" --all ps
	run "$PODVM"
	[ "$status" -eq 2 ]
	run "$PODVM" image
	[ "$status" -eq 2 ]
}

@test "help, man page and examples for every command; a full disk is seen" {
	"$PODVM" help --names >names
	[ "$(wc -l <names)" -ge 19 ]
	while read -r name; do
		# shellcheck disable=SC2086
		"$PODVM" $name --help >help
		# shellcheck disable=SC2086
		"$PODVM" help $name | cmp - help
		grep -q '^Examples:' help
		grep -q "^  .*podvm $name" help
		# shellcheck disable=SC2086
		"$PODVM" man $name >page
		grep -q '^\.SH EXAMPLES' page
		# A machine without man-db still has the other checks.
		! command -v man >/dev/null || ! man --warnings -E UTF-8 -l -Tutf8 page 2>&1 >/dev/null | grep .
		run "$PODVM" $name -h
		[ "$status" -eq 0 ]
	done <names
	"$PODVM" man >page
	"$PODVM" completion bash | bash -n
	run bash -c '"$0" help >/dev/full' "$PODVM"
	[ "$status" -eq 1 ]
	[[ $output == *"write to standard output: No space left on device"* ]]
}

@test "folders from the environment that cannot be are refused by name" {
	PODVM_RUN=relative run "$PODVM" ps
	[ "$status" -eq 1 ]
	[[ $output == *"PODVM_RUN is 'relative', which is no absolute path"* ]]
}

@test "check tells what is there and what to do, and whether pods can run" {
	run "$PODVM" check
	[[ $output == *"ok    root"* && $output == *kernel* && $output == *kvm* && $output == *qemu* && $output == *disk* ]]
	[[ $output == *"guest image"*"podvm image build"* ]] # this test's state folder has none
	[ "$status" -eq 1 ]
	[ "$("$PODVM" check --json | jq .ok)" = false ]
	[ "$("$PODVM" check --json | jq '.checks | length')" -ge 10 ]
	run setpriv --reuid 65534 --clear-groups "$PODVM" check
	[ "$status" -eq 1 ]
	[[ $output == *"fail  root"* ]]
	run setpriv --reuid 65534 --clear-groups "$PODVM" ps
	[ "$status" -eq 1 ]
	[ "$output" = "podvm: 'podvm ps' needs root: try it with sudo" ]
}
