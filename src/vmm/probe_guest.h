/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What probe.c and probe_guest.S agree on. Included by both, so it holds numbers only. */

/* Guest-physical places; everything is mapped to the same virtual address. */
#define PG_PML4 0x1000
#define PG_PDPT 0x2000
#define PG_PD 0x3000
#define PG_PT 0x4000
#define PG_GDT 0x5000
#define PG_IDT 0x6000
#define PG_TSS 0x7000
#define PG_XSAVE 0x8000	  /* two pages, aligned to 64 */
#define PG_DATA 0xa000	  /* PD_* below */
#define PG_STACK 0xc000	  /* grows down from here */
#define PG_CODE 0x10000	  /* the text, copied; at most one page */
#define PG_USER 0x11000	  /* one page for ring 3: code, copied */
#define PG_ABSENT 0x12000 /* the page that is not there until it is touched */
#define PG_SIZE 0x20000

/* Offsets in PG_DATA, 8 bytes each. */
#define PD_STEP 0x00   /* enum: the step that is being taken */
#define PD_PAIR 0x10   /* 16 bytes, aligned: for cmpxchg16b */
#define PD_FAULTS 0x20 /* page faults taken */
#define PD_VECTOR 0x28 /* of an exception that was not expected */
#define PD_XSAVE 0x30  /* set by the host: this CPU has XSAVE */

#define STEP_START 1
#define STEP_CMPXCHG16B 2
#define STEP_XSAVE 3
#define STEP_SYSCALL 4
#define STEP_FAULT 5
#define STEP_LOOP 6
#define STEP_DONE 7

/* Selectors. SYSRET takes SEL_SYSRET + 16 for code and + 8 for the stack. */
#define SEL_CODE 0x08
#define SEL_DATA 0x10
#define SEL_SYSRET 0x18
#define SEL_TSS 0x30

#define PORT_END 0xf4  /* out: the guest is through */
#define PORT_TRAP 0xf5 /* out: an exception that was not expected; PD_VECTOR has its number */

#define GATE_SIZE 16 /* bytes between the entries of the exceptions */
#define VECTORS 32
#define LOOP_COUNT 500000 /* two instructions each */
