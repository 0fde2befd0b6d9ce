/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store's operations. The order of changes makes every crash harmless: content appears before the name that points to it,
 * and a name goes before its content, so what a crash leaves is content without a name, which prune finds.
 */
#include "image/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/fd.h"
#include "image/fetch.h"
#include "image/store.h"

void image_fini(struct image *img)
{
	image_config_fini(&img->config);
	*img = (struct image){0};
}

/* All but the configuration. */
static int describe(
	struct image *img, const struct store *s, const char *name, const char *digest, int content_fd, struct err *err)
{
	(void)str_copy(img->name, sizeof(img->name), name);
	(void)str_copy(img->digest, sizeof(img->digest), digest);
	img->size = store_content_size(content_fd, &img->created_ns);
	return str_format(
		img->rootfs, sizeof(img->rootfs), err, "%s/content/sha256-%s/rootfs", s->path, strchr(digest, ':') + 1);
}

/* 1: no such name, or its content has gone. The lock of the names is held. */
static int load(struct image *ret, int *ret_lock, const struct store *s, const char *name, struct err *err)
{
	struct image img = {0};
	auto_close int content = -1;
	auto_free char *config = NULL;
	struct store_name n;
	size_t len = 0;
	int r = store_name_read(s, name, &n, err);

	if (r == 0)
		r = store_content_use(s, n.digest, &content, err);
	if (r != 0)
		return r;
	r = describe(&img, s, name, n.digest, content, err);
	if (r == 0)
		r = file_read(content, "config.json", IMAGE_JSON_MAX, &config, &len, err);
	if (r == 0)
		r = image_config_parse(&img.config, config, len, err);
	if (r < 0)
		return err_wrap(err, "image '%s'", name);
	*ret = img;
	*ret_lock = take_fd(&content);
	return 0;
}

static int look_up(struct image *ret, int *ret_lock, const struct store *s, const char *name, struct err *err)
{
	auto_close int lock = -1;
	int r = store_lock(s, false, &lock, err);

	return r < 0 ? r : load(ret, ret_lock, s, name, err);
}

struct request {
	char name[512], src[768];
	enum image_pull pull;
	bool remote; /* from a registry */
	void (*progress)(void *ctx, const char *line);
	void *ctx;
};

/* Names the content that was fetched, and loads it. */
static int publish(struct image *ret, int *ret_lock, const struct store *s, const struct store_work *w,
	const struct fetch *f, struct err *err)
{
	auto_close int lock = -1;
	int r = store_lock(s, true, &lock, err);

	if (r == 0 && f->held < 0)
		r = store_work_publish(s, w, FETCH_UNPACKED, f->got.digest, err);
	if (r == 0)
		r = store_name_write(s, f->name, &f->got, err);
	if (r == 0)
		r = load(ret, ret_lock, s, f->name, err);
	return r == 1 ? err_set(err, ESTALE, "image '%s' was removed while it was fetched: try again", f->name) : r;
}

static int known_name(const struct store *s, const char *name, struct store_name *ret, struct err *err)
{
	auto_close int lock = -1;
	int r = store_lock(s, false, &lock, err);

	return r < 0 ? r : store_name_read(s, name, ret, err);
}

/* In the work folder: 0, or 1 when the content had to be there and has gone meanwhile. */
static int fetch(struct image *ret, int *ret_lock, const struct store *s, const struct store_work *w,
	const struct request *rq, struct err *err)
{
	struct store_name known;
	struct fetch f = {.store = s,
		.work = w,
		.name = rq->name,
		.src = rq->src,
		.progress = rq->progress,
		.ctx = rq->ctx,
		.held = -1};
	int r = known_name(s, rq->name, &known, err);

	if (r < 0)
		return r;
	f.known = r == 0 ? &known : NULL;
	r = fetch_run(&f, err);
	if (r == 1)
		r = look_up(ret, ret_lock, s, rq->name, err);
	else if (r == 0)
		r = publish(ret, ret_lock, s, w, &f, err);
	close_fd(&f.held);
	return r;
}

