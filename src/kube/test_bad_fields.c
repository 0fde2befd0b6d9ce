/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are no pods: not YAML, unknown fields, wrong types, fields that podvm does not do. Each case is the file and the whole message, without "t.yaml:". */
#include "kube/test_bad.h"

static const struct bad yaml[] = {
	{"", "1: no Pod in the file; add a document with kind: Pod"},
	{"# nothing\n"
	 "---\n",
		"1: no Pod in the file; add a document with kind: Pod"},
	{"a: [1, 2\n", "2: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence that begins "
		       "on line 1"},
	{"a:\n  b: 1\n  c: 2\n d: 3\n",
		"4: not valid YAML: did not find expected key while parsing a block mapping that begins on line 1"},
	{"a: b\nc: \"d\ne: f\n", "4: not valid YAML: found unexpected end of stream while scanning a quoted scalar "
				 "that begins on line 2"},
	{"a: b: c\n", "1: not valid YAML: mapping values are not allowed in this context"},
	{"\ta: 1\n", "1: not valid YAML: a tab in column 1; indent with spaces"},
	{"a:\n  \tb: 1\n", "2: not valid YAML: a tab in column 3; indent with spaces"},
	{"a:\n- \tb: 1\n\tc: 2\n", "2: not valid YAML: a tab in column 3; indent with spaces"},
	{"a:\n  b: c\n\td: 1\n", "3: not valid YAML: a tab in column 1; indent with spaces"},
	{"a:\tb: c\n", "1: not valid YAML: mapping values are not allowed in this context"},
	{"a: \"\\x\"\n", "1: not valid YAML: did not find expected hexdecimal number"},
	{"a: 1\n"
	 "a: 2\n",
		"2: a: is there twice, first on line 1; remove one"},
	{"{a: 1, \"a\": 2}", "1: a: is there twice, first on line 1; remove one"},
	{"yes: 1\n", "1: document: YAML reads the key yes as a boolean; put it in quotes"},
	{"0x10: 1\n", "1: document: YAML reads the key 0x10 as a number; put it in quotes"},
	{"1.5: 1\n", "1: document: YAML reads the key 1.5 as a number; put it in quotes"},
	{"~: 1\n", "1: document: an empty key"},
	{"[a]: 1\n", "1: document: a key that is no plain text"},
	{"? {a: 1}\n"
	 ": 2\n",
		"1: document: a key that is no plain text"},
	{"a: *x\n", "1: a: the alias *x has no anchor &x before it"},
	{"a: &x [*x]\n", "1: a[0]: the alias *x is inside of what it names"},
	{"a: !!binary aGk=\n", "1: a: the tag \"!!binary\" is not supported; leave it out"},
	{"a: !foo b\n", "1: a: the tag \"!foo\" is not supported; leave it out"},
	{"a: !!int b\n", "1: a: \"b\" is no !!int"},
	{"!!set {a}\n", "1: document: the tag \"!!set\" is not supported; leave it out"},
	{"a: \"x\\0y\"\n"
	 "\"b\\0c\": 1\n",
		"2: document: a key with a NUL character"},
	{"a: {<<: 1}\n", "1: a[<<]: << merges maps only"},
	{"a: {<<: {b: 1}, <<: {c: 2}}\n", "1: a: << is there twice; merge a list of maps"},
	{"a: \377\n", "1: not valid YAML: invalid leading UTF-8 octet"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "---\n"
	 "kind: [\n",
		"5: not valid YAML: did not find expected node content"},
	{"- a\n", "1: document: expected a Kubernetes object (apiVersion, kind, ...), found a list"},
	{"just text\n",
		"1: document: expected a Kubernetes object (apiVersion, kind, ...), found the string \"just text\""},
};

