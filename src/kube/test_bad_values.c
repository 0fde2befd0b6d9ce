/* SPDX-License-Identifier: Apache-2.0 */
/* Fields that are known and of their type, with values that cannot be. Each case is the file and the whole message, without "t.yaml:". */
#include "kube/test_bad.h"

static const struct bad containers[] = {
	{POD "  - {name: a, image: i}\n", "8: spec.containers[1].name: a second container \"a\"; rename one"},
	{POD "  - {name: A_b, image: i}\n", "8: spec.containers[1].name: \"A_b\" must be 1 to 63 lower case letters, "
					    "digits or '-', with a letter or digit at both ends"},
	{POD "  - {name: b, image: \" i\"}\n", "8: spec.containers[1].image: \" i\" has white space; write it without"},
	{POD "  initContainers: [{name: a, image: i}]\n",
		"6: spec.containers[0].name: a second container \"a\"; rename one"},
	{POD "    restartPolicy: Always\n", "8: spec.containers[0].restartPolicy: only an init container has its own "
					    "(Always: a sidecar); use spec.restartPolicy"},
	{POD "  initContainers: [{name: b, image: i, restartPolicy: Never}]\n",
		"8: spec.initContainers[0].restartPolicy: an init container takes only Always; leave it out"},
	{POD "  initContainers: [{name: b, image: i, livenessProbe: {exec: {command: [x]}}}]\n",
		"8: spec.initContainers[0].livenessProbe: an init container that runs to its end takes none; remove "
		"it"},
	{POD "  initContainers: [{name: b, image: i, lifecycle: {stopSignal: SIGINT}}]\n",
		"8: spec.initContainers[0].lifecycle: an init container that runs to its end takes none; remove it"},
	{POD "    lifecycle: {stopSignal: INT}\n",
		"8: spec.containers[0].lifecycle.stopSignal: unknown signal \"INT\"; write for example SIGUSR1"},
	{POD "    lifecycle: {stopSignal: SIGRTMIN+16}\n", "8: spec.containers[0].lifecycle.stopSignal: unknown signal "
							   "\"SIGRTMIN+16\"; write for example SIGUSR1"},
	{POD "    workingDir: tmp\n",
		"8: spec.containers[0].workingDir: \"tmp\" must be an absolute path without '..', at most 1023 bytes"},
	{POD "    workingDir: /a/../b\n", "8: spec.containers[0].workingDir: \"/a/../b\" must be an absolute path "
					  "without '..', at most 1023 bytes"},
	{POD "    terminationMessagePath: x\n", "8: spec.containers[0].terminationMessagePath: \"x\" must be an "
						"absolute path without '..', at most 1023 bytes"},
	{POD "    ports: [{containerPort: 1, name: Web}]\n",
		"8: spec.containers[0].ports[0].name: \"Web\" must be 1 to 15 lower case letters, digits or single "
		"'-', with at least one letter"},
	{POD "    ports: [{containerPort: 1, name: a-very-long-port-name}]\n",
		"8: spec.containers[0].ports[0].name: \"a-very-long-port-name\" must be 1 to 15 lower case letters, "
		"digits or single '-', with at least one letter"},
	{POD "    ports: [{containerPort: 1, name: \"80\"}]\n",
		"8: spec.containers[0].ports[0].name: \"80\" must be 1 to 15 lower case letters, digits or single '-', "
		"with at least one letter"},
	{POD "    ports: [{containerPort: 1, name: w}, {containerPort: 2, name: w}]\n",
		"8: spec.containers[0].ports[1].name: a second port \"w\"; rename one"},
	{POD "    ports: [{containerPort: 1, hostPort: 8080}, {containerPort: 2, hostPort: 8080}]\n",
		"8: spec.containers[0].ports[1].hostPort: port 8080 is taken by container a; use another"},
	{POD "    ports: [{containerPort: 8080}]\n"
	     "  - {name: b, image: i, ports: [{containerPort: 1, hostPort: 8080}]}\n",
		"9: spec.containers[1].ports[0].hostPort: port 8080 is taken by container a; use another"},
};