static int fetch_or_wait(
	struct image *ret, int *ret_lock, const struct store *s, const struct request *rq, struct err *err)
{
	for (;;) {
		struct store_work w = {.fd = -1};
		int other = -1, r = store_work_begin(s, rq->name, &w, &other, err);

		if (r < 0)
			return r;
		if (r == 0) {
			r = fetch(ret, ret_lock, s, &w, rq, err);
			store_work_end(s, &w);
			if (r != 1)
				return r;
			continue;
		}
		if (rq->progress) {
			char line[IMAGE_NAME_MAX + 64];

			(void)snprintf(line, sizeof(line), "%.255s: another process is fetching it, waiting", rq->name);
			rq->progress(rq->ctx, line);
		}
		store_work_wait(other);
		if (rq->pull == IMAGE_PULL_MISSING && rq->remote) {
			r = look_up(ret, ret_lock, s, rq->name, err);
			if (r != 1)
				return r;
		}
	}
}

/* Says what to do about a name that is not here and that nobody can fetch. */
static int missing(const struct request *rq, const char *text, struct err *err)
{
	if (rq->pull == IMAGE_PULL_NEVER)
		return err_set(err, ENOENT,
			"image '%s' is not on this machine and must not be fetched (pull policy Never): "
			"podvm image pull %s",
			rq->name, text);
	return err_set(err, ENOENT,
		"image '%s' is not on this machine, and no registry is behind localhost/: "
		"podvm image pull oci:DIR --name %s",
		rq->name, rq->name);
}

static int parse_request(struct request *rq, const char *text, const char *as_name, struct err *err)
{
	int r = image_name_parse(text, rq->name, rq->src, err);

	if (r == 0 && as_name)
		r = image_ref_parse(as_name, rq->name, err);
	if (r < 0)
		return r;
	rq->remote = str_has_prefix(rq->src, "docker://");
	return 0;
}

/* -ENOSPC of whatever step: what to do about it. */
static int explain(const struct request *rq, int r, struct err *err)
{
	if (r != -ENOSPC && r != -EDQUOT)
		return r;
	return err_set(err, -r,
		"image '%s': no room left on the disk of '%s/images': free some ('podvm image prune' removes what no "
		"pod uses), "
		"or set PODVM_STATE to a folder on a larger disk",
		rq->name, path_state());
}

int image_get(struct image *ret, int *ret_lock, const char *text, const char *as_name, enum image_pull pull,
	void (*progress)(void *ctx, const char *line), void *ctx, struct err *err)
{
	struct request rq = {.pull = pull, .progress = progress, .ctx = ctx};
	auto_store struct store s = STORE_INIT;
	bool fixed, bare_local;
	int r = parse_request(&rq, text, as_name, err);

	if (r == 0)
		r = store_open(&s, err);
	if (r < 0)
		return explain(&rq, r, err);
	/* What a digest names never changes; and nothing but a folder or file can renew a localhost/ name. */
	fixed = strchr(rq.name, '@') && rq.remote && !as_name;
	bare_local = str_has_prefix(rq.src, "docker://localhost/") && !str_has_prefix(text, "docker://");
	if (pull == IMAGE_PULL_NEVER || bare_local || (rq.remote && (pull == IMAGE_PULL_MISSING || fixed))) {
		r = look_up(ret, ret_lock, &s, rq.name, err);
		if (r != 1)
			return r;
		if (pull == IMAGE_PULL_NEVER || bare_local)
			return missing(&rq, text, err);
	}
	return explain(&rq, fetch_or_wait(ret, ret_lock, &s, &rq, err), err);
}

/* ---- list, remove, prune ---- */

struct listing {
	const struct store *s;
	struct image *v;
	size_t n, room;
};

