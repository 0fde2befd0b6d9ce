/* SPDX-License-Identifier: Apache-2.0 */
/* What a Pod, a ConfigMap and a Secret may contain, after the Kubernetes 1.36 API (core/v1). */
#include "kube/schema_tables.h"

#define NO_SCHEDULER IGNORED("there is one machine, so nothing to schedule")
#define NO_API_SERVER IGNORED("this is an API server's own record")
#define NO_KUBELET_PROBES IGNORED("probes are run by a cluster's kubelet")
#define NO_HOST_NAMESPACE(what)                                                                                        \
	REFUSED("the pod has its own kernel, so there is no host " what " to share; leave it out")

/* ---- metadata ---- */

/* What every object's metadata has, but only an API server fills in. */
#define META_OF_API_SERVER                                                                                             \
	{STR("selfLink"), NO_API_SERVER}, {STR("resourceVersion"), NO_API_SERVER},                                     \
		{INT("generation"), RANGE(INT64_MIN, INT64_MAX), NO_API_SERVER},                                       \
		{STR("creationTimestamp"), NO_API_SERVER}, {STR("deletionTimestamp"), NO_API_SERVER},                  \
		{INT("deletionGracePeriodSeconds"), RANGE(INT64_MIN, INT64_MAX), NO_API_SERVER},                       \
		{OBJ("ownerReferences", schema_owner_reference), LIST, NO_API_SERVER},                                 \
		{STR("finalizers"), LIST, NO_API_SERVER}, {STR("clusterName"), NO_API_SERVER},                         \
	{                                                                                                              \
		ANY("managedFields"), LIST, NO_API_SERVER                                                              \
	}

static const struct schema_field meta_fields[] = {
	{STR("name")},
	{STR("generateName"), HINT("the name gets five characters made from the pod's uid")},
	{STR("namespace")},
	{STR("uid"), HINT("default: made for each run")},
	{STR_MAP("labels")},
	{STR_MAP("annotations")},
	META_OF_API_SERVER,
};
static const struct schema_object meta = OBJECT(meta, "ObjectMeta");

static const struct schema_field config_meta_fields[] = {
	{STR("name")},
	{STR("generateName"), REFUSED("the pod refers to it by its name; give metadata.name")},
	{STR("namespace"), HINT("default: the pod's")},
	{STR("uid"), SILENT, IGNORED("nothing looks at it")},
	{STR_MAP("labels"), SILENT, IGNORED("nothing looks at them")},
	{STR_MAP("annotations"), SILENT, IGNORED("nothing looks at them")},
	META_OF_API_SERVER,
};
static const struct schema_object config_meta = OBJECT(config_meta, "ObjectMeta");

/* ---- environment ---- */

static const struct schema_field key_ref_fields[] = {
	{STR("name"), REQUIRED},
	{STR("key"), REQUIRED},
	{BOOL("optional")},
};
static const struct schema_object key_ref = OBJECT(key_ref, "ConfigMapKeySelector");

static const struct schema_field env_source_fields[] = {
	{OBJ("configMapKeyRef", key_ref)},
	{OBJ("secretKeyRef", key_ref)},
	{OBJ("fieldRef", schema_field_ref)},
	{OBJ("resourceFieldRef", schema_resource_field_ref)},
	{ANY("fileKeyRef"), REFUSED("variables do not come from files here; use configMapKeyRef or secretKeyRef")},
};
static const struct schema_object env_source = OBJECT(env_source, "EnvVarSource");

static const struct schema_field env_fields[] = {
	{STR("name"), REQUIRED},
	{STR("value")},
	{OBJ("valueFrom", env_source)},
};
static const struct schema_object env = OBJECT(env, "EnvVar");

static const struct schema_field env_ref_fields[] = {
	{STR("name"), REQUIRED},
	{BOOL("optional")},
};
static const struct schema_object env_ref = OBJECT(env_ref, "ConfigMapEnvSource");

static const struct schema_field env_from_fields[] = {
	{STR("prefix")},
	{OBJ("configMapRef", env_ref)},
	{OBJ("secretRef", env_ref)},
};
static const struct schema_object env_from = OBJECT(env_from, "EnvFromSource");

/* ---- security ---- */

static const struct schema_field capabilities_fields[] = {
	{STR("add"), LIST},
	{STR("drop"), LIST},
};
static const struct schema_object capabilities = OBJECT(capabilities, "Capabilities");

