/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lists make the filter of which kind of thread. seccomp_gen.c includes this once for each C library, with the macros set
 * accordingly: hence no #pragma once.
 */

static const struct rule SET(vsock)[] = {
#include "virtio/vhost_user_syscalls.h"
#include "virtio/vsock_syscalls.h"
#include "vmm/thread_syscalls.h"
	{0}};

static const struct rule SET(fs)[] = {
#include "virtio/fs_syscalls.h"
#include "virtio/vhost_user_syscalls.h"
#include "vmm/thread_syscalls.h"
	{0}};

static const struct rule SET(devices)[] = {
#include "virtio/balloon_syscalls.h"
#include "virtio/blk_syscalls.h"
#include "virtio/blk_thread_syscalls.h"
#include "virtio/mem_syscalls.h"
#include "virtio/net_syscalls.h"
#include "virtio/rng_syscalls.h"
#include "virtio/vsock_syscalls.h"
#include "vmm/hotplug_syscalls.h"
#include "vmm/thread_syscalls.h"
#include "vmm/vm_syscalls.h"
	{0}};

static const struct rule SET(vm_fs)[] = {
#include "virtio/fs_syscalls.h"
#include "vmm/thread_syscalls.h"
#include "vmm/vm_syscalls.h"
	{0}};

static const struct rule SET(vcpu)[] = {
#include "vmm/vcpu_syscalls.h"
	{0}};
