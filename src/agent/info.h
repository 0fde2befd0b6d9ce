/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the guest as a whole is and uses. */
#include "agent.pb-c.h"
#include "agent/agent.h"

#define INFO_NETWORKS_MAX 64

/* The whole guest, not only its containers. Strings and arrays in the reply are static: good until the next call. */
void info_stats(const struct agent *a, Podvm__Agent__V1__GetStatsResponse *ret);
/* /proc/net/dev into `ret`; returns how many. The names are cut out of `text` in place. */
size_t info_networks(char *text, Podvm__Agent__V1__NetworkStats *ret, size_t max);
