#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Lab time (HACKING.md): the lab's clock counts instructions, and nothing else. Starts a lab.

bats_require_minimum_version 1.5.0
load lib/common.bash

@test "LAB_TIME: 100 million instructions are 100 ms each time; sleep takes none; output and status come back; the boot is short" {
	LAB_TIME=1 run --separate-stderr "$ROOT/tools/lab" "
		read -r _ user nice system _ _ irq softirq _ </proc/stat
		cp $ROOT/b/dev/tests/lab_clock /run/ && /run/lab_clock && /run/lab_clock
		start=\$(date +%s)
		sleep 3600
		echo \$((\$(date +%s) - start))
		echo \$((user + nice + system + irq + softirq))
		echo told >&2
		exit 7"
	printf '%s\n' "$output" "$stderr"
	[ "$status" -eq 7 ]
	[ "$stderr" = told ]
	[ "${#lines[@]}" -eq 8 ]
	# What else the kernel does meanwhile is in it.
	for us in "${lines[@]:0:6}"; do
		[ "$us" -ge 100000 ]
		[ "$us" -lt 110000 ]
	done
	# The lab ends itself after ten minutes of the real clock. It may be more: see HACKING.md.
	[ "${lines[6]}" -ge 3600 ]
	# In hundredths of a second: three thousand million instructions up to the command, so that a machine has it there in 15 s.
	[ "${lines[7]}" -lt 300 ]
}
