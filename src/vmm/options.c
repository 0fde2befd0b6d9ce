/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "virtio/pci.h"
#include "vmm/layout.h"

#define ID_MAX 128
#define TAG_MAX 36 /* virtio 1.2 §5.11.4 */
#define CID_MAX (UINT32_MAX - 1)

enum {
	ARG_PROBE = 0x100,
	ARG_VHOST_USER,
	ARG_VM,
	ARG_KERNEL,
	ARG_INITRD,
	ARG_CMDLINE,
	ARG_VCPUS,
	ARG_MEMORY,
	ARG_HUGE_PAGES,
	ARG_CONSOLE,
	ARG_CONTROL,
	ARG_PAUSED,
	ARG_EXPLAIN,
	ARG_NIC,
	ARG_DISK,
	ARG_RNG,
	ARG_BALLOON,
	ARG_PMEM,
	ARG_MEMORY_MAX,
	ARG_HVC,
	ARG_PORTS,
	ARG_ID,
	ARG_LOG_LEVEL,
	ARG_FS_SOCK,
	ARG_FS_ROOT,
	ARG_FS_TAG,
	ARG_VSOCK_SOCK,
	ARG_VSOCK_LISTEN,
	ARG_CID,
	ARG_BROKER,
	ARG_NO_JAIL,
	ARG_SECCOMP,
	ARG_HELP,
	ARG_VERSION,
};

static const struct option table[] = {
	{"probe", no_argument, NULL, ARG_PROBE},
	{"vhost-user", no_argument, NULL, ARG_VHOST_USER},
	{"vm", no_argument, NULL, ARG_VM},
	{"kernel", required_argument, NULL, ARG_KERNEL},
	{"initrd", required_argument, NULL, ARG_INITRD},
	{"cmdline", required_argument, NULL, ARG_CMDLINE},
	{"vcpus", required_argument, NULL, ARG_VCPUS},
	{"memory", required_argument, NULL, ARG_MEMORY},
	{"huge-pages", no_argument, NULL, ARG_HUGE_PAGES},
	{"console", required_argument, NULL, ARG_CONSOLE},
	{"control", required_argument, NULL, ARG_CONTROL},
	{"paused", no_argument, NULL, ARG_PAUSED},
	{"explain", no_argument, NULL, ARG_EXPLAIN},
	{"nic", required_argument, NULL, ARG_NIC},
	{"disk", required_argument, NULL, ARG_DISK},
	{"rng", no_argument, NULL, ARG_RNG},
	{"balloon", no_argument, NULL, ARG_BALLOON},
	{"pmem", required_argument, NULL, ARG_PMEM},
	{"memory-max", required_argument, NULL, ARG_MEMORY_MAX},
	{"hvc", no_argument, NULL, ARG_HVC},
	{"hotplug-ports", required_argument, NULL, ARG_PORTS},
	{"id", required_argument, NULL, ARG_ID},
	{"log-level", required_argument, NULL, ARG_LOG_LEVEL},
	{"fs-sock", required_argument, NULL, ARG_FS_SOCK},
	{"fs-root", required_argument, NULL, ARG_FS_ROOT},
	{"fs-tag", required_argument, NULL, ARG_FS_TAG},
	{"vsock-sock", required_argument, NULL, ARG_VSOCK_SOCK},
	{"vsock-listen", required_argument, NULL, ARG_VSOCK_LISTEN},
	{"cid", required_argument, NULL, ARG_CID},
	{"broker", required_argument, NULL, ARG_BROKER},
	{"no-jail", no_argument, NULL, ARG_NO_JAIL},
	{"seccomp", required_argument, NULL, ARG_SECCOMP},
	{"help", no_argument, NULL, ARG_HELP},
	{"version", no_argument, NULL, ARG_VERSION},
	{0},
};

