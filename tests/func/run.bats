#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Pods from YAML, in real VMs: what `podvm run` promises.

bats_require_minimum_version 1.5.0
load ../lib/common.bash

setup() { podvm_setup; }
teardown() { assert_clean; }

@test "a container's output has its name in front and its exit code passes through" {
	pod job Never "$(sh_container main 'echo hello; echo oops >&2; exit 7')"
	run --separate-stderr "$PODVM" run job.yaml
	[ "$status" -eq 7 ]
	[ "$output" = "[main] hello" ]
	[[ "$stderr" == *"[main] oops"* ]]
}

@test "the pod has a kernel of its own" {
	pod job Never "$(sh_container main 'uname -r; cat /proc/sys/kernel/hostname')"
	run "$PODVM" run -q job.yaml
	[ "$status" -eq 0 ]
	[ "${lines[0]}" != "[main] $(uname -r)" ]
	[ "${lines[1]}" = "[main] job" ]
}

@test "the exit status is that of the first container that failed, in the file's order" {
	pod two Never "$(sh_container a 'exit 0')" "$(sh_container b 'exit 4')" "$(sh_container c 'exit 9')"
	run "$PODVM" run -q two.yaml
	[ "$status" -eq 4 ]
}

@test "init containers run in order before the others, and share volumes with them" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: ordered}
		spec:
		  restartPolicy: Never
		  volumes: [{name: data, emptyDir: {}}]
		  initContainers:
		  - {name: one, image: $IMAGE, command: [sh, -c, "echo one >>/d/f"], volumeMounts: [{name: data, mountPath: /d}]}
		  - {name: two, image: $IMAGE, command: [sh, -c, "echo two >>/d/f"], volumeMounts: [{name: data, mountPath: /d}]}
		  containers:
		  - {name: main, image: $IMAGE, command: [cat, /x/f], volumeMounts: [{name: data, mountPath: /x, readOnly: true}]}
	Y
	run "$PODVM" run -q p.yaml
	[ "$status" -eq 0 ]
	[ "$output" = $'[main] one\n[main] two' ]
}

@test "a failing init container fails the pod with its exit code" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: badinit}
		spec:
		  restartPolicy: Never
		  initContainers: [{name: one, image: $IMAGE, command: [sh, -c, "exit 5"]}]
		  containers: [{name: main, image: $IMAGE, command: [echo, never]}]
	Y
	run "$PODVM" run -q p.yaml
	[ "$status" -eq 5 ]
	[[ "$output" == *"init container one ended with exit code 5"* ]]
	[[ "$output" != *"never"* ]]
}

@test "a sidecar starts before the containers and ends after them" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: side}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: 60
		  volumes: [{name: data, emptyDir: {medium: Memory, sizeLimit: 8Mi}}]
		  initContainers:
		  - name: side
		    image: $IMAGE
		    restartPolicy: Always
		    command: [sh, -c, "trap 'echo side got TERM; exit 0' TERM; touch /d/ready; while :; do sleep 0.1; done"]
		    volumeMounts: [{name: data, mountPath: /d}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "until [ -e /d/ready ]; do sleep 0.05; done; echo main done"]
		    volumeMounts: [{name: data, mountPath: /d}]
	Y
	run "$PODVM" run -q p.yaml
	[ "$status" -eq 0 ]
	[ "$output" = $'[main] main done\n[side] side got TERM' ]
}

