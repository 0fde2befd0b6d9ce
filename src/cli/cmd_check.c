/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podvm check: what this machine can do, found by trying rather than by reading versions. Every probe is one row: it finds out one
 * thing and says what to do about it. `fail` means that pods cannot run, `warn` that something is missing that some pods or
 * commands need, or that things will be slow.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <linux/landlock.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "base/paths.h"
#include "base/spawn.h"
#include "cli/cmd.h"
#include "cli/text.h"
#include "pod/driver.h"

#define DISK_FAIL (UINT64_C(64) << 20)
#define DISK_WARN (UINT64_C(1) << 30)
#define MEMORY_FAIL (UINT64_C(256) << 20)
#define MEMORY_WARN (UINT64_C(1) << 30)
#define TOOL_TIMEOUT_MS 10000
#define MANIFEST_MAX (1u << 20)

enum verdict { VERDICT_OK, VERDICT_WARN, VERDICT_FAIL };

static const char *const verdict_names[] = {[VERDICT_OK] = "ok", [VERDICT_WARN] = "warn", [VERDICT_FAIL] = "fail"};

struct result {
	enum verdict verdict;
	char text[320];
	char fix[240]; /* what to do; "" for nothing */
};

static void say(struct result *r, enum verdict verdict, const char *fix, const char *fmt, ...) printf_like(4, 5);

static void say(struct result *r, enum verdict verdict, const char *fix, const char *fmt, ...)
{
	va_list ap;

	r->verdict = verdict;
	(void)str_copy(r->fix, sizeof(r->fix), fix);
	va_start(ap, fmt);
	(void)vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

/* ---- machine ---- */

static void check_root(struct result *r)
{
	if (geteuid() == 0)
		say(r, VERDICT_OK, "", "running as root");
	else
		say(r, VERDICT_FAIL, "run podvm with sudo", "not running as root");
}

/* Runs fn in a child, so that what it changes stays there; its return value, 0..127. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(fn());
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EIO;
	return WEXITSTATUS(status);
}

static int try_openat2(void)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV};

	return syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how)) < 0 ? errno : 0;
}

static int try_pidfd(void)
{
	return syscall(SYS_pidfd_open, getpid(), 0u) < 0 ? errno : 0;
}

static int try_memfd(void)
{
	int fd = memfd_create("podvm-check", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0 ? errno : 0;
}

/* A table that is too small is refused before anything else, where the call exists. */
static int try_mount_setattr(void)
{
	return syscall(SYS_mount_setattr, -1, "", 0, NULL, (size_t)0) < 0 && errno == ENOSYS ? ENOSYS : 0;
}

static int try_mount_namespace(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		return errno;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? errno : 0;
}

/* Opening the file system type loads its module where it has one. */
static int try_overlay(void)
{
	return syscall(SYS_fsopen, "overlay", 0u) < 0 ? errno : 0;
}

static int try_user_namespace(void)
{
	return unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0 ? errno : 0;
}

static int try_seccomp(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0u, &action) < 0 ? errno : 0;
}

static void check_kernel(struct result *r)
{
	static const struct {
		const char *name;
		int (*fn)(void);
	} features[] = {
		{"openat2", try_openat2},
		{"pidfd", try_pidfd},
		{"memfd", try_memfd},
		{"mount_setattr", try_mount_setattr},
		{"mount namespaces", try_mount_namespace},
		{"overlay", try_overlay},
		{"user namespaces", try_user_namespace},
		{"seccomp", try_seccomp},
	};
	char missing[200] = "", all[200] = "";
	struct utsname u;

	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		int code = in_child(features[i].fn);
		size_t n = strlen(missing), m = strlen(all);

		(void)snprintf(all + m, sizeof(all) - m, "%s%s", m ? ", " : "", features[i].name);
		if (code)
			(void)snprintf(missing + n, sizeof(missing) - n, "%s%s (%s)", n ? ", " : "", features[i].name,
				strerrordesc_np(code));
	}
	(void)uname(&u);
	if (!missing[0])
		say(r, VERDICT_OK, "", "Linux %.60s: %s", u.release, all);
	else
		say(r, VERDICT_FAIL,
			geteuid() ? "run 'podvm check' as root: some of these can only be tried by root"
				  : "use Linux 5.12 or newer, outside of a container that forbids them",
			"Linux %.60s lacks %s", u.release, missing);
}