static const struct bad documents[] = {
	{"kind: Pod\n", "1: apiVersion: is required; write apiVersion: v1"},
	{"apiVersion: v1\n", "1: kind: is required; for example: kind: Pod"},
	{"apiVersion: v1\n"
	 "kind: 5\n",
		"2: kind: expected a string, found the number 5"},
	{"apiVersion: apps/v1\n"
	 "kind: Pod\n",
		"1: apiVersion: a Pod has apiVersion v1, found \"apps/v1\""},
	{"apiVersion: apps/v1\n"
	 "kind: Deployment\n",
		"2: kind: Deployment is not run here, only Pod, ConfigMap and Secret; make a Pod from its pod template "
		"(spec.template)"},
	{"apiVersion: batch/v1\n"
	 "kind: CronJob\n",
		"2: kind: CronJob is not run here, only Pod, ConfigMap and Secret; make a Pod from its pod template "
		"(spec.jobTemplate.spec.template)"},
	{"apiVersion: v1\n"
	 "kind: PodTemplate\n",
		"2: kind: PodTemplate is not run here, only Pod, ConfigMap and Secret; make a Pod from its pod "
		"template (template)"},
	{"apiVersion: v1\n"
	 "kind: Service\n",
		"2: kind: \"Service\" is not supported; only Pod, ConfigMap and Secret are: take it out of the file"},
	{"apiVersion: v1\n"
	 "kind: pod\n",
		"2: kind: unknown kind \"pod\"; did you mean \"Pod\"?"},
	{"apiVersion: v1\n"
	 "kind: Configmap\n",
		"2: kind: unknown kind \"Configmap\"; did you mean \"ConfigMap\"?"},
	{"apiVersion: v1\n"
	 "kind: ConfigMap\n"
	 "metadata: {name: c}\n",
		"1: no Pod in the file; add a document with kind: Pod"},
	{"apiVersion: v1\n"
	 "kind: List\n",
		"1: items: a List needs a list of items"},
	{"apiVersion: v1\n"
	 "kind: List\n"
	 "items: [1]\n",
		"3: items[0]: expected a Kubernetes object (apiVersion, kind, ...), found the number 1"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: Pod\n"
	     "metadata: {name: q}\n"
	     "spec: {containers: [{name: a, image: i}]}\n",
		"9: document: a second Pod (the first is on line 1); run one Pod a file"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "spec: {containers: [{name: a, image: i}]}\n",
		"1: metadata: a Pod needs metadata.name"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {namespace: x}\n"
	 "spec: {containers: [{name: a, image: i}]}\n",
		"3: metadata.name: a Pod needs metadata.name"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: Web}\n"
	 "spec: {containers: [{name: a, image: i}]}\n",
		"3: metadata.name: \"Web\" must be lower case letters, digits, '-' or '.', at most 253, with a letter "
		"or digit at both ends"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a, namespace: a.b}\n"
	 "spec: {containers: [{name: a, image: i}]}\n",
		"3: metadata.namespace: \"a.b\" must be 1 to 63 lower case letters, digits or '-', with a letter or "
		"digit at both ends"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a, labels: {\"a b\": c}}\n"
	 "spec: {containers: [{name: a, image: i}]}\n",
		"3: metadata.labels[a b]: the key must be [DOMAIN/]NAME, the name at most 63 letters, digits, '-', '_' "
		"or '.'"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a, labels: {a: \"b c\"}}\n"
	 "spec: {containers: [{name: a, image: i}]}\n",
		"3: metadata.labels.a: \"b c\" must be empty or at most 63 letters, digits, '-', '_' or '.', with a "
		"letter or digit at both ends"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a, labels: {a: 1}}\n"
	 "spec: {containers: [{name: a, image: i}]}\n",
		"3: metadata.labels.a: expected a string, found a number; put it in quotes"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a, annotations: {/x: c}}\n"
	 "spec: {containers: [{name: a, image: i}]}\n",
		"3: metadata.annotations[/x]: the key must be [DOMAIN/]NAME, the name at most 63 letters, digits, '-', "
		"'_' or '.'"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a}\n",
		"1: spec: is required; add it"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a}\n"
	 "spec: []\n",
		"4: spec: expected a map, found a list"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a}\n"
	 "spec: {containers: []}\n",
		"4: spec.containers: is required; add it"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a}\n"
	 "spec: {containers: {name: a}}\n",
		"4: spec.containers: expected a list, found a map; write [A, B], or - A on lines of their own"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a}\n"
	 "spec: {containers: [a]}\n",
		"4: spec.containers[0]: expected a map, found the string \"a\""},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a}\n"
	 "spec: {containers: [~]}\n",
		"4: spec.containers[0]: expected a map, found nothing"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a}\n"
	 "spec: {containers: [{name: a}]}\n",
		"4: spec.containers[0].image: is required; add it"},
	{"apiVersion: v1\n"
	 "kind: Pod\n"
	 "metadata: {name: a}\n"
	 "spec: {containers: [{image: a}]}\n",
		"4: spec.containers[0].name: is required; add it"},
};

