/* SPDX-License-Identifier: Apache-2.0 */
/* /etc/hosts, /etc/resolv.conf, and the size of the VM. */
#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "kube/test_kube.h"

#define HOSTS                                                                                                          \
	"# Kubernetes-managed hosts file.\n"                                                                           \
	"127.0.0.1\tlocalhost\n"                                                                                       \
	"::1\tlocalhost ip6-localhost ip6-loopback\n"                                                                  \
	"fe00::0\tip6-localnet\n"                                                                                      \
	"fe00::0\tip6-mcastprefix\n"                                                                                   \
	"fe00::1\tip6-allnodes\n"                                                                                      \
	"fe00::2\tip6-allrouters\n"

static void check_text(struct buf *b, const char *wanted)
{
	assert_int_equal(buf_append(b, "", 1), 0);
	assert_string_equal((const char *)buf_data(b), wanted);
}

static void test_hosts(void **state)
{
	static const struct {
		const char *spec, *wanted;
	} table[] = {
		{"", HOSTS "10.0.2.15\tp\n"},
		{"  hostname: h\n  subdomain: s\n", HOSTS "10.0.2.15\th.s.default.svc.cluster.local\th\n"},
		{"  hostname: h\n  subdomain: s\n  setHostnameAsFQDN: true\n",
			HOSTS "10.0.2.15\th.s.default.svc.cluster.local\th\n"},
		{"  hostAliases: [{ip: 192.0.2.1, hostnames: [a, b.c]}, {ip: \"::2\", hostnames: [d]}]\n",
			HOSTS "10.0.2.15\tp\n\n# Entries added by HostAliases.\n192.0.2.1\ta\tb.c\n::2\td\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		auto_buf struct buf out = BUF_INIT(4096);
		struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
		char yaml[1024];

		(void)snprintf(yaml, sizeof(yaml), POD "%s", table[i].spec);
		pod = test_load(yaml);
		assert_int_equal(kube_hosts_text(pod, "10.0.2.15", &out), 0);
		check_text(&out, table[i].wanted);
	}
}

#define TEN " a1 a2 a3 a4 a5 a6 a7 a8 a9 a10"

static void test_resolv_conf(void **state)
{
	static const struct {
		const char *spec, *host, *wanted;
	} table[] = {
		{"", "", ""},
		{"", "nameserver 192.0.2.1\nsearch example.com\noptions ndots:1 rotate\n",
			"search example.com\nnameserver 192.0.2.1\noptions ndots:1 rotate\n"},
		{"", "# nameserver 1.1.1.1\n;x\n  nameserver\t192.0.2.1  \r\nnameserver\nsortlist x\ndomain d\n",
			"nameserver 192.0.2.1\n"},
		{"", "search a\nsearch b c\noptions x\noptions y\n", "search b c\noptions y\n"},
		{"", "nameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"},
		{"",
			"nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.2\nnameserver 1.0.0.3\nnameserver "
			"1.0.0.4",
			"nameserver 1.0.0.1\nnameserver 1.0.0.2\nnameserver 1.0.0.3\n"},
		{"  dnsConfig: {nameservers: [192.0.2.9], searches: [a.b, example.com], options: [{name: ndots, value: "
		 "\"5\"}, {name: debug}]}\n",
			"nameserver 192.0.2.1\nsearch example.com\noptions ndots:1 rotate\n",
			"search example.com a.b\nnameserver 192.0.2.1\nnameserver 192.0.2.9\noptions ndots:5 rotate "
			"debug\n"},
		{"  dnsPolicy: None\n  dnsConfig: {nameservers: [192.0.2.9]}\n", "nameserver 192.0.2.1\nsearch x\n",
			"nameserver 192.0.2.9\n"},
		{"  dnsPolicy: Default\n", "nameserver 192.0.2.1\n", "nameserver 192.0.2.1\n"},
		{"", "search" TEN " b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 d1 d2 d3\n",
			"search" TEN " b1 b2 b3 b4 b5 b6 b7 b8 b9 b10 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 d1 d2\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		auto_buf struct buf out = BUF_INIT(4096);
		struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
		char yaml[1024];

		(void)snprintf(yaml, sizeof(yaml), POD "%s", table[i].spec);
		pod = test_load(yaml);
		assert_int_equal(kube_resolv_conf_text(pod, table[i].host, &out), 0);
		check_text(&out, table[i].wanted);
	}
}

static void test_no_room(void **state)
{
	auto_buf struct buf out = BUF_INIT(100), small = BUF_INIT(10);
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(POD);

	assert_int_equal(kube_hosts_text(pod, "10.0.2.15", &out), -ENOBUFS);
	assert_int_equal(kube_resolv_conf_text(pod, "nameserver 192.0.2.1\n", &small), -ENOBUFS);
}

/* A host's file full of rubbish: lines without end, NULs are its end, no memory beyond the limits. */
static void test_hostile_host_file(void **state)
{
	struct kube_pod *pod cleanup_with(kube_pod_freep) = test_load(POD);
	auto_buf struct buf out = BUF_INIT(1u << 16), host = BUF_INIT(1u << 20);

	for (int i = 0; i < 20000; i++)
		assert_int_equal(buf_printf(&host, "search %d a%d\noptions o%d:1\nnameserver %d\n", i, i, i, i), 0);
	assert_int_equal(buf_append(&host, "", 1), 0);
	assert_int_equal(kube_resolv_conf_text(pod, (const char *)buf_data(&host), &out), 0);
	assert_true(out.len < 4096);
}

/* ---- size ---- */

#define LIMITS(cpu, memory) "{limits: {cpu: " cpu ", memory: " memory "}}"

static void test_size(void **state)
{
	static const struct {
		const char *rest; /* after POD */
		unsigned cpus;
		uint64_t mib;
	} table[] = {
		{"", 0, 0},
		{"    resources: " LIMITS("100m", "64Mi") "\n", 1, 64},
		{"    resources: " LIMITS("1001m", "64Mi") "\n", 2, 64},
		/* containers add up */
		{"    resources: " LIMITS("500m", "64Mi") "\n  - {name: b, image: i, resources: " LIMITS(
			 "600m", "32Mi") "}\n",
			2, 96},
		/* init containers do not, but the largest counts */
		{"    resources: " LIMITS("1", "64Mi") "\n  initContainers: [{name: b, image: i, resources: " LIMITS(
			 "3", "32Mi") "},\n"
				      "    {name: c, image: i, resources: " LIMITS("2", "128Mi") "}]\n",
			3, 128},
		/* sidecars run beside both */
		{"    resources: {limits: {cpu: 1, memory: 64Mi}}\n"
		 "  initContainers:\n"
		 "  - {name: b, image: i, restartPolicy: Always, resources: {limits: {cpu: 1, memory: 10Mi}}}\n"
		 "  - {name: c, image: i, resources: {limits: {cpu: 3, memory: 20Mi}}}\n",
			4, 74},
		/* someone without a limit: never less than the default */
		{"    resources: " LIMITS("1", "64Mi") "\n  - {name: b, image: i}\n", 2, 512},
		{"    resources: " LIMITS(
			 "7", "900Mi") "\n  - {name: b, image: i, resources: {requests: {memory: 100Mi}}}\n",
			7, 1000},
		{"    resources: {requests: {cpu: 3}}\n", 3, 0},
		/* the pod's own */
		{"    resources: " LIMITS("1", "64Mi") "\n  - {name: b, image: i}\n  resources: " LIMITS(
			 "5", "80Mi") "\n",
			5, 80},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
		char yaml[2048];
		unsigned cpus = 99;
		uint64_t memory = 99;

		(void)snprintf(yaml, sizeof(yaml), POD "%s", table[i].rest);
		pod = test_load(yaml);
		kube_pod_size(pod, &cpus, &memory);
		if (cpus != table[i].cpus || memory != table[i].mib << 20)
			fail_msg("%u cpus, %llu bytes for\n%s", cpus, (unsigned long long)memory, yaml);
	}
}

static void test_size_does_not_overflow(void **state)
{
	static const char yaml[] = POD
		"    resources: {limits: {cpu: 9223372036854775807, memory: 7Ei}}\n"
		"  - {name: b, image: i, resources: {limits: {cpu: 9223372036854775807, memory: 7Ei}}}\n"
		"  - {name: c, image: i, resources: {limits: {cpu: 9223372036854775807, memory: 7Ei}}}\n";
	struct kube_pod *pod cleanup_with(kube_pod_freep) = NULL;
	struct kube_context ctx = test_context;
	struct err err = {0};
	unsigned cpus;
	uint64_t memory;

	ctx.max_memory = 0;
	assert_int_equal(kube_load(&pod, "t.yaml", yaml, strlen(yaml), &ctx, &err), 0);
	kube_pod_size(pod, &cpus, &memory);
	assert_int_equal(cpus, UINT32_MAX);
	assert_true(memory == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_resolv_conf),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_hostile_host_file),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_size_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
