#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The image store: what is kept, what hostile images cannot do, what crashes and full disks leave. No VM is needed.

load ../lib/common.bash

bats_require_minimum_version 1.5.0

setup() {
	podvm_setup
	export PODVM_STATE=$BATS_TEST_TMPDIR/state
	mkdir -p "$PODVM_STATE"
	IMAGES=$PODVM_STATE/images
}

teardown() {
	[[ -z ${PIDS:-} ]] || kill -9 $PIDS 2>/dev/null || true
	! mountpoint -q "$PODVM_STATE" || umount "$PODVM_STATE"
}

mkimage() { "$ROOT/tests/lib/mkimage" "$@"; }
mklayers() { rm -rf "$1" && "$ROOT/tests/lib/mklayers" "$@"; }
rootfs() { echo "$IMAGES"/content/*/rootfs; }
nothing_in_progress() { [[ -z $(ls -A "$IMAGES/tmp") ]] || { echo "left in tmp:" && find "$IMAGES/tmp" && return 1; }; }

# The tools see everything but their work folder read-only, so a stand-in for one tells of itself there, or by a fifo.

# Stops every call of TOOL: N-th calls of a pull make TOOL.N.waiting in the work folder and wait for a line from the fifo "go".
stop_tool() {
	local real
	real=$(command -v "$1")
	mkdir -p bin
	[[ -p go ]] || mkfifo go
	cat >"bin/$1" <<-SH
		#!/bin/bash
		n=1
		while [[ -e $1.\$n.waiting ]]; do n=\$((n + 1)); done
		: >$1.\$n.waiting
		read -r _ <"$PWD/go"
		exec $real "\$@"
	SH
	chmod +x "bin/$1"
	export PATH=$PWD/bin:$PATH
}

# Notes every call of TOOL; calls TOOL prints them, from then on.
count_tool() {
	mkdir -p bin
	mkfifo "$1.fifo"
	exec {CALLS}<>"$1.fifo"
	eval "CALLS_$1=$CALLS"
	printf '#!/bin/bash\necho "$*" >%q\nexec %q "$@"\n' "$PWD/$1.fifo" "$(command -v "$1")" >"bin/$1"
	chmod +x "bin/$1"
	export PATH=$PWD/bin:$PATH
}
calls() {
	local fd=CALLS_$1 line
	echo end >&"${!fd}"
	while read -r line <&"${!fd}" && [[ $line != end ]]; do echo "$line"; done
}
# Whether the store has neither names nor content.
empty() { [[ -z $(find "$IMAGES/content" "$IMAGES/names" -mindepth 1) ]]; }

@test "an image is stored under its name, listed, and removed" {
	mkimage demo v1 --config.env A=1
	run --separate-stderr "$PODVM" image pull oci:demo:v1
	[ "$status" -eq 0 ]
	[ "$output" = localhost/demo:v1 ]
	[[ $stderr == *"fetching from oci:demo:v1"* && $stderr == *"unpacking 1 layer"* && $stderr == *stored* ]]
	[ "$(jq -r '.config.Env[-1]' "$IMAGES"/content/*/config.json)" = A=1 ]
	[ -x "$(rootfs)/bin/busybox" ]
	nothing_in_progress

	run "$PODVM" image ls
	[[ ${lines[0]} == NAME*DIGEST*SIZE*AGE ]]
	[[ ${lines[1]} == localhost/demo:v1*MiB* ]]
	[ "$("$PODVM" image ls -q)" = localhost/demo:v1 ]
	[ "$("$PODVM" image ls --json | jq -r '.[0].name')" = localhost/demo:v1 ]
	[ "$("$PODVM" image ls --json | jq -r '.[0].size')" -gt 1000000 ]

	run "$PODVM" image rm localhost/demo:v1
	[ "$status" -eq 0 ]
	[ -z "$("$PODVM" image ls -q)" ]
	[ -z "$(ls "$IMAGES/content")" ]
}