static void check_landlock(struct result *r)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, (size_t)0, LANDLOCK_CREATE_RULESET_VERSION);

	if (version > 0)
		say(r, VERDICT_OK, "", "Landlock version %ld", version);
	else
		say(r, VERDICT_OK, "", "no Landlock: the VM's process is confined by namespaces and seccomp alone");
}

static void check_memory(struct result *r)
{
	auto_free char *text = NULL;
	const char *at;
	char size[16];
	uint64_t free_bytes;

	if (file_read(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL, NULL) < 0 ||
		!(at = strstr(text, "\nMemAvailable:"))) {
		say(r, VERDICT_WARN, "mount /proc", "available memory unknown: /proc/meminfo does not tell");
		return;
	}
	free_bytes = strtoull(at + strlen("\nMemAvailable:"), NULL, 10) * 1024;
	text_size(size, free_bytes);
	if (free_bytes < MEMORY_WARN)
		say(r, free_bytes < MEMORY_FAIL ? VERDICT_FAIL : VERDICT_WARN,
			"free some, or give pods a memory limit that fits", "%s available", size);
	else
		say(r, VERDICT_OK, "", "%s available", size);
}

/* The nearest folder above `path`, or itself, that exists. */
static void existing_part(char dst[PATH_LEN], const char *path)
{
	(void)str_copy(dst, PATH_LEN, path);
	while (access(dst, F_OK) < 0) {
		char *slash = strrchr(dst, '/');

		if (!slash || slash == dst) {
			(void)str_copy(dst, PATH_LEN, "/");
			return;
		}
		*slash = '\0';
	}
}

static void check_disk(struct result *r)
{
	char folder[PATH_LEN], size[16];
	struct statvfs st;
	uint64_t bytes;

	existing_part(folder, path_state());
	if (statvfs(folder, &st) < 0) {
		say(r, VERDICT_FAIL, "", "'%s': %s", folder, strerrordesc_np(errno));
		return;
	}
	bytes = (uint64_t)st.f_bavail * st.f_frsize;
	text_size(size, bytes);
	if (st.f_flag & ST_RDONLY)
		say(r, VERDICT_FAIL, "set PODVM_STATE to a folder that can be written",
			"%s is on a read-only file system", path_state());
	else if (bytes < DISK_WARN)
		say(r, bytes < DISK_FAIL ? VERDICT_FAIL : VERDICT_WARN,
			"free some ('podvm image prune --all'), or set PODVM_STATE to a folder on a larger disk",
			"%s free for %s", size, path_state());
	else
		say(r, VERDICT_OK, "", "%s free for %s", size, path_state());
}

static void check_run_folder(struct result *r)
{
	/* PODVM_RUN/pods/<12 digits>/vsock.sock_<port> */
	size_t need = strlen(path_run()) + strlen("/pods/0123456789ab/vsock.sock_65535");

	if (need >= sizeof(((struct sockaddr_un *)0)->sun_path))
		say(r, VERDICT_FAIL, "set PODVM_RUN to a shorter path", "%s is too long a path for the sockets of pods",
			path_run());
	else
		say(r, VERDICT_OK, "", "%s", path_run());
}

/* ---- programs ---- */

static void check_kvm(struct result *r, const struct driver_probe *p)
{
	if (p->kvm_usable)
		say(r, VERDICT_OK, "", "usable: %s (%u us)", p->reason, p->took_us);
	else
		say(r, VERDICT_WARN,
			"for full speed use a machine with hardware virtualisation (enable it in the firmware, or "
			"nested "
			"virtualisation of the hypervisor)",
			"%s: pods run under emulation, correct but slow", p->reason);
}