@test "environment: literals, expansion, ConfigMap, Secret, fields and resources" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: conf}
		data: {colour: blue, A_B: two}
		---
		apiVersion: v1
		kind: Secret
		metadata: {name: sec}
		stringData: {token: s3cret}
		---
		apiVersion: v1
		kind: Pod
		metadata: {name: envy, labels: {app: demo}}
		spec:
		  restartPolicy: Never
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c]
		    args: ['echo \$(WHO) \$GREETING \$COLOUR \$CM_colour \$TOKEN \$NAME \$APP \$MEM']
		    resources: {limits: {memory: 64Mi}}
		    envFrom: [{prefix: CM_, configMapRef: {name: conf}}]
		    env:
		    - {name: WHO, value: world}
		    - {name: GREETING, value: "hello-\$(WHO)"}
		    - {name: COLOUR, valueFrom: {configMapKeyRef: {name: conf, key: colour}}}
		    - {name: TOKEN, valueFrom: {secretKeyRef: {name: sec, key: token}}}
		    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
		    - {name: APP, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
		    - {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
	Y
	run "$PODVM" run -q p.yaml
	[ "$status" -eq 0 ]
	[ "$output" = "[main] world hello-world blue blue s3cret envy demo 64" ]
}

@test "volumes: configMap items and modes, secret, projected, downwardAPI, subPath, hostPath, read-only" {
	mkdir -p host/sub && echo from-host >host/sub/file
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: conf}
		data: {a.txt: alpha, b.txt: beta}
		---
		apiVersion: v1
		kind: Secret
		metadata: {name: sec}
		data: {bin: AAEC}
		---
		apiVersion: v1
		kind: Pod
		metadata: {name: vols, labels: {x: "1"}}
		spec:
		  restartPolicy: Never
		  volumes:
		  - {name: cm, configMap: {name: conf, defaultMode: 0400, items: [{key: a.txt, path: deep/er/a}]}}
		  - {name: sec, secret: {secretName: sec}}
		  - name: proj
		    projected: {sources: [{configMap: {name: conf}}, {downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}]}
		  - {name: host, hostPath: {path: $PWD/host, type: Directory}}
		  - {name: ro, hostPath: {path: $PWD/host}}
		  - {name: tmp, emptyDir: {}}
		  containers:
		  - name: main
		    image: $IMAGE
		    command:
		    - sh
		    - -c
		    - |
		      cat /cm/deep/er/a; echo; stat -Lc %a /cm/deep/er/a; ls /cm
		      od -An -tx1 /sec/bin | tr -d ' '
		      cat /proj/b.txt; echo; cat /proj/labels; echo
		      cat /host/sub/file /file; echo written >/host/new
		      { echo no >/ro/no; } 2>/dev/null || echo read-only
		      echo x >/sub/y; ls /tmpvol/made
		    volumeMounts:
		    - {name: cm, mountPath: /cm}
		    - {name: sec, mountPath: /sec, readOnly: true}
		    - {name: proj, mountPath: /proj}
		    - {name: host, mountPath: /host}
		    - {name: host, mountPath: /file, subPath: sub/file}
		    - {name: ro, mountPath: /ro, readOnly: true}
		    - {name: tmp, mountPath: /sub, subPath: made}
		    - {name: tmp, mountPath: /tmpvol}
	Y
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "$status" -eq 0 ]
	[ "$output" = $'[main] alpha\n[main] 400\n[main] deep\n[main] 000102\n[main] beta\n[main] x="1"\n[main] from-host\n[main] from-host\n[main] read-only\n[main] y' ]
	[ "$(cat host/new)" = written ]
	[ ! -e host/no ]
}

@test "file work in a volume is as on a disk: renames, links, locks, deleted files, permissions, sparse files" {
	mkdir bin && gcc -static -O2 -D_GNU_SOURCE -o bin/fs_stress "$ROOT/tests/guest/fs_stress.c"
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: files}
		spec:
		  restartPolicy: Never
		  volumes: [{name: bin, hostPath: {path: $PWD/bin}}, {name: tmp, emptyDir: {}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [/bin/fs/fs_stress, /work, "1"]
		    volumeMounts: [{name: bin, mountPath: /bin/fs, readOnly: true}, {name: tmp, mountPath: /work}]
	Y
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "$status" -eq 0 ]
	[[ $output = *"ok locks"*"ok read locks"*"ok counting"*"ok fsx"* && $output != *FAILED* ]]
}

