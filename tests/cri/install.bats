#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# podvm install and uninstall, with the configurations that real containerds accept.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() {
	cd "$BATS_TEST_TMPDIR" || return 1
	mkdir -p etc bin libexec
	printf '#!/bin/sh\n' >libexec/containerd-shim-podvm-v2
	chmod +x libexec/containerd-shim-podvm-v2
	export PODVM_LIBEXEC=$PWD/libexec PODVM_RUN=$PWD/run
	CONFIG=$PWD/etc/config.toml
}

# use VERSION: the containerd that is asked.
use() { CONTAINERD=$("$ROOT/tools/containerd" "$1")/bin/containerd; }
install() { "$PODVM" install --config "$CONFIG" --bin-dir "$PWD/bin" --containerd "$CONTAINERD" "$@"; }
uninstall() { "$PODVM" uninstall --config "$CONFIG" --bin-dir "$PWD/bin" "$@"; }
handlers() { "$CONTAINERD" --config "$CONFIG" config dump | sed -n "s/.*containerd\.runtimes\.\([a-z]*\)\]/\1/p" | sort | tr '\n' ' '; }

old_config() { # of version 2, with things that must not be lost
	cat >"$CONFIG" <<-T
		version = 2
		imports = ["$PWD/etc/conf.d/*.toml"]
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "localhost/pause:1"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.other]
		  runtime_type = "io.containerd.other.v2"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		  runtime_type = "io.containerd.runc.v2"
	T
	printf '# no end of line' >>"$CONFIG"
}
new_config() {
	cat >"$CONFIG" <<-T
		version = 3
		$1
		[plugins.'io.containerd.cri.v1.images'.pinned_images]
		  sandbox = "localhost/pause:1"
		[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.other]
		  runtime_type = "io.containerd.other.v2"
	T
}

@test "containerd 1.6 and 1.7: a section at the end, nothing lost, undone byte for byte" {
	for v in 1.6 1.7; do
		use $v
		old_config
		chmod 640 "$CONFIG"
		cp "$CONFIG" before
		install
		[ "$(handlers)" = "other podvm runc " ]
		"$CONTAINERD" --config "$CONFIG" config dump | grep -q 'sandbox_image = "localhost/pause:1"'
		[ "$(readlink bin/containerd-shim-podvm-v2)" = "$PWD/libexec/containerd-shim-podvm-v2" ]
		run install
		[ "$status" -eq 0 ]
		[[ "$output" == *"has the handler already"* ]]
		uninstall
		cmp "$CONFIG" before
		[ "$(stat -c %a "$CONFIG")" = 640 ]
		[ ! -e bin/containerd-shim-podvm-v2 ]
		run uninstall
		[ "$status" -eq 0 ]
		[[ "$output" == *"does not have the handler"* ]]
	done
}

@test "containerd 2: a file of its own where imports are read, else a section" {
	use 2
	new_config "imports = [\"$PWD/etc/conf.d/*.toml\"]"
	cp "$CONFIG" before
	install --sandboxer shim
	cmp "$CONFIG" before
	[ -f etc/conf.d/podvm.toml ]
	[ "$(handlers)" = "other podvm runc " ]
	"$CONTAINERD" --config "$CONFIG" config dump | grep -q "sandboxer = 'shim'"
	uninstall
	[ ! -e etc/conf.d/podvm.toml ]
	new_config ""
	cp "$CONFIG" before
	install
	[ "$(handlers)" = "other podvm runc " ]
	uninstall
	cmp "$CONFIG" before
}

@test "containerd 2 with a configuration of version 2" {
	use 2
	old_config
	cp "$CONFIG" before
	install
	[ "$(handlers)" = "other podvm runc " ]
	uninstall
	cmp "$CONFIG" before
}

@test "containerd 1 keeps the handlers that it has without being told" {
	use 1.6
	printf 'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "localhost/pause:1"\n' >"$CONFIG"
	cp "$CONFIG" before
	install
	[ "$(handlers)" = "podvm runc " ]
	"$CONTAINERD" --config "$CONFIG" config dump | grep -q 'sandbox_image = "localhost/pause:1"'
	uninstall
	cmp "$CONFIG" before
}

@test "without a configuration one is made, and removed again" {
	for v in 1.6 2; do
		use $v
		install
		[ "$(handlers)" = "podvm runc " ]
		uninstall
		[ ! -e "$CONFIG" ]
	done
}

@test "--dry-run shows the change and makes none" {
	use 1.6
	old_config
	cp "$CONFIG" before
	run install --dry-run
	[ "$status" -eq 0 ]
	[[ "$output" == *"+[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.podvm]"* ]]
	[[ "$output" == *"link $PWD/bin/containerd-shim-podvm-v2"* ]]
	[[ "$output" != *$'\n'"-"[^-]* ]]
	cmp "$CONFIG" before
	[ ! -e bin/containerd-shim-podvm-v2 ]
	install
	cp "$CONFIG" with
	run uninstall -n
	[[ "$output" == *"-[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.podvm]"* ]]
	[[ "$output" != *$'\n'"+"[^+]* ]]
	cmp "$CONFIG" with
}