static void check_qemu(struct result *r, const struct driver_probe *p)
{
	if (p->qemu_found)
		say(r, VERDICT_OK, "", "%s (%s)", p->qemu_version[0] ? p->qemu_version : "version unknown",
			p->qemu_path);
	else
		say(r, VERDICT_FAIL, "apt-get install qemu-system-x86", "qemu-system-x86_64 is not installed");
}

static void check_helpers(struct result *r)
{
	static const char *const names[] = {"podvm-vmm", "podvm-agent", "build-image"};
	char path[PATH_LEN];

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (path_helper(path, names[i], NULL) < 0) {
			say(r, i == 0 ? VERDICT_FAIL : VERDICT_WARN,
				"install podvm whole ('make install'), or set PODVM_LIBEXEC", "%s not found", names[i]);
			return;
		}
	say(r, VERDICT_OK, "", "podvm-vmm, podvm-agent and build-image found");
}

static void check_image_tools(struct result *r)
{
	static const char *const tools[][3] = {{"skopeo", "--version", NULL}, {"umoci", "--version", NULL}};
	char found[160] = "";

	for (unsigned i = 0; i < ARRAY_SIZE(tools); i++) {
		auto_free char *out = NULL;
		struct err err = {0};
		size_t n = strlen(found);

		if (spawn_run(tools[i], 256, &out, TOOL_TIMEOUT_MS, &err) < 0) {
			say(r, VERDICT_WARN, "apt-get install skopeo umoci", "images cannot be fetched: %s", err.msg);
			return;
		}
		(void)snprintf(found + n, sizeof(found) - n, "%s%.*s", n ? ", " : "",
			(int)MIN_OF(strcspn(out, "\n"), 60ul), out);
	}
	say(r, VERDICT_OK, "", "%s", found);
}

/* Whether the guest image holds the podvm-agent that is installed now; -1 when that cannot be told. */
static int agent_is_current(const char *manifest)
{
	auto_free char *text = NULL, *out = NULL;
	char agent[PATH_LEN];
	const char *const argv[] = {"sha256sum", agent, NULL};
	const char *built;
	json_t *m;
	int same = -1;

	if (path_helper(agent, "podvm-agent", NULL) < 0 ||
		file_read(AT_FDCWD, manifest, MANIFEST_MAX, &text, NULL, NULL) < 0 ||
		spawn_run(argv, 1024, &out, TOOL_TIMEOUT_MS, NULL) < 0)
		return -1;
	m = json_loads(text, 0, NULL);
	built = json_string_value(json_object_get(json_object_get(m, "agent"), "sha256"));
	if (built && strlen(built) == 64)
		same = strncmp(out, built, 64) == 0;
	json_decref(m);
	return same;
}

static void check_guest(struct result *r)
{
	static const char *const files[] = {"vmlinux", "initramfs", "manifest.json"};
	char path[PATH_LEN];

	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		if (str_format(path, sizeof(path), NULL, "%s/guest/current/%s", path_state(), files[i]) < 0 ||
			access(path, R_OK) < 0) {
			say(r, VERDICT_FAIL, "podvm image build", "no '%s': %s", path, strerrordesc_np(errno));
			return;
		}
	switch (agent_is_current(path)) {
	case 0:
		say(r, VERDICT_WARN, "podvm image build",
			"%s/guest/current has another podvm-agent than the one installed", path_state());
		break;
	case 1:
		say(r, VERDICT_OK, "", "%s/guest/current, with the podvm-agent installed", path_state());
		break;
	default:
		say(r, VERDICT_WARN, "podvm image build", "%s/guest/current: cannot tell which podvm-agent it has",
			path_state());
	}
}

/* ---- the command ---- */

#define ROWS_MAX 16

struct report {
	struct {
		const char *name;
		struct result result;
	} rows[ROWS_MAX];
	unsigned n;
};

static struct result *add(struct report *rp, const char *name)
{
	rp->rows[rp->n].name = name;
	return &rp->rows[rp->n++].result;
}