static const struct schema_field seccomp_fields[] = {
	{STR("type"), REQUIRED, WORDS("RuntimeDefault", "Unconfined", "Localhost")},
	{STR("localhostProfile")},
};
static const struct schema_object seccomp = OBJECT(seccomp, "SeccompProfile");

static const struct schema_field apparmor_fields[] = {
	{STR("type"), REQUIRED, WORDS("RuntimeDefault", "Unconfined", "Localhost")},
	{STR("localhostProfile"), REFUSED("the guest's kernel has no AppArmor profiles; use seccompProfile")},
};
static const struct schema_object apparmor = OBJECT(apparmor, "AppArmorProfile");

#define ID_RANGE RANGE(0, INT32_MAX)
#define NO_SELINUX IGNORED("the guest's kernel runs without SELinux")
#define NO_WINDOWS REFUSED("containers run on Linux; leave it out")
#define APPARMOR_HINT HINT("the guest has no AppArmor: RuntimeDefault is noted, Localhost is an error")

static const struct schema_field security_fields[] = {
	{OBJ("capabilities", capabilities)},
	{BOOL("privileged"), HINT("within the VM")},
	{OBJ("seLinuxOptions", schema_selinux), NO_SELINUX},
	{ANY("windowsOptions"), NO_WINDOWS},
	{INT("runAsUser"), ID_RANGE},
	{INT("runAsGroup"), ID_RANGE},
	{BOOL("runAsNonRoot")},
	{BOOL("readOnlyRootFilesystem")},
	{BOOL("allowPrivilegeEscalation")},
	{STR("procMount"), WORDS("", "Default", "Unmasked")},
	{OBJ("seccompProfile", seccomp), HINT("default: RuntimeDefault")},
	{OBJ("appArmorProfile", apparmor), APPARMOR_HINT},
};
static const struct schema_object security = OBJECT(security, "SecurityContext");

static const struct schema_field sysctl_fields[] = {
	{STR("name"), REQUIRED},
	{STR("value")},
};
static const struct schema_object sysctl = OBJECT(sysctl, "Sysctl");

static const struct schema_field pod_security_fields[] = {
	{OBJ("seLinuxOptions", schema_selinux), NO_SELINUX},
	{ANY("windowsOptions"), NO_WINDOWS},
	{INT("runAsUser"), ID_RANGE},
	{INT("runAsGroup"), ID_RANGE},
	{BOOL("runAsNonRoot")},
	{INT("supplementalGroups"), LIST, ID_RANGE},
	{STR("supplementalGroupsPolicy"), WORDS("", "Merge", "Strict")},
	{INT("fsGroup"), ID_RANGE},
	{OBJ("sysctls", sysctl), LIST, HINT("any: the kernel is the pod's own")},
	{STR("fsGroupChangePolicy"), WORDS("", "OnRootMismatch", "Always"),
		IGNORED("volumes are made new for each run; hostPath keeps its owners")},
	{OBJ("seccompProfile", seccomp)},
	{OBJ("appArmorProfile", apparmor), APPARMOR_HINT},
	{STR("seLinuxChangePolicy"), WORDS("", "Recursive", "MountOption"), NO_SELINUX},
};
static const struct schema_object pod_security = OBJECT(pod_security, "PodSecurityContext");

/* ---- containers ---- */

static const struct schema_field port_fields[] = {
	{STR("name")},
	{INT("hostPort"), RANGE(0, 65535), HINT("default: the containerPort")},
	{INT("containerPort"), REQUIRED, RANGE(1, 65535)},
	{STR("protocol"), WORDS("", "TCP", "UDP", "SCTP"), HINT("TCP and UDP ports are published")},
	{STR("hostIP"), IGNORED("ports are published on 127.0.0.1"), QUIET("127.0.0.1")},
};
static const struct schema_object port = OBJECT(port, "ContainerPort");

#define NO_DEVICE_CLAIMS REFUSED("devices are not passed into the VM; leave it out")

static const struct schema_field resources_fields[] = {
	{QUANTITY_MAP("limits"), HINT("cpu, memory; ephemeral-storage is noted; other resources are errors")},
	{QUANTITY_MAP("requests"), HINT("as limits")},
	{ANY("claims"), LIST, NO_DEVICE_CLAIMS},
};
static const struct schema_object resources = OBJECT(resources, "ResourceRequirements");

