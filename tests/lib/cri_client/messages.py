# SPDX-License-Identifier: Apache-2.0
"""The messages of Kubernetes' Container Runtime Interface v1 that the tests use, and a codec for them.

A message is a dict of field names as the interface spells them. SCHEMA has a line a message: fields `name:type=number`. A type is a scalar, an
enum (its value names, in order from 0, after `enum`) or a message; `*` in front means repeated, `%` a map of string to string. As in
proto3, a missing field is the zero value. Unknown fields of a reply are skipped: a newer server may send more.
"""
import base64

SCHEMA = """
enum MountPropagation PROPAGATION_PRIVATE PROPAGATION_HOST_TO_CONTAINER PROPAGATION_BIDIRECTIONAL
enum Protocol TCP UDP SCTP
enum NamespaceMode POD CONTAINER NODE TARGET
enum ProfileType RuntimeDefault Unconfined Localhost
enum PodSandboxState SANDBOX_READY SANDBOX_NOTREADY
enum ContainerState CONTAINER_CREATED CONTAINER_RUNNING CONTAINER_EXITED CONTAINER_UNKNOWN
enum SupplementalGroupsPolicy Merge Strict
enum EventType CONTAINER_CREATED_EVENT CONTAINER_STARTED_EVENT CONTAINER_STOPPED_EVENT CONTAINER_DELETED_EVENT
Int64Value value:int=1
UInt64Value value:int=1
Empty
VersionRequest version:string=1
VersionResponse version:string=1 runtime_name:string=2 runtime_version:string=3 runtime_api_version:string=4
StatusRequest verbose:bool=1
RuntimeCondition type:string=1 status:bool=2 reason:string=3 message:string=4
RuntimeStatus conditions:*RuntimeCondition=1
HandlerFeatures recursive_read_only_mounts:bool=1 user_namespaces:bool=2
RuntimeHandler name:string=1 features:HandlerFeatures=2
StatusResponse status:RuntimeStatus=1 info:%=2 runtime_handlers:*RuntimeHandler=3
DNSConfig servers:*string=1 searches:*string=2 options:*string=3
PortMapping protocol:Protocol=1 container_port:int=2 host_port:int=3 host_ip:string=4
ImageSpec image:string=1 annotations:%=2 user_specified_image:string=18 runtime_handler:string=19
Mount container_path:string=1 host_path:string=2 readonly:bool=3 selinux_relabel:bool=4 propagation:MountPropagation=5 recursive_read_only:bool=8 image:ImageSpec=9 image_sub_path:string=10
NamespaceOption network:NamespaceMode=1 pid:NamespaceMode=2 ipc:NamespaceMode=3 target_id:string=4
SecurityProfile profile_type:ProfileType=1 localhost_ref:string=2
SandboxSecurity namespace_options:NamespaceOption=1 run_as_user:Int64Value=3 readonly_rootfs:bool=4 supplemental_groups:*int=5 privileged:bool=6 run_as_group:Int64Value=8 seccomp:SecurityProfile=9 apparmor:SecurityProfile=10
HugepageLimit page_size:string=1 limit:int=2
Resources cpu_period:int=1 cpu_quota:int=2 cpu_shares:int=3 memory_limit_in_bytes:int=4 oom_score_adj:int=5 cpuset_cpus:string=6 cpuset_mems:string=7 hugepage_limits:*HugepageLimit=8 unified:%=9 memory_swap_limit_in_bytes:int=10
LinuxPodSandboxConfig cgroup_parent:string=1 security_context:SandboxSecurity=2 sysctls:%=3 overhead:Resources=4 resources:Resources=5
PodSandboxMetadata name:string=1 uid:string=2 namespace:string=3 attempt:int=4
PodSandboxConfig metadata:PodSandboxMetadata=1 hostname:string=2 log_directory:string=3 dns_config:DNSConfig=4 port_mappings:*PortMapping=5 labels:%=6 annotations:%=7 linux:LinuxPodSandboxConfig=8
RunPodSandboxRequest config:PodSandboxConfig=1 runtime_handler:string=2
PodRequest pod_sandbox_id:string=1
PodSandboxStatusRequest pod_sandbox_id:string=1 verbose:bool=2
PodIP ip:string=1
PodNetwork ip:string=1 additional_ips:*PodIP=2
PodSandboxStatus id:string=1 metadata:PodSandboxMetadata=2 state:PodSandboxState=3 created_at:int=4 network:PodNetwork=5 labels:%=7 annotations:%=8 runtime_handler:string=9
PodSandboxStatusResponse status:PodSandboxStatus=1 info:%=2 containers_statuses:*ContainerStatus=3 timestamp:int=4
PodFilter id:string=1
ListPodSandboxRequest filter:PodFilter=1
PodSandbox id:string=1 metadata:PodSandboxMetadata=2 state:PodSandboxState=3 created_at:int=4 runtime_handler:string=7
ListPodSandboxResponse items:*PodSandbox=1
KeyValue key:string=1 value:string=2
Capability add_capabilities:*string=1 drop_capabilities:*string=2 add_ambient_capabilities:*string=3
ContainerSecurity capabilities:Capability=1 privileged:bool=2 namespace_options:NamespaceOption=3 run_as_user:Int64Value=5 run_as_username:string=6 readonly_rootfs:bool=7 supplemental_groups:*int=8 no_new_privs:bool=11 run_as_group:Int64Value=12 masked_paths:*string=13 readonly_paths:*string=14 seccomp:SecurityProfile=15 apparmor:SecurityProfile=16 supplemental_groups_policy:SupplementalGroupsPolicy=17
LinuxContainerConfig resources:Resources=1 security_context:ContainerSecurity=2
ContainerMetadata name:string=1 attempt:int=2
Device container_path:string=1 host_path:string=2 permissions:string=3
ContainerConfig metadata:ContainerMetadata=1 image:ImageSpec=2 command:*string=3 args:*string=4 working_dir:string=5 envs:*KeyValue=6 mounts:*Mount=7 devices:*Device=8 labels:%=9 annotations:%=10 log_path:string=11 stdin:bool=12 stdin_once:bool=13 tty:bool=14 linux:LinuxContainerConfig=15 stop_signal:int=18
CreateContainerRequest pod_sandbox_id:string=1 config:ContainerConfig=2 sandbox_config:PodSandboxConfig=3
ContainerRequest container_id:string=1
StopContainerRequest container_id:string=1 timeout:int=2
ContainerFilter id:string=1 pod_sandbox_id:string=3
ListContainersRequest filter:ContainerFilter=1
Container id:string=1 pod_sandbox_id:string=2 metadata:ContainerMetadata=3 image:ImageSpec=4 image_ref:string=5 state:ContainerState=6 created_at:int=7
ListContainersResponse containers:*Container=1
ContainerStatusRequest container_id:string=1 verbose:bool=2
ContainerResources linux:Resources=1
ContainerStatus id:string=1 metadata:ContainerMetadata=2 state:ContainerState=3 created_at:int=4 started_at:int=5 finished_at:int=6 exit_code:int=7 image:ImageSpec=8 image_ref:string=9 reason:string=10 message:string=11 labels:%=12 annotations:%=13 mounts:*Mount=14 log_path:string=15 resources:ContainerResources=16
ContainerStatusResponse status:ContainerStatus=1 info:%=2
UpdateContainerResourcesRequest container_id:string=1 linux:Resources=2
UpdatePodSandboxResourcesRequest pod_sandbox_id:string=1 overhead:Resources=2 resources:Resources=3
ExecSyncRequest container_id:string=1 cmd:*string=2 timeout:int=3
ExecSyncResponse stdout:bytes=1 stderr:bytes=2 exit_code:int=3
ExecRequest container_id:string=1 cmd:*string=2 tty:bool=3 stdin:bool=4 stdout:bool=5 stderr:bool=6
AttachRequest container_id:string=1 stdin:bool=2 tty:bool=3 stdout:bool=4 stderr:bool=5
PortForwardRequest pod_sandbox_id:string=1 port:*int=2
UrlResponse url:string=1
IdResponse id:string=1
ImageRequest image:ImageSpec=1
Image id:string=1 repo_tags:*string=2 repo_digests:*string=3 size:int=4 username:string=6 pinned:bool=8
ListImagesResponse images:*Image=1
CpuUsage timestamp:int=1 usage_core_nano_seconds:UInt64Value=2 usage_nano_cores:UInt64Value=3
MemoryUsage timestamp:int=1 working_set_bytes:UInt64Value=2 available_bytes:UInt64Value=3 usage_bytes:UInt64Value=4 rss_bytes:UInt64Value=5 page_faults:UInt64Value=6 major_page_faults:UInt64Value=7
FilesystemUsage timestamp:int=1 used_bytes:UInt64Value=3 inodes_used:UInt64Value=4
Attributes id:string=1
ContainerStats attributes:Attributes=1 cpu:CpuUsage=2 memory:MemoryUsage=3 writable_layer:FilesystemUsage=4
ContainerStatsResponse stats:ContainerStats=1
InterfaceUsage name:string=1 rx_bytes:UInt64Value=2 rx_errors:UInt64Value=3 tx_bytes:UInt64Value=4 tx_errors:UInt64Value=5
NetworkUsage timestamp:int=1 default_interface:InterfaceUsage=2 interfaces:*InterfaceUsage=3
ProcessUsage timestamp:int=1 process_count:UInt64Value=2
LinuxPodStats cpu:CpuUsage=1 memory:MemoryUsage=2 network:NetworkUsage=3 process:ProcessUsage=4 containers:*ContainerStats=5
PodStats attributes:Attributes=1 linux:LinuxPodStats=2
PodStatsResponse stats:PodStats=1
ContainerEvent container_id:string=1 container_event_type:EventType=2 created_at:int=3
"""

# Method of RuntimeService (or ImageService, with a slash): request and reply.
METHODS = {
    "Version": ("VersionRequest", "VersionResponse"),
    "Status": ("StatusRequest", "StatusResponse"),
    "RunPodSandbox": ("RunPodSandboxRequest", "IdResponse"),
    "StopPodSandbox": ("PodRequest", "Empty"),
    "RemovePodSandbox": ("PodRequest", "Empty"),
    "PodSandboxStatus": ("PodSandboxStatusRequest", "PodSandboxStatusResponse"),
    "ListPodSandbox": ("ListPodSandboxRequest", "ListPodSandboxResponse"),
    "CreateContainer": ("CreateContainerRequest", "IdResponse"),
    "StartContainer": ("ContainerRequest", "Empty"),
    "StopContainer": ("StopContainerRequest", "Empty"),
    "RemoveContainer": ("ContainerRequest", "Empty"),
    "ListContainers": ("ListContainersRequest", "ListContainersResponse"),
    "ContainerStatus": ("ContainerStatusRequest", "ContainerStatusResponse"),
    "UpdateContainerResources": ("UpdateContainerResourcesRequest", "Empty"),
    "UpdatePodSandboxResources": ("UpdatePodSandboxResourcesRequest", "Empty"),
    "ReopenContainerLog": ("ContainerRequest", "Empty"),
    "ExecSync": ("ExecSyncRequest", "ExecSyncResponse"),
    "Exec": ("ExecRequest", "UrlResponse"),
    "Attach": ("AttachRequest", "UrlResponse"),
    "PortForward": ("PortForwardRequest", "UrlResponse"),
    "ContainerStats": ("ContainerRequest", "ContainerStatsResponse"),
    "PodSandboxStats": ("PodRequest", "PodStatsResponse"),
    "CheckpointContainer": ("ContainerRequest", "Empty"),
    "GetContainerEvents": ("Empty", "ContainerEvent"),
    "ImageService/ListImages": ("Empty", "ListImagesResponse"),
    "ImageService/RemoveImage": ("ImageRequest", "Empty"),
}