static const struct bad resources[] = {
	{POD "    resources: {limits: {cpus: 1}}\n",
		"8: spec.containers[0].resources.limits.cpus: unknown resource; did you mean \"cpu\"?"},
	{POD "    resources: {limits: {cpu: abc}}\n", "8: spec.containers[0].resources.limits.cpu: \"abc\" is not a "
						      "quantity; write for example 500m, 2, 64Mi or 1G"},
	{POD "    resources: {limits: {cpu: -1}}\n",
		"8: spec.containers[0].resources.limits.cpu: \"-1\" is negative; use 0 or more"},
	{POD "    resources: {limits: {cpu: \"\"}}\n", "8: spec.containers[0].resources.limits.cpu: \"\" is not a "
						       "quantity; write for example 500m, 2, 64Mi or 1G"},
	{POD "    resources: {limits: {memory: 64MiB}}\n", "8: spec.containers[0].resources.limits.memory: \"64MiB\" "
							   "is not a quantity; write for example 500m, 2, 64Mi or 1G"},
	{POD "    resources: {limits: {memory: 64mb}}\n", "8: spec.containers[0].resources.limits.memory: \"64mb\" is "
							  "not a quantity; write for example 500m, 2, 64Mi or 1G"},
	{POD "    resources: {limits: {memory: 512m}}\n", "8: spec.containers[0].resources.limits.memory: \"512m\" is "
							  "1 byte(s); write for example 64Mi for mebibytes"},
	{POD "    resources: {limits: {memory: 65Gi}}\n", "8: spec.containers[0].resources.limits.memory: the pod's "
							  "containers ask for 66560 MiB in all, and a VM has "
							  "65536 MiB for them at most; ask for less"},
	{POD "    resources: {limits: {memory: 1Gi}}\n  - name: b\n    image: i\n    resources:\n      requests:\n"
	     "        memory: 64Gi\n",
		"13: spec.containers[1].resources.requests.memory: the pod's containers ask for 66560 MiB in all, and "
		"a VM "
		"has 65536 MiB for them at most; ask for less"},
	{POD "    resources: {limits: {memory: 1Gi}}\n  resources: {limits: {memory: 100Ti}}\n",
		"9: spec.resources.limits.memory: the pod's containers ask for 104857600 MiB in all, and a VM has "
		"65536 MiB "
		"for them at most; ask for less"},
	{POD "    resources: {limits: {memory: 16Ei}}\n",
		"8: spec.containers[0].resources.limits.memory: \"16Ei\" is too large a quantity"},
	{POD "    resources: {limits: {memory: 1e99}}\n",
		"8: spec.containers[0].resources.limits.memory: \"1e99\" is too large a quantity"},
	{POD "    resources: {limits: {memory: 99999999999999999999999999999999999999999999}}\n",
		"8: spec.containers[0].resources.limits.memory: \"99999999999999999999999999999999999999999999\" is "
		"too large a quantity"},
	{POD "    resources: {limits: {memory: 0x1000000}}\n",
		"8: spec.containers[0].resources.limits.memory: \"0x1000000\" is not a quantity; write for example "
		"500m, 2, 64Mi or 1G"},
	{POD "    resources: {limits: {cpu: 1}, requests: {cpu: 1001m}}\n",
		"8: spec.containers[0].resources.requests.cpu: is more than the limit; lower it or raise limits.cpu"},
	{POD "    resources: {limits: {memory: 1Mi}, requests: {memory: 2Mi}}\n",
		"8: spec.containers[0].resources.requests.memory: is more than the limit; lower it or raise "
		"limits.memory"},
	{POD "    resources: {limits: {cpu: 2}}\n"
	     "  resources: {limits: {cpu: 1}}\n",
		"8: spec.containers[0].resources.limits.cpu: is more than spec.resources.limits.cpu; lower it"},
	{POD "    resources: {limits: {memory: 2Mi}}\n"
	     "  resources: {limits: {memory: 1Mi}}\n",
		"8: spec.containers[0].resources.limits.memory: is more than spec.resources.limits.memory; lower it"},
	{POD "    resources: {limits: {\"a b\": 1}}\n",
		"8: spec.containers[0].resources.limits[a b]: a resource name must be [DOMAIN/]NAME, the name at most "
		"63 letters, digits, '-', '_' or '.'"},
	{POD "    resources: {limits: {cpu: .nan}}\n", "8: spec.containers[0].resources.limits.cpu: \".nan\" is not a "
						       "quantity; write for example 500m, 2, 64Mi or 1G"},
};

