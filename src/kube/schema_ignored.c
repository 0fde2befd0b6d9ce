/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of the Pod API that mean nothing on one machine, or that only a kubelet acts upon. They are known in full, so that a
 * misspelt field in a probe is an error here too and not a surprise in the cluster.
 */
#include "kube/schema_tables.h"

/* ---- selectors and scheduling ---- */

static const struct schema_field requirement_fields[] = {
	{STR("key"), REQUIRED},
	{STR("operator"), REQUIRED, WORDS("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")},
	{STR("values"), LIST},
};
static const struct schema_object requirement = OBJECT(requirement, "NodeSelectorRequirement");

static const struct schema_field label_selector_fields[] = {
	{STR_MAP("matchLabels")},
	{OBJ("matchExpressions", requirement), LIST},
};
static const struct schema_object label_selector = OBJECT(label_selector, "LabelSelector");

static const struct schema_field node_term_fields[] = {
	{OBJ("matchExpressions", requirement), LIST},
	{OBJ("matchFields", requirement), LIST},
};
static const struct schema_object node_term = OBJECT(node_term, "NodeSelectorTerm");

static const struct schema_field node_selector_fields[] = {
	{OBJ("nodeSelectorTerms", node_term), LIST, REQUIRED},
};
static const struct schema_object node_selector = OBJECT(node_selector, "NodeSelector");

static const struct schema_field preferred_term_fields[] = {
	{INT("weight"), REQUIRED},
	{OBJ("preference", node_term), REQUIRED},
};
static const struct schema_object preferred_term = OBJECT(preferred_term, "PreferredSchedulingTerm");

static const struct schema_field node_affinity_fields[] = {
	{OBJ("requiredDuringSchedulingIgnoredDuringExecution", node_selector)},
	{OBJ("preferredDuringSchedulingIgnoredDuringExecution", preferred_term), LIST},
};
static const struct schema_object node_affinity = OBJECT(node_affinity, "NodeAffinity");

static const struct schema_field pod_term_fields[] = {
	{OBJ("labelSelector", label_selector)},
	{STR("namespaces"), LIST},
	{STR("topologyKey"), REQUIRED},
	{OBJ("namespaceSelector", label_selector)},
	{STR("matchLabelKeys"), LIST},
	{STR("mismatchLabelKeys"), LIST},
};
static const struct schema_object pod_term = OBJECT(pod_term, "PodAffinityTerm");

static const struct schema_field weighted_pod_term_fields[] = {
	{INT("weight"), REQUIRED},
	{OBJ("podAffinityTerm", pod_term), REQUIRED},
};
static const struct schema_object weighted_pod_term = OBJECT(weighted_pod_term, "WeightedPodAffinityTerm");

static const struct schema_field pod_affinity_fields[] = {
	{OBJ("requiredDuringSchedulingIgnoredDuringExecution", pod_term), LIST},
	{OBJ("preferredDuringSchedulingIgnoredDuringExecution", weighted_pod_term), LIST},
};
static const struct schema_object pod_affinity = OBJECT(pod_affinity, "PodAffinity");

static const struct schema_field affinity_fields[] = {
	{OBJ("nodeAffinity", node_affinity)},
	{OBJ("podAffinity", pod_affinity)},
	{OBJ("podAntiAffinity", pod_affinity)},
};
const struct schema_object schema_affinity = OBJECT(affinity, "Affinity");

static const struct schema_field toleration_fields[] = {
	{STR("key")},
	{STR("operator"), WORDS("", "Exists", "Equal", "Lt", "Gt")},
	{STR("value")},
	{STR("effect"), WORDS("", "NoSchedule", "PreferNoSchedule", "NoExecute")},
	{INT("tolerationSeconds"), RANGE(INT64_MIN, INT64_MAX)},
};
const struct schema_object schema_toleration = OBJECT(toleration, "Toleration");

static const struct schema_field topology_spread_fields[] = {
	{INT("maxSkew"), REQUIRED},
	{STR("topologyKey"), REQUIRED},
	{STR("whenUnsatisfiable"), REQUIRED, WORDS("DoNotSchedule", "ScheduleAnyway")},
	{OBJ("labelSelector", label_selector)},
	{INT("minDomains")},
	{STR("nodeAffinityPolicy"), WORDS("Ignore", "Honor")},
	{STR("nodeTaintsPolicy"), WORDS("Ignore", "Honor")},
	{STR("matchLabelKeys"), LIST},
};
const struct schema_object schema_topology_spread = OBJECT(topology_spread, "TopologySpreadConstraint");

static const struct schema_field readiness_gate_fields[] = {
	{STR("conditionType"), REQUIRED},
};
const struct schema_object schema_readiness_gate = OBJECT(readiness_gate, "PodReadinessGate");

