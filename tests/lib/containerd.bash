# SPDX-License-Identifier: Apache-2.0
# A private containerd for tests: Debian's, one of several versions, with its own root, state, socket, configuration and CNI network, all in
# one folder. Needs common.bash. To be run in a network namespace of its own where other tests run beside (its bridge has a fixed name).
#
#   containerd_start 1.6|1.7|2     in setup_file: starts it, imports the images, exports CONTAINERD_ADDRESS
#   containerd_stop                in teardown_file: removes every pod, ends it, fails when anything is left
#
# The handler under test is $CRI_HANDLER: runc, podvm, or podvm-shim (containerd 2: the shim as sandbox controller).

CRI=$ROOT/tests/lib/cri
export CRI_HANDLER=${CRI_HANDLER:-podvm}

# ctr on the images and containers of the CRI.
k8s_ctr() { "$CONTAINERD_BIN/ctr" -a "$CONTAINERD_ADDRESS" -n k8s.io "$@"; }

# containerd_start VERSION [FOLDER]
containerd_start() {
	local version=$1
	export CONTAINERD_DIR=${2:-$BATS_FILE_TMPDIR/c} CONTAINERD_VERSION=$version
	CONTAINERD_BIN=$("$ROOT/tools/containerd" "$version")/bin || return 1
	export CONTAINERD_BIN CONTAINERD_ADDRESS=$CONTAINERD_DIR/run/c.sock
	export PODVM_RUN=$CONTAINERD_DIR/podvm CRI_CGROUP=/podvm-test-$$
	mkdir -p "$CONTAINERD_DIR"/{root,run,cni,ipam} "$PODVM_RUN"
	"$ROOT/tests/lib/cri-images" "$ROOT/b/cri-images" || return 1
	containerd_cni
	containerd_config
	cri_traces >"$CONTAINERD_DIR/before"
	containerd_launch || return 1
	local image
	for image in demo pause user; do
		k8s_ctr images import "$ROOT/b/cri-images/$image.tar" >/dev/null || return 1
	done
	# What ctr imports reaches the CRI by an event.
	wait_for 60 containerd_has_images
}
containerd_has_images() { [[ $("$CRI" images | grep -c ^localhost/podvm-) == 3 ]]; }

# Starts the process (again); its pid goes to $CONTAINERD_DIR/pid. $CONTAINERD_SHIMS is a folder where it looks for shims first.
containerd_launch() {
	PATH=${CONTAINERD_SHIMS:+$CONTAINERD_SHIMS:}$CONTAINERD_BIN:$ROOT/b/root/bin:$PATH setsid "$CONTAINERD_BIN/containerd" --config "$CONTAINERD_DIR/config.toml" \
		>>"$CONTAINERD_DIR/log" 2>&1 </dev/null 3>&- &
	echo $! >"$CONTAINERD_DIR/pid"
	# Its socket is there before it has found its pods again.
	wait_for 60 test -S "$CONTAINERD_ADDRESS" && wait_for 60 containerd_answers || {
		tail -n 20 "$CONTAINERD_DIR/log"
		return 1
	}
}

containerd_answers() { "$CRI" version >/dev/null 2>&1; }

# Ends the process and waits for it; shims and pods stay.
containerd_kill() { # SIGNAL
	local pid
	pid=$(cat "$CONTAINERD_DIR/pid")
	kill "-${1:-TERM}" "$pid" 2>/dev/null || true
	wait_for 60 containerd_gone "$pid"
	rm -f "$CONTAINERD_ADDRESS"
}
containerd_gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.Z' "/proc/$1/status" 2>/dev/null; }

# Every network in the folder gives pods one interface, in the order of the files' names.
containerd_cni() {
	cat >"$CONTAINERD_DIR/cni/10-test.conflist" <<-J
		{"cniVersion": "0.4.0", "name": "podvm-test", "plugins": [
		 {"type": "bridge", "bridge": "pvtest0", "isGateway": true,
		  "ipam": {"type": "host-local", "dataDir": "$CONTAINERD_DIR/ipam", "routes": [{"dst": "0.0.0.0/0"}],
		   "ranges": [[{"subnet": "10.88.0.0/16"}]]}}]}
	J
}

