/* SPDX-License-Identifier: Apache-2.0 */
/* What a device has touched of the guest's memory counts as ours although it is QEMU's: an idle device gives it back. */
#include "vmm/serve.h"

#include "base/bytes.h"

static void drop_guest(void *ctx)
{
	struct serve *s = ctx;

	vhost_user_drop_rss(s->vu);
}

static void on_closed(void *ctx, const struct err *why)
{
	struct serve *s = ctx;

	s->ended(s->ctx, why);
}

int serve_start(struct serve *s, struct loop *loop, struct virtio_dev *dev, int sock,
	void (*ended)(void *ctx, const struct err *why), void *ctx, struct err *err)
{
	int r;

	*s = (struct serve){.loop = loop, .ended = ended, .ctx = ctx};
	r = vhost_user_new(&s->vu, loop, dev, sock, on_closed, s, err);
	if (r < 0)
		return err_wrap(err, "%s", dev->ops->name);
	idle_start(&s->idle, loop, drop_guest, s);
	return 0;
}

void serve_stop(struct serve *s)
{
	idle_stop(&s->idle);
	vhost_user_free(take_ptr(s->vu));
}