static const struct schema_field named_fields[] = {
	{STR("name")},
};
const struct schema_object schema_named = OBJECT(named, "LocalObjectReference");

static const struct schema_field scheduling_group_fields[] = {
	{STR("podGroupName")},
};
const struct schema_object schema_scheduling_group = OBJECT(scheduling_group, "PodSchedulingGroup");

static const struct schema_field eviction_responder_fields[] = {
	{STR("name"), REQUIRED},
	{INT("priority")},
};
const struct schema_object schema_eviction_responder = OBJECT(eviction_responder, "EvictionResponder");

static const struct schema_field owner_reference_fields[] = {
	{STR("apiVersion"), REQUIRED},
	{STR("kind"), REQUIRED},
	{STR("name"), REQUIRED},
	{STR("uid"), REQUIRED},
	{BOOL("controller")},
	{BOOL("blockOwnerDeletion")},
};
const struct schema_object schema_owner_reference = OBJECT(owner_reference, "OwnerReference");

/* ---- what a kubelet does with containers ---- */

static const struct schema_field exec_fields[] = {
	{STR("command"), LIST},
};
static const struct schema_object exec_action = OBJECT(exec, "ExecAction");

static const struct schema_field http_header_fields[] = {
	{STR("name"), REQUIRED},
	{STR("value")},
};
static const struct schema_object http_header = OBJECT(http_header, "HTTPHeader");

static const struct schema_field http_get_fields[] = {
	{STR("path")},
	{INT_OR_STR("port"), REQUIRED},
	{STR("host")},
	{STR("scheme"), WORDS("", "HTTP", "HTTPS")},
	{OBJ("httpHeaders", http_header), LIST},
	{STR("protocol"), WORDS("", "HTTP1", "HTTP2")},
};
static const struct schema_object http_get = OBJECT(http_get, "HTTPGetAction");

static const struct schema_field tcp_socket_fields[] = {
	{INT_OR_STR("port"), REQUIRED},
	{STR("host")},
};
static const struct schema_object tcp_socket = OBJECT(tcp_socket, "TCPSocketAction");

static const struct schema_field grpc_fields[] = {
	{INT("port"), REQUIRED},
	{STR("service")},
	{STR("mode"), WORDS("", "Plaintext", "TLS")},
};
static const struct schema_object grpc_action = OBJECT(grpc, "GRPCAction");

static const struct schema_field probe_fields[] = {
	{OBJ("exec", exec_action)},
	{OBJ("httpGet", http_get)},
	{OBJ("tcpSocket", tcp_socket)},
	{OBJ("grpc", grpc_action)},
	{INT("initialDelaySeconds")},
	{INT("timeoutSeconds")},
	{INT("periodSeconds")},
	{INT("successThreshold")},
	{INT("failureThreshold")},
	{INT("terminationGracePeriodSeconds"), RANGE(0, INT64_MAX)},
};
const struct schema_object schema_probe = OBJECT(probe, "Probe");

static const struct schema_field sleep_fields[] = {
	{INT("seconds"), RANGE(0, INT64_MAX)},
};
static const struct schema_object sleep_action = OBJECT(sleep, "SleepAction");

static const struct schema_field handler_fields[] = {
	{OBJ("exec", exec_action)},
	{OBJ("httpGet", http_get)},
	{OBJ("tcpSocket", tcp_socket)},
	{OBJ("sleep", sleep_action)},
};
static const struct schema_object handler = OBJECT(handler, "LifecycleHandler");

static const struct schema_field lifecycle_fields[] = {
	{OBJ("postStart", handler), IGNORED("hooks are run by a cluster's kubelet")},
	{OBJ("preStop", handler), IGNORED("hooks are run by a cluster's kubelet; containers get their stop signal")},
	{STR("stopSignal"), HINT("replaces the image's stop signal")},
};
const struct schema_object schema_lifecycle = OBJECT(lifecycle, "Lifecycle");

static const struct schema_field resize_policy_fields[] = {
	{STR("resourceName"), REQUIRED},
	{STR("restartPolicy"), REQUIRED, WORDS("NotRequired", "RestartContainer")},
};
const struct schema_object schema_resize_policy = OBJECT(resize_policy, "ContainerResizePolicy");

static const struct schema_field selinux_fields[] = {
	{STR("user")},
	{STR("role")},
	{STR("type")},
	{STR("level")},
};
const struct schema_object schema_selinux = OBJECT(selinux, "SELinuxOptions");

static const struct schema_field token_projection_fields[] = {
	{STR("audience")},
	{INT("expirationSeconds"), RANGE(1, INT64_MAX)},
	{STR("path"), REQUIRED},
	{INT("user"), RANGE(0, INT64_MAX)},
};
const struct schema_object schema_token_projection = OBJECT(token_projection, "ServiceAccountTokenProjection");
