/* SPDX-License-Identifier: Apache-2.0 */
/* System calls: futex, write (eventfd), and whatever the jobs do. */
#include "virtio/fs_work.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"

#define STACK_BYTES (64u * 1024u)

static void raise_event(int fd)
{
	const uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* only a full counter fails, and that is an event too */
}

static struct fs_job *next_job(struct fs_work *w)
{
	struct fs_job *job;

	(void)pthread_mutex_lock(&w->lock);
	while (!w->todo && !w->stop)
		(void)pthread_cond_wait(&w->wake, &w->lock);
	job = w->stop ? NULL : w->todo;
	if (job) {
		w->todo = job->next;
		if (!w->todo)
			w->todo_end = &w->todo;
		w->running++;
	}
	(void)pthread_mutex_unlock(&w->lock);
	return job;
}

static void *worker(void *arg)
{
	struct fs_work *w = arg;
	struct fs_job *job;
	bool first;

	while ((job = next_job(w))) {
		job->result = job->run(job);
		(void)pthread_mutex_lock(&w->lock);
		first = !w->finished;
		job->next = w->finished;
		w->finished = job;
		if (--w->running == 0)
			(void)pthread_cond_signal(&w->idle);
		(void)pthread_mutex_unlock(&w->lock);
		if (first)
			raise_event(w->event_fd);
	}
	return NULL;
}

static void deliver(struct fs_work *w)
{
	struct fs_job *jobs, *job;

	(void)pthread_mutex_lock(&w->lock);
	jobs = w->finished;
	w->finished = NULL;
	(void)pthread_mutex_unlock(&w->lock);
	while ((job = jobs)) {
		jobs = job->next;
		w->done(w->ctx, job);
	}
}

static void on_event(struct loop_fd *src, uint32_t events)
{
	uint64_t count;
	ssize_t n = read(src->fd, &count, sizeof(count));

	(void)events;
	(void)n;
	deliver(container_of(src, struct fs_work, src));
}

int fs_work_init(
	struct fs_work *w, struct loop *loop, void (*done)(void *ctx, struct fs_job *job), void *ctx, struct err *err)
{
	int r;

	*w = (struct fs_work){.event_fd = -1, .done = done, .ctx = ctx};
	w->todo_end = &w->todo;
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->wake, NULL);
	(void)pthread_cond_init(&w->idle, NULL);
	w->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = w->event_fd < 0 ? err_errno(err, "eventfd") : 0;
	if (r == 0)
		r = loop_add_fd(loop, &w->src, w->event_fd, EPOLLIN, on_event, err);
	if (r < 0)
		fs_work_fini(w);
	return r;
}

int fs_work_start(struct fs_work *w, unsigned n_threads, struct err *err)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int r = 0;

	/* Signals are the business of the process's own threads. */
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	while (r == 0 && w->n_threads < MIN_OF(n_threads, FS_WORKERS_MAX)) {
		r = pthread_create(&w->threads[w->n_threads], &attr, worker, w);
		if (r == 0)
			w->n_threads++;
	}
	(void)pthread_attr_destroy(&attr);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r == 0 ? 0 : err_set(err, r, "virtio-fs: worker thread: %s", strerror(r));
}

void fs_work_fini(struct fs_work *w)
{
	(void)pthread_mutex_lock(&w->lock);
	w->stop = true;
	(void)pthread_cond_broadcast(&w->wake);
	(void)pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < w->n_threads; i++)
		(void)pthread_join(w->threads[i], NULL);
	w->n_threads = 0;
	fs_work_drain(w);
	loop_remove_fd(&w->src);
	if (w->event_fd >= 0)
		(void)close(w->event_fd);
	w->event_fd = -1;
	(void)pthread_cond_destroy(&w->wake);
	(void)pthread_cond_destroy(&w->idle);
	(void)pthread_mutex_destroy(&w->lock);
}

void fs_work_drain(struct fs_work *w)
{
	struct fs_job *todo, *job;

	(void)pthread_mutex_lock(&w->lock);
	todo = w->todo;
	w->todo = NULL;
	w->todo_end = &w->todo;
	while (w->running)
		(void)pthread_cond_wait(&w->idle, &w->lock);
	(void)pthread_mutex_unlock(&w->lock);
	deliver(w);
	while ((job = todo)) {
		todo = job->next;
		job->result = -ECANCELED;
		w->done(w->ctx, job);
	}
}

void fs_work_submit(struct fs_work *w, struct fs_job *job)
{
	if (w->n_threads == 0) {
		job->result = job->run(job);
		w->done(w->ctx, job);
		return;
	}
	job->next = NULL;
	(void)pthread_mutex_lock(&w->lock);
	*w->todo_end = job;
	w->todo_end = &job->next;
	(void)pthread_cond_signal(&w->wake);
	(void)pthread_mutex_unlock(&w->lock);
}