static void check_all(struct report *rp)
{
	struct driver_probe probe = {0};
	struct err err = {0};

	check_root(add(rp, "root"));
	check_kernel(add(rp, "kernel"));
	check_landlock(add(rp, "landlock"));
	if (driver_probe(&probe, true, &err) < 0) {
		say(add(rp, "kvm"), VERDICT_WARN, "", "not tried: %s", err.msg);
		say(add(rp, "qemu"), VERDICT_FAIL, "", "not looked for: %s", err.msg);
	} else {
		check_kvm(add(rp, "kvm"), &probe);
		check_qemu(add(rp, "qemu"), &probe);
	}
	check_helpers(add(rp, "programs"));
	check_guest(add(rp, "guest image"));
	check_image_tools(add(rp, "image tools"));
	check_memory(add(rp, "memory"));
	check_disk(add(rp, "disk"));
	check_run_folder(add(rp, "run folder"));
}

static void print_lines(const struct report *rp)
{
	for (unsigned i = 0; i < rp->n; i++) {
		const struct result *r = &rp->rows[i].result;

		(void)printf("%-4s  %-12s ", verdict_names[r->verdict], rp->rows[i].name);
		text_put_safe(stdout, r->text, strlen(r->text));
		(void)putchar('\n');
		if (r->fix[0])
			(void)printf("      %-12s -> %s\n", "", r->fix);
	}
}

static int print_json(const struct report *rp, bool ok)
{
	json_t *list = json_array(), *out;

	for (unsigned i = 0; i < rp->n; i++) {
		const struct result *r = &rp->rows[i].result;

		(void)json_array_append_new(list, json_pack("{s:s s:s s:s s:s}", "name", rp->rows[i].name, "verdict",
							  verdict_names[r->verdict], "text", r->text, "fix", r->fix));
	}
	out = json_pack("{s:b s:o}", "ok", ok, "checks", list);
	if (!out)
		return -1;
	(void)json_dumpf(out, stdout, JSON_INDENT(2));
	(void)putchar('\n');
	json_decref(out);
	return 0;
}

static int check_run(const struct cmd *cmd, int argc, char **argv)
{
	struct report *rp;
	struct err err = {0};
	bool json = false, ok = true;
	int o;

	while ((o = cmd_getopt(cmd, argc, argv)) != -1) {
		if (o != 'j')
			return EXIT_USAGE;
		json = true;
	}
	if (argc > optind)
		return cmd_usage(cmd, "'%s' is one argument too many", argv[optind]);
	rp = calloc(1, sizeof(*rp));
	if (!rp) {
		(void)err_set(&err, ENOMEM, "out of memory");
		return cmd_fail(&err);
	}
	check_all(rp);
	for (unsigned i = 0; i < rp->n; i++)
		ok = ok && rp->rows[i].result.verdict != VERDICT_FAIL;
	if (!json) {
		print_lines(rp);
		(void)puts(ok ? "pods can run on this machine" : "pods cannot run on this machine yet");
	} else if (print_json(rp, ok) < 0) {
		ok = false;
		(void)err_set(&err, ENOMEM, "out of memory");
		(void)cmd_fail(&err);
	}
	free(rp);
	return cmd_flush() || !ok;
}

const struct cmd cmd_check = {
	.name = "check",
	.args = "",
	.summary = "show what this machine can do, and what is missing",
	.description =
		"Tries what pods need: the kernel's features, hardware virtualisation (with a small guest that does "
		"what real kernels "
		"do), QEMU, podvm's own programs, the guest image, the tools for container images, memory and disk. "
		"Each line "
		"begins with ok, warn (pods run, but something is slow or missing) or fail (no pod can run), and is "
		"followed by what to do. It ends with 1 when pods cannot run.",
	.examples = "podvm check\tlook at this machine\npodvm check --json | jq .ok\tfor programs\n",
	.completes = "",
	.options = {{"json", 'j', NULL, "as JSON"}},
	.run = check_run,
};