static const struct schema_field mount_fields[] = {
	{STR("name"), REQUIRED},
	{BOOL("readOnly")},
	{STR("recursiveReadOnly"), WORDS("", "Disabled", "IfPossible", "Enabled")},
	{STR("mountPath"), REQUIRED},
	{STR("subPath")},
	{STR("mountPropagation"), WORDS("", "None", "HostToContainer", "Bidirectional"), QUIET("None"),
		IGNORED("whether later mounts of the host are seen in a VM is not promised; Bidirectional is an "
			"error")},
	{STR("subPathExpr")},
	{STR("bindMountOptions"), LIST, REFUSED("not available yet; leave it out")},
};
static const struct schema_object mount = OBJECT(mount, "VolumeMount");

static const struct schema_field container_fields[] = {
	{STR("name"), REQUIRED},
	{STR("image"), REQUIRED},
	{STR("command"), LIST},
	{STR("args"), LIST},
	{STR("workingDir")},
	{OBJ("ports", port), LIST},
	{OBJ("envFrom", env_from), LIST},
	{OBJ("env", env), LIST},
	{OBJ("resources", resources)},
	{OBJ("resizePolicy", schema_resize_policy), LIST, IGNORED("nothing resizes a running pod here")},
	{STR("restartPolicy"), WORDS("", "Always", "OnFailure", "Never"),
		HINT("Always, in initContainers only: a sidecar")},
	{ANY("restartPolicyRules"), LIST, REFUSED("use the pod's restartPolicy")},
	{OBJ("volumeMounts", mount), LIST},
	{ANY("volumeDevices"), LIST, REFUSED("block devices are not passed into the VM; use volumeMounts")},
	{OBJ("livenessProbe", schema_probe), NO_KUBELET_PROBES},
	{OBJ("readinessProbe", schema_probe), NO_KUBELET_PROBES},
	{OBJ("startupProbe", schema_probe), NO_KUBELET_PROBES},
	{OBJ("lifecycle", schema_lifecycle)},
	{STR("terminationMessagePath")},
	{STR("terminationMessagePolicy"), WORDS("", "File", "FallbackToLogsOnError")},
	{STR("imagePullPolicy"), WORDS("", "Always", "IfNotPresent", "Never"),
		HINT("default: IfNotPresent, for every tag")},
	{OBJ("securityContext", security)},
	{BOOL("stdin")},
	{BOOL("stdinOnce")},
	{BOOL("tty")},
};
static const struct schema_object container = OBJECT(container, "Container");

/* ---- the pod ---- */

static const struct schema_field dns_option_fields[] = {
	{STR("name"), REQUIRED},
	{STR("value")},
};
static const struct schema_object dns_option = OBJECT(dns_option, "PodDNSConfigOption");

static const struct schema_field dns_config_fields[] = {
	{STR("nameservers"), LIST},
	{STR("searches"), LIST},
	{OBJ("options", dns_option), LIST},
};
static const struct schema_object dns_config = OBJECT(dns_config, "PodDNSConfig");

static const struct schema_field host_alias_fields[] = {
	{STR("ip"), REQUIRED},
	{STR("hostnames"), LIST},
};
static const struct schema_object host_alias = OBJECT(host_alias, "HostAlias");

static const struct schema_field os_fields[] = {
	{STR("name"), REQUIRED, WORDS("linux", "windows"), HINT("windows is an error")},
};
static const struct schema_object os = OBJECT(os, "PodOS");

