/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entropy comes first: until the host's bytes are credited and the kernel's generator is reseeded nothing here may draw a random
 * number, because a guest cloned from a template would draw what its siblings draw.
 */
#include "agent/configure.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#include "agent/net.h"
#include "agent/pause.h"
#include "base/bytes.h"
#include "base/fd.h"
#include "base/log.h"

#define ENTROPY_MIN 32
#define ENTROPY_MAX 512
#define SYSCTLS_MAX 64
#define TMPFS_MAX 64
#define SHM_DEFAULT (UINT64_C(64) << 20)

static int add_entropy(const ProtobufCBinaryData *bytes, struct err *err)
{
	union {
		struct rand_pool_info info;
		uint8_t mem[sizeof(struct rand_pool_info) + ENTROPY_MAX];
	} pool;
	auto_close int fd = -1;

	if (bytes->len < ENTROPY_MIN || bytes->len > ENTROPY_MAX)
		return err_set(err, EINVAL, "entropy: %zu bytes, not %d to %d", bytes->len, ENTROPY_MIN, ENTROPY_MAX);
	fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(err, "entropy: open /dev/urandom");
	pool.info.entropy_count = (int)bytes->len * 8;
	pool.info.buf_size = (int)bytes->len;
	memcpy(pool.mem + sizeof(struct rand_pool_info), bytes->data, bytes->len);
	if (ioctl(fd, RNDADDENTROPY, &pool) < 0)
		return err_errno(err, "entropy: credit");
	if (ioctl(fd, RNDRESEEDCRNG) < 0)
		return err_errno(err, "entropy: reseed");
	explicit_bzero(&pool, sizeof(pool));
	return 0;
}

static int set_clock(uint64_t ns, struct err *err)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};

	if (ns && clock_settime(CLOCK_REALTIME, &ts) < 0)
		return err_errno(err, "set the clock");
	return 0;
}

static int set_names(const Podvm__Agent__V1__ConfigureRequest *req, struct err *err)
{
	size_t host = strlen(req->hostname), domain = strlen(req->domainname);

	if (host == 0 || host > 64 || domain > 64)
		return err_set(err, EINVAL, "hostname or domainname: not 1 to 64 bytes");
	if (sethostname(req->hostname, host) < 0)
		return err_errno(err, "set the hostname");
	if (domain && setdomainname(req->domainname, domain) < 0)
		return err_errno(err, "set the domainname");
	return 0;
}

/* "net.ipv4.ip_forward" or "net/ipv4/conf/eth0.1/x", below /proc/sys and nowhere else. */
static int set_sysctl(const char *key, const char *value, struct err *err)
{
	static const char *const programs[] = {"core_pattern", "modprobe", "poweroff_cmd", "hotplug", "usermodehelper"};
	bool slashes = strchr(key, '/') != NULL;
	char path[256];
	auto_close int fd = -1;
	int r = str_format(path, sizeof(path), err, "/proc/sys/%s", key);

	if (r < 0)
		return r;
	for (char *p = path + strlen("/proc/sys/"); !slashes && *p; p++)
		if (*p == '.')
			*p = '/';
	if (!*key || *key == '/' || strstr(path, "..") || strlen(value) > 1024)
		return err_set(err, EINVAL, "sysctl '%.100s': not a name", key);
	/* The kernel would run them outside of every container. */
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (str_has_prefix(path, "/proc/sys/kernel/") && strstr(path, programs[i]))
			return err_set(err, EPERM, "sysctl '%.100s' names a program and is not allowed", key);
	fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_errno(err, "sysctl '%.100s'", key);
	if (write(fd, value, strlen(value)) < 0)
		return err_errno(err, "sysctl '%.100s' to '%.100s'", key, value);
	return 0;
}

static int set_sysctls(const Podvm__Agent__V1__ConfigureRequest *req, struct err *err)
{
	int r = 0;

	if (req->n_sysctls > SYSCTLS_MAX)
		return err_set(err, EINVAL, "more than %d sysctls", SYSCTLS_MAX);
	for (size_t i = 0; r == 0 && i < req->n_sysctls; i++)
		r = set_sysctl(req->sysctls[i]->key, req->sysctls[i]->value, err);
	return r;
}

