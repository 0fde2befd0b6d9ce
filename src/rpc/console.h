/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the agent says on the guest's console that the pod's owner acts on. */

/*
 * In the agent's last line before it resets the machine, before it answers for the first time: the kernel's timer does not fire, so
 * whatever sleeps would sleep for ever. Another start may do better (pod/turn.c says why).
 */
#define GUEST_NO_TIMER "the kernel's timer does not fire"