@test "an unchanged source is not fetched again, a changed one is" {
	mkimage demo
	"$PODVM" image pull -q oci:demo
	count_tool skopeo
	count_tool umoci
	run "$PODVM" image pull oci:demo
	[ "$status" -eq 0 ]
	[[ $output == *"up to date"* ]]
	run calls skopeo
	[[ $output == *inspect* && $output != *" copy "* ]]
	[ -z "$(calls umoci)" ]

	mkimage demo latest --config.env B=2
	calls umoci >/dev/null
	"$PODVM" image pull -q oci:demo
	[[ $(calls skopeo) == *" copy "* ]]
	[ "$(calls umoci)" = "raw unpack --image layout:image unpack/rootfs" ]
	[ "$(ls "$IMAGES/content" | wc -l)" -eq 2 ]
	run "$PODVM" image prune
	[[ $output == "freed "*MiB ]]
	[ "$(ls "$IMAGES/content" | wc -l)" -eq 1 ]
	[ "$("$PODVM" image ls -q)" = localhost/demo:latest ]
}

@test "the same content under two names is kept once and goes with the last" {
	mkimage demo
	"$PODVM" image pull -q oci:demo
	"$PODVM" image pull -q oci:demo --name quay.io/some/name:v3
	[ "$("$PODVM" image ls -q | xargs)" = "localhost/demo:latest quay.io/some/name:v3" ]
	[ "$(ls "$IMAGES/content" | wc -l)" -eq 1 ]
	"$PODVM" image rm localhost/demo
	[ -d "$(rootfs)" ]
	"$PODVM" image rm quay.io/some/name:v3
	[ -z "$(ls "$IMAGES/content")" ]
}

@test "archives of OCI and docker are taken too" {
	mkimage demo v1
	skopeo copy -q oci:demo:v1 oci-archive:demo.tar:v1
	skopeo copy -q oci:demo:v1 docker-archive:dock.tar:some/name:v7
	[ "$("$PODVM" image pull -q oci-archive:demo.tar)" = localhost/demo:latest ]
	[ "$("$PODVM" image pull -q docker-archive:dock.tar:some/name:v7)" = localhost/dock:v7 ]
	run "$PODVM" image pull docker-archive:dock.tar:some/name:v7
	[[ $output == *"up to date"* ]]
	[ "$(ls "$IMAGES/content" | wc -l)" -ge 1 ]
	"$PODVM" image prune --all
	empty
}

@test "owners, modes, links, devices, attributes and whiteouts survive unpacking" {
	mklayers demo <<-'J'
		[[{"name":"d","type":"d","mode":"1777"},
		  {"name":"d/su","mode":"4755","data":"su","xattrs":{"user.note":"x"}},
		  {"name":"d/hard","type":"h","to":"d/su"},
		  {"name":"d/null","type":"c","dev":[1,3],"mode":"0666"},
		  {"name":"d/disk","type":"b","dev":[7,0],"mode":"0660","gid":6},
		  {"name":"d/fifo","type":"p"},
		  {"name":"d/link","type":"l","to":"/d/su","uid":3},
		  {"name":"gone/x","data":"1"},{"name":"kept","data":"1"},{"name":"opaque/old","data":"1"}],
		 [{"name":".wh.gone","data":""},
		  {"name":"opaque/new","data":"2"},{"name":"opaque/.wh..wh..opq","data":""},
		  {"name":"owned","mode":"2711","uid":1000,"gid":2000,"data":"o"}]]
	J
	"$PODVM" image pull -q oci:demo
	cd "$(rootfs)"
	[ "$(stat -c '%A %u %g' d owned | xargs)" = "drwxrwxrwt 0 0 -rwx--s--x 1000 2000" ]
	[ "$(stat -c '%A %h %s' d/su)" = "-rwsr-xr-x 2 2" ]
	[ d/su -ef d/hard ]
	[ "$(stat -c '%A %t %T' d/null)" = "crw-rw-rw- 1 3" ]
	[ "$(stat -c '%A %t %T %g' d/disk)" = "brw-rw---- 7 0 6" ]
	[ -p d/fifo ]
	[ "$(readlink d/link) $(stat -c %u d/link)" = "/d/su 3" ]
	[ ! -e gone ] && [ -f kept ]
	[ "$(ls -A opaque)" = new ]
	python3 -c 'import os; assert os.getxattr("d/su", "user.note") == b"x"'
	[ "$(stat -c %a "$IMAGES")" = 700 ] # setuid programs and device nodes are out of reach of other users
}

@test "overlayfs attributes that a layer brings are dropped" {
	mklayers demo <<<'[[{"name":"d","type":"d","xattrs":{"trusted.overlay.opaque":"y","trusted.overlay.redirect":"/x","user.overlay.opaque":"y","user.ok":"1"}}]]'
	"$PODVM" image pull -q oci:demo
	run python3 -c 'import os, sys; print(*os.listxattr(sys.argv[1]))' "$(rootfs)/d"
	[ "$output" = user.ok ]
}

