#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Our own monitor under pods: podvm-vmm --vm, in its jail, with stock kernels.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() { podvm_setup; }
teardown() { assert_clean; }

vmm_pid() {
	local p
	for p in /proc/[0-9]*; do
		[[ $(tr '\0' ' ' 2>/dev/null <"$p/cmdline") == "podvm-vmm --vm --id $1 "* ]] && echo "${p#/proc/}" && return
	done
	return 1
}
pod_id() { basename "$PODVM_RUN"/pods/*; }

@test "vCPUs are what was asked for, and the clock needs no emulation" {
	pod job Never "$(sh_container main 'nproc; cat /sys/devices/system/clocksource/clocksource0/current_clocksource' |
		sed 's/}$/, resources: {limits: {cpu: "2", memory: 64Mi}}}/')"
	run --separate-stderr "$PODVM" run job.yaml
	echo "$output" "$stderr"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "[main] 2" ]
	[ "${lines[1]}" = "[main] kvm-clock" ] || [ "${lines[1]}" = "[main] tsc" ]
}

@test "--driver qemu runs on KVM too" {
	pod job Never "$(sh_container main 'echo hello')"
	run --separate-stderr "$PODVM" run --driver qemu job.yaml
	echo "$stderr"
	[ "$status" -eq 0 ]
	[ "$output" = "[main] hello" ]
}

@test "the default driver is our own monitor, every thread of it is confined, and its end is told" {
	pod long Never "$(sh_container main 'echo up; sleep 1000')"
	"$PODVM" run long.yaml >out 2>err 3>&- &
	local podvm=$! p t
	wait_for 120 grep -q up out
	p=$(vmm_pid "$(pod_id)")
	for t in /proc/"$p"/task/*; do
		grep -q $'^Seccomp:\t2$' "$t/status"
		grep -q $'^NoNewPrivs:\t1$' "$t/status"
	done
	# What it holds itself, without the guest's memory, which begins and ends at 2 MiB.
	awk '/^[0-9a-f]+-[0-9a-f]+ / { guest = $1 ~ /[02468ace]00000-.*[02468ace]00000$/ } $1 == "Pss:" && !guest { sum += $2 }
		END { print "PSS " sum " KiB"; exit sum > 512 }' "/proc/$p/smaps"
	# Only the threads of the file server hold capabilities, those of files.
	[ "$(cat /proc/"$p"/task/*/status | grep -c $'^CapEff:\t0000000000000000$')" -ge 2 ]
	[ "$(cat /proc/"$p"/task/*/status | awk '/^CapEff:/ && $2 !~ /^00000000(800000db|00000000)$/' | wc -l)" -eq 0 ]
	# Nothing that the machine leaves out on purpose is complained of; the kernel's errors are printed once the agent is up.
	"$PODVM" logs --all long >all
	run ! grep 'console .*\(PCI\|IOAPIC\|initial console\)' all
	run "$PODVM" exec long cat /proc/sys/kernel/printk
	[[ $output == 4[[:space:]]* ]]
	kill -KILL "$p"
	local status=0
	wait "$podvm" || status=$?
	cat err
	[ "$status" -ne 0 ]
	grep -q "the VM ended: podvm-vmm was killed by signal 9" err
}

# trigger KEY: a privileged pod that asks the guest's kernel for something by its magic key; what podvm said is in $output.
trigger() {
	pod trigger Never "$(sh_container main "echo $1 >/proc/sysrq-trigger; sleep 1000" |
		sed 's/}$/, securityContext: {privileged: true}}/')"
	run timeout 600 "$PODVM" run trigger.yaml
	echo "$output"
	[ "$status" -eq 1 ]
}

@test "a kernel that panics ends the pod, with its own words" {
	trigger c
	[[ "$output" == *"the VM ended: the guest's kernel panicked: sysrq triggered crash"* ]]
}

@test "a guest that goes where no memory is ends as KVM's error, with the address" {
	run unshare --pid --fork --kill-child "$(dirname "$PODVM")/../libexec/podvm/podvm-vmm" --vm --kernel 10 --memory 64 10<"$ROOT/b/dev/tests/guest_nowhere"
	echo "$output"
	[ "$status" -eq 5 ]
	[[ $output == *"vCPU 0: KVM cannot execute the instruction at 0xd0000000"* ]]
}

@test "a guest that powers itself off (ACPI S5) ends the pod, and is no panic" {
	trigger o
	[[ "$output" == *"the VM ended: the guest powered off"* ]]
	[[ "$output" != *panic* ]]
}