void options_help(void)
{
	(void)puts(
		"usage: podvm-vmm --probe\n"
		"       podvm-vmm --vm --kernel FD [option...]\n"
		"       podvm-vmm --vhost-user [option...]\n"
		"\n"
		"A pod's virtual machine on KVM, or only its devices, for QEMU. Started by podvm; all descriptors are\n"
		"inherited.\n"
		"\n"
		"  --probe             say whether /dev/kvm runs a guest like a stock kernel\n"
		"  --vm                run a machine; its end is the exit status (docs/vmm-api.md). With --control and "
		"without\n"
		"                      --kernel it waits to be told what machine\n"
		"  --vhost-user        serve devices to QEMU\n"
		"  --id ID             the pod, for the log\n"
		"  --log-level LEVEL   error, warn, info or debug\n"
		"\n"
		"The machine:\n"
		"  --kernel FD         uncompressed ELF kernel with a PVH entry point\n"
		"  --initrd FD         initramfs\n"
		"  --cmdline TEXT      the kernel's command line\n"
		"  --vcpus N[,max=M]   1 to 32 (1); with max, \"resize\" can let up to M run\n"
		"  --memory MIB        64 to 65536, even (256)\n"
		"  --huge-pages        ask the kernel for large pages\n"
		"  --console FD        where early messages and the kernel's log go\n"
		"  --control FD        stream socket of the owner (docs/vmm-api.md); its end is the machine's\n"
		"  --paused            wait for \"resume\" on the control socket\n"
		"  --explain           at the end, and at SIGUSR1: memory map, devices, exits, times, on stderr\n"
		"\n"
		"Devices of the machine:\n"
		"  --nic FD,MAC,MTU    a network interface on a tap; up to 16\n"
		"  --disk FD[,ro][,threads]  a raw disk; up to 8; threads: not by io_uring\n"
		"  --rng               entropy\n"
		"  --balloon           balloon with free page reporting\n"
		"  --pmem FD           a file as memory that can only be read; up to 4\n"
		"  --memory-max MIB    memory can grow to this (virtio-mem); up to 65536, even\n"
		"  --hotplug-ports N   root ports for disks and interfaces that come and go (0), up to 8\n"
		"  --hvc               a console, hvc0, beside the UART, to the same descriptor\n"
		"\n"
		"Devices:\n"
		"  --fs-sock FD        vhost-user socket of virtio-fs\n"
		"  --fs-root PATH|FD   the shared folder; it becomes the root of this program\n"
		"  --fs-tag TAG        its name in the guest (podvm)\n"
		"  --vsock-sock FD     vhost-user socket of virtio-vsock\n"
		"  --vsock-listen FD   listening unix socket for clients (CONNECT <port>)\n"
		"  --cid N             CID of the guest\n"
		"  --broker FD         socket to the parent, for connections that the guest starts\n"
		"\n"
		"For development:\n"
		"  --no-jail           keep all rights\n"
		"  --seccomp MODE      kill, log or off");
}

/* A descriptor that is open; it must not leak into anything. */
static int parse_fd(const char *name, const char *text, int *ret, struct err *err)
{
	uint64_t n;
	int r = str_to_u64(text, INT_MAX, &n, err);

	if (r < 0)
		return err_wrap(err, "--%s", name);
	if (fcntl((int)n, F_GETFD) < 0)
		return err_errno(err, "--%s %s", name, text);
	*ret = (int)n;
	return fd_set_cloexec(*ret, true, err);
}

static int parse_text(const char *name, const char *text, size_t max, const char **ret, struct err *err)
{
	if (!*text || strlen(text) > max)
		return err_set(err, EINVAL, "--%s '%.40s': must have 1 to %zu characters", name, text, max);
	*ret = text;
	return 0;
}

static int parse_seccomp(const char *text, enum jail_seccomp *ret, struct err *err)
{
	static const char *const names[] = {
		[JAIL_SECCOMP_KILL] = "kill", [JAIL_SECCOMP_LOG] = "log", [JAIL_SECCOMP_OFF] = "off"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(text, names[i])) {
			*ret = (enum jail_seccomp)i;
			return 0;
		}
	return err_set(err, EINVAL, "--seccomp '%.40s': must be kill, log or off", text);
}

/* The text before the next comma, in `head`; returns what comes after it, or NULL when nothing does. */
static const char *split(const char *text, char head[20])
{
	size_t n = strcspn(text, ",");

	head[0] = '\0';
	if (n < 20) {
		memcpy(head, text, n);
		head[n] = '\0';
	}
	return text[n] ? text + n + 1 : NULL;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
	if (strlen(text) != 17)
		return false;
	for (unsigned i = 0; i < 6; i++, text += 3) {
		char *end;

		mac[i] = (uint8_t)strtoul(text, &end, 16);
		if (end != text + 2 || strspn(text, "0123456789abcdefABCDEF") != 2 || *end != (i < 5 ? ':' : '\0'))
			return false;
	}
	return !(mac[0] & 1);
}