@test "links in a hostPath volume lead nowhere outside of it" {
	mkdir host && echo secret >outside
	ln -s "$PWD/outside" host/absolute && ln -s ../outside host/relative && ln -s /proc/self/root/etc/hostname host/magic
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: links}
		spec:
		  restartPolicy: Never
		  volumes: [{name: host, hostPath: {path: $PWD/host}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "for f in absolute relative ../outside ../../outside; do cat /h/\$f 2>/dev/null; done; cat /h/magic"]
		    volumeMounts: [{name: host, mountPath: /h}]
	Y
	run "$PODVM" run -q p.yaml
	[ "$output" = "[main] links" ]
	sed -i 's/mountPath: \/h}/mountPath: \/h, subPath: relative}/' p.yaml
	run "$PODVM" run -q p.yaml
	[ "$status" -ne 0 ]
	[[ "$output" != *secret* ]]
}

@test "security context: user, groups, capabilities, read-only root, no new privileges, seccomp, masked paths" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: secure}
		spec:
		  restartPolicy: Never
		  securityContext: {runAsUser: 1234, runAsGroup: 2345, fsGroup: 3456, supplementalGroups: [4567], sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "80"}]}
		  volumes: [{name: d, emptyDir: {}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command:
		    - sh
		    - -c
		    - |
		      id -u; id -g; id -G
		      grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr -d '\t'
		      touch /x 2>/dev/null || echo root is read-only
		      head -c1 /proc/kcore 2>/dev/null | wc -c
		      { echo 1 >/proc/sys/kernel/panic; } 2>/dev/null || echo sysctls are read-only
		      cat /proc/sys/net/ipv4/ip_unprivileged_port_start
		      touch /d/f && stat -c %g /d/f
		    securityContext:
		      readOnlyRootFilesystem: true
		      allowPrivilegeEscalation: false
		      runAsNonRoot: true
		      capabilities: {drop: [ALL]}
		    volumeMounts: [{name: d, mountPath: /d}]
	Y
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "[main] 1234" ]
	[ "${lines[1]}" = "[main] 2345" ]
	[ "${lines[2]}" = "[main] 2345 3456 4567" ]
	[ "${lines[3]}" = "[main] CapEff:0000000000000000" ]
	[ "${lines[4]}" = "[main] NoNewPrivs:1" ]
	[ "${lines[5]}" = "[main] Seccomp:2" ]
	[ "${lines[6]}" = "[main] root is read-only" ]
	[ "${lines[7]}" = "[main] 0" ]
	[ "${lines[8]}" = "[main] sysctls are read-only" ]
	[ "${lines[9]}" = "[main] 80" ]
	[ "${lines[10]}" = "[main] 3456" ]
}

@test "privileged is privileged in the guest and nowhere else" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: priv}
		spec:
		  restartPolicy: Never
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "mkdir /m && mount -t tmpfs t /m && echo mounted; ls /dev/kvm /dev/vda 2>/dev/null; ps | grep -c '[q]emu'; grep Seccomp: /proc/self/status | tr -d '\\\\t'"]
		    securityContext: {privileged: true}
	Y
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "${lines[0]}" = "[main] mounted" ]
	[ "${lines[1]}" = "[main] 0" ]
	[ "${lines[2]}" = "[main] Seccomp:0" ]
}

@test "limits: the VM has the CPUs and the cgroup the limits; too much memory is OOMKilled (137)" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: limited}
		spec:
		  restartPolicy: Never
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "nproc; cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/cpu.max; tail /dev/zero"]
		    resources: {limits: {cpu: 1500m, memory: 32Mi}}
	Y
	run --separate-stderr "$PODVM" run -q p.yaml
	echo "$output"
	[ "$status" -eq 137 ]
	[ "${lines[0]}" = "[main] 2" ]
	[ "${lines[1]}" = "[main] 33554432" ]
	[ "${lines[2]}" = "[main] 150000 100000" ]
	[[ "$stderr" == *"podvm: container main: ended with exit code 137 (OOMKilled)" ]]
}