# containerd_networks NAME...: waits until it has just these; it watches the folder.
containerd_networks() { wait_for 60 containerd_has_networks "$*"; }
containerd_has_networks() { [[ $("$CRI" status -v | jq -r '.info.cniconfig | fromjson | [.Networks[].Config.Name | select(. != "cni-loopback")] | join(" ")') == "$1" ]]; }

containerd_config() {
	case $CONTAINERD_VERSION in
	1.*) containerd_config_2 ;;
	*) containerd_config_3 ;;
	esac >"$CONTAINERD_DIR/config.toml"
}

# A process may lack the right to lower a score (a container as a test machine), hence restrict_oom_score_adj.
containerd_config_2() {
	cat <<-T
		version = 2
		root = "$CONTAINERD_DIR/root"
		state = "$CONTAINERD_DIR/run"
		[grpc]
		address = "$CONTAINERD_ADDRESS"
		[plugins."io.containerd.grpc.v1.cri"]
		sandbox_image = "localhost/podvm-pause:latest"
		restrict_oom_score_adj = true
		netns_mounts_under_state_dir = true
		enable_unprivileged_ports = true
		stream_server_address = "127.0.0.1"
		[plugins."io.containerd.grpc.v1.cri".cni]
		bin_dir = "/usr/lib/cni"
		conf_dir = "$CONTAINERD_DIR/cni"
		max_conf_num = 0
		[plugins."io.containerd.grpc.v1.cri".containerd]
		snapshotter = "${CRI_SNAPSHOTTER:-overlayfs}"
		default_runtime_name = "runc"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		runtime_type = "io.containerd.runc.v2"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.podvm]
		runtime_type = "io.containerd.podvm.v2"
		privileged_without_host_devices = true
	T
}
containerd_config_3() {
	local handler=podvm
	cat <<-T
		version = 3
		root = "$CONTAINERD_DIR/root"
		state = "$CONTAINERD_DIR/run"
		[grpc]
		address = "$CONTAINERD_ADDRESS"
		[plugins."io.containerd.grpc.v1.cri"]
		stream_server_address = "127.0.0.1"
		[plugins."io.containerd.cri.v1.images"]
		snapshotter = "${CRI_SNAPSHOTTER:-overlayfs}"
		[plugins."io.containerd.cri.v1.images".pinned_images]
		sandbox = "localhost/podvm-pause:latest"
		[plugins."io.containerd.cri.v1.runtime"]
		restrict_oom_score_adj = true
		netns_mounts_under_state_dir = true
		[plugins."io.containerd.cri.v1.runtime".cni]
		bin_dirs = ["/usr/lib/cni"]
		conf_dir = "$CONTAINERD_DIR/cni"
		max_conf_num = 0
		[plugins."io.containerd.cri.v1.runtime".containerd]
		default_runtime_name = "runc"
		[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
		runtime_type = "io.containerd.runc.v2"
	T
	for handler in podvm podvm-shim; do
		cat <<-T
			[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.$handler]
			runtime_type = "io.containerd.podvm.v2"
			privileged_without_host_devices = true
			sandboxer = "$([[ $handler == podvm ]] && echo podsandbox || echo shim)"
		T
	done
}

# Everything that a pod may leave on the host, a line each; without what containerd itself holds.
cri_traces() {
	cri_processes | sed 's/^[0-9]*/process/'
	grep -F "$CONTAINERD_DIR" /proc/self/mountinfo | awk '{print "mount", $5}' || true
	ls "$PODVM_RUN/pods" 2>/dev/null | sed 's/^/podvm /' || true
	find /sys/fs/cgroup -path "*$CRI_CGROUP/*" -type d 2>/dev/null | sed 's/^/cgroup /' || true
	ip -o link show 2>/dev/null | awk -F': ' '{print "link", $2}' | grep -Ev ' (lo|pvtest0)$' || true
	find "$CONTAINERD_DIR/ipam" -name '10.*' -o -name 'fd*' 2>/dev/null | sed 's/^/address /' || true
	find "$CONTAINERD_DIR/run" -type s 2>/dev/null | grep -v "$CONTAINERD_ADDRESS" | sed 's/^/socket /' || true
	# containerd's folders of tasks, sandboxes and streams; podvm's run and state folders but for what the first pod
	# makes for all.
	find "$CONTAINERD_DIR"/{run,root} -regextype egrep -regex '.*/(k8s.io|default|sandboxes|netns|containerd/fifo)/[^/]+' ! -path '*snapshotter*' 2>/dev/null |
		sed 's/^/file /' || true
	find "$PODVM_RUN" -mindepth 1 -regextype egrep ! -regex "$PODVM_RUN/(lock|boot\.[0-9]+|seccomp(/[0-9]+)?|pods(/.*)?)" -printf 'run %p\n' 2>/dev/null || true
	find "$PODVM_STATE" -mindepth 1 -maxdepth 1 -printf 'state %f\n' 2>/dev/null | grep -v '^state pods$' | sort || true
	# Other run folders may have pods there too.
	local pod
	for pod in "$PODVM_STATE"/pods/*/; do
		[[ -d $pod && $(cat "$pod/owner" 2>/dev/null || true) =~ ^("$PODVM_RUN")?$ ]] && echo "state $pod"
	done
	true
}

# What the one pod's shim holds, a line each: descriptors by kind, watches, threads and children, the mounts of its own mount namespace, the files
# of the pod as they are there.
cri_shim_traces() {
	local pid fd
	pid=$(cri_pid containerd-shim-podvm-v2) || return 1
	for fd in /proc/"$pid"/fd/*; do readlink "$fd" || true; done | sed 's/:\[.*//; s/^/fd /' | sort | uniq -c
	printf 'watches %s, threads %s, children %s\n' "$(cat /proc/"$pid"/fdinfo/* 2>/dev/null | grep -c ^inotify)" "$(find "/proc/$pid/task" -mindepth 1 -maxdepth 1 | wc -l)" \
		"$(cat "/proc/$pid/task/$pid/children")"
	awk '{print "mount", $5}' "/proc/$pid/mountinfo" | grep -F "$CONTAINERD_DIR" | sort
	find "/proc/$pid/root/$PODVM_RUN/pods" -maxdepth 5 -printf 'file %P\n' | sort
}
# To be called when its containers are gone: fails when it holds more than cri_shim_traces told before (FILE).
cri_assert_shim_as() {
	cri_shim_is_as() { cri_shim_traces | diff "$1" - >"$1.diff"; }
	wait_for 60 cri_shim_is_as "$1" || {
		cat "$1.diff"
		return 1
	}
}

# cri_processes [NAME]: "PID NAME" of every process of this rig's pods: by the run folder in its environment, the socket in its
# arguments, or the pod's cgroup.
cri_processes() {
	local p exe
	for p in /proc/[0-9]*; do
		exe=$(readlink "$p/exe" 2>/dev/null) || continue
		exe=${exe##*/}
		exe=${exe% (deleted)}
		[[ -z ${1:-} || $exe == "$1" ]] || continue
		case $exe in containerd-shim-* | podvm | podvm-vmm | qemu-system-x86_64) ;; *) continue ;; esac
		if { tr '\0' '\n' <"$p/environ"; } 2>/dev/null | grep -qxF "PODVM_RUN=$PODVM_RUN" || grep -qsF "$CRI_CGROUP/" "$p/cgroup" ||
			grep -qsF "$CONTAINERD_ADDRESS" "$p/cmdline"; then
			echo "${p#/proc/} $exe"
		fi
	done
}