int options_nic(struct option_nic *nic, const char *mac, uint64_t mtu, struct err *err)
{
	if (!parse_mac(mac, nic->mac))
		return err_set(err, EINVAL, "'%.40s' is no MAC address of one interface", mac);
	if (mtu < 68 || mtu > UINT16_MAX)
		return err_set(err, EINVAL, "the MTU must be 68 to 65535");
	nic->mtu = (uint16_t)mtu;
	return 0;
}

/* N[,max=M] */
static int parse_vcpus(const char *text, struct options *o, struct err *err)
{
	char n[20], max[20];
	const char *rest = split(text, n);
	uint64_t vcpus = 0, most = 0;

	if (rest &&
		(split(rest, max) || strncmp(max, "max=", 4) != 0 || str_to_u64(max + 4, VCPUS_MAX, &most, NULL) < 0))
		return err_set(err, EINVAL, "--vcpus '%.40s': must be N or N,max=M, up to %u", text, VCPUS_MAX);
	if (str_to_u64(n, VCPUS_MAX, &vcpus, err) < 0)
		return err_wrap(err, "--vcpus");
	o->vcpus = vcpus;
	o->vcpus_max = most;
	return 0;
}

/* FD,MAC,MTU */
static int parse_nic(const char *text, struct options *o, struct err *err)
{
	struct option_nic *nic = &o->nics[o->n_nics];
	char fd[20], mac[20], mtu[20];
	const char *rest = split(text, fd);
	uint64_t n = 0;

	if (o->n_nics == OPTIONS_NICS_MAX)
		return err_set(err, EINVAL, "--nic: more than %d", OPTIONS_NICS_MAX);
	rest = rest ? split(rest, mac) : NULL;
	if (!rest || split(rest, mtu) || str_to_u64(mtu, UINT16_MAX, &n, NULL) < 0)
		return err_set(err, EINVAL, "--nic '%.60s': must be FD,MAC,MTU", text);
	if (options_nic(nic, mac, n, err) < 0)
		return err_wrap(err, "--nic '%.60s'", text);
	o->n_nics++;
	return parse_fd("nic", fd, &nic->fd, err);
}

/* FD, then flags: ro, threads */
static int parse_disk(const char *text, struct options *o, struct err *err)
{
	struct option_disk disk = {0};
	char fd[20], flag[20];
	const char *rest = split(text, fd);

	if (o->n_disks == OPTIONS_DISKS_MAX)
		return err_set(err, EINVAL, "--disk: more than %d", OPTIONS_DISKS_MAX);
	while (rest) {
		rest = split(rest, flag);
		if (str_eq(flag, "ro"))
			disk.read_only = true;
		else if (str_eq(flag, "threads"))
			disk.threads = true;
		else
			return err_set(err, EINVAL, "--disk '%.60s': must be FD, FD,ro or FD,threads", text);
	}
	if (parse_fd("disk", fd, &disk.fd, err) < 0)
		return -err->code;
	o->disks[o->n_disks++] = disk;
	return 0;
}

static int parse_pmem(const char *name, const char *text, struct options *o, struct err *err)
{
	if (o->n_pmems == OPTIONS_PMEMS_MAX)
		return err_set(err, EINVAL, "--pmem: more than %d", OPTIONS_PMEMS_MAX);
	return parse_fd(name, text, &o->pmems[o->n_pmems++], err);
}

static int parse_number(const char *name, const char *text, uint64_t max, uint64_t *ret, struct err *err)
{
	return str_to_u64(text, max, ret, err) < 0 ? err_wrap(err, "--%s", name) : 0;
}

/* Options of our own machine. 1: not one of them. */
static int parse_machine(int arg, const char *name, const char *text, struct options *o, struct err *err)
{
	switch (arg) {
	case ARG_KERNEL:
		return parse_fd(name, text, &o->kernel, err);
	case ARG_INITRD:
		return parse_fd(name, text, &o->initrd, err);
	case ARG_CONSOLE:
		return parse_fd(name, text, &o->console, err);
	case ARG_CONTROL:
		return parse_fd(name, text, &o->control, err);
	case ARG_CMDLINE:
		return parse_text(name, text, LAYOUT_CMDLINE_MAX - 1, &o->cmdline, err);
	case ARG_VCPUS:
		return parse_vcpus(text, o, err);
	case ARG_MEMORY:
		return parse_number(name, text, MEMORY_MAX >> 20, &o->memory_mib, err);
	case ARG_MEMORY_MAX:
		return parse_number(name, text, MEMORY_MAX >> 20, &o->memory_max_mib, err);
	case ARG_NIC:
		return parse_nic(text, o, err);
	case ARG_DISK:
		return parse_disk(text, o, err);
	case ARG_RNG:
		o->rng = true;
		return 0;
	case ARG_BALLOON:
		o->balloon = true;
		return 0;
	case ARG_PMEM:
		return parse_pmem(name, text, o, err);
	case ARG_PORTS:
		return parse_number(name, text, PCI_PORTS_MAX, &o->ports, err);
	case ARG_HVC:
		o->hvc = true;
		return 0;
	case ARG_HUGE_PAGES:
		o->huge_pages = true;
		return 0;
	case ARG_PAUSED:
		o->paused = true;
		return 0;
	case ARG_EXPLAIN:
		o->explain = true;
		return 0;
	}
	return 1;
}

