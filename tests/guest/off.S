/* SPDX-License-Identifier: Apache-2.0 */
/* Powers off. */
#include "guest.h"
main:
	say "alive"
	power_off