static const struct bad names[] = {
	{POD "    imagee: x\n", "8: spec.containers[0].imagee: unknown field; did you mean \"image\"?"},
	{POD "    Image: x\n", "8: spec.containers[0].Image: unknown field; did you mean \"image\"?"},
	{POD "    comand: [x]\n", "8: spec.containers[0].comand: unknown field; did you mean \"command\"?"},
	{POD "    volumeMount: []\n",
		"8: spec.containers[0].volumeMount: unknown field; did you mean \"volumeMounts\"?"},
	{POD "    hostNetwork: true\n", "8: spec.containers[0].hostNetwork: unknown field here; it belongs to PodSpec "
					"(look at the indentation); nearest known field: \"workingDir\""},
	{POD "  ports: []\n", "8: spec.ports: unknown field here; it belongs to Container (look at the indentation); "
			      "nearest known field: \"os\""},
	{POD "  restartPolicyy: Never\n", "8: spec.restartPolicyy: unknown field; did you mean \"restartPolicy\"?"},
	{POD "    \"a\\nb\": 1\n", "8: spec.containers[0][a?b]: unknown field; nearest known field: \"name\""},
	{POD "    zzzzzzzzzzzzzzzzzzzz: 1\n",
		"8: spec.containers[0].zzzzzzzzzzzzzzzzzzzz: unknown field; nearest known field: \"resizePolicy\""},
	{POD "    securityContext: {runAsUsr: 1}\n",
		"8: spec.containers[0].securityContext.runAsUsr: unknown field; did you mean \"runAsUser\"?"},
	{POD "    livenessProbe: {httpget: {port: 1}}\n",
		"8: spec.containers[0].livenessProbe.httpget: unknown field; did you mean \"httpGet\"?"},
	{POD "  affinity: {nodeAffinty: {}}\n",
		"8: spec.affinity.nodeAffinty: unknown field; did you mean \"nodeAffinity\"?"},
	{POD "    env: [{nme: a}]\n", "8: spec.containers[0].env[0].nme: unknown field; did you mean \"name\"?"},
};