static int parse_one(int arg, const char *name, const char *text, struct options *o, struct err *err)
{
	switch (arg) {
	case ARG_PROBE:
		o->probe = true;
		return 0;
	case ARG_VHOST_USER:
		o->vhost_user = true;
		return 0;
	case ARG_VM:
		o->vm = true;
		return 0;
	case ARG_ID:
		return parse_text(name, text, ID_MAX, &o->id, err);
	case ARG_LOG_LEVEL:
		if (log_level_parse(text, &o->log_level) < 0)
			return err_set(err, EINVAL, "--log-level '%.40s': must be error, warn, info or debug", text);
		return 0;
	case ARG_FS_SOCK:
		return parse_fd(name, text, &o->fs_sock, err);
	case ARG_FS_ROOT:
		return parse_text(name, text, PATH_MAX, &o->fs_root, err);
	case ARG_FS_TAG:
		return parse_text(name, text, TAG_MAX, &o->fs_tag, err);
	case ARG_VSOCK_SOCK:
		return parse_fd(name, text, &o->vsock_sock, err);
	case ARG_VSOCK_LISTEN:
		return parse_fd(name, text, &o->vsock_listen, err);
	case ARG_CID:
		return str_to_u64(text, CID_MAX, &o->cid, err) < 0 ? err_wrap(err, "--cid") : 0;
	case ARG_BROKER:
		return parse_fd(name, text, &o->broker, err);
	case ARG_NO_JAIL:
		o->no_jail = true;
		return 0;
	case ARG_SECCOMP:
		return parse_seccomp(text, &o->seccomp, err);
	case ARG_HELP:
		o->help = true;
		return 0;
	case ARG_VERSION:
		o->version = true;
		return 0;
	}
	return err_set(err, EINVAL, "--%s is not for this", name);
}

int options_check_machine(const struct options *o, struct err *err)
{
	if (o->kernel < 0)
		return err_set(err, EINVAL, "no kernel: give --kernel, or configure it over --control");
	if (!o->vcpus)
		return err_set(err, EINVAL, "--vcpus 0: must be 1 to %u", VCPUS_MAX);
	if (o->vcpus_max && o->vcpus_max < o->vcpus)
		return err_set(err, EINVAL, "--vcpus %llu,max=%llu: the most are fewer", (unsigned long long)o->vcpus,
			(unsigned long long)o->vcpus_max);
	if (o->memory_mib < MEMORY_MIN >> 20 || o->memory_mib % 2)
		return err_set(
			err, EINVAL, "--memory %llu: must be 64 to 65536, and even", (unsigned long long)o->memory_mib);
	if (o->memory_max_mib && (o->memory_max_mib <= o->memory_mib || o->memory_max_mib % 2))
		return err_set(err, EINVAL, "--memory-max %llu: must be more than --memory, and even",
			(unsigned long long)o->memory_max_mib);
	if (o->fs_sock >= 0 || o->vsock_sock >= 0)
		return err_set(err, EINVAL, "--vm has no vhost-user sockets");
	if (o->vsock_listen >= 0 && !o->cid)
		return err_set(err, EINVAL, "--vsock-listen needs --cid");
	if (o->paused && o->control < 0)
		return err_set(err, EINVAL, "--paused needs --control");
	return 0;
}

static int check(const struct options *o, struct err *err)
{
	if (o->help || o->version || o->probe)
		return 0;
	if (o->vm + o->vhost_user > 1)
		return err_set(err, EINVAL, "--vm and --vhost-user exclude each other");
	/* The owner has yet to say what it shall be. */
	if (o->vm && o->kernel < 0 && o->control >= 0)
		return 0;
	if (o->vm)
		return options_check_machine(o, err);
	if (!o->vhost_user)
		return err_set(err, EINVAL, "nothing to do: neither --probe nor --vm nor --vhost-user; see --help");
	if (o->fs_sock < 0 && o->vsock_sock < 0)
		return err_set(err, EINVAL, "no device: neither --fs-sock nor --vsock-sock");
	if (o->fs_sock >= 0 && !o->fs_root)
		return err_set(err, EINVAL, "--fs-sock needs --fs-root");
	if (o->vsock_sock >= 0 && !o->cid)
		return err_set(err, EINVAL, "--vsock-sock needs --cid");
	return 0;
}