# Everything of the store and around it but content and work in progress, with types, modes, owners, links and bytes.
snapshot() {
	(cd "$BATS_TEST_TMPDIR" && find bait state -path state/images/content -prune -o -path state/images/tmp -prune -o -printf '%p %y %m %U %G %n %l ' \
		-type f -exec md5sum {} \; -o -printf '\n')
}

# hostile ok|refused LAYERS: whatever happens, nothing outside the rootfs changes.
hostile() {
	local before
	before=$(snapshot)
	mklayers evil <<<"$2"
	run "$PODVM" image pull -q oci:evil
	if [[ $1 == refused ]]; then
		[ "$status" -eq 1 ] || { echo "taken: $2" && return 1; }
		[ "${#lines[@]}" -eq 1 ] || { echo "more than one line: $output" && return 1; }
	else
		[ "$status" -eq 0 ] || { echo "$output: $2" && return 1; }
		"$PODVM" image rm localhost/evil >/dev/null
	fi
	[ "$(snapshot)" = "$before" ] || { echo "changed by $2:" && diff <(echo "$before") <(snapshot) && return 1; }
	[ -z "$(ls -A "$IMAGES/content" | grep -v "$KEEP")" ] || return 1
	nothing_in_progress
}

@test "layers cannot leave the root: paths, links, whiteouts, devices" {
	mkdir -p bait/dir
	echo bait >bait/f
	echo bait >bait/dir/g
	chmod 600 bait/f
	mkimage keep
	"$PODVM" image pull -q oci:keep
	KEEP=$(ls "$IMAGES/content")
	local b=$PWD/bait up=../../../../../.. # from images/tmp/NAME/unpack/rootfs to the folder of bait
	[ "$(realpath -m "$IMAGES/tmp/n/unpack/rootfs/$up/bait")" = "$b" ]

	hostile ok '[[{"name":"'$up'/bait/f","data":"evil"}]]'
	hostile ok '[[{"name":"'"$b"'/f","data":"evil"}]]'
	hostile ok '[[{"name":"a","type":"l","to":"'"$b"'"},{"name":"a/f","data":"evil"}]]'
	hostile ok '[[{"name":"a","type":"l","to":"'$up'/bait"}],[{"name":"a/f","data":"evil"},{"name":"a/dir/g","data":"evil"}]]'
	hostile ok '[[{"name":"a","type":"l","to":"b"},{"name":"b","type":"l","to":"'$up'/bait"},{"name":"a/f","data":"evil"}]]'
	hostile ok '[[{"name":"a","type":"l","to":"'"$b"'/f"},{"name":"a","data":"evil"}]]'
	hostile ok '[[{"name":"a","type":"l","to":"'"$b"'/dir"},{"name":"a","type":"d","mode":"0777","uid":5}]]'
	hostile ok '[[{"name":"a","type":"l","to":"'"$b"'/f","uid":9}]]'
	hostile ok '[[{"name":"s","type":"l","to":"'"$b"'/f"},{"name":"h","type":"h","to":"s","uid":7},{"name":"h","data":"evil"}]]'
	hostile refused '[[{"name":"h","type":"h","to":"'"$b"'/f"}]]'
	hostile refused '[[{"name":"h","type":"h","to":"'$up'/bait/f"},{"name":"h","data":"evil"}]]'
	hostile refused '[[{"name":"a","type":"l","to":"'$up'/bait"},{"name":"h","type":"h","to":"a/f"}]]'
	hostile ok '[[{"name":"a","type":"l","to":"'"$b"'"}],[{"name":"a/.wh.f","data":""},{"name":"'$up'/bait/.wh.f","data":""}]]'
	hostile ok '[[{"name":"a","type":"l","to":"'"$b"'"}],[{"name":"a/.wh..wh..opq","data":""}]]'
	hostile refused '[[{"name":"x","data":""}],[{"name":".wh...","data":""}]]'
	hostile refused '[[{"name":"x","data":""}],[{"name":".wh..","data":""}]]'
	hostile refused '[[{"name":"a/b","data":""}],[{"name":"a/.wh...","data":""}]]'
	hostile refused '[[{"name":"a","type":"l","to":"/"},{"name":"a/.wh...","data":""}]]'
	hostile refused '[[{"name":".","type":"l","to":"'"$b"'"},{"name":"f","data":"evil"}]]'
	hostile refused '[[{"name":"/","type":"l","to":"'"$b"'"}],[{"name":"f","data":"evil"}]]'
	hostile refused '[[{"name":".","data":"a file"}]]'
	hostile ok '[[{"name":"n","type":"c","dev":[1,5]},{"name":"n","data":"evil"}]]'
	hostile ok '[[{"name":"p","type":"p"},{"name":"p","data":"evil"}]]'
	hostile ok '[[{"name":"etc","type":"l","to":"'"$b"'"}],[{"name":"etc","type":"d"},{"name":"etc/f","data":"evil"}]]'
}