/* Without it the kernel looks twice a second for memory to compact, for large pages that nobody has asked for yet. */
static void sleep_soundly(void)
{
	struct err err = {0};

	if (set_sysctl("vm.compaction_proactiveness", "0", &err) < 0)
		log_debug("%s, ignoring", err.msg);
}

static int mount_tmpfs(const char *path, uint64_t size, uint32_t mode, struct err *err)
{
	char options[80];

	if (size)
		(void)snprintf(options, sizeof(options), "mode=%o,size=%llu", mode & 07777, (unsigned long long)size);
	else
		(void)snprintf(options, sizeof(options), "mode=%o", mode & 07777);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return err_errno(err, "make folder '%s'", path);
	return mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 ? err_errno(err, "mount '%s'", path)
										: 0;
}

static int make_volumes(const Podvm__Agent__V1__ConfigureRequest *req, struct err *err)
{
	int r = mount_tmpfs(SHM_DIR, req->shm_size ? req->shm_size : SHM_DEFAULT, 01777, err);

	if (r == 0 && req->n_tmpfs > TMPFS_MAX)
		return err_set(err, EINVAL, "more than %d tmpfs volumes", TMPFS_MAX);
	for (size_t i = 0; r == 0 && i < req->n_tmpfs; i++) {
		const Podvm__Agent__V1__Tmpfs *t = req->tmpfs[i];
		char path[160];

		if (!id_valid(t->name))
			return err_set(err, EINVAL, "tmpfs '%.80s': not a name", t->name);
		(void)snprintf(path, sizeof(path), VOLUMES_DIR "/%s", t->name);
		r = mount_tmpfs(path, t->size, t->mode, err);
		if (r == 0 && (t->uid || t->gid) &&
			(chown(path, t->uid, t->gid) < 0 || chmod(path, t->mode & 07777) < 0))
			r = err_errno(err, "volume '%s'", t->name);
	}
	return r;
}

static int mount_share(const char *tag, struct err *err)
{
	if (!*tag)
		return 0;
	if (strlen(tag) > 36)
		return err_set(err, EINVAL, "share_tag is longer than 36 bytes");
	if (mount(tag, SHARED_DIR, "virtiofs", MS_NOSUID | MS_NODEV, NULL) < 0)
		return err_errno(err, "mount the pod's share '%s'", tag);
	/* Set-user-ID programs and device nodes of images are for containers: their own mounts decide (see spec). */
	if (mount(NULL, SHARED_DIR, NULL, MS_REMOUNT | MS_BIND, NULL) < 0)
		return err_errno(err, "mount the pod's share '%s'", tag);
	return 0;
}

/* For what runs in the guest's own root; containers have an /etc of their own. */
static int set_machine_id(const ProtobufCBinaryData *id, struct err *err)
{
	uint8_t bytes[16];
	char text[34];

	if (id->len)
		memcpy(bytes, id->data, sizeof(bytes));
	else if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		return err_errno(err, "machine_id: getrandom");
	hex_encode(text, bytes, sizeof(bytes));
	text[32] = '\n';
	return file_write_atomic(AT_FDCWD, RUN_DIR "/machine-id", text, 33, 0444, err);
}

int configure_guest(struct agent *a, const Podvm__Agent__V1__ConfigureRequest *req, struct err *err)
{
	int r = add_entropy(&req->entropy, err);

	if (r < 0)
		return err_set(err, EBUSY, "%s", err->msg); /* FAILED_PRECONDITION: no container will start */
	if (req->machine_id.len != 0 && req->machine_id.len != 16)
		return err_set(err, EINVAL, "machine_id: %zu bytes, not 16", req->machine_id.len);
	r = set_clock(req->realtime_ns, err);
	if (r == 0)
		r = set_machine_id(&req->machine_id, err);
	if (r == 0)
		r = set_names(req, err);
	if (r == 0)
		r = net_loopback(err);
	if (r == 0)
		r = net_configure(req, err);
	sleep_soundly();
	if (r == 0)
		r = set_sysctls(req, err);
	if (r == 0)
		r = mount_share(req->share_tag, err);
	if (r == 0)
		r = make_volumes(req, err);
	a->pid_ns_of_all = req->share_pid_namespace;
	if (r == 0 && req->share_pid_namespace)
		r = pause_start(&a->pid_ns_pid, err);
	return r;
}