# cri_pid NAME: the one process of that name.
cri_pid() {
	local pids
	pids=$(cri_processes "$1" | cut -d' ' -f1)
	[[ $pids =~ ^[0-9]+$ ]] || { echo "not one process $1: $pids" >&2 && return 1; }
	echo "$pids"
}

# Fails when a pod of this rig has left anything. To be called when there should be none.
cri_assert_clean() {
	cri_quietly_clean() { cri_is_clean >/dev/null; }
	wait_for "${1:-60}" cri_quietly_clean || {
		cri_is_clean || true
		return 1
	}
}
cri_is_clean() {
	cri_traces >"$CONTAINERD_DIR/after"
	diff "$CONTAINERD_DIR/before" "$CONTAINERD_DIR/after"
}

# Removes every pod through the CRI.
cri_remove_all() {
	local id rest bad=0
	while read -r id rest; do
		"$CRI" stop-pod "$id" && "$CRI" rm-pod "$id" || bad=1
	done < <("$CRI" pods)
	return $bad
}

containerd_stop() {
	[[ -f ${CONTAINERD_DIR:-}/pid ]] || return 0
	local bad=0 pids
	cri_remove_all || bad=1
	cri_assert_clean || bad=1
	containerd_kill TERM || bad=1
	if ((bad)); then # a failed test must not disturb the next
		pids=$(cri_processes | cut -d' ' -f1)
		# shellcheck disable=SC2086
		[[ -z $pids ]] || kill -9 $pids 2>/dev/null || true
		grep -oE "$CONTAINERD_DIR/[^ ]*" /proc/self/mountinfo | sort -ru | xargs -r umount -l 2>/dev/null || true
	fi
	find /sys/fs/cgroup -depth -path "*$CRI_CGROUP*" -type d -exec rmdir {} + 2>/dev/null || true
	ip link del pvtest0 2>/dev/null || true
	if ((bad)); then
		echo "the end of containerd's log:" && tail -n 30 "$CONTAINERD_DIR/log"
	fi
	return $bad
}

