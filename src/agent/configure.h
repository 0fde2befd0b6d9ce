/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The Configure call: what makes a booted guest this pod's guest. */
#include "agent/agent.h"

/* In the order of proto/agent.proto; a failure leaves the guest unconfigured for good. */
int configure_guest(struct agent *a, const Podvm__Agent__V1__ConfigureRequest *req, struct err *err) must_check;