@test "a link stays a link" {
	use 1.6
	old_config
	mv "$CONFIG" real.toml
	ln -s ../real.toml "$CONFIG"
	install
	[ -L "$CONFIG" ]
	grep -q podvm real.toml
}

@test "what is not understood is left as it is" {
	use 1.6
	for text in '{{ template "base" . }}' 'disabled_plugins = ["cri"]' $'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.podvm]\nruntime_type = "x"' 'version = 9'; do
		printf '%s\n' "$text" >"$CONFIG"
		cp "$CONFIG" before
		run install
		[ "$status" -eq 1 ]
		[[ "$output" == *"'$CONFIG' is left as it is"* ]]
		cmp "$CONFIG" before
		[ ! -e bin/containerd-shim-podvm-v2 ]
	done
}

@test "a configuration that containerd itself refuses is left as it is" {
	use 1.6
	printf 'version = 2\nno toml\n' >"$CONFIG"
	cp "$CONFIG" before
	run install
	[ "$status" -eq 1 ]
	[[ "$output" == *"does not accept its configuration"* ]]
	cmp "$CONFIG" before
}

@test "a change that loses something is taken back" {
	use 1.6
	old_config
	cp "$CONFIG" before
	cat >fake <<-S
		#!/bin/sh
		[ "\$1" = --version ] && exit 0
		grep -q podvm "$CONFIG" && { echo '[x.containerd.runtimes.podvm]'; exit 0; }
		echo '[lost]'
	S
	chmod +x fake
	CONTAINERD=$PWD/fake
	run install
	[ "$status" -eq 1 ]
	[[ "$output" == *"lose the line '[lost]'"* ]]
	cmp "$CONFIG" before
}

@test "another program with the shim's name is not replaced" {
	use 1.6
	old_config
	echo mine >bin/containerd-shim-podvm-v2
	run install
	[ "$status" -eq 1 ]
	[[ "$output" == *"is something else"* ]]
	[ "$(cat bin/containerd-shim-podvm-v2)" = mine ]
	uninstall
	[ "$(cat bin/containerd-shim-podvm-v2)" = mine ]
}

@test "mistakes on the command line" {
	for words in "--handler Pod" "--sandboxer none" "--config relative" "--show 1" "extra"; do
		# shellcheck disable=SC2086
		run "$PODVM" install $words
		[ "$status" -eq 2 ]
	done
	run "$PODVM" install --show 3
	[ "$status" -eq 0 ]
	[[ "$output" == *'runtimes.podvm]'* ]]
}

# documents FILE: a YAML file's documents as JSON, one a line.
documents() { python3 -c 'import json, sys, yaml; [print(json.dumps(d)) for d in yaml.safe_load_all(open(sys.argv[1]))]' "$1"; }

@test "the files in deploy/ fit together, what install writes, and the documentation" {
	local docs="$ROOT/docs/kubernetes.md" name f
	documents "$ROOT/deploy/runtimeclass.yaml" >class
	jq -e '.kind == "RuntimeClass" and .apiVersion == "node.k8s.io/v1" and .scheduling.nodeSelector == {podvm: "true"}' class
	name=$(jq -r .metadata.name class)
	for f in 2 3; do
		"$PODVM" install --show $f | grep -F "containerd.runtimes.$(jq -r .handler class)]"
	done
	grep -F 'kubectl label node NODE podvm=true' "$docs"
	grep -F "$(jq -r '.overhead.podFixed.memory | sub("Mi$"; " MiB")' class) for any" "$docs"
	jq -e '.overhead.podFixed.cpu | test("^[1-9][0-9]*m$")' class
	documents "$ROOT/deploy/pod.yaml" >pod
	jq -e --arg name "$name" '.kind == "Pod" and .spec.runtimeClassName == $name' pod
	grep -F "kubectl logs $(jq -r .metadata.name pod); kubectl exec $(jq -r .metadata.name pod) --" "$docs"
	documents "$ROOT/deploy/deployment.yaml" >deployment
	jq -es --arg name "$name" '.[0].kind == "Deployment" and .[0].spec.template.spec.runtimeClassName == $name
		and .[0].spec.template.metadata.labels == .[0].spec.selector.matchLabels and .[1].spec.selector == .[0].spec.selector.matchLabels
		and .[1].spec.ports[0].targetPort == .[0].spec.template.spec.containers[0].ports[0].containerPort' deployment
	for f in $(grep -o 'deploy/[a-z]*[.]yaml' "$docs" "$ROOT/README.md" -h); do
		[ -f "$ROOT/$f" ]
	done
	# The Deployment's Pod is one that podvm's own reader takes (it has read pod.yaml in the unit tests).
	jq '.spec.template + {apiVersion: "v1", kind: "Pod"} | .metadata.name = "web"' <(head -n 1 deployment) >deploy.json
	mkdir deploy && mv deploy.json deploy/web.yaml
	"$ROOT/b/dev/src/kube/test_kube_docs" "$ROOT/docs/pod-yaml.md" "$ROOT/examples/hello.yaml" "$PWD/deploy/web.yaml"
}
