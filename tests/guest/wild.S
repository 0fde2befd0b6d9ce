/* SPDX-License-Identifier: Apache-2.0 */
/* Reads and writes where nothing is: holes, the end of RAM and beyond, below and above every window, over their ends. */
#include "guest.inc"
main:
	say "wild"
	mov $list, %esi
1:	mov (%esi), %edi
	movb $0x5a, (%edi)
	movw $0x5a5a, (%edi)
	movl $0x5a5a5a5a, (%edi)
	mov (%edi), %al
	mov (%edi), %ax
	mov (%edi), %eax
	movl $0x5a5a5a5a, 1(%edi)
	mov 1(%edi), %eax
	movl $0x5a5a5a5a, 3(%edi)
	mov 3(%edi), %eax
	add $4, %esi
	cmp $list_end, %esi
	jb 1b
	say "nothing there"
	power_off
list:	.long 0xa0000, 0xc0000, 0x3fffffc, 0x4000000, 0x7ffffffc, 0xbffffffc, 0xc0000000, 0xc0007ffc, 0xc0008000 - 3
	.long 0xc0100000, 0xdffffffc, 0xe0000000, 0xe0008000, 0xe00f8ffc, 0xe0100000 - 3, 0xe0100000, 0xfec00000, 0xfed00000
	.long 0xfeefffe0, 0xffe00000, 0xfffffff0
list_end:
