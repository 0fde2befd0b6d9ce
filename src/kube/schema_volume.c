/* SPDX-License-Identifier: Apache-2.0 */
/* What spec.volumes may contain. */
#include "kube/schema_tables.h"

#define MODE_HINT HINT("permission bits, 0000 to 0777 in octal")
#define MODE_RANGE RANGE(0, 0777)
#define NO_FILE_OWNER REFUSED("files of a volume belong to root; use mode and the pod's fsGroup")
#define NO_NETWORK_STORAGE REFUSED("network storage is not attached here; mount it on the host and use hostPath")
#define NO_CLOUD_DISK REFUSED("cloud disks are not attached here; use hostPath for data that stays, else emptyDir")

static const struct schema_field empty_dir_fields[] = {
	{STR("medium"), HINT("\"\" for disk, or Memory")},
	{QUANTITY("sizeLimit")},
	{INT("mode"), REFUSED("the folder has mode 0777; change it in an init container")},
};
static const struct schema_object empty_dir = OBJECT(empty_dir, "EmptyDirVolumeSource");

static const struct schema_field host_path_fields[] = {
	{STR("path"), REQUIRED},
	{STR("type"),
		WORDS("", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice",
			"BlockDevice"),
		HINT("Socket, CharDevice and BlockDevice are errors: they cannot reach into a VM")},
};
static const struct schema_object host_path = OBJECT(host_path, "HostPathVolumeSource");

static const struct schema_field key_to_path_fields[] = {
	{STR("key"), REQUIRED},
	{STR("path"), REQUIRED},
	{INT("mode"), MODE_RANGE, MODE_HINT},
	{INT("user"), NO_FILE_OWNER},
};
static const struct schema_object key_to_path = OBJECT(key_to_path, "KeyToPath");

static const struct schema_field config_map_volume_fields[] = {
	{STR("name"), REQUIRED},
	{OBJ("items", key_to_path), LIST},
	{INT("defaultMode"), MODE_RANGE, MODE_HINT},
	{BOOL("optional")},
	{INT("defaultUser"), NO_FILE_OWNER},
};
static const struct schema_object config_map_volume = OBJECT(config_map_volume, "ConfigMapVolumeSource");

static const struct schema_field secret_volume_fields[] = {
	{STR("secretName"), REQUIRED},
	{OBJ("items", key_to_path), LIST},
	{INT("defaultMode"), MODE_RANGE, MODE_HINT},
	{BOOL("optional")},
	{INT("defaultUser"), NO_FILE_OWNER},
};
static const struct schema_object secret_volume = OBJECT(secret_volume, "SecretVolumeSource");

static const struct schema_field field_ref_fields[] = {
	{STR("apiVersion"), WORDS("", "v1")},
	{STR("fieldPath"), REQUIRED},
};
const struct schema_object schema_field_ref = OBJECT(field_ref, "ObjectFieldSelector");

static const struct schema_field resource_field_ref_fields[] = {
	{STR("containerName")},
	{STR("resource"), REQUIRED,
		WORDS("limits.cpu", "limits.memory", "limits.ephemeral-storage", "requests.cpu", "requests.memory",
			"requests.ephemeral-storage")},
	{QUANTITY("divisor")},
};
const struct schema_object schema_resource_field_ref = OBJECT(resource_field_ref, "ResourceFieldSelector");

static const struct schema_field downward_file_fields[] = {
	{STR("path"), REQUIRED},
	{OBJ("fieldRef", schema_field_ref)},
	{OBJ("resourceFieldRef", schema_resource_field_ref)},
	{INT("mode"), MODE_RANGE, MODE_HINT},
	{INT("user"), NO_FILE_OWNER},
};
static const struct schema_object downward_file = OBJECT(downward_file, "DownwardAPIVolumeFile");

static const struct schema_field downward_volume_fields[] = {
	{OBJ("items", downward_file), LIST},
	{INT("defaultMode"), MODE_RANGE, MODE_HINT},
	{INT("defaultUser"), NO_FILE_OWNER},
};
static const struct schema_object downward_volume = OBJECT(downward_volume, "DownwardAPIVolumeSource");

static const struct schema_field named_projection_fields[] = {
	{STR("name"), REQUIRED},
	{OBJ("items", key_to_path), LIST},
	{BOOL("optional")},
};
static const struct schema_object named_projection = OBJECT(named_projection, "ConfigMapProjection");

static const struct schema_field downward_projection_fields[] = {
	{OBJ("items", downward_file), LIST},
};
static const struct schema_object downward_projection = OBJECT(downward_projection, "DownwardAPIProjection");

static const struct schema_field projection_fields[] = {
	{OBJ("configMap", named_projection)},
	{OBJ("secret", named_projection)},
	{OBJ("downwardAPI", downward_projection)},
	{OBJ("serviceAccountToken", schema_token_projection), IGNORED("no API server here, so no token is written")},
	{ANY("clusterTrustBundle"), REFUSED("no API server here; put the certificates into a ConfigMap")},
	{ANY("podCertificate"), REFUSED("no API server here; put the certificate into a Secret")},
};
static const struct schema_object projection = OBJECT(projection, "VolumeProjection");

static const struct schema_field projected_fields[] = {
	{OBJ("sources", projection), LIST},
	{INT("defaultMode"), MODE_RANGE, MODE_HINT},
	{INT("defaultUser"), NO_FILE_OWNER},
};
static const struct schema_object projected = OBJECT(projected, "ProjectedVolumeSource");

static const struct schema_field volume_fields[] = {
	{STR("name"), REQUIRED},
	{OBJ("emptyDir", empty_dir)},
	{OBJ("hostPath", host_path)},
	{OBJ("configMap", config_map_volume)},
	{OBJ("secret", secret_volume)},
	{OBJ("projected", projected)},
	{OBJ("downwardAPI", downward_volume)},
	{ANY("persistentVolumeClaim"),
		REFUSED("there are no claims on one machine; use hostPath for data that stays, else emptyDir")},
	{ANY("ephemeral"), REFUSED("there are no claims on one machine; use emptyDir")},
	{ANY("csi"), REFUSED("there are no CSI drivers here; use hostPath or emptyDir")},
	{ANY("flexVolume"), REFUSED("there are no volume drivers here; use hostPath or emptyDir")},
	{ANY("image"), REFUSED("images as volumes are not mounted; copy from an init container of that image into an "
			       "emptyDir")},
	{ANY("gitRepo"), REFUSED("clone in an init container into an emptyDir")},
	{ANY("nfs"), NO_NETWORK_STORAGE},
	{ANY("iscsi"), NO_NETWORK_STORAGE},
	{ANY("glusterfs"), NO_NETWORK_STORAGE},
	{ANY("rbd"), NO_NETWORK_STORAGE},
	{ANY("cephfs"), NO_NETWORK_STORAGE},
	{ANY("fc"), NO_NETWORK_STORAGE},
	{ANY("flocker"), NO_NETWORK_STORAGE},
	{ANY("quobyte"), NO_NETWORK_STORAGE},
	{ANY("portworxVolume"), NO_NETWORK_STORAGE},
	{ANY("scaleIO"), NO_NETWORK_STORAGE},
	{ANY("storageos"), NO_NETWORK_STORAGE},
	{ANY("azureFile"), NO_NETWORK_STORAGE},
	{ANY("gcePersistentDisk"), NO_CLOUD_DISK},
	{ANY("awsElasticBlockStore"), NO_CLOUD_DISK},
	{ANY("azureDisk"), NO_CLOUD_DISK},
	{ANY("cinder"), NO_CLOUD_DISK},
	{ANY("vsphereVolume"), NO_CLOUD_DISK},
	{ANY("photonPersistentDisk"), NO_CLOUD_DISK},
};
const struct schema_object schema_volume = OBJECT(volume, "Volume");