# cri_pod NAME [JQ-FILTER]: NAME.pod.json, a sandbox as the kubelet asks for it, changed by the filter.
cri_pod() {
	jq -n --arg name "$1" --arg cgroup "$CRI_CGROUP" --arg logs "$PWD/logs-$1" '{
		metadata: {name: $name, uid: ($name + "-uid"), namespace: "default", attempt: 0}, hostname: $name, log_directory: $logs,
		dns_config: {servers: ["10.88.0.1"], searches: ["test.local"], options: ["ndots:5"]},
		labels: {app: $name}, linux: {cgroup_parent: $cgroup, security_context: {
			namespace_options: {pid: "CONTAINER"}, seccomp: {profile_type: "RuntimeDefault"}}}}' | jq "${2:-.}" >"$1.pod.json"
	mkdir -p "logs-$1"
}

# cri_container NAME SHELL-TEXT [JQ-FILTER]: NAME.json, a container of the demo image; its log is logs-POD/NAME.log.
cri_container() {
	jq -n --arg name "$1" --arg text "$2" --arg image "$IMAGE" '{
		metadata: {name: $name, attempt: 0}, image: {image: $image}, command: ["sh", "-c", $text], log_path: ($name + ".log"),
		linux: {resources: {}, security_context: {namespace_options: {pid: "CONTAINER"}, seccomp: {profile_type: "RuntimeDefault"}}}}' |
		jq "${3:-.}" >"$1.json"
}

# log_text FILE: what a container wrote, from the CRI's log format (time, stream, F or P, text); partial lines are joined.
log_text() { awk '{at = index($0, " F "); p = 0; if ($3 == "P") {at = index($0, " P "); p = 1} printf "%s%s", substr($0, at + 3), p ? "" : "\n"}' "$1"; }

# ended_log FILE: the same of a container that has ended. containerd says so while it may still be writing what it has read: the log is
# whole when it has closed the file.
ended_log() {
	wait_for 60 log_closed "$1" >&2 || return 1
	log_text "$1"
}
log_closed() {
	local open
	open=$(find "/proc/$(cat "$CONTAINERD_DIR/pid")/fd" -lname "$(realpath "$1")")
	[[ -z $open ]]
}

# One pod for a whole file of tests: cri_shared_pod [JQ-FILTER] in setup_file; then POD is its id, POD_JSON its configuration, LOGS its logs.
cri_shared_pod() {
	cd "$BATS_FILE_TMPDIR" || return 1
	cri_pod shared "${1:-.}"
	POD=$("$CRI" run-pod shared.pod.json) || return 1
	export POD POD_JSON=$PWD/shared.pod.json LOGS=$PWD/logs-shared
}

# start_container NAME SHELL-TEXT [JQ-FILTER]: in the shared pod; prints its id.
start_container() {
	cri_container "$@"
	"$CRI" run "$POD" "$1.json" "$POD_JSON"
}

# run_container NAME SHELL-TEXT [JQ-FILTER]: runs it to its end: prints what it wrote, returns its exit code.
run_container() {
	local id end
	id=$(start_container "$@") || return 125
	end=$("$CRI" wait "$id") || return 125
	ended_log "$LOGS/$1.log" || return 125
	return "${end%% *}"
}

# The guest of podvm has cgroup v2 and a kernel of its own; with runc the machine's own are seen.
is_vm() { [[ $CRI_HANDLER != runc ]]; }
