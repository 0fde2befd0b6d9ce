#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Volumes of pods as the kubelet hands them to the CRI: folders and files of the host that are bound into containers.

bats_require_minimum_version 1.5.0
load ../lib/common.bash
load ../lib/containerd.bash

setup_file() {
	gcc -static -o "$BATS_FILE_TMPDIR/watch" "$ROOT/tests/guest/watch.c" || return 1
	gcc -static -Wall -Werror -o "$BATS_FILE_TMPDIR/huge" "$ROOT/tests/guest/huge.c" || return 1
	containerd_start "${CRI_CONTAINERD:-1.6}" && cri_shared_pod || return 1
	is_vm || return 0
	mkdir vol && write_config v1 && run_container first true "$(mount_of "$PWD/vol" /cm 'readonly: true')" && "$CRI" rm-all "$POD" &&
		cri_shim_traces >"$BATS_FILE_TMPDIR/shim"
}
teardown_file() { containerd_stop; }
setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir vol
	V=$PWD/vol
}
teardown() {
	"$CRI" rm-all "$POD"
	local m
	[[ ! -f listener ]] || kill "$(cat listener)"
	for m in vol/sub vol src/inner src vol/below; do
		mountpoint -q "$m" && umount "$m"
	done
	return 0
}

# mount_of HOST-PATH CONTAINER-PATH [MORE-JSON]: the filter that adds one mount.
mount_of() { printf '.mounts += [{host_path: "%s", container_path: "%s"} + {%s}]' "$1" "$2" "${3:-}"; }

@test "a folder, writable: both sides see each other's changes, owners and modes" {
	echo host >vol/from-host
	chown 1234:55 vol/from-host
	run run_container rw 'cat /d/from-host; stat -c "%u %g %a" /d/from-host; echo guest >/d/from-guest; chown 77:88 /d/from-guest; chmod 640 /d/from-guest; ln -s x /d/link; mkdir /d/dir; mkfifo /d/fifo' "$(mount_of "$V" /d)"
	[ "$status" -eq 0 ]
	[ "$output" = $'host\n1234 55 644' ]
	[ "$(cat vol/from-guest)" = guest ]
	[ "$(stat -c '%u %g %a' vol/from-guest)" = "77 88 640" ]
	[ "$(readlink vol/link)" = x ]
	[ -p vol/fifo ]
}

@test "a folder, read-only; another mount of it is not" {
	run run_container ro 'exec 2>&1; touch /d/x; touch /w/y && ls /d' "$(mount_of "$V" /d 'readonly: true') | $(mount_of "$V" /w)"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "touch: /d/x: Read-only file system" ]
	[ "${lines[1]}" = y ]
}

@test "single files: /etc/hosts, the termination log" {
	echo '10.1.2.3 other' >hosts
	: >termination
	run run_container files 'cat /etc/hosts; echo reason >/dev/termination-log' \
		"$(mount_of "$PWD/hosts" /etc/hosts) | $(mount_of "$PWD/termination" /dev/termination-log)"
	[ "$status" -eq 0 ]
	[ "$output" = "10.1.2.3 other" ]
	[ "$(cat termination)" = reason ]
}

@test "emptyDir in memory, and subPath: what the kubelet has mounted" {
	mount -t tmpfs -o size=8m tmpfs vol
	mkdir -p vol/a/b
	run run_container mem 'touch /d/f; echo x >/sub/g; df -k /d | tail -1 | tr -s " " | cut -d" " -f2' "$(mount_of "$V" /d) | $(mount_of "$V/a/b" /sub)"
	[ "$output" = 8192 ]
	[ -f vol/f ]
	[ "$(cat vol/a/b/g)" = x ]
}