@test "folders nested deeper than a path may be long are refused or removed again" {
	local deep
	deep=$(printf 'd/%.0s' {1..1900})
	mklayers evil <<<'[[{"name":"'"$deep"'f","data":"x"}]]'
	run "$PODVM" image pull -q oci:evil
	nothing_in_progress
	"$PODVM" image prune --all
	[ -z "$(ls "$IMAGES/content")" ]
}

@test "damaged layouts, other machines and unknown layers are refused with a reason" {
	refused() { # PATTERN
		run "$PODVM" image pull -q oci:evil
		[ "$status" -eq 1 ] && [ "${#lines[@]}" -eq 1 ] && [[ $output == $1 ]] || { echo "$output" && return 1; }
		empty && nothing_in_progress
	}
	local layer='[[{"name":"f","data":"x"}]]'
	mklayers evil arch=s390x <<<"$layer"
	refused "*is for linux/s390x, this machine is linux/*"
	mklayers evil os=windows <<<"$layer"
	refused "*is for windows/*"
	mklayers evil mediatype=application/vnd.oci.image.layer.v1.tar+zstd <<<"$layer"
	refused "*layer 1 is of type*zstd*"
	mklayers evil <<<"$layer"
	find evil/blobs -size -200c -exec cp {} x \; # a layer whose bytes do not have its digest
	for f in evil/blobs/sha256/*; do head -c 2 "$f" | grep -q $'\x1f' && echo garbage >>"$f"; done
	refused "*sha256*"
	mklayers evil <<<"$layer"
	echo '{' >evil/index.json
	refused "*cannot fetch*"
	rm -rf evil
	refused "*evil*No such file*"
	: >evil
	refused "*no folder*"
}

@test "a full disk is one clear line, and leaves nothing" {
	mount -t tmpfs -o size=3m none "$PODVM_STATE"
	mklayers big <<<'[[{"name":"big","data":"0123456789abcdef","times":400000}]]'
	run "$PODVM" image pull -q oci:big
	[ "$status" -eq 1 ]
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == *"no room left on the disk"*"podvm image prune"* ]]
	nothing_in_progress
	empty
}

@test "kill -9 at any step leaves only what the next command removes" {
	mkimage demo
	stop_tool skopeo
	stop_tool umoci
	local step pid
	for step in skopeo.1 skopeo.2 skopeo.3 umoci.1; do # inspect, digest, copy, unpack
		"$PODVM" image pull -q oci:demo &
		pid=$!
		PIDS=$pid
		for w in skopeo.1 skopeo.2 skopeo.3 umoci.1; do
			wait_for 60 test -e "$IMAGES/tmp/localhost%demo:latest/$w.waiting"
			[[ $w == "$step" ]] && break
			echo >go
		done
		kill -9 "$pid"
		wait "$pid" || true
		# The tool dies with podvm.
		wait_for 60 bash -c "! pgrep -f '^/bin/bash $PWD/bin/'"
		[ -n "$(ls "$IMAGES/tmp")" ]
		[ -z "$("$PODVM" image ls -q)" ]
		"$PODVM" image prune
		nothing_in_progress
	done
	rm -r bin
	"$PODVM" image pull -q oci:demo
	[ -x "$(rootfs)/bin/busybox" ]
}

@test "two pulls of one name: one works, the other waits and finds it done" {
	mkimage demo
	stop_tool umoci
	"$PODVM" image pull oci:demo 2>first.err &
	PIDS=$!
	wait_for 60 test -e "$IMAGES/tmp/localhost%demo:latest/umoci.1.waiting"
	"$PODVM" image pull oci:demo 2>second.err &
	PIDS+=" $!"
	wait_for 60 grep -q "another process is fetching it" second.err
	echo >go
	for pid in $PIDS; do wait "$pid"; done
	PIDS=
	grep -q unpacking first.err
	grep -q "up to date" second.err
	nothing_in_progress
}

@test "pulls, removals and prunes at the same time do not harm each other" {
	mkimage one
	mkimage two latest --config.env X=1
	local i
	for i in one two; do
		(for _ in {1..6}; do "$PODVM" image pull -q oci:$i >/dev/null || exit 1; done) &
		PIDS+=" $!"
		(for _ in {1..6}; do "$PODVM" image rm localhost/$i >/dev/null 2>&1 || true; "$PODVM" image prune --all >/dev/null || exit 1; done) &
		PIDS+=" $!"
	done
	local pid
	for pid in $PIDS; do wait "$pid"; done
	PIDS=
	for i in one two; do "$PODVM" image pull -q oci:$i; done
	[ "$("$PODVM" image ls -q | xargs)" = "localhost/one:latest localhost/two:latest" ]
	for i in "$IMAGES"/content/*; do [ -x "$i/rootfs/bin/busybox" ] && [ -s "$i/config.json" ] && [ -s "$i/size" ]; done
	nothing_in_progress
}

@test "an image in use stays" {
	mkimage demo
	"$PODVM" image pull -q oci:demo
	exec 9<"$(dirname "$(rootfs)")"
	flock -s 9
	run "$PODVM" image rm localhost/demo
	[ "$status" -eq 1 ]
	[[ $output == *"in use by a pod"* ]]
	"$PODVM" image prune --all
	[ "$("$PODVM" image ls -q)" = localhost/demo:latest ]
	exec 9<&-
	"$PODVM" image prune --all
	[ -z "$("$PODVM" image ls -q)" ]
}

@test "a registry: fetched once, then only its manifest is looked at" {
	mkimage site v1
	"$ROOT/tests/lib/registry" site port log &
	PIDS=$!
	wait_for 60 test -s port
	local host
	host=127.0.0.1:$(cat port)
	mkdir -p home/.config/containers
	printf '[[registry]]\nlocation = "%s"\ninsecure = true\n' "$host" >home/.config/containers/registries.conf
	export HOME=$PWD/home
	[ "$("$PODVM" image pull -q "$host/test/app:v1")" = "$host/test/app:v1" ]
	grep -q /blobs/ log
	: >log
	run "$PODVM" image pull "docker://$host/test/app:v1"
	[[ $output == *"up to date"* ]]
	grep -q /manifests/ log
	run ! grep -q /blobs/ log
	# By digest: the same content, and never looked for again.
	local digest
	digest=$("$PODVM" image ls --json | jq -r '.[0].digest')
	[ "$("$PODVM" image pull -q "$host/test/app:v1@$digest")" = "$host/test/app@$digest" ]
	: >log
	"$PODVM" image pull -q "$host/test/app@$digest"
	[ ! -s log ]
	run "$PODVM" image pull -q "$host/test/app@sha256:$(printf '0%.0s' {1..64})"
	[ "$status" -eq 1 ]
	[ "${#lines[@]}" -eq 1 ]
	kill "$PIDS"
	wait "$PIDS" || true
	run "$PODVM" image pull -q "$host/test/other"
	[ "$status" -eq 1 ]
	[ "${#lines[@]}" -eq 1 ]
	[[ $output == *"cannot fetch from docker://$host/test/other:latest"* ]]
}

@test "what cannot be fetched says what to do" {
	run "$PODVM" image pull localhost/none
	[ "$status" -eq 1 ]
	[[ $output == *"localhost/none:latest"*"podvm image pull oci:DIR --name localhost/none:latest" ]]
	run "$PODVM" image pull Not/A/Name
	[ "$status" -eq 1 ]
	[[ $output == *"lower-case"* ]]
	run "$PODVM" image pull docker-daemon:/x
	[[ $output == *"not supported"* ]]
	run "$PODVM" image rm nope
	[ "$status" -eq 1 ]
	[[ $output == *"podvm image ls"* ]]
	mkimage demo
	mkdir empty
	PATH=$PWD/empty run "$PODVM" image pull -q oci:demo
	[ "$status" -eq 1 ]
	[[ $output == *"skopeo is not installed: apt-get install skopeo umoci"* ]]
	nothing_in_progress
}