static const struct schema_field spec_fields[] = {
	{OBJ("volumes", schema_volume), LIST},
	{OBJ("initContainers", container), LIST},
	{OBJ("containers", container), LIST, REQUIRED},
	{ANY("ephemeralContainers"), LIST, REFUSED("they are added to running pods by a cluster; use podvm exec")},
	{STR("restartPolicy"), WORDS("", "Always", "OnFailure", "Never")},
	{INT("terminationGracePeriodSeconds"), RANGE(0, INT32_MAX), HINT("default 30")},
	{INT("activeDeadlineSeconds"), RANGE(1, INT32_MAX)},
	{STR("dnsPolicy"), WORDS("", "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"),
		HINT("there is no cluster DNS: all but None start from the host's resolv.conf")},
	{STR_MAP("nodeSelector"), NO_SCHEDULER},
	{STR("serviceAccountName"), IGNORED("there is no API server to talk to; only fieldRef sees the name")},
	{STR("serviceAccount"), IGNORED("there is no API server to talk to")},
	{BOOL("automountServiceAccountToken"), IGNORED("no API server here, so no token is mounted")},
	{STR("nodeName"), IGNORED("the pod runs on this machine")},
	{BOOL("hostNetwork"), NO_HOST_NAMESPACE("network")},
	{BOOL("hostPID"), NO_HOST_NAMESPACE("process table")},
	{BOOL("hostIPC"), NO_HOST_NAMESPACE("IPC")},
	{BOOL("shareProcessNamespace")},
	{OBJ("securityContext", pod_security)},
	{OBJ("imagePullSecrets", schema_named), LIST, IGNORED("skopeo's own credentials are used (skopeo login)")},
	{STR("hostname")},
	{STR("subdomain")},
	{OBJ("affinity", schema_affinity), NO_SCHEDULER},
	{STR("schedulerName"), NO_SCHEDULER},
	{OBJ("tolerations", schema_toleration), LIST, NO_SCHEDULER},
	{OBJ("hostAliases", host_alias), LIST},
	{STR("priorityClassName"), NO_SCHEDULER},
	{INT("priority"), NO_SCHEDULER},
	{OBJ("dnsConfig", dns_config)},
	{OBJ("readinessGates", schema_readiness_gate), LIST, IGNORED("nothing here waits for readiness")},
	{STR("runtimeClassName"), IGNORED("podvm run always uses podvm"), QUIET("podvm")},
	{BOOL("enableServiceLinks"), IGNORED("there are no Services here")},
	{STR("preemptionPolicy"), WORDS("", "PreemptLowerPriority", "Never"), NO_SCHEDULER},
	{QUANTITY_MAP("overhead"), IGNORED("the VM's own memory is added anyway")},
	{OBJ("topologySpreadConstraints", schema_topology_spread), LIST, NO_SCHEDULER},
	{BOOL("setHostnameAsFQDN")},
	{OBJ("os", os)},
	{BOOL("hostUsers"), IGNORED("the pod's users are apart from the host's anyway: it has its own kernel")},
	{OBJ("schedulingGates", schema_named), LIST, NO_SCHEDULER},
	{ANY("resourceClaims"), LIST, NO_DEVICE_CLAIMS},
	{OBJ("resources", resources), HINT("of the whole pod; sizes the VM")},
	{STR("hostnameOverride")},
	{OBJ("schedulingGroup", schema_scheduling_group), NO_SCHEDULER},
	{ANY("workloadRef"), NO_SCHEDULER},
	{OBJ("evictionResponders", schema_eviction_responder), LIST, IGNORED("nothing evicts pods here")},
};
static const struct schema_object spec = OBJECT(spec, "PodSpec");

static const struct schema_field pod_fields[] = {
	{STR("apiVersion"), REQUIRED},
	{STR("kind"), REQUIRED},
	{OBJ("metadata", meta)},
	{OBJ("spec", spec), REQUIRED},
	{ANY("status"), NO_API_SERVER},
};
const struct schema_object schema_pod = OBJECT(pod, "Pod");

/* ---- configuration ---- */

static const struct schema_field config_map_fields[] = {
	{STR("apiVersion"), REQUIRED},
	{STR("kind"), REQUIRED},
	{OBJ("metadata", config_meta)},
	{STR_MAP("data")},
	{STR_MAP("binaryData"), HINT("base64")},
	{BOOL("immutable"), SILENT, IGNORED("nothing changes it while a pod runs")},
};
const struct schema_object schema_config_map = OBJECT(config_map, "ConfigMap");

static const struct schema_field secret_fields[] = {
	{STR("apiVersion"), REQUIRED},
	{STR("kind"), REQUIRED},
	{OBJ("metadata", config_meta)},
	{STR("type"), SILENT, IGNORED("any; the keys are not checked against it")},
	{STR_MAP("data"), HINT("base64")},
	{STR_MAP("stringData"), HINT("plain text; replaces data")},
	{BOOL("immutable"), SILENT, IGNORED("nothing changes it while a pod runs")},
};
const struct schema_object schema_secret = OBJECT(secret, "Secret");
