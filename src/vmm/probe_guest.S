/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probing guest: 64-bit code in ring 0 that does, one after the other, what every stock kernel does while it boots. It runs
 * from PG_CODE, whatever address the program has it at: only relative references and numbers. Each step first notes
 * itself, so that the host can tell where an end came from.
 */
#include "vmm/probe_guest.h"

#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_SFMASK 0xc0000084

.macro NOTE_STEP n
	movq	$\n, PG_DATA + PD_STEP
.endm

.macro SETMSR msr, high, low
	movl	$\msr, %ecx
	movl	$(\high), %edx
	movl	$(\low), %eax
	wrmsr
.endm

	.section .rodata.probe_guest, "a"
	.code64
	.balign 16
	.globl probe_text, probe_text_end, probe_traps, probe_fault, probe_user, probe_user_end
	.hidden probe_text, probe_text_end, probe_traps, probe_fault, probe_user, probe_user_end
probe_text:
	NOTE_STEP STEP_START
	movl	$PG_STACK, %esp

	NOTE_STEP STEP_CMPXCHG16B
	movq	$0x1111, PG_DATA + PD_PAIR
	movq	$0x2222, PG_DATA + PD_PAIR + 8
	movl	$0x1111, %eax
	movl	$0x2222, %edx
	movl	$0x3333, %ebx
	movl	$0x4444, %ecx
	lock cmpxchg16b PG_DATA + PD_PAIR
	jnz	fail
	cmpq	$0x4444, PG_DATA + PD_PAIR + 8
	jne	fail

	NOTE_STEP STEP_XSAVE
	cmpq	$0, PG_DATA + PD_XSAVE
	je	no_xsave
	movq	%cr4, %rax
	btsq	$18, %rax			/* OSXSAVE */
	movq	%rax, %cr4
	xorl	%ecx, %ecx
	xgetbv
	orl	$3, %eax			/* x87 and SSE state */
	xsetbv
	movq	$0x5555, %rax
	movq	%rax, %xmm7
	movl	$3, %eax
	xorl	%edx, %edx
	xsave	PG_XSAVE
	pxor	%xmm7, %xmm7
	xrstor	PG_XSAVE
	movq	%xmm7, %rax
	cmpq	$0x5555, %rax
	jne	fail

no_xsave:
	NOTE_STEP STEP_SYSCALL
	movl	$MSR_EFER, %ecx
	rdmsr
	btsl	$0, %eax			/* SCE */
	wrmsr
	SETMSR	MSR_STAR, (SEL_SYSRET << 16) | SEL_CODE, 0
	SETMSR	MSR_LSTAR, 0, PG_CODE + (from_user - probe_text)
	SETMSR	MSR_SFMASK, 0, 0x700		/* TF, IF, DF */
	movl	$PG_USER, %ecx
	movl	$2, %r11d
	xorl	%eax, %eax
	sysretq
from_user:
	cmpl	$0x7777, %eax			/* what the code in ring 3 left */
	jne	fail
	movl	$PG_STACK, %esp

	NOTE_STEP STEP_FAULT
	movq	$0x6666, PG_ABSENT		/* the handler makes the page present */
	cmpq	$0x6666, PG_ABSENT
	jne	fail
	cmpq	$1, PG_DATA + PD_FAULTS
	jne	fail

	NOTE_STEP STEP_LOOP
	movl	$LOOP_COUNT, %ecx
1:	decl	%ecx
	jnz	1b

	NOTE_STEP STEP_DONE
	outb	%al, $PORT_END
fail:	movq	$-1, PG_DATA + PD_VECTOR
	outb	%al, $PORT_TRAP
2:	hlt
	jmp	2b

	/* The page fault: PTE of PG_ABSENT present and writable, then back to the instruction. */
	.balign 16
probe_fault:
	incq	PG_DATA + PD_FAULTS
	movq	$(PG_ABSENT | 3), PG_PT + (PG_ABSENT >> 12) * 8
	invlpg	PG_ABSENT
	addq	$8, %rsp			/* error code */
	iretq

	/* Every other exception. */
	.balign GATE_SIZE
probe_traps:
	.set	vector, 0
	.rept	VECTORS
	.balign GATE_SIZE
	pushq	$vector
	jmp	trap
	.set	vector, vector + 1
	.endr
	.balign GATE_SIZE
trap:	popq	PG_DATA + PD_VECTOR
	outb	%al, $PORT_TRAP
3:	hlt
	jmp	3b
probe_text_end:

	.balign 16
probe_user:
	movl	$0x7777, %eax
	syscall
probe_user_end:

	.section .note.GNU-stack, "", @progbits