static const struct bad types[] = {
	{POD "    command: sh\n", "8: spec.containers[0].command: expected a list, found the string \"sh\"; write [A, "
				  "B], or - A on lines of their own"},
	{POD "    command: [1]\n",
		"8: spec.containers[0].command[0]: expected a string, found the number 1; put it in quotes"},
	{POD "    command: [yes]\n",
		"8: spec.containers[0].command[0]: expected a string, found the boolean yes; put it in quotes"},
	{POD "    tty: \"true\"\n", "8: spec.containers[0].tty: expected true or false, found the string \"true\""},
	{POD "    tty: 1\n", "8: spec.containers[0].tty: expected true or false, found the number 1"},
	{POD "    workingDir: 5\n",
		"8: spec.containers[0].workingDir: expected a string, found the number 5; put it in quotes"},
	{POD "    env: {A: b}\n",
		"8: spec.containers[0].env: expected a list, found a map; write [A, B], or - A on lines of their own"},
	{POD "    env: [{name: A, value: yes}]\n",
		"8: spec.containers[0].env[0].value: expected a string, found the boolean yes; put it in quotes"},
	{POD "    env: [{name: A, value: 0644}]\n",
		"8: spec.containers[0].env[0].value: expected a string, found the number 0644; put it in quotes"},
	{POD "    env: [{name: A, value: 1.5}]\n",
		"8: spec.containers[0].env[0].value: expected a string, found the number 1.5; put it in quotes"},
	{POD "    env: [{name: A, value: [x]}]\n",
		"8: spec.containers[0].env[0].value: expected a string, found a list"},
	{POD "    ports: [{containerPort: \"80\"}]\n", "8: spec.containers[0].ports[0].containerPort: expected a whole "
						       "number, found the string \"80\"; take the quotes off"},
	{POD "    ports: [{containerPort: 0}]\n",
		"8: spec.containers[0].ports[0].containerPort: 0 is out of range; use 1 to 65535"},
	{POD "    ports: [{containerPort: 65536}]\n",
		"8: spec.containers[0].ports[0].containerPort: 65536 is out of range; use 1 to 65535"},
	{POD "    ports: [{containerPort: 99999999999999999999}]\n",
		"8: spec.containers[0].ports[0].containerPort: 99999999999999999999 is out of range; use 1 to 65535"},
	{POD "    ports: [{containerPort: 80.5}]\n",
		"8: spec.containers[0].ports[0].containerPort: expected a whole number, found the number 80.5"},
	{POD "    ports: [{containerPort: .inf}]\n",
		"8: spec.containers[0].ports[0].containerPort: expected a whole number, found the number .inf"},
	{POD "    ports: [{name: x}]\n", "8: spec.containers[0].ports[0].containerPort: is required; add it"},
	{POD "    restartPolicy: 5\n",
		"8: spec.containers[0].restartPolicy: expected a string, found the number 5; put it in quotes"},
	{POD "  restartPolicy: always\n", "8: spec.restartPolicy: unknown value \"always\"; did you mean \"Always\"?"},
	{POD "  restartPolicy: Sometimes\n",
		"8: spec.restartPolicy: unknown value \"Sometimes\"; use one of \"Always\", \"OnFailure\", \"Never\""},
	{POD "    imagePullPolicy: Alway\n",
		"8: spec.containers[0].imagePullPolicy: unknown value \"Alway\"; did you mean \"Always\"?"},
	{POD "  terminationGracePeriodSeconds: -1\n",
		"8: spec.terminationGracePeriodSeconds: -1 is out of range; use 0 to 2147483647"},
	{POD "  terminationGracePeriodSeconds: 1e3x\n",
		"8: spec.terminationGracePeriodSeconds: expected a whole number, found the string \"1e3x\""},
	{POD "  activeDeadlineSeconds: 99999999999999999999\n",
		"8: spec.activeDeadlineSeconds: 99999999999999999999 is out of range; use 1 to 2147483647"},
	{POD "  activeDeadlineSeconds: -1e30\n",
		"8: spec.activeDeadlineSeconds: -1e30 is out of range; use 1 to 2147483647"},
	{"apiVersion: v1\nkind: Pod\nmetadata: {name: p, generation: 9.223372036854775808e18}\nspec: {}\n",
		"3: metadata.generation: 9.223372036854775808e18 is out of range; use -9223372036854775808 to "
		"9223372036854775807"},
	{POD "  activeDeadlineSeconds: .inf\n",
		"8: spec.activeDeadlineSeconds: expected a whole number, found the number .inf"},
	{POD "  activeDeadlineSeconds: 0\n", "8: spec.activeDeadlineSeconds: 0 is out of range; use 1 to 2147483647"},
	{POD "    volumeMounts: x\n", "8: spec.containers[0].volumeMounts: expected a list, found the string \"x\"; "
				      "write [A, B], or - A on lines of their own"},
	{POD "    securityContext: true\n",
		"8: spec.containers[0].securityContext: expected a map, found the boolean true"},
	{POD "    workingDir: \"a\\0b\"\n", "8: spec.containers[0].workingDir: has a NUL character"},
	{POD "    livenessProbe: {httpGet: {port: [1]}}\n",
		"8: spec.containers[0].livenessProbe.httpGet.port: expected a number or a name, found a list"},
	{POD "  nodeSelector: {a: 1}\n", "8: spec.nodeSelector.a: expected a string, found a number; put it in quotes"},
	{POD "    resources: {limits: {cpu: [1]}}\n",
		"8: spec.containers[0].resources.limits.cpu: expected a quantity such as 500m or 64Mi, found a list"},
};