static const struct bad env[] = {
	{POD "    env: [{name: \"a=b\", value: c}]\n",
		"8: spec.containers[0].env[0].name: \"a=b\" must be printable ASCII characters other than '='"},
	{POD "    env: [{name: \"\", value: c}]\n", "8: spec.containers[0].env[0].name: is required; add it"},
	{POD "    env: [{value: c}]\n", "8: spec.containers[0].env[0].name: is required; add it"},
	{POD "    env: [{name: \"\303\251\", value: c}]\n",
		"8: spec.containers[0].env[0].name: \"\303\251\" must be printable ASCII characters other than '='"},
	{POD "    env: [{name: a, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]\n",
		"8: spec.containers[0].env[0].valueFrom: does not go with value; remove one"},
	{POD "    env: [{name: a, valueFrom: {}}]\n", "8: spec.containers[0].env[0].valueFrom: needs one of "
						      "configMapKeyRef, secretKeyRef, fieldRef, resourceFieldRef"},
	{POD "    env: [{name: a, valueFrom: {fieldRef: {fieldPath: metadata.name}, configMapKeyRef: {name: c, key: "
	     "k}}}]\n",
		"8: spec.containers[0].env[0].valueFrom: needs one of configMapKeyRef, secretKeyRef, fieldRef, "
		"resourceFieldRef"},
	{POD "    env: [{name: a, valueFrom: {fieldRef: {fieldPath: metadata.nam}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: \"metadata.nam\" is no field that a "
		"variable can show; the nearest is \"metadata.name\""},
	{POD "    env: [{name: a, valueFrom: {fieldRef: {fieldPath: metadata.labels}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: \"metadata.labels\" is no field that a "
		"variable can show; the nearest is \"metadata.name\""},
	{POD "    env: [{name: a, valueFrom: {fieldRef: {apiVersion: v2, fieldPath: metadata.name}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.fieldRef.apiVersion: unknown value \"v2\"; did you mean "
		"\"v1\"?"},
	{POD "    env: [{name: a, valueFrom: {fieldRef: {}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: is required; add it"},
	{POD "    env: [{name: a, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: unknown value \"limits.gpu\"; did "
		"you mean \"limits.cpu\"?"},
	{POD "    env: [{name: a, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 2}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: \"2\" does not divide here; use 1m "
		"or 1"},
	{POD "    env: [{name: a, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1m}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: \"1m\" does not divide here; use 1, "
		"1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi or 1Ei"},
	{POD "    env: [{name: a, valueFrom: {resourceFieldRef: {resource: limits.memory, containerName: z}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.resourceFieldRef.containerName: no container \"z\" in the pod"},
	{POD "    env: [{name: a, valueFrom: {resourceFieldRef: {resource: limits.ephemeral-storage}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: container a has no limit for "
		"ephemeral-storage; give it one"},
	{POD "    env: [{name: a, valueFrom: {configMapKeyRef: {name: c, key: k}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.configMapKeyRef.name: no ConfigMap \"c\" in the file; add it "
		"as a document of its own, after a line ---"},
	{POD "    env: [{name: a, valueFrom: {secretKeyRef: {name: c, key: k}}}]\n",
		"8: spec.containers[0].env[0].valueFrom.secretKeyRef.name: no Secret \"c\" in the file; add it as a "
		"document of its own, after a line ---"},
	{POD "    env: [{name: a, valueFrom: {configMapKeyRef: {name: c, key: k}}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {kk: v}\n",
		"8: spec.containers[0].env[0].valueFrom.configMapKeyRef.key: no key \"k\" in ConfigMap c (line 10)"},
	{POD "    env: [{name: a, valueFrom: {configMapKeyRef: {name: c, key: k}}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "binaryData: {k: dg==}\n",
		"8: spec.containers[0].env[0].valueFrom.configMapKeyRef.key: is in binaryData, which no variable can "
		"show; use a volume"},
	{POD "    env: [{name: a, valueFrom: {secretKeyRef: {name: c, key: k}}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: Secret\n"
	     "metadata: {name: c}\n"
	     "data: {k: AA==}\n",
		"8: spec.containers[0].env[0].valueFrom.secretKeyRef.key: the key \"k\" is not UTF-8 text, which no "
		"variable can hold; use a volume"},
	{POD "    env: [{name: a, valueFrom: {configMapKeyRef: {name: c, key: k}}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c, namespace: other}\n"
	     "data: {k: v}\n",
		"8: spec.containers[0].env[0].valueFrom.configMapKeyRef.name: the ConfigMap \"c\" on line 10 is in "
		"namespace other, but the pod in default; make them agree"},
	{POD "    env: [{name: a, valueFrom: {configMapKeyRef: {name: conf, key: k}}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: config}\n",
		"8: spec.containers[0].env[0].valueFrom.configMapKeyRef.name: no ConfigMap \"conf\" in the file; the "
		"nearest is \"config\""},
	{POD "    envFrom: [{}]\n", "8: spec.containers[0].envFrom[0]: needs one of configMapRef and secretRef"},
	{POD "    envFrom: [{configMapRef: {name: c}, secretRef: {name: d}}]\n",
		"8: spec.containers[0].envFrom[0]: needs one of configMapRef and secretRef"},
	{POD "    envFrom: [{configMapRef: {name: c}}]\n",
		"8: spec.containers[0].envFrom[0].configMapRef.name: no ConfigMap \"c\" in the file; add it as a "
		"document of its own, after a line ---"},
	{POD "    envFrom: [{prefix: \"a=\", configMapRef: {name: c}}]\n",
		"8: spec.containers[0].envFrom[0].prefix: \"a=\" must be printable ASCII characters other than '='"},
};

