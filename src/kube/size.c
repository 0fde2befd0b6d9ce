/* SPDX-License-Identifier: Apache-2.0 */
/* How large a VM a pod asks for; the sums of the Kubernetes scheduler (KEP-753 for sidecars), over limits. */
#include "kube/kube.h"

#include "base/bytes.h"

struct need {
	uint64_t amount;
	bool open; /* some container has no limit */
};

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t amount_of(const struct kube_resources *r, bool cpu, bool *open)
{
	uint64_t limit = cpu ? r->cpu_limit_milli : r->memory_limit;

	*open |= !limit;
	return limit ? limit : cpu ? r->cpu_request_milli : r->memory_request;
}

static uint64_t pod_amount(const struct kube_pod *pod, bool cpu)
{
	uint64_t whole = cpu ? pod->resources.cpu_limit_milli : pod->resources.memory_limit;
	uint64_t least = cpu ? pod->default_cpu_milli : pod->default_memory;
	uint64_t sidecars = 0, init = 0, sum = 0, most;
	bool open = false;

	if (whole)
		return whole;
	for (size_t i = 0; i < pod->n_containers; i++) {
		const struct kube_container *c = &pod->containers[i];
		uint64_t amount = amount_of(&c->resources, cpu, &open);

		if (!c->init)
			sum = add(sum, amount);
		else if (c->sidecar)
			sidecars = add(sidecars, amount);
		else
			init = MAX_OF(init, add(sidecars, amount));
	}
	most = MAX_OF(add(sum, sidecars), init);
	return most && open ? MAX_OF(most, least) : most;
}

void kube_pod_size(const struct kube_pod *pod, unsigned *ret_cpus, uint64_t *ret_memory)
{
	uint64_t milli = pod_amount(pod, true), cpus = milli / 1000 + (milli % 1000 != 0);

	*ret_cpus = (unsigned)MIN_OF(cpus, (uint64_t)UINT32_MAX);
	*ret_memory = pod_amount(pod, false);
}
