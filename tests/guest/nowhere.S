/* SPDX-License-Identifier: Apache-2.0 */
/* Goes on where no memory is: KVM has no instruction to execute there. */
#include "guest.inc"
main:
	say "nowhere"
	mov $0xd0000000, %eax
	jmp *%eax