@test "emptyDir of huge pages: containers of the pod share it, its pages are the guest's; what the node has in one is refused" {
	is_vm || skip "the machine may have no huge pages set aside"
	mount -t hugetlbfs -o pagesize=2M,mode=1777,uid=7,gid=8 nodev vol || skip "this machine's kernel has no hugetlbfs"
	mounts="$(mount_of "$BATS_FILE_TMPDIR/huge" /huge 'readonly: true') | $(mount_of "$V" /h)"
	run run_container huge1 'stat -c "%u %g %a" /h; stat -f -c %S /h; /huge /h/f 8 "from one"; grep HugePages_Surp /proc/meminfo | tr -d " "' "$mounts"
	[ "$status" -eq 0 ]
	[ "$output" = $'7 8 1777\n2097152\npages of 2048 KiB\nHugePages_Surp:4' ]
	run run_container huge2 'exec 2>&1; /huge /h/f; rm /h/f; grep HugePages_Surp /proc/meminfo | tr -d " "; /huge /h/g 100000 x' "$mounts"
	[ "$status" -eq 2 ]
	[ "$output" = $'from one\nHugePages_Surp:0\nhuge: mmap: Cannot allocate memory' ]
	run run_container huge3 'exec 2>&1; touch /h/x' "$(mount_of "$V" /h 'readonly: true')"
	[[ "$output" == *"Read-only file system"* ]]
	[ -z "$(ls vol)" ]
	mkdir vol/of-the-node
	cri_container huge4 true "$(mount_of "$V" /h)"
	run "$CRI" run "$POD" huge4.json "$POD_JSON"
	rmdir vol/of-the-node
	[ "$status" -eq 125 ]
	[[ "$output" == *hugetlbfs*"of the node"* ]]
}

# The kubelet's atomic writer: a new folder, and the link ..data renamed over the old one.
write_config() { # VERSION
	mkdir "vol/..$1"
	echo "$1" >"vol/..$1/key"
	[[ -z ${2:-} ]] || echo "$2" >"vol/..$1/$2"
	chgrp 2000 "vol/..$1/key" && chmod 640 "vol/..$1/key" # an fsGroup
	ln -sfn "..$1" vol/..data_tmp
	mv -T vol/..data_tmp vol/..data
	[[ -L vol/key ]] || ln -s ..data/key vol/key
	[[ -z ${2:-} || -L vol/$2 ]] || ln -s "..data/$2" "vol/$2"
}

@test "a configMap is updated while the container runs" {
	write_config v1
	c=$(start_container update 'while [ "$(cat /cm/key)" != v2 ]; do sleep 0.2; done; ls -a /cm | grep -c "^[.][.]v"' "$(mount_of "$V" /cm 'readonly: true')")
	[ "$("$CRI" exec-sync "$c" -- cat /cm/key)" = v1 ]
	write_config v2
	rm -rf vol/..v1
	[ "$("$CRI" wait "$c")" = "0 Completed" ]
	[ "$(ended_log "$LOGS/update.log")" = 1 ]
}

@test "a configMap is updated: inotify tells it in every container, names come and go, owners stay" {
	write_config v1 old
	local watch text='cat /cm/key; /watch /cm ..data && cat /cm/key; exec sleep 1000'
	watch="$(mount_of "$V" /cm 'readonly: true') | $(mount_of "$BATS_FILE_TMPDIR/watch" /watch 'readonly: true')"
	c=$(start_container cm "$text" "$watch | $(mount_of "$V/..v1" /sub 'readonly: true')")
	d=$(start_container cm2 "$text" "$watch")
	wait_for 60 grep -q 'F watching' "$LOGS/cm.log"
	wait_for 60 grep -q 'F watching' "$LOGS/cm2.log"
	[[ "$(log_text "$LOGS/cm.log")" == $'v1\nwatching' ]]
	run "$CRI" exec-sync "$c" -- sh -c 'ls -A /cm; stat -L -c "%u %g %a" /cm/key; cat /cm/old; touch /cm/x'
	[[ "$output" == $'..data\n..v1\nkey\nold\n0 2000 640\nold\n'*'Read-only file system'* ]]
	write_config v2 new
	rm -r vol/..v1 vol/old
	wait_for 60 grep -q 'F v2' "$LOGS/cm.log"
	wait_for 60 grep -q 'F v2' "$LOGS/cm2.log"
	settled() { [[ "$("$CRI" exec-sync "$1" -- ls -A /cm)" == $'..data\n..v2\nkey\nnew' ]]; }
	wait_for 60 settled "$c"
	wait_for 60 settled "$d"
	# One after the other, faster than they are looked at: the last one is what stays.
	for i in 3 4 5 6 7 8 9; do
		write_config "v$i" && rm -r "vol/..v$((i - 1))"
	done
	last() { [[ "$("$CRI" exec-sync "$c" -- cat /cm/key)" == v9 ]]; }
	wait_for 60 last
	# A subPath stays what it was when the container started.
	run "$CRI" exec-sync "$c" -- ls /sub
	[[ "$output" != *v9* ]]
	# Older kubelets give the files to the fsGroup when they are in place.
	chgrp 3000 vol/..v9/key && chgrp -h 3000 vol/..v9
	given() { [[ "$("$CRI" exec-sync "$c" -- stat -L -c %g /cm/key)" == 3000 ]]; }
	wait_for 60 given
}