@test "a restart is announced, with its reason; inspect has how the instance before it ended" {
	pod again Always "{name: main, image: $IMAGE, command: [sh, -c, 'test -e /d/over && exec sleep 1000; touch /d/over; tail /dev/zero'], resources: {limits: {memory: 32Mi}}, volumeMounts: [{name: d, mountPath: /d}]}" \
		"{name: brief, image: $IMAGE, command: [sh, -c, 'test -e /d/brief && exec sleep 1000; touch /d/brief'], volumeMounts: [{name: d, mountPath: /d}]}"
	echo "  volumes: [{name: d, emptyDir: {}}]" >>again.yaml
	"$PODVM" run -q again.yaml 2>err 3>&- &
	wait_for 120 bash -o pipefail -c "'$PODVM' inspect again | jq -e '.containers | all(.state == \"Running\" and .restarts == 1)'"
	"$PODVM" inspect again >state
	"$PODVM" stop -t 0 again
	wait
	cat err
	grep -qx 'podvm: container main: ended with exit code 137 (OOMKilled); restarts at once' err
	grep -qx 'podvm: container brief: ended with exit code 0 (Completed); restarts at once (restartPolicy: Always)' err
	jq -e '.containers[0].last | .reason == "OOMKilled" and .exitCode == 137 and .finishedAt >= .startedAt' state
	jq -e '.containers[0] | .exitCode == 0 and .reason == "" and .finishedAt == null' state
	# One clock and one form for all of them.
	jq -e '[.. | objects | to_entries[] | select(.key | test("At$")) | .value // empty] | length > 9 and
		all(test("^20[0-9-]{8}T[0-9:]{8}[.][0-9]{9}Z$"))' state
	jq -e 'def s: .[0:19] + "Z" | fromdate;
		(.createdAt | s - 60) as $from | (.containers[0].startedAt | s + 60) as $to | .timings | length > 5 and
		all(.startedAt | s >= $from and s <= $to)' state
	run ! grep -E '(Ns|Ticks)"' state
}

@test "a published port is reached from the host" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: web}
		spec:
		  terminationGracePeriodSeconds: 1
		  containers:
		  - name: web
		    image: $IMAGE
		    command: [sh, -c, "mkdir /www && echo it works >/www/index.html && exec httpd -f -p 127.0.0.1:80 -h /www"]
		    ports: [{containerPort: 80, hostPort: 18080}]
	Y
	"$PODVM" run -d -q p.yaml
	wait_for 60 curl -sf -m 60 -o page http://127.0.0.1:18080/
	[ "$(cat page)" = "it works" ]
	run "$PODVM" run -q <(sed 's/name: web}/name: other}/' p.yaml)
	[ "$status" -eq 1 ]
	[[ "$output" == *"spec.containers[0].ports[0].hostPort: publish port 18080"*"Address already in use"* ]]
	"$PODVM" stop web
	"$PODVM" rm web
}

@test "a stop signal: SIGTERM once, the grace period, SIGKILL" {
	pod polite Always "$(sh_container main 'trap "echo bye; exit 3" TERM; echo up; while :; do sleep 0.1; done')"
	"$PODVM" run -q polite.yaml >out &
	pid=$!
	wait_for 120 grep -q up out
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 3 ]
	grep -q bye out
	pod stubborn Always "$(sh_container main 'trap "" TERM; echo up; while :; do sleep 0.1; done')"
	sed -i 's/PeriodSeconds: 60/PeriodSeconds: 1/' stubborn.yaml
	"$PODVM" run -q stubborn.yaml >out2 &
	pid=$!
	wait_for 120 grep -q up out2
	kill -TERM $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 137 ]
	# Ctrl-C is SIGINT, which a shell makes its background jobs ignore.
	env --default-signal=INT "$PODVM" run -q polite.yaml >out3 &
	pid=$!
	wait_for 120 grep -q up out3
	kill -INT $pid
	status=0
	wait $pid || status=$?
	[ "$status" -eq 3 ]
}