static const struct bad config[] = {
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {\"a b\": v}\n",
		"12: data[a b]: the key must be at most 253 letters, digits, '-', '_' or '.', and not begin with '..'"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {\"..x\": v}\n",
		"12: data[..x]: the key must be at most 253 letters, digits, '-', '_' or '.', and not begin with '..'"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {a: 1}\n",
		"12: data.a: expected a string, found a number; put it in quotes"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {a: b}\n"
	     "binaryData: {a: YQ==}\n",
		"13: binaryData.a: the key is in data too; remove one"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "binaryData: {a: \"YQ=\"}\n",
		"12: binaryData.a: is not base64; encode it (base64 -w0), or use data for plain text"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: Secret\n"
	     "metadata: {name: c}\n"
	     "data: {a: plain text}\n",
		"12: data.a: is not base64; encode it (base64 -w0), or use stringData for plain text"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: Secret\n"
	     "metadata: {}\n",
		"11: metadata.name: a Secret needs metadata.name"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: Secret\n",
		"9: metadata: a Secret needs metadata.name"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: Secret\n"
	     "metadata: {name: C}\n",
		"11: metadata.name: \"C\" must be lower case letters, digits, '-' or '.', at most 253, with a letter "
		"or digit at both ends"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: Secret\n"
	     "metadata: {name: c}\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: Secret\n"
	     "metadata: {name: c}\n",
		"15: metadata.name: a second Secret \"c\" (the first is on line 9); remove one"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: Secret\n"
	     "metadata: {name: c}\n"
	     "datas: {}\n",
		"12: datas: unknown field; did you mean \"data\"?"},
	{POD "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "stringData: {}\n",
		"12: stringData: unknown field; nearest known field: \"metadata\""},
};

static const struct bad volumes[] = {
	{POD "  volumes: [{name: v}]\n", "8: spec.volumes[0]: what kind of volume? Add for example emptyDir: {}"},
	{POD "  volumes: [{emptyDir: {}}]\n", "8: spec.volumes[0].name: is required; add it"},
	{POD "  volumes: [{name: V, emptyDir: {}}]\n", "8: spec.volumes[0].name: \"V\" must be 1 to 63 lower case "
						       "letters, digits or '-', with a letter or digit at both ends"},
	{POD "  volumes: [{name: v, emptyDir: {}, hostPath: {path: /x}}]\n",
		"8: spec.volumes[0].hostPath: a volume has one kind; this is its second"},
	{POD "  volumes: [{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]\n",
		"8: spec.volumes[1].name: a second volume \"v\"; rename one"},
	{POD "  volumes: [{name: v, emptydir: {}}]\n",
		"8: spec.volumes[0].emptydir: unknown field; did you mean \"emptyDir\"?"},
	{POD "  volumes: [{name: v, emptyDir: {medium: memory}}]\n",
		"8: spec.volumes[0].emptyDir.medium: unknown medium \"memory\"; use Memory, or leave it out for disk"},
	{POD "  volumes: [{name: v, emptyDir: {sizeLimit: lots}}]\n",
		"8: spec.volumes[0].emptyDir.sizeLimit: \"lots\" is not a quantity; write for example 500m, 2, 64Mi or "
		"1G"},
	{POD "  volumes: [{name: v, hostPath: {}}]\n", "8: spec.volumes[0].hostPath.path: is required; add it"},
	{POD "  volumes: [{name: v, hostPath: {path: x}}]\n",
		"8: spec.volumes[0].hostPath.path: \"x\" must be an absolute path without '..', at most 1023 bytes"},
	{POD "  volumes: [{name: v, hostPath: {path: /a/../b}}]\n",
		"8: spec.volumes[0].hostPath.path: \"/a/../b\" must be an absolute path without '..', at most 1023 "
		"bytes"},
	{POD "  volumes: [{name: v, hostPath: {path: /x, type: Dir}}]\n",
		"8: spec.volumes[0].hostPath.type: unknown value \"Dir\"; use one of \"DirectoryOrCreate\", "
		"\"Directory\", \"FileOrCreate\", \"File\", \"Socket\", \"CharDevice\", \"BlockDevice\""},
	{POD "  volumes: [{name: v, configMap: {}}]\n", "8: spec.volumes[0].configMap.name: is required; add it"},
	{POD "  volumes: [{name: v, configMap: {name: c}}]\n",
		"8: spec.volumes[0].configMap.name: no ConfigMap \"c\" in the file; add it as a document of its own, "
		"after a line ---"},
	{POD "  volumes: [{name: v, secret: {secretName: c, defaultMode: 644}}]\n",
		"8: spec.volumes[0].secret.defaultMode: 644 is out of range; use 0000 to 0777, octal with its leading "
		"0"},
	{POD "  volumes: [{name: v, secret: {name: c}}]\n",
		"8: spec.volumes[0].secret.name: unknown field; did you mean \"secretName\"?"},
	{POD "  volumes: [{name: v, configMap: {name: c, items: [{key: z, path: z}]}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n",
		"8: spec.volumes[0].configMap.items[0].key: no key \"z\" in ConfigMap c (line 10)"},
	{POD "  volumes: [{name: v, configMap: {name: c, items: [{key: k, path: ../z}]}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {k: v}\n",
		"8: spec.volumes[0].configMap.items[0].path: \"../z\" must be a relative path that does not begin with "
		"'..'"},
	{POD "  volumes: [{name: v, configMap: {name: c, items: [{key: k, path: ..z}]}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {k: v}\n",
		"8: spec.volumes[0].configMap.items[0].path: \"..z\" must be a relative path that does not begin with "
		"'..'"},
	{POD "  volumes: [{name: v, configMap: {name: c, items: [{key: k, path: /z}]}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {k: v}\n",
		"8: spec.volumes[0].configMap.items[0].path: \"/z\" must be a relative path that does not begin with "
		"'..'"},
	{POD "  volumes: [{name: v, configMap: {name: c, items: [{key: k, path: a//z}]}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {k: v}\n",
		"8: spec.volumes[0].configMap.items[0].path: \"a//z\" must be a relative path that does not begin with "
		"'..'"},
	{POD "  volumes: [{name: v, configMap: {name: c, items: [{key: k, path: z}, {key: k, path: z}]}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {k: v}\n",
		"8: spec.volumes[0].configMap.items[1].path: a second file \"z\" in the volume; use another path"},
	{POD "  volumes: [{name: v, configMap: {name: c, items: [{key: k, path: z}, {key: k, path: z/y}]}}]\n"
	     "---\n"
	     "apiVersion: v1\n"
	     "kind: ConfigMap\n"
	     "metadata: {name: c}\n"
	     "data: {k: v}\n",
		"8: spec.volumes[0].configMap: \"z\" is a file and a folder too; rename one"},
	{POD "  volumes: [{name: v, configMap: {name: c, items: [{key: k}]}}]\n",
		"8: spec.volumes[0].configMap.items[0].path: is required; add it"},
	{POD "  volumes: [{name: v, downwardAPI: {items: [{path: x}]}}]\n",
		"8: spec.volumes[0].downwardAPI.items[0]: needs one of fieldRef and resourceFieldRef"},
	{POD "  volumes: [{name: v, downwardAPI: {items: [{path: x, fieldRef: {fieldPath: spec.nodeName}}]}}]\n",
		"8: spec.volumes[0].downwardAPI.items[0].fieldRef.fieldPath: \"spec.nodeName\" is no field that a file "
		"can show; the nearest is \"metadata.name\""},
	{POD "  volumes: [{name: v, downwardAPI: {items: [{path: x, resourceFieldRef: {resource: limits.cpu}}]}}]\n",
		"8: spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: is required in a volume"},
	{POD "  volumes: [{name: v, projected: {sources: [{}]}}]\n",
		"8: spec.volumes[0].projected.sources[0]: needs one of configMap, secret, downwardAPI, "
		"serviceAccountToken"},
	{POD "  volumes: [{name: v, projected: {sources: [{secret: {name: s}, configMap: {name: s}}]}}]\n",
		"8: spec.volumes[0].projected.sources[0]: needs one of configMap, secret, downwardAPI, "
		"serviceAccountToken"},
	{POD "  volumes: [{name: v, projected: {sources: [{downwardAPI: {items: [{path: x, fieldRef: {fieldPath: "
	     "metadata.name}}]}}, {downwardAPI: {items: [{path: x, fieldRef: {fieldPath: metadata.uid}}]}}]}}]\n",
		"8: spec.volumes[0].projected.sources[1].downwardAPI.items[0].path: a second file \"x\" in the volume; "
		"use another path"},
};

static const struct bad mounts[] = {
	{POD "    volumeMounts: [{name: v, mountPath: /v}]\n",
		"8: spec.containers[0].volumeMounts[0].name: no volume \"v\" in spec.volumes; add it there"},
	{POD "    volumeMounts: [{name: w, mountPath: /v}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].name: no volume \"w\" in spec.volumes; the nearest is \"v\""},
	{POD "    volumeMounts: [{name: v}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].mountPath: is required; add it"},
	{POD "    volumeMounts: [{name: v, mountPath: /}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].mountPath: a volume cannot replace the whole root; mount it "
		"below"},
	{POD "    volumeMounts: [{name: v, mountPath: /a/../b}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].mountPath: \"/a/../b\" must be a path without '..', at most "
		"1023 bytes"},
	{POD "    volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: //a/.}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[1].mountPath: \"//a/.\" is the place of another volume; use "
		"another path"},
	{POD "    volumeMounts: [{name: v, mountPath: /a, subPath: a.con}]\n"
	     "  volumes: [{name: v, configMap: {name: c}}]\n" CONFIG_MAP "data: {a.conf: x, zz: w}\n",
		"8: spec.containers[0].volumeMounts[0].subPath: no file \"a.con\" in volume \"v\"; the nearest is "
		"\"a.conf\""},
	{POD "    env: [{name: A, value: sub/a.conf/b}]\n    volumeMounts: [{name: v, mountPath: /a, subPathExpr: "
	     "$(A)}]\n"
	     "  volumes: [{name: v, configMap: {name: c, items: [{key: a, path: sub/a.conf}]}}]\n" CONFIG_MAP
	     "data: {a: x}\n",
		"9: spec.containers[0].volumeMounts[0].subPathExpr: no file \"sub/a.conf/b\" in volume \"v\"; the "
		"nearest is "
		"\"sub/a.conf\""},
	{POD "    volumeMounts: [{name: v, mountPath: /a, subPath: x}]\n"
	     "  volumes: [{name: v, configMap: {name: gone, optional: true}}]\n",
		"8: spec.containers[0].volumeMounts[0].subPath: no file \"x\" in volume \"v\", which is empty"},
	{POD "    volumeMounts: [{name: v, mountPath: /a, subPath: /x}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].subPath: \"/x\" must be a relative path without '..', at most "
		"1023 bytes"},
	{POD "    volumeMounts: [{name: v, mountPath: /a, subPath: a/../..}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].subPath: \"a/../..\" must be a relative path without '..', at "
		"most 1023 bytes"},
	{POD "    volumeMounts: [{name: v, mountPath: /a, subPath: a, subPathExpr: b}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].subPathExpr: does not go with subPath; remove one"},
	{POD "    volumeMounts: [{name: v, mountPath: /a, subPathExpr: $(X)}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].subPathExpr: no variable \"X\" in the container's env; add it"},
	{POD "    env: [{name: X, value: ..}]\n"
	     "    volumeMounts: [{name: v, mountPath: /a, subPathExpr: $(X)}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"9: spec.containers[0].volumeMounts[0].subPathExpr: \"..\" must be a relative path without '..', at "
		"most 1023 bytes"},
	{POD "    volumeMounts: [{name: v, mountPath: /a, recursiveReadOnly: Enabled}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].recursiveReadOnly: goes only with readOnly: true"},
	{POD "    volumeMounts: [{name: v, mountPath: /a, readOnly: true, recursiveReadOnly: Enabled, "
	     "mountPropagation: HostToContainer}]\n"
	     "  volumes: [{name: v, emptyDir: {}}]\n",
		"8: spec.containers[0].volumeMounts[0].recursiveReadOnly: goes only with mountPropagation: None"},
};

static const struct bad security[] = {
	{POD "    securityContext: {runAsUser: -1}\n",
		"8: spec.containers[0].securityContext.runAsUser: -1 is out of range; use 0 to 2147483647"},
	{POD "    securityContext: {runAsUser: 4294967295}\n",
		"8: spec.containers[0].securityContext.runAsUser: 4294967295 is out of range; use 0 to 2147483647"},
	{POD "    securityContext: {runAsUser: root}\n",
		"8: spec.containers[0].securityContext.runAsUser: expected a whole number, found the string \"root\""},
	{POD "    securityContext: {runAsUser: 0, runAsNonRoot: true}\n",
		"8: spec.containers[0].securityContext.runAsUser: is root, which runAsNonRoot forbids; change one of "
		"the two"},
	{POD "    securityContext: {runAsNonRoot: true}\n"
	     "  securityContext: {runAsUser: 0}\n",
		"9: spec.securityContext.runAsUser: is root, which runAsNonRoot forbids; change one of the two"},
	{POD "    securityContext: {capabilities: {add: [NET_ADMN]}}\n",
		"8: spec.containers[0].securityContext.capabilities.add[0]: unknown capability \"NET_ADMN\"; did you "
		"mean \"NET_ADMIN\"?"},
	{POD "    securityContext: {capabilities: {drop: [CAP_NET_ADMIN]}}\n",
		"8: spec.containers[0].securityContext.capabilities.drop[0]: capabilities are written without CAP_; "
		"write NET_ADMIN"},
	{POD "    securityContext: {capabilities: {add: NET_ADMIN}}\n",
		"8: spec.containers[0].securityContext.capabilities.add: expected a list, found the string "
		"\"NET_ADMIN\"; write [A, B], or - A on lines of their own"},
	{POD "    securityContext: {allowPrivilegeEscalation: false, privileged: true}\n",
		"8: spec.containers[0].securityContext.allowPrivilegeEscalation: cannot be false in a privileged "
		"container; remove one of the two"},
	{POD "    securityContext: {allowPrivilegeEscalation: false, capabilities: {add: [sys_admin]}}\n",
		"8: spec.containers[0].securityContext.allowPrivilegeEscalation: cannot be false with the capability "
		"SYS_ADMIN; remove one of the two"},
	{POD "    securityContext: {seccompProfile: {}}\n",
		"8: spec.containers[0].securityContext.seccompProfile.type: is required; add it"},
	{POD "    securityContext: {seccompProfile: {type: runtimeDefault}}\n",
		"8: spec.containers[0].securityContext.seccompProfile.type: unknown value \"runtimeDefault\"; did you "
		"mean \"RuntimeDefault\"?"},
	{POD "    securityContext: {seccompProfile: {type: Localhost}}\n",
		"8: spec.containers[0].securityContext.seccompProfile.localhostProfile: is required with type: "
		"Localhost"},
	{POD "    securityContext: {seccompProfile: {type: Localhost, localhostProfile: /x}}\n",
		"8: spec.containers[0].securityContext.seccompProfile.localhostProfile: \"/x\" must be a relative path "
		"without '..', at most 1023 bytes"},
	{POD "    securityContext: {seccompProfile: {type: Unconfined, localhostProfile: x}}\n",
		"8: spec.containers[0].securityContext.seccompProfile.localhostProfile: goes only with type: "
		"Localhost; remove it"},
	{POD "  securityContext: {seccompProfile: {type: Localhost, localhostProfile: ../x}}\n",
		"8: spec.securityContext.seccompProfile.localhostProfile: \"../x\" must be a relative path without "
		"'..', at most 1023 bytes"},
	{POD "    securityContext: {procMount: Unmaskd}\n", "8: spec.containers[0].securityContext.procMount: unknown "
							    "value \"Unmaskd\"; did you mean \"Unmasked\"?"},
	{POD "    securityContext: {fsGroup: 1}\n",
		"8: spec.containers[0].securityContext.fsGroup: unknown field here; it belongs to PodSecurityContext "
		"(look at the indentation); nearest known field: \"runAsGroup\""},
	{POD "  securityContext: {privileged: true}\n",
		"8: spec.securityContext.privileged: unknown field here; it belongs to SecurityContext (look at the "
		"indentation); nearest known field: \"runAsUser\""},
	{POD "  securityContext: {supplementalGroups: [1, a]}\n",
		"8: spec.securityContext.supplementalGroups[1]: expected a whole number, found the string \"a\""},
	{POD "  securityContext: {sysctls: [{name: \"a b\", value: c}]}\n",
		"8: spec.securityContext.sysctls[0].name: \"a b\" must be a kernel parameter such as "
		"net.core.somaxconn"},
	{POD "  securityContext: {sysctls: [{name: net.core.somaxconn, value: 1024}]}\n",
		"8: spec.securityContext.sysctls[0].value: expected a string, found the number 1024; put it in quotes"},
	{POD "  securityContext: {sysctls: [{name: a.b, value: c}, {name: a/b, value: d}]}\n",
		"8: spec.securityContext.sysctls[1].name: \"a/b\" is set twice; remove one"},
};

static const struct bad names_and_dns[] = {
	{POD "  hostname: a.b\n", "8: spec.hostname: \"a.b\" must be 1 to 63 lower case letters, digits or '-', with a "
				  "letter or digit at both ends"},
	{POD "  subdomain: A\n", "8: spec.subdomain: \"A\" must be 1 to 63 lower case letters, digits or '-', with a "
				 "letter or digit at both ends"},
	{POD "  hostnameOverride: a_b\n",
		"8: spec.hostnameOverride: \"a_b\" must be a lower case host name of at most 64"},
	{POD "  hostnameOverride: h\n"
	     "  setHostnameAsFQDN: true\n",
		"8: spec.hostnameOverride: does not go with setHostnameAsFQDN; remove one"},
	{POD "  hostname: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n"
	     "  subdomain: b\n"
	     "  setHostnameAsFQDN: true\n",
		"10: spec.setHostnameAsFQDN: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b.de...\" is "
		"longer than the 64 bytes of a kernel host name; shorten hostname or subdomain"},
	{POD "  dnsPolicy: Custom\n", "8: spec.dnsPolicy: unknown value \"Custom\"; use one of \"ClusterFirst\", "
				      "\"ClusterFirstWithHostNet\", \"Default\", \"None\""},
	{POD "  dnsPolicy: None\n", "8: spec.dnsPolicy: None needs at least one server in dnsConfig.nameservers"},
	{POD "  dnsConfig: {nameservers: [dns.example]}\n",
		"8: spec.dnsConfig.nameservers[0]: \"dns.example\" must be an IPv4 or IPv6 address"},
	{POD "  dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}\n",
		"8: spec.dnsConfig.nameservers: 4 entries; at most 3 are taken"},
	{POD "  dnsConfig: {searches: [a b]}\n",
		"8: spec.dnsConfig.searches[0]: \"a b\" must be a lower case domain name"},
	{POD "  dnsConfig: {options: [{value: x}]}\n", "8: spec.dnsConfig.options[0].name: is required; add it"},
	{POD "  dnsConfig: {options: [{name: \"a\\nnameserver\", value: x}]}\n",
		"8: spec.dnsConfig.options[0]: a resolver option is one word; use name and value without spaces"},
	{POD "  dnsConfig: {options: [{name: ndots, value: 2}]}\n",
		"8: spec.dnsConfig.options[0].value: expected a string, found the number 2; put it in quotes"},
	{POD "  hostAliases: [{ip: 1.2.3, hostnames: [a]}]\n",
		"8: spec.hostAliases[0].ip: \"1.2.3\" must be an IPv4 or IPv6 address"},
	{POD "  hostAliases: [{hostnames: [a]}]\n", "8: spec.hostAliases[0].ip: is required; add it"},
	{POD "  hostAliases: [{ip: 1.2.3.4, hostnames: [\"a b\"]}]\n",
		"8: spec.hostAliases[0].hostnames[0]: \"a b\" must be lower case letters, digits, '-' or '.', at most "
		"253, with a letter or digit at both ends"},
};

static void test_bad_containers(void **state)
{
	check_bad(containers, ARRAY_SIZE(containers));
}

static void test_bad_resources(void **state)
{
	check_bad(resources, ARRAY_SIZE(resources));
}

static void test_bad_env(void **state)
{
	check_bad(env, ARRAY_SIZE(env));
}

static void test_bad_config(void **state)
{
	check_bad(config, ARRAY_SIZE(config));
}

static void test_bad_volumes(void **state)
{
	check_bad(volumes, ARRAY_SIZE(volumes));
}

static void test_bad_mounts(void **state)
{
	check_bad(mounts, ARRAY_SIZE(mounts));
}

static void test_bad_security(void **state)
{
	check_bad(security, ARRAY_SIZE(security));
}

static void test_bad_names_and_dns(void **state)
{
	check_bad(names_and_dns, ARRAY_SIZE(names_and_dns));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bad_containers),
		cmocka_unit_test(test_bad_resources),
		cmocka_unit_test(test_bad_env),
		cmocka_unit_test(test_bad_config),
		cmocka_unit_test(test_bad_volumes),
		cmocka_unit_test(test_bad_mounts),
		cmocka_unit_test(test_bad_security),
		cmocka_unit_test(test_bad_names_and_dns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
