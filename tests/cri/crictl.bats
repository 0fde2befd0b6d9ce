#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The life of a pod with Kubernetes' own command line for the CRI. make test runs it where crictl is on PATH.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

setup_file() {
	# A failure here would be a skip elsewhere: whoever runs this file wants it tried.
	command -v crictl >/dev/null || {
		echo "no crictl on PATH" >&2
		return 1
	}
	containerd_start "${CRI_CONTAINERD:-1.6}"
}
teardown_file() { containerd_stop; }
setup() { cd "$BATS_TEST_TMPDIR" || return 1; }
teardown() {
	cri_remove_all
	cri_assert_clean
}

crictl() { command crictl --runtime-endpoint "unix://$CONTAINERD_ADDRESS" --image-endpoint "unix://$CONTAINERD_ADDRESS" --timeout 120s "$@"; }
# It reads enumerations as numbers.
NUMBERS='(.. | select(type == "string" and . == "RuntimeDefault")) |= 0 | (.. | select(type == "string" and . == "CONTAINER")) |= 1'

@test "crictl: runp, create, start, ps, inspect, exec, logs, stats, update, attach, port-forward, stop, rm" {
	cri_pod shared "$NUMBERS"
	cri_container a 'echo begun; mkdir /tmp/w; echo forwarded >/tmp/w/index.html; httpd -p 127.0.0.1:8080 -h /tmp/w
		trap "echo asked; exit 7" TERM; while :; do sleep 0.2; done' "$NUMBERS"
	cri_container b 'read line; echo "read $line"' "$NUMBERS | .stdin = true | .stdin_once = true"

	pod=$(crictl runp --runtime "$CRI_HANDLER" shared.pod.json)
	a=$(crictl create "$pod" a.json shared.pod.json)
	[ "$(crictl inspect "$a" | jq -r .status.state)" = CONTAINER_CREATED ]
	[ "$(crictl start "$a")" = "$a" ]
	[ "$(crictl pods --quiet --state Ready)" = "$pod" ]
	[ "$(crictl ps --quiet)" = "$a" ]
	crictl inspectp "$pod" | jq -e '.status.state == "SANDBOX_READY" and .status.runtimeHandler == env.CRI_HANDLER and (.status.network.ip | length) > 0'

	[ "$(crictl exec --sync "$a" uname -n)" = shared ]
	[ "$(echo abc | crictl exec -i "$a" cat)" = abc ]
	run crictl exec "$a" sh -c 'echo out; echo wrong >&2; exit 3'
	[ "$status" -ne 0 ]
	[[ "$output" == *out* && "$output" == *wrong* && "$output" == *"exit code 3"* ]]
	said() { [[ "$(crictl logs "$a")" == begun* ]]; }
	wait_for 60 said

	stats() { crictl stats -o json "$a" | jq -e '.stats[0] | (.cpu.usageCoreNanoSeconds.value | tonumber) > 0 and (.memory.workingSetBytes.value | tonumber) > 0'; }
	wait_for 60 stats
	wait_for 60 eval 'crictl statsp -o json "$pod" | jq -e ".stats[0].linux.memory.workingSetBytes.value | tonumber > 0"'
	crictl update --memory $((64 << 20)) "$a"
	! is_vm || [ "$(crictl exec --sync "$a" cat /sys/fs/cgroup/memory.max)" = $((64 << 20)) ]

	b=$(crictl create "$pod" b.json shared.pod.json)
	crictl start "$b"
	echo over | crictl attach -i "$b" || true # its end may come before the connection's
	ended() { [[ "$(crictl inspect "$b" | jq -r '.status | "\(.state) \(.exitCode)"')" == "CONTAINER_EXITED 0" ]]; }
	wait_for 60 ended
	[[ "$(crictl logs "$b")" == *"read over"* ]]

	command crictl --runtime-endpoint "unix://$CONTAINERD_ADDRESS" port-forward "$pod" 18080:8080 >forward 2>&1 3>&- &
	forward=$!
	fetch() { [[ "$(busybox wget -qO- http://127.0.0.1:18080/)" == forwarded ]]; }
	wait_for 60 fetch
	kill "$forward"
	wait "$forward" || true

	crictl stop --timeout 60 "$a"
	[ "$(crictl inspect "$a" | jq -r '.status | "\(.state) \(.exitCode)"')" = "CONTAINER_EXITED 7" ]
	[[ "$(crictl logs "$a")" == *asked ]]
	crictl rm "$a" "$b"
	[ -z "$(crictl ps --all --quiet)" ]
	crictl stopp "$pod"
	crictl rmp "$pod"
	[ -z "$(crictl pods --quiet)" ]
}
