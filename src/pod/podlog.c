/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/podlog.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "base/bytes.h"
#include "base/fd.h"

struct podlog {
	int fd, dirfd;
	uint64_t size;
	uint64_t lost; /* records that could not be written */
};

static int open_file(struct podlog *log, struct err *err)
{
	struct stat st;

	log->fd = openat(log->dirfd, "log", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log->fd < 0)
		return err_errno(err, "open the pod's log");
	log->size = fstat(log->fd, &st) == 0 ? (uint64_t)st.st_size : 0;
	return 0;
}

int podlog_open(struct podlog **ret, const char *dir, struct err *err)
{
	struct podlog *log = calloc(1, sizeof(*log));
	int r;

	if (!log)
		return err_set(err, ENOMEM, "open the pod's log: out of memory");
	log->fd = -1;
	log->dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = log->dirfd < 0 ? err_errno(err, "open '%s'", dir) : open_file(log, err);
	if (r < 0) {
		podlog_close(log);
		return r;
	}
	*ret = log;
	return 0;
}

void podlog_close(struct podlog *log)
{
	if (!log)
		return;
	close_fd(&log->fd);
	close_fd(&log->dirfd);
	free(log);
}

static void rotate(struct podlog *log)
{
	struct err err;

	if (renameat(log->dirfd, "log", log->dirfd, "log.1") < 0)
		return;
	close_fd(&log->fd);
	if (open_file(log, &err) < 0)
		log->lost++;
}

static void write_record(struct podlog *log, const char *const head[3], const char *text, size_t len)
{
	char front[160], when[31];
	struct iovec iov[3];
	ssize_t done;
	int n;

	time_format(when, time_real_ns());
	n = snprintf(front, sizeof(front), "%s %s %s %s ", when, head[0], head[1], head[2]);
	if (n < 0 || (size_t)n >= sizeof(front)) {
		log->lost++;
		return;
	}
	if (log->size > PODLOG_FILE_MAX)
		rotate(log);
	iov[0] = (struct iovec){.iov_base = front, .iov_len = (size_t)n};
	iov[1] = (struct iovec){.iov_base = (void *)(uintptr_t)text, .iov_len = len};
	iov[2] = (struct iovec){.iov_base = (void *)(uintptr_t) "\n", .iov_len = 1};
	do
		done = writev(log->fd, iov, 3);
	while (done < 0 && errno == EINTR);
	if (done > 0)
		log->size += (uint64_t)done;
	if (done != (ssize_t)(n + len + 1))
		log->lost++;
}

void podlog_write_part(struct podlog *log, const char *source, const char *stream, const char *text, size_t len)
{
	do {
		size_t n = MIN_OF(len, (size_t)PODLOG_TEXT_MAX);

		write_record(log, (const char *const[]){source, stream, "P"}, text, n);
		text += n;
		len -= n;
	} while (len);
}

void podlog_write(struct podlog *log, const char *source, const char *stream, const char *text, size_t len)
{
	while (len > PODLOG_TEXT_MAX) {
		write_record(log, (const char *const[]){source, stream, "P"}, text, PODLOG_TEXT_MAX);
		text += PODLOG_TEXT_MAX;
		len -= PODLOG_TEXT_MAX;
	}
	write_record(log, (const char *const[]){source, stream, "F"}, text, len);
}

static char *next_field(char **at)
{
	char *start = *at, *end = strchr(start, ' ');

	if (!end || end == start)
		return NULL;
	*end = '\0';
	*at = end + 1;
	return start;
}

static int parse_time(uint64_t *ret, const char *text)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	uint64_t ns;
	char frac[10];

	if (!rest || strlen(rest) != 11 || rest[0] != '.' || rest[10] != 'Z')
		return -EINVAL;
	memcpy(frac, rest + 1, 9);
	frac[9] = '\0';
	if (str_to_u64(frac, 999999999, &ns, NULL) < 0)
		return -EINVAL;
	*ret = (uint64_t)timegm(&tm) * UINT64_C(1000000000) + ns;
	return 0;
}

int podlog_parse(struct podlog_record *ret, char *line, size_t len)
{
	char *at = line, *when = next_field(&at), *source = when ? next_field(&at) : NULL;
	char *stream = source ? next_field(&at) : NULL, *tag = stream ? next_field(&at) : NULL;

	if (!tag || (!str_eq(tag, "F") && !str_eq(tag, "P")) || parse_time(&ret->time_ns, when) < 0)
		return -EINVAL;
	ret->source = source;
	ret->stream = stream;
	ret->partial = tag[0] == 'P';
	ret->text = at;
	ret->text_len = len - (size_t)(at - line);
	return 0;
}
