/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The guest's network interfaces, as Configure describes them. */
#include "agent.pb-c.h"
#include "base/err.h"

#define NET_INTERFACES_MAX 16
#define NET_ADDRESSES_MAX 32
#define NET_ROUTES_MAX 256
#define NET_NEIGHBOURS_MAX 256
#define NET_RULES_MAX 64

/*
 * Sets up interfaces, routes, neighbours and rules: the driver is loaded, each device is found by its MAC, renamed, given MTU,
 * flags and addresses, and brought up. Nothing is done when the request names none. -EINVAL, -ENOENT (no such device) or
 * the kernel's answer; the message names interface, address or route.
 */
int net_configure(const Podvm__Agent__V1__ConfigureRequest *req, struct err *err) must_check;
/* Only the checks that need no kernel: counts, names, addresses. */
int net_check(const Podvm__Agent__V1__ConfigureRequest *req, struct err *err) must_check;
/* Brings lo up. The kernel gives it 127.0.0.1 and ::1 by itself. */
int net_loopback(struct err *err) must_check;
