# SPDX-License-Identifier: Apache-2.0
# Shared by the functional tests: where the programs are, a run folder of this test's own, and the proof that nothing is left.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
PODVM=${PODVM:-$ROOT/b/root/bin/podvm}
export PODVM_STATE=${PODVM_STATE:-/var/lib/podvm}
IMAGE=localhost/podvm-demo:latest

# A run folder for each test: pods of other tests and of the machine are out of sight.
podvm_setup() {
	export PODVM_RUN=$BATS_TEST_TMPDIR/run
	mkdir -p "$PODVM_RUN"
	cd "$BATS_TEST_TMPDIR" || return 1
	BEFORE_MOUNTS=$(our_mounts)
	PODS_BEFORE=$(ls "$PODVM_STATE/pods" 2>/dev/null || true)
}

# The mounts that this test's pods can have made in this mount namespace; others may use the machine too.
our_mounts() {
	awk -v run="$BATS_TEST_TMPDIR" -v state="$PODVM_STATE" \
		'index($0, run) || index($5, state) == 1 || $0 ~ /podvm/ && $5 ~ /^\/run/' /proc/self/mountinfo
}

# The processes that belong to this test's run folder: by environment (podvm) or by an ancestor that has it.
podvm_processes() {
	local p
	for p in /proc/[0-9]*; do
		{ tr '\0' '\n' <"$p/environ"; } 2>/dev/null | grep -qxF "PODVM_RUN=$PODVM_RUN" || continue
		case $(readlink "$p/exe") in */podvm | */podvm-vmm | */qemu-system-x86_64) basename "$p" ;; esac
	done
}

# Fails when a pod's process, mount or folder is left. To be called when every pod of the test should be gone.
assert_clean() {
	local left
	left=$(ls "$PODVM_RUN/pods" 2>/dev/null || true)
	[[ -z $left ]] || { echo "left in the run folder: $left" && return 1; }
	left=$(comm -13 <(sort <<<"$PODS_BEFORE") <(ls "$PODVM_STATE/pods" 2>/dev/null | sort))
	[[ -z $left ]] || { echo "left in the state folder: $left" && return 1; }
	left=$(ls "$PODVM_STATE/pods/.trash" 2>/dev/null || true)
	[[ -z $left ]] || { echo "left in the trash: $left" && return 1; }
	left=$(our_mounts)
	[[ $left == "$BEFORE_MOUNTS" ]] || { echo "left mounts: $left" && return 1; }
	left=$(podvm_processes)
	[[ -z $left ]] || { echo "left processes: $left" && return 1; }
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < deadline)) || { echo "timed out waiting for: $*" && return 1; }
		read -rt 0.05 <> <(:) || true
	done
}

# pod NAME RESTART CONTAINER-YAML...: writes NAME.yaml with the containers given as flow mappings.
pod() {
	local name=$1 restart=$2
	shift 2
	{
		printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec:\n  restartPolicy: %s\n  terminationGracePeriodSeconds: 60\n  containers:\n' "$name" "$restart"
		printf '  - %s\n' "$@"
	} >"$name.yaml"
}

# One container NAME whose command is the shell text given.
sh_container() {
	printf '{name: %s, image: %s, command: [sh, -c, %s]}' "$1" "$IMAGE" "$(jq -Rs . <<<"$2" | sed 's/\\n"$/"/')"
}