static int list_one(void *ctx, const char *name, const struct store_name *n, struct err *err)
{
	struct listing *l = ctx;
	auto_close int content = -1;
	int r = store_content_use(l->s, n->digest, &content, err);

	if (r != 0)
		return r < 0 ? r : 0;
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 16;
		struct image *v = reallocarray(l->v, room, sizeof(*v));

		if (!v)
			return err_set(err, ENOMEM, "list images: out of memory");
		l->v = v;
		l->room = room;
	}
	l->v[l->n] = (struct image){0};
	r = describe(&l->v[l->n], l->s, name, n->digest, content, err);
	l->n += r == 0;
	return r;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct image *)a)->name, ((const struct image *)b)->name);
}

int image_list(struct image **ret, size_t *ret_n, struct err *err)
{
	auto_store struct store s = STORE_INIT;
	struct listing l = {.s = &s};
	auto_close int lock = -1;
	int r = store_open(&s, err);

	if (r == 0)
		r = store_lock(&s, false, &lock, err);
	if (r == 0)
		r = store_names(&s, list_one, &l, err);
	if (r < 0) {
		free(l.v);
		return r;
	}
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), by_name);
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}

void image_list_free(struct image *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		image_fini(&list[i]);
	free(list);
}

struct uses {
	const char *digest;
	unsigned n;
};

static int count_use(void *ctx, const char *name, const struct store_name *n, struct err *err)
{
	struct uses *u = ctx;

	u->n += str_eq(n->digest, u->digest);
	return 0;
}

/* Whether nobody holds the content; asked before its last name goes, so that a refusal changes nothing. */
static int check_idle(const struct store *s, const char *name, const char *digest, struct err *err)
{
	int r = store_content_busy(s, digest, err);

	if (r != 1)
		return r;
	return err_set(err, EBUSY, "image '%s' is in use by a pod: see 'podvm ps', and stop it first", name);
}

int image_remove(const char *text, struct err *err)
{
	auto_store struct store s = STORE_INIT;
	auto_close int lock = -1;
	char name[512], src[768];
	struct store_name n;
	struct uses u = {0};
	uint64_t freed = 0;
	int r = image_name_parse(text, name, src, err);

	if (r == 0)
		r = store_open(&s, err);
	if (r == 0)
		r = store_lock(&s, true, &lock, err);
	if (r == 0)
		r = store_tmp_clean(&s, err);
	if (r == 0)
		r = store_name_read(&s, name, &n, err);
	if (r == 1)
		return err_set(err, ENOENT, "image '%s' is not on this machine: 'podvm image ls' shows what is", name);
	u.digest = n.digest;
	if (r == 0)
		r = store_names(&s, count_use, &u, err);
	if (r == 0 && u.n == 1)
		r = check_idle(&s, name, n.digest, err);
	if (r == 0)
		r = store_name_remove(&s, name, err);
	if (r == 0 && u.n == 1)
		r = store_content_remove(&s, n.digest, &freed, err);
	return r;
}

struct pruning {
	const struct store *s;
	uint64_t freed;
};

static int prune_name(void *ctx, const char *name, const struct store_name *n, struct err *err)
{
	struct pruning *p = ctx;
	int r = store_content_busy(p->s, n->digest, err);

	if (r != 0)
		return r < 0 ? r : 0;
	return store_name_remove(p->s, name, err);
}

static int prune_content(void *ctx, const char *digest, struct err *err)
{
	struct pruning *p = ctx;
	struct uses u = {.digest = digest};
	int r = store_names(p->s, count_use, &u, err);

	if (r < 0 || u.n)
		return r;
	r = store_content_remove(p->s, digest, &p->freed, err);
	return r == -EBUSY ? 0 : r;
}

int image_prune(bool all, uint64_t *ret_freed, struct err *err)
{
	auto_store struct store s = STORE_INIT;
	struct pruning p = {.s = &s};
	auto_close int lock = -1;
	int r = store_open(&s, err);

	if (r == 0)
		r = store_lock(&s, true, &lock, err);
	if (r == 0)
		r = store_tmp_clean(&s, err);
	if (r == 0 && all)
		r = store_names(&s, prune_name, &p, err);
	if (r == 0)
		r = store_contents(&s, prune_content, &p, err);
	*ret_freed = p.freed;
	return r;
}