@test "a folder that only looks a little like a configMap stays the host's own" {
	write_config v1
	echo mine >vol/mine
	c=$(start_container notcm 'exec sleep 1000' "$(mount_of "$V" /cm 'readonly: true')")
	echo more >vol/..v1/more
	[ "$("$CRI" exec-sync "$c" -- cat /cm/mine /cm/..data/more)" = $'mine\nmore' ]
}

@test "a file of the host that is replaced or changed is seen in the container" {
	echo one >vol/f
	c=$(start_container live 'sleep 1000' "$(mount_of "$V" /d)")
	[ "$("$CRI" exec-sync "$c" -- cat /d/f)" = one ]
	echo two >vol/f
	[ "$("$CRI" exec-sync "$c" -- cat /d/f)" = two ]
	echo three >vol/g
	mv vol/g vol/f
	seen() { [ "$("$CRI" exec-sync "$c" -- cat /d/f)" = three ]; }
	wait_for 60 seen
}

@test "mount propagation: with HostToContainer a later mount of the host appears, without it does not" {
	mkdir src
	mount --bind src src
	mount --make-shared src
	mkdir src/inner
	S=$PWD/src
	c=$(start_container prop 'sleep 1000' "$(mount_of "$S" /slave 'propagation: "PROPAGATION_HOST_TO_CONTAINER"') | $(mount_of "$S" /private)")
	mount -t tmpfs tmpfs src/inner
	echo late >src/inner/f
	seen() { [ "$("$CRI" exec-sync "$c" -- cat /slave/inner/f)" = late ]; }
	wait_for 60 seen
	run "$CRI" exec-sync "$c" -- cat /private/inner/f
	[ "$status" -ne 0 ]
	[ "$("$CRI" exec-sync "$c" -- sh -c 'mkdir /slave/inner/dir && echo x >/slave/inner/dir/g && ls /slave/inner && cat /slave/inner/dir/g')" = $'dir\nf\nx' ]
	# What the guest has looked at does not keep the mount busy for long; what it has open does, as anywhere.
	"$CRI" exec-sync "$c" -- sh -c 'exec 5</slave/inner/f; sleep 1000 >/dev/null 2>&1 & echo $! >/tmp/pid'
	run umount src/inner
	[ "$status" -ne 0 ]
	"$CRI" exec-sync "$c" -- sh -c 'kill $(cat /tmp/pid)'
	wait_for 60 umount src/inner
	gone() { ! "$CRI" exec-sync "$c" -- test -e /slave/inner/f; }
	wait_for 60 gone
	# And another one in its place.
	mount -t tmpfs tmpfs src/inner
	echo again >src/inner/f
	again() { [ "$("$CRI" exec-sync "$c" -- cat /slave/inner/f)" = again ]; }
	wait_for 60 again
	wait_for 60 umount src/inner
}

@test "a mount below a volume is there too; read-only does not reach it" {
	mkdir vol/below
	mount -t tmpfs tmpfs vol/below
	echo deep >vol/below/f
	run run_container below 'exec 2>&1; cat /d/below/f; touch /d/x; touch /d/below/y && echo written' "$(mount_of "$V" /d 'readonly: true')"
	[ "${lines[0]}" = deep ]
	[ "${lines[1]}" = "touch: /d/x: Read-only file system" ]
	[ "${lines[2]}" = written ]
}

# The kubelet asks for it only where containerd reports the feature, and 2.1 panics when asked all the same.
@test "recursive read-only reaches what is mounted below" {
	[ "$("$CRI" status | jq --arg h "$CRI_HANDLER" '.runtime_handlers[]? | select(.name == $h).features.recursive_read_only_mounts')" = true ] ||
		skip "containerd $CONTAINERD_VERSION does not report the feature for $CRI_HANDLER; tests/cri/ctr.bats has it without the CRI"
	mkdir vol/below
	mount -t tmpfs tmpfs vol/below
	echo deep >vol/below/f
	run run_container rro 'exec 2>&1; cat /d/below/f; touch /d/below/z' "$(mount_of "$V" /d 'readonly: true, recursive_read_only: true')"
	[ "${lines[0]}" = deep ]
	[ "${lines[1]}" = "touch: /d/below/z: Read-only file system" ]
}