ENUMS, MESSAGES = {}, {}


class Field:
    """One field of a message: its number, type and how often it comes."""

    def __init__(self, text):
        self.name, rest = text.split(":")
        kind, number = rest.rsplit("=", 1)
        self.number, self.repeated, self.map = int(number), kind[0] == "*", kind == "%"
        self.kind = kind.lstrip("*")


def declare(schema):
    for line in schema.strip().splitlines():
        words = line.split()
        if words[0] == "enum":
            ENUMS[words[1]] = words[2:]
        else:
            MESSAGES[words[0]] = [Field(w) for w in words[1:]]


declare(SCHEMA)


def varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data, at):
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return n, at


def chunk(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode_value(field, value):
    if field.kind in ("int", "bool"):
        return varint(field.number << 3) + varint(int(value))
    if field.kind in ENUMS:
        return varint(field.number << 3) + varint(ENUMS[field.kind].index(value))
    if field.kind == "string":
        return chunk(field.number, value.encode())
    if field.kind == "bytes":
        return chunk(field.number, value)
    return chunk(field.number, encode(field.kind, value))


def encode(kind, value):
    """The bytes of a message; a field that the message does not have is a mistake of the test."""
    fields = {f.name: f for f in MESSAGES[kind]}
    out = b""
    for name, v in value.items():
        if name not in fields:
            raise ValueError(f"{kind} has no field '{name}'")
        f = fields[name]
        if f.map:
            for k, text in v.items():
                out += chunk(f.number, chunk(1, k.encode()) + chunk(2, text.encode()))
        else:
            for item in v if f.repeated else [v]:
                out += encode_value(f, item)
    return out


def split(data):
    """Yields (number, value) of every field: an int or bytes."""
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = read_varint(data, at)
        else:
            size, at = read_varint(data, at) if wire == 2 else ({1: 8, 5: 4}[wire], at)
            value, at = data[at:at + size], at + size
        yield number, value


def decode_value(kind, value):
    if kind == "int":
        return value - (1 << 64) if value >> 63 else value
    if kind == "bool":
        return bool(value)
    if kind in ENUMS:
        return ENUMS[kind][value]
    if kind == "string":
        return value.decode()
    return value if kind == "bytes" else decode(kind, value)


def zero(field):
    if field.map:
        return {}
    if field.repeated:
        return []
    if field.kind in ENUMS:
        return ENUMS[field.kind][0]
    return {"int": 0, "bool": False, "string": "", "bytes": b""}.get(field.kind)


def decode(kind, data):
    fields = {f.number: f for f in MESSAGES[kind]}
    out = {f.name: zero(f) for f in MESSAGES[kind]}
    for number, value in split(data):
        f = fields.get(number)
        if not f:
            continue
        if f.map:
            pair = {1: b"", 2: b"", **dict(split(value))}
            out[f.name][pair[1].decode()] = pair[2].decode()
        elif f.repeated:
            out[f.name].append(decode_value(f.kind, value))
        else:
            out[f.name] = decode_value(f.kind, value)
    return out


def plain(value):
    """For json.dumps: bytes become base64, wrapped numbers plain ones."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return value["value"] if list(value) == ["value"] else {k: plain(v) for k, v in value.items() if v is not None}
    return value