@test "a container that fails restarts at once, then after 10 s, with a fresh root filesystem" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: again}
		spec:
		  restartPolicy: OnFailure
		  volumes: [{name: d, emptyDir: {}}]
		  containers:
		  - name: main
		    image: $IMAGE
		    command: [sh, -c, "echo run >>/d/runs; [ -e /mark ] && echo stale; touch /mark; [ \$(wc -l </d/runs) -eq 3 ] && echo third"]
		    volumeMounts: [{name: d, mountPath: /d}]
	Y
	"$PODVM" run -d -q p.yaml
	wait_for 120 bash -c "'$PODVM' ps -a | grep -q 'again.*Succeeded'"
	[ "$("$PODVM" logs again)" = third ]
	"$PODVM" logs --all again >all
	grep -q 'container main: restarts in 0 s (restart 1)' all
	grep -q 'container main: restarts in 10 s (restart 2)' all
	"$PODVM" rm again
}

@test "hostname, dnsConfig, hostAliases, shared PID namespace, termination message" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: names}
		spec:
		  restartPolicy: Never
		  hostname: box
		  subdomain: sub
		  dnsPolicy: None
		  dnsConfig: {nameservers: [192.0.2.53], searches: [example.test], options: [{name: ndots, value: "3"}]}
		  hostAliases: [{ip: 192.0.2.7, hostnames: [seven, sieben]}]
		  shareProcessNamespace: true
		  containers:
		  - {name: other, image: $IMAGE, command: [sleep, "1000"]}
		  - name: main
		    image: $IMAGE
		    command:
		    - sh
		    - -c
		    - |
		      hostname; cat /etc/resolv.conf; grep -c 'seven' /etc/hosts
		      until pidof sleep >/dev/null; do :; done
		      echo last words >/dev/termination-log
		      kill -9 \$(pidof sleep)
	Y
	run "$PODVM" run -q p.yaml
	echo "$output"
	[ "$status" -eq 137 ]
	[ "${lines[0]}" = "[main] box" ]
	[[ "$output" == *"[main] nameserver 192.0.2.53"* ]]
	[[ "$output" == *"[main] search example.test"* ]]
	[[ "$output" == *"[main] options ndots:3"* ]]
	[[ "$output" == *"[main] 1"* ]]
}

@test "stdin: true gives the container our standard input and its end" {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: cat}
		spec:
		  restartPolicy: Never
		  containers: [{name: main, image: $IMAGE, stdin: true, stdinOnce: true, command: [sh, -c, "wc -c; echo end"]}]
	Y
	head -c 300000 /dev/zero >in
	run bash -c '"$1" run -q p.yaml <in' _ "$PODVM"
	[ "$status" -eq 0 ]
	[ "$output" = $'[main] 300000\n[main] end' ]
}

@test "every byte of a lot of output arrives" {
	pod lots Never "$(sh_container main 'seq 1 200000; printf last-without-newline')"
	"$PODVM" run -q lots.yaml >out
	[ "$(wc -l <out)" -eq 200001 ]
	[ "$(tail -n 1 out)" = "[main] last-without-newline" ]
	[ "$(sed -n 's/^\[main\] //p' out | head -n 200000 | md5sum)" = "$(seq 1 200000 | md5sum)" ]
}

# A pod that writes more than all pipes and buffers on the way hold, and a server; `reader` is a pipe that nobody reads. Returns when it is
# about to be full: how much that is depends on the pieces in it.
unread_pod() {
	cat >p.yaml <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: unread}
		spec:
		  restartPolicy: Never
		  terminationGracePeriodSeconds: ${1:-300}
		  containers:
		  - name: talk
		    image: $IMAGE
		    command: [sh, -c, "seq 1 400000 | tr '\\\\n' ' '; echo; exit 3"]
		  - name: web
		    image: $IMAGE
		    command: [sh, -c, "trap 'exit 0' TERM; mkdir /www; echo it works >/www/index.html; httpd -f -p 127.0.0.1:80 -h /www & wait"]
		    ports: [{containerPort: 80, hostPort: 18081}]
	Y
	mkfifo reader
	exec 7<>reader
	"$PODVM" run -q p.yaml >reader 2>errors 3>&- 7>&- &
	RUN=$!
	wait_for 100 has_written 70000
}
has_written() { (($("$PODVM" logs -c talk unread 2>/dev/null | wc -c) > $1)); }
was_told() { "$PODVM" logs --all unread | grep -q "podvm.*$1"; }