static const struct option *find(const char *name)
{
	for (const struct option *p = table; p->name; p++)
		if (str_eq(p->name, name))
			return p;
	return NULL;
}

bool options_takes_fd(const char *name)
{
	static const char *const names[] = {
		"kernel", "initrd", "console", "vsock-listen", "broker", "pmem", "disk", "nic"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (str_eq(names[i], name))
			return true;
	return false;
}

int options_set(struct options *o, const char *name, const char *text, struct err *err)
{
	static const int later[] = {ARG_VSOCK_LISTEN, ARG_BROKER, ARG_CID, ARG_FS_TAG};
	const struct option *p = find(name);
	char *copy = NULL;
	int r;

	if (!p || p->val == ARG_CONTROL)
		return err_set(err, EINVAL, "no option '%.40s' of a machine", name);
	if ((p->has_arg != no_argument) != (text != NULL))
		return err_set(err, EINVAL, "'%.40s' takes %s value", name, text ? "no" : "a");
	/* Texts are kept as they come; these live as long as the process. */
	if (p->val == ARG_CMDLINE || p->val == ARG_FS_TAG) {
		copy = strdup(text);
		if (!copy)
			return err_set(err, ENOMEM, "'%.40s': out of memory", name);
		text = copy;
	}
	r = parse_machine(p->val, name, text, o, err);
	for (size_t i = 0; i < ARRAY_SIZE(later) && r > 0; i++)
		if (later[i] == p->val)
			r = parse_one(p->val, name, text, o, err);
	if (r != 0)
		free(copy);
	return r > 0 ? err_set(err, EINVAL, "'%.40s' is for the command line only", name) : r;
}

#define FDS_MAX (5 + OPTIONS_NICS_MAX + OPTIONS_DISKS_MAX + OPTIONS_PMEMS_MAX)

static unsigned list_fds(const struct options *o, int dst[FDS_MAX])
{
	const int single[] = {o->kernel, o->initrd, o->console, o->vsock_listen, o->broker};
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(single); i++)
		dst[n++] = single[i];
	for (unsigned i = 0; i < o->n_nics; i++)
		dst[n++] = o->nics[i].fd;
	for (unsigned i = 0; i < o->n_disks; i++)
		dst[n++] = o->disks[i].fd;
	for (unsigned i = 0; i < o->n_pmems; i++)
		dst[n++] = o->pmems[i];
	return n;
}

void options_drop(const struct options *o, const struct options *kept)
{
	int fds[FDS_MAX], keep[FDS_MAX];
	unsigned n = list_fds(o, fds), n_keep = list_fds(kept, keep);

	for (unsigned i = 0; i < n; i++) {
		unsigned k = 0;

		while (k < n_keep && keep[k] != fds[i])
			k++;
		if (k == n_keep)
			close_fd(&fds[i]);
	}
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
	struct options o = {
		.id = NULL,
		.log_level = LOG_INFO,
		.fs_sock = -1,
		.fs_tag = "podvm",
		.vsock_sock = -1,
		.vsock_listen = -1,
		.broker = -1,
		.kernel = -1,
		.initrd = -1,
		.console = -1,
		.control = -1,
		.cmdline = "",
		.vcpus = 1,
		.memory_mib = 256,
	};
	int arg, index = 0, r;

	opterr = 0;
	optind = 1;
	while ((arg = getopt_long(argc, argv, "", table, &index)) != -1) {
		const char *name;

		if (arg == '?')
			return err_set(err, EINVAL, "'%.60s': no such option, or without its value; see --help",
				argv[optind - 1]);
		name = table[index].name;
		r = parse_machine(arg, name, optarg, &o, err);
		if (r > 0)
			r = parse_one(arg, name, optarg, &o, err);
		if (r < 0)
			return -EINVAL;
	}
	if (optind < argc)
		return err_set(err, EINVAL, "unexpected argument '%.40s'", argv[optind]);
	r = check(&o, err);
	if (r == 0)
		*ret = o;
	return r;
}