static const struct bad unsupported[] = {
	{POD "  hostNetwork: true\n", "8: spec.hostNetwork: not supported: the pod has its own kernel, so there is no "
				      "host network to share; leave it out"},
	{POD "  hostPID: yes\n", "8: spec.hostPID: not supported: the pod has its own kernel, so there is no host "
				 "process table to share; leave it out"},
	{POD "  hostIPC: true\n", "8: spec.hostIPC: not supported: the pod has its own kernel, so there is no host IPC "
				  "to share; leave it out"},
	{POD "  ephemeralContainers: [{name: x}]\n", "8: spec.ephemeralContainers: not supported: they are added to "
						     "running pods by a cluster; use podvm exec"},
	{POD "  resourceClaims: [{name: x}]\n",
		"8: spec.resourceClaims: not supported: devices are not passed into the VM; leave it out"},
	{POD "  volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]\n",
		"8: spec.volumes[0].persistentVolumeClaim: not supported: there are no claims on one machine; use "
		"hostPath for data that stays, else emptyDir"},
	{POD "  volumes: [{name: v, nfs: {}}]\n", "8: spec.volumes[0].nfs: not supported: network storage is not "
						  "attached here; mount it on the host and use hostPath"},
	{POD "  volumes: [{name: v, csi: {driver: x}}]\n",
		"8: spec.volumes[0].csi: not supported: there are no CSI drivers here; use hostPath or emptyDir"},
	{POD "  volumes: [{name: v, gitRepo: {}}]\n",
		"8: spec.volumes[0].gitRepo: not supported: clone in an init container into an emptyDir"},
	{POD "  volumes: [{name: v, image: {reference: x}}]\n",
		"8: spec.volumes[0].image: not supported: images as volumes are not mounted; copy from an init "
		"container of that image into an emptyDir"},
	{POD "  volumes: [{name: v, gcePersistentDisk: {}}]\n",
		"8: spec.volumes[0].gcePersistentDisk: not supported: cloud disks are not attached here; use hostPath "
		"for data that stays, else emptyDir"},
	{POD "    volumeDevices: [{name: d, devicePath: /d}]\n",
		"8: spec.containers[0].volumeDevices: not supported: block devices are not passed into the VM; use "
		"volumeMounts"},
	{POD "    restartPolicyRules: [{}]\n",
		"8: spec.containers[0].restartPolicyRules: not supported: use the pod's restartPolicy"},
	{POD "    securityContext: {windowsOptions: {}}\n", "8: spec.containers[0].securityContext.windowsOptions: not "
							    "supported: containers run on Linux; leave it out"},
	{POD "  os: {name: windows}\n", "8: spec.os.name: windows containers do not run here; use linux"},
	{POD "    securityContext: {appArmorProfile: {type: Localhost, localhostProfile: x}}\n",
		"8: spec.containers[0].securityContext.appArmorProfile.localhostProfile: not supported: the guest's "
		"kernel has no AppArmor profiles; use seccompProfile"},
	{POD "  securityContext: {appArmorProfile: {type: Localhost}}\n",
		"8: spec.securityContext.appArmorProfile: the guest's kernel has no AppArmor profiles; use "
		"seccompProfile, or type: Unconfined"},
	{POD "    resources: {claims: [{name: x}]}\n", "8: spec.containers[0].resources.claims: not supported: devices "
						       "are not passed into the VM; leave it out"},
	{POD "    resources: {limits: {nvidia.com/gpu: 1}}\n",
		"8: spec.containers[0].resources.limits[nvidia.com/gpu]: devices and other extended resources are not "
		"passed into the VM; leave it out"},
	{POD "    resources: {limits: {hugepages-2Mi: 2Mi}}\n",
		"8: spec.containers[0].resources.limits[hugepages-2Mi]: huge pages are not set aside in the guest; "
		"leave it out"},
	{POD "    env: [{name: A, valueFrom: {fileKeyRef: {}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.fileKeyRef: not supported: variables do not come from files "
		"here; use configMapKeyRef or secretKeyRef"},
	{POD "    volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].mountPropagation: mounts made in a VM do not reach the host; "
		"use None or leave it out"},
	{POD "    volumeMounts: [{name: v, mountPath: /v, bindMountOptions: [noexec]}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].bindMountOptions: not supported: not available yet; leave it "
		"out"},
	{POD "  volumes: [{name: v, projected: {sources: [{clusterTrustBundle: {}}]}}]\n",
		"8: spec.volumes[0].projected.sources[0].clusterTrustBundle: not supported: no API server here; put "
		"the certificates into a ConfigMap"},
	{POD "  volumes: [{name: v, emptyDir: {mode: 0700}}]\n",
		"8: spec.volumes[0].emptyDir.mode: not supported: the folder has mode 0777; change it in an init "
		"container"},
	{POD "  volumes: [{name: v, hostPath: {path: /x, type: Socket}}]\n",
		"8: spec.volumes[0].hostPath.type: a host's socket does not work inside of a VM; share files, or "
		"publish a port"},
	{POD "  volumes: [{name: v, hostPath: {path: /x, type: CharDevice}}]\n",
		"8: spec.volumes[0].hostPath.type: a host's device does not work inside of a VM; share files, or "
		"publish a port"},
	{POD "  volumes: [{name: v, emptyDir: {medium: HugePages-2Mi}}]\n",
		"8: spec.volumes[0].emptyDir.medium: huge pages are not set aside in the guest; use Memory"},
};

static void test_bad_yaml(void **state)
{
	check_bad(yaml, ARRAY_SIZE(yaml));
}

static void test_bad_documents(void **state)
{
	check_bad(documents, ARRAY_SIZE(documents));
}

static void test_bad_names(void **state)
{
	check_bad(names, ARRAY_SIZE(names));
}

static void test_bad_types(void **state)
{
	check_bad(types, ARRAY_SIZE(types));
}

static void test_bad_unsupported(void **state)
{
	check_bad(unsupported, ARRAY_SIZE(unsupported));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_yaml),
		cmocka_unit_test(test_bad_documents),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_bad_types),
		cmocka_unit_test(test_bad_unsupported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
