/* SPDX-License-Identifier: Apache-2.0 */
/* What rng.c calls (see vmm/seccomp_gen.c for the form). */
ALLOW(getrandom)
