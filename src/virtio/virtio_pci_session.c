/* SPDX-License-Identifier: Apache-2.0 */
/* The device between the driver's registers and its loop. */
#include <sys/eventfd.h>

#include "base/log.h"
#include "virtio/virtio_pci_int.h"

enum {
	ISR_QUEUE = 1,
	ISR_CONFIG = 2,
};

static struct virtio_pci *from_transport(struct virtio_transport *t)
{
	return container_of(t, struct virtio_pci, transport);
}

static void wake(struct virtio_pci *vp)
{
	const uint64_t one = 1;
	ssize_t n = write(vp->wake_fd, &one, sizeof(one));

	(void)n; /* only a full counter fails, and that wakes too */
}

static void on_signal(struct virtio_transport *t, unsigned index)
{
	struct virtio_pci *vp = from_transport(t);

	__atomic_fetch_or(&vp->isr, ISR_QUEUE, __ATOMIC_SEQ_CST);
	msix_raise(&vp->msix, __atomic_load_n(&vp->queues[index].vector, __ATOMIC_RELAXED));
}

static void raise_config(struct virtio_pci *vp)
{
	__atomic_fetch_or(&vp->isr, ISR_CONFIG, __ATOMIC_SEQ_CST);
	msix_raise(&vp->msix, __atomic_load_n(&vp->config_vector, __ATOMIC_RELAXED));
}

static void on_broken(struct virtio_transport *t)
{
	struct virtio_pci *vp = from_transport(t);

	if (vp->needs_reset)
		return;
	for (unsigned i = 0; i < vp->dev->ops->n_queues; i++)
		queue_hold(&vp->dev->queues[i], true);
	__atomic_store_n(&vp->needs_reset, true, __ATOMIC_SEQ_CST);
	raise_config(vp);
	log_debug("virtio-pci %s: broken, waits for a reset", vp->dev->ops->name);
}

static void on_config_begin(struct virtio_transport *t)
{
	(void)pthread_mutex_lock(&from_transport(t)->config_lock);
}

static void on_config_end(struct virtio_transport *t)
{
	struct virtio_pci *vp = from_transport(t);

	vp->generation++;
	(void)pthread_mutex_unlock(&vp->config_lock);
	raise_config(vp);
}

void virtio_pci_kick(struct virtio_pci *vp, unsigned queue)
{
	struct virtio_dev *dev = vp->dev;

	if (queue >= dev->ops->n_queues || !dev->active || vp->needs_reset || !queue_is_started(&dev->queues[queue]))
		return;
	if (dev->ops->notify(dev, queue) < 0)
		on_broken(&vp->transport);
}

static int start(struct virtio_pci *vp, struct err *err)
{
	struct virtio_dev *dev = vp->dev;
	uint32_t started = 0;
	int r;

	for (unsigned i = 0; i < dev->ops->n_queues; i++) {
		const struct vp_queue *q = &vp->queues[i];

		if (!q->enabled)
			continue;
		dev->queues[i].cfg = (struct queue_cfg){q->size, q->desc, q->driver, q->device};
		r = queue_start(&dev->queues[i], dev->mem, vp->driver_features, 0, err);
		if (r < 0)
			return err_wrap(err, "queue %u", i);
		started |= 1u << i;
	}
	dev->features = vp->driver_features;
	dev->active = true;
	r = dev->ops->activate(dev, err);
	if (r < 0) {
		dev->active = false;
		return r;
	}
	/* Chains may have been there before DRIVER_OK: every queue is looked at once. */
	__atomic_fetch_or(&vp->kicks, started, __ATOMIC_SEQ_CST);
	wake(vp);
	return 0;
}

static void stop(struct virtio_pci *vp)
{
	struct virtio_dev *dev = vp->dev;

	if (dev->active)
		dev->ops->reset(dev);
	dev->active = false;
	for (unsigned i = 0; i < dev->ops->n_queues; i++)
		(void)queue_stop(&dev->queues[i]);
	__atomic_store_n(&vp->needs_reset, false, __ATOMIC_SEQ_CST);
	__atomic_store_n(&vp->isr, 0, __ATOMIC_SEQ_CST);
}