@test "a reader that stands still holds the containers, not podvm; when it goes on every byte comes" {
	unread_pod
	wait_for 60 curl -sf -o page http://127.0.0.1:18081/
	[ "$(cat page)" = "it works" ]
	kill -INT "$RUN"
	wait_for 60 was_told 'stop: signal 2'
	run ! has_written 1500000 # of 2.7 MB
	exec 8<reader
	cat <&8 >got 7>&- &
	exec 7>&- 8<&-
	local status=0
	wait "$RUN" || status=$?
	wait
	[ "$status" -eq 3 ]
	sed -n 's/^\[talk\] //p' got | tr -d '\n' >talk
	cmp talk <(seq 1 400000 | tr '\n' ' ')
}

@test "a reader that stands still: a second signal ends podvm run, and what it has not read is lost" {
	unread_pod
	kill -INT "$RUN"
	wait_for 60 was_told 'stop: signal 2'
	kill -TERM "$RUN"
	local status=0
	wait "$RUN" || status=$?
	[ "$status" -eq 137 ]
	exec 7>&-
}

@test "a reader that stands still: podvm stop ends the pod after its grace period all the same" {
	unread_pod 1
	"$PODVM" stop unread
	local status=0
	wait "$RUN" || status=$?
	[ "$status" -eq 137 ]
	exec 7>&-
}

@test "run -d of a pod that never gets to run tells why, and does not wait for ever" {
	pod never Always "{name: main, image: $IMAGE, command: [nosuch]}"
	run --separate-stderr "$PODVM" run -d never.yaml
	[ "$status" -eq 0 ]
	[ "$stderr" = "podvm: container main: executable file 'nosuch' not found in \$PATH; restarts at once; 'podvm logs --all $output' tells more" ]
	"$PODVM" rm -f never
	sed -i 's/Always/Never/' never.yaml
	run --separate-stderr "$PODVM" run -d never.yaml
	[ "$status" -eq 0 ]
	[ "$stderr" = "podvm: container main: executable file 'nosuch' not found in \$PATH; 'podvm logs --all $output' tells more" ]
	wait_for 60 bash -c "'$PODVM' ps -a | grep -q 'never.*Failed (1, StartError)'"
	[ "$("$PODVM" inspect never | jq -r .message)" = "container main: executable file 'nosuch' not found in \$PATH" ]
	"$PODVM" inspect never | jq -e '.containers[0] | .reason == "StartError" and .exitCode == 128 and .startedAt == null and (.message | test("not found"))'
	"$PODVM" rm never
	pod init Always "$(sh_container main 'sleep 1000')"
	sed -i "s/^  containers:/  initContainers: [{name: first, image: \"${IMAGE//\//\\/}\", command: [sh, -c, 'exit 9']}]\n  containers:/" init.yaml
	cat init.yaml
	run --separate-stderr "$PODVM" run -d init.yaml
	[ "$status" -eq 0 ]
	[ "$stderr" = "podvm: container first: ended with exit code 9 (Error); restarts at once; 'podvm logs --all $output' tells more" ]
	[ "$("$PODVM" inspect init | jq -r .phase)" = Initializing ]
	"$PODVM" rm -f init
}

@test "a file whose name is no UTF-8: the pod has a record all the same" {
	pod name Never "$(sh_container main 'sleep 1000')"
	mv name.yaml $'n\xffme.yaml'
	"$PODVM" run -d -q $'n\xffme.yaml'
	[ "$("$PODVM" inspect name | jq -r '.source, .phase')" = $'n?me.yaml\nRunning' ]
	"$PODVM" rm -f name
}
