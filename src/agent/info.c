/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/info.h"

#include <fcntl.h>
#include <string.h>

#include "agent/cgroup.h"
#include "base/bytes.h"

size_t info_networks(char *text, Podvm__Agent__V1__NetworkStats *ret, size_t max)
{
	size_t n = 0;

	for (char *save = NULL, *line = strtok_r(text, "\n", &save); line && n < max;
		line = strtok_r(NULL, "\n", &save)) {
		char *colon = strchr(line, ':');
		unsigned long long v[12];

		if (!colon ||
			sscanf(colon + 1, "%llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1],
				&v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10], &v[11]) != 12)
			continue;
		*colon = '\0';
		podvm__agent__v1__network_stats__init(&ret[n]);
		ret[n].name = line + strspn(line, " ");
		ret[n].rx_bytes = v[0];
		ret[n].rx_packets = v[1];
		ret[n].rx_errors = v[2];
		ret[n].rx_dropped = v[3];
		ret[n].tx_bytes = v[8];
		ret[n].tx_packets = v[9];
		ret[n].tx_errors = v[10];
		ret[n++].tx_dropped = v[11];
	}
	return n;
}

/* A value of /proc/meminfo ("Key:   123 kB") in bytes. */
static uint64_t meminfo(const char *text, const char *key)
{
	const char *p = strstr(text, key);
	unsigned long long kib = 0;

	return p && sscanf(p + strlen(key), ": %llu kB", &kib) == 1 ? kib * 1024 : 0;
}

static void read_proc(const char *path, char *dst, size_t size)
{
	auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len + 1 < size && (n = read(fd, dst + len, size - 1 - len)) > 0)
		len += (size_t)n;
	dst[len] = '\0';
}

void info_stats(const struct agent *a, Podvm__Agent__V1__GetStatsResponse *ret)
{
	static Podvm__Agent__V1__NetworkStats networks[INFO_NETWORKS_MAX], *list[INFO_NETWORKS_MAX];
	static char net[16384], text[8192];
	Podvm__Agent__V1__GetStatsResponse pods = PODVM__AGENT__V1__GET_STATS_RESPONSE__INIT;
	auto_close int root = open(CGROUP_DIR, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root >= 0)
		cgroup_stats(root, ret); /* the root has cpu.stat, memory.stat and io.stat */
	cgroup_stats(a->cgroup_fd, &pods);
	ret->pids_current = pods.pids_current;
	ret->oom_kills = pods.oom_kills;
	ret->memory_peak = pods.memory_peak;
	read_proc("/proc/meminfo", text, sizeof(text));
	ret->memory_limit = meminfo(text, "MemTotal");
	ret->memory_usage = ret->memory_limit - meminfo(text, "MemFree");
	ret->memory_available = meminfo(text, "MemAvailable");
	ret->memory_working_set = ret->memory_usage - MIN_OF(ret->memory_usage, meminfo(text, "Inactive(file)"));
	ret->memory_anon = meminfo(text, "AnonPages");
	ret->memory_file = meminfo(text, "Cached");
	ret->swap_usage = meminfo(text, "SwapTotal") - meminfo(text, "SwapFree");
	read_proc("/proc/net/dev", net, sizeof(net));
	ret->n_networks = info_networks(net, networks, INFO_NETWORKS_MAX);
	for (size_t i = 0; i < ret->n_networks; i++)
		list[i] = &networks[i];
	ret->networks = list;
}
