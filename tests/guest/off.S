/* SPDX-License-Identifier: Apache-2.0 */
/* Powers off. */
#include "guest.inc"
main:
	say "alive"
	power_off