static void run_call(struct virtio_pci *vp, enum vp_call call)
{
	struct err err;

	switch (call) {
	case CALL_ACTIVATE:
		if (start(vp, &err) < 0) {
			log_debug("virtio-pci %s: %s", vp->dev->ops->name, err.msg);
			on_broken(&vp->transport);
		}
		break;
	case CALL_RESET:
		stop(vp);
		break;
	case CALL_CONFIG_WRITE:
		vp->dev->ops->config_write(vp->dev, vp->write_off, vp->write_data, vp->write_len);
		break;
	case CALL_NONE:
		break;
	}
}

static void on_wake(struct loop_fd *src, uint32_t events unused_arg)
{
	struct virtio_pci *vp = container_of(src, struct virtio_pci, wake_src);
	enum vp_call call;
	uint32_t kicks;
	uint64_t count;
	ssize_t n = read(src->fd, &count, sizeof(count));

	(void)n;
	(void)pthread_mutex_lock(&vp->call_lock);
	call = vp->call;
	(void)pthread_mutex_unlock(&vp->call_lock);
	if (call != CALL_NONE) {
		run_call(vp, call);
		(void)pthread_mutex_lock(&vp->call_lock);
		vp->call = CALL_NONE;
		(void)pthread_cond_broadcast(&vp->called);
		(void)pthread_mutex_unlock(&vp->call_lock);
	}
	kicks = __atomic_exchange_n(&vp->kicks, 0, __ATOMIC_SEQ_CST);
	for (; kicks; kicks &= kicks - 1)
		virtio_pci_kick(vp, (unsigned)__builtin_ctz(kicks));
}

/* pci.lock is held, so there is one call at a time. */
void vp_hand_over(struct virtio_pci *vp, enum vp_call call)
{
	if (pthread_equal(pthread_self(), vp->loop_thread)) {
		run_call(vp, call);
		return;
	}
	(void)pthread_mutex_lock(&vp->call_lock);
	if (!vp->closed) {
		vp->call = call;
		wake(vp);
	}
	while (vp->call != CALL_NONE && !vp->closed)
		(void)pthread_cond_wait(&vp->called, &vp->call_lock);
	(void)pthread_mutex_unlock(&vp->call_lock);
}

void vp_post_kick(struct virtio_pci *vp, unsigned queue)
{
	__atomic_fetch_or(&vp->kicks, 1u << queue, __ATOMIC_SEQ_CST);
	wake(vp);
}

void virtio_pci_close(struct virtio_pci *vp)
{
	(void)pthread_mutex_lock(&vp->call_lock);
	vp->closed = true;
	(void)pthread_cond_broadcast(&vp->called);
	(void)pthread_mutex_unlock(&vp->call_lock);
}

int vp_session_init(struct virtio_pci *vp, struct err *err)
{
	struct virtio_dev *dev = vp->dev;

	vp->loop_thread = pthread_self();
	vp->transport = (struct virtio_transport){on_signal, on_broken, on_config_begin, on_config_end};
	(void)pthread_mutex_init(&vp->config_lock, NULL);
	(void)pthread_mutex_init(&vp->call_lock, NULL);
	(void)pthread_cond_init(&vp->called, NULL);
	dev->transport = &vp->transport;
	vp->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vp->wake_fd < 0)
		return err_errno(err, "eventfd");
	return loop_add_fd(dev->loop, &vp->wake_src, vp->wake_fd, EPOLLIN, on_wake, err);
}

void vp_session_fini(struct virtio_pci *vp)
{
	stop(vp);
	vp->dev->transport = NULL;
	vp->dev->mem = NULL;
	loop_remove_fd(&vp->wake_src);
	close_fd(&vp->wake_fd);
	(void)pthread_cond_destroy(&vp->called);
	(void)pthread_mutex_destroy(&vp->call_lock);
	(void)pthread_mutex_destroy(&vp->config_lock);
}
