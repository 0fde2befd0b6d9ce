/* SPDX-License-Identifier: Apache-2.0 */
/* A line without end on the UART, more than anybody reads: what is not taken is dropped, the guest goes on. */
#include "guest.inc"
main:
	mov $64, %ebx
	mov $UART, %dx
1:	mov $_start, %esi
	mov $4096, %ecx
	rep outsb
	dec %ebx
	jnz 1b
	power_off