@test "renames, deleted open files, and a tree of files" {
	run run_container work 'cd /d && for i in 1 2 3 4 5 6 7 8 9 10; do mkdir d$i && for j in 1 2 3 4 5; do echo $i$j >d$i/f$j; done; done
		mv d1 e1 && rm -r d2 && find . -type f | wc -l
		exec 5<>open; echo text >&5; rm open; test ! -e open && cat /proc/self/fd/5' "$(mount_of "$V" /d)"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = 45 ]
	[ "${lines[1]}" = text ]
	[ "$(find vol -type f -name 'f*' | wc -l)" -eq 45 ]
}

@test "sockets, fifos and devices of the host are refused with a message that says why" {
	is_vm || skip "runc binds them"
	socat "UNIX-LISTEN:$V/s.sock" - </dev/null 3>&- &
	echo $! >listener # teardown ends it
	wait_for 60 test -S "$V/s.sock"
	mkfifo vol/fifo
	for source in "$V/s.sock" "$V/fifo" /dev/zero; do
		name=refused-$(basename "$source" .sock)
		cri_container "$name" 'true' "$(mount_of "$source" /run/it)"
		run "$CRI" run "$POD" "$name.json" "$POD_JSON"
		[ "$status" -eq 125 ]
		echo "$output"
		[[ "$output" == *"'/run/it'"*"'$source' is a socket, fifo or device of the node"*"default runtime class"* ]]
	done
	# As a device (volumeMode: Block), which is tested with KVM (tests/kvm/cri.bats): not with QEMU.
	mknod vol/disk b 7 0
	cri_container refused-block 'true' '.devices = [{host_path: "'"$V/disk"'", container_path: "/dev/disk", permissions: "rw"}]'
	run "$CRI" run "$POD" refused-block.json "$POD_JSON"
	[ "$status" -eq 125 ]
	[[ "$output" == *"device '/dev/disk'"*"QEMU's microvm, which has no hot-plug"* ]]
}

@test "/dev/shm: 64 MiB that the containers of a pod share; a volume in its place has its own size" {
	c=$(start_container shm 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2; echo hello >/dev/shm/f; exec sleep 1000')
	run run_container shm2 'cat /dev/shm/f'
	[ "$output" = hello ]
	[ "$(log_text "$LOGS/shm.log")" = 65536 ]
	mount -t tmpfs -o size=5m tmpfs vol
	run run_container shm3 'df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2; echo x >/dev/shm/g' "$(mount_of "$V" /dev/shm)"
	[ "$output" = 5120 ]
	[ "$(cat vol/g)" = x ]
}

@test "an image as a volume: its files, read-only" {
	[[ $CONTAINERD_VERSION == 2 ]] || skip "containerd $CONTAINERD_VERSION has no image volumes"
	run run_container image 'exec 2>&1; ls -d /img/bin/busybox; /img/bin/busybox echo runs; touch /img/x' \
		".mounts += [{container_path: \"/img\", readonly: true, image: {image: \"$IMAGE\"}}]"
	[ "${lines[0]}" = /img/bin/busybox ]
	[ "${lines[1]}" = runs ]
	[[ "${lines[2]}" == *"Read-only file system"* ]]
}

@test "mount propagation Bidirectional is refused with a message that says why" {
	is_vm || skip "runc can mount on the host"
	mount --bind vol vol
	mount --make-shared vol
	# containerd itself allows privileged containers only in a privileged pod, and only these have that.
	cri_pod bidi '.linux.security_context.privileged = true'
	local pod
	pod=$("$CRI" run-pod bidi.pod.json)
	cri_container bidi 'true' "$(mount_of "$V" /d 'propagation: "PROPAGATION_BIDIRECTIONAL"') | .linux.security_context.privileged = true"
	run "$CRI" run "$pod" bidi.json bidi.pod.json
	echo "$output"
	"$CRI" stop-pod "$pod"
	"$CRI" rm-pod "$pod"
	[ "$status" -eq 125 ]
	[[ "$output" == *Bidirectional* ]]
}

@test "volumes that came and went have left nothing in the pod's shim" {
	is_vm || skip "about our shim"
	cri_assert_shim_as "$BATS_FILE_TMPDIR/shim"
}
