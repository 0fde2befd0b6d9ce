/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/*
 * virtio-rng (virtio 1.2 §5.4): the host's getrandom(2). A request is answered with at most RNG_REQUEST_MAX bytes, whatever
 * it asks for, which the specification allows and drivers expect; at most RNG_TURN_MAX bytes are made in one turn of the loop.
 */
#include "virtio/device.h"

#define RNG_REQUEST_MAX 1024
#define RNG_TURN_MAX 16384

struct rng;

int rng_new(struct rng **ret, struct loop *loop, struct err *err) must_check;
void rng_free(struct rng *rng);
struct virtio_dev *rng_dev(struct rng *rng);
