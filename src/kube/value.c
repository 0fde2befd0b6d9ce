/* SPDX-License-Identifier: Apache-2.0 */
#include "kube/value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/utf8.h"

/* ---- quantities ---- */

#define NANO_DIGITS 9
#define MANTISSA_MAX (((value_u128)1) << 120)
#define NANO_MAX ((value_u128)INT64_MAX * VALUE_UNIT)

/* A decimal number while it is read: mantissa * 10^exponent, and whether something was cut off below. */
struct decimal {
	value_u128 mantissa;
	int64_t exponent;
	bool inexact;
	bool overflow;
};

static void decimal_add(struct decimal *d, char digit, bool fraction)
{
	if (d->mantissa >= MANTISSA_MAX / 10) {
		/* More than 35 digits: a fraction only rounds up, a whole number is out of range. */
		d->inexact |= fraction && digit != '0';
		d->overflow |= !fraction;
		return;
	}
	d->mantissa = d->mantissa * 10 + (unsigned)(digit - '0');
	d->exponent -= fraction;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* e3, E-2 */
static int read_exponent(const char *text, int64_t *ret)
{
	const char *p = text + 1;
	bool negative = *p == '-';
	int64_t v = 0;

	p += *p == '-' || *p == '+';
	if (!*p)
		return -EINVAL;
	for (; *p; p++) {
		if (!is_digit(*p))
			return -EINVAL;
		if (v < 100000)
			v = v * 10 + (*p - '0');
	}
	*ret = negative ? -v : v;
	return 0;
}

static int read_suffix(const char *text, int64_t *decimal, unsigned *binary)
{
	static const struct {
		const char *name;
		int decimal;
		unsigned binary;
	} suffixes[] = {
		{"", 0, 0},
		{"n", -9, 0},
		{"u", -6, 0},
		{"m", -3, 0},
		{"k", 3, 0},
		{"M", 6, 0},
		{"G", 9, 0},
		{"T", 12, 0},
		{"P", 15, 0},
		{"E", 18, 0},
		{"Ki", 0, 10},
		{"Mi", 0, 20},
		{"Gi", 0, 30},
		{"Ti", 0, 40},
		{"Pi", 0, 50},
		{"Ei", 0, 60},
	};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (!str_eq(text, suffixes[i].name))
			continue;
		*decimal = suffixes[i].decimal;
		*binary = suffixes[i].binary;
		return 0;
	}
	*binary = 0;
	return *text == 'e' || *text == 'E' ? read_exponent(text, decimal) : -EINVAL;
}

/* mantissa * 10^exponent * 2^binary in nano, rounded up. */
static int to_nano(const struct decimal *d, unsigned binary, value_u128 *ret)
{
	value_u128 v = d->mantissa, unscaled;
	int64_t exponent = d->exponent + NANO_DIGITS;
	bool inexact = d->inexact;

	if (d->overflow)
		return -ERANGE;
	for (; v && exponent > 0; exponent--)
		if (__builtin_mul_overflow(v, 10u, &v))
			return -ERANGE;
	/* Multiply before dividing, so that nothing is lost: 0.5Ki is exact. */
	unscaled = v;
	if (binary && __builtin_mul_overflow(v, (value_u128)1 << binary, &v)) {
		/* Too many digits for that: divide first, the rounding is far below one nano. */
		v = unscaled;
		for (; v && exponent < 0; exponent++) {
			inexact |= v % 10 != 0;
			v /= 10;
		}
		if (__builtin_mul_overflow(v, (value_u128)1 << binary, &v))
			return -ERANGE;
	}
	for (; v && exponent < 0; exponent++) {
		inexact |= v % 10 != 0;
		v /= 10;
	}
	if (!d->mantissa && !d->inexact)
		inexact = false;
	*ret = v + inexact;
	return *ret > NANO_MAX ? -ERANGE : 0;
}

int value_quantity_parse(const char *text, struct value_quantity *ret)
{
	struct decimal d = {0};
	const char *p = text;
	unsigned binary;
	int64_t exponent;
	int r;

	*ret = (struct value_quantity){.negative = *p == '-'};
	p += *p == '-' || *p == '+';
	if (!is_digit(*p) && !(*p == '.' && is_digit(p[1])))
		return -EINVAL;
	for (; is_digit(*p); p++)
		decimal_add(&d, *p, false);
	if (*p == '.')
		for (p++; is_digit(*p); p++)
			decimal_add(&d, *p, true);
	r = read_suffix(p, &exponent, &binary);
	if (r < 0)
		return r;
	d.exponent += exponent;
	return to_nano(&d, binary, &ret->nano);
}

uint64_t value_quantity_ceil(const struct value_quantity *q, value_u128 unit)
{
	value_u128 v = q->nano / unit + (q->nano % unit != 0);

	return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

/* ---- names ---- */

static bool is_lower(char c)
{
	return (c >= 'a' && c <= 'z') || is_digit(c);
}

static bool is_alnum(char c)
{
	return is_lower(c) || (c >= 'A' && c <= 'Z');
}

/* Lower case letters, digits and '-' (and '_' if told), alphanumeric at both ends. */
static bool is_label(const char *text, size_t n, bool underscore)
{
	if (!n)
		return false;
	for (size_t i = 0; i < n; i++) {
		bool edge = i == 0 || i == n - 1;

		if (is_lower(text[i]) || (underscore && text[i] == '_'))
			continue;
		if (text[i] != '-' || edge)
			return false;
	}
	return true;
}

static bool is_subdomain(const char *text, size_t n, bool underscore)
{
	size_t start = 0;

	if (!n || n > 253)
		return false;
	for (size_t i = 0; i <= n; i++) {
		if (i < n && text[i] != '.')
			continue;
		if (!is_label(text + start, i - start, underscore))
			return false;
		start = i + 1;
	}
	return true;
}

const char *value_check_dns_label(const char *text)
{
	size_t n = strlen(text);

	return n <= 63 && is_label(text, n, false)
		       ? NULL
		       : "must be 1 to 63 lower case letters, digits or '-', with a letter or digit at both ends";
}

const char *value_check_dns_subdomain(const char *text)
{
	return is_subdomain(text, strlen(text), false) ? NULL
						       : "must be lower case letters, digits, '-' or '.', at most 253, "
							 "with a letter or digit at both ends";
}

const char *value_check_dns_search(const char *text)
{
	size_t n = strlen(text);

	if (str_eq(text, "."))
		return NULL;
	if (n && text[n - 1] == '.')
		n--;
	return is_subdomain(text, n, true) ? NULL : "must be a lower case domain name";
}

const char *value_check_port_name(const char *text)
{
	size_t n = strlen(text);
	bool letter = false;

	for (size_t i = 0; i < n; i++)
		letter |= text[i] >= 'a' && text[i] <= 'z';
	return n <= 15 && letter && is_label(text, n, false) && !strstr(text, "--")
		       ? NULL
		       : "must be 1 to 15 lower case letters, digits or single '-', with at least one letter";
}

/* Letters, digits, '-', '_', '.', alphanumeric at both ends, at most 63. */
static bool is_name_part(const char *text)
{
	size_t n = strlen(text);

	if (!n || n > 63 || !is_alnum(text[0]) || !is_alnum(text[n - 1]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!is_alnum(text[i]) && text[i] != '-' && text[i] != '_' && text[i] != '.')
			return false;
	return true;
}

const char *value_check_qualified_name(const char *text)
{
	const char *slash = strchr(text, '/');
	bool prefix_ok = !slash || is_subdomain(text, (size_t)(slash - text), false);

	return prefix_ok && is_name_part(slash ? slash + 1 : text)
		       ? NULL
		       : "must be [DOMAIN/]NAME, the name at most 63 letters, digits, '-', '_' or '.'";
}

const char *value_check_label_value(const char *text)
{
	return !*text || is_name_part(text) ? NULL
					    : "must be empty or at most 63 letters, digits, '-', '_' or '.', with a "
					      "letter or digit at both ends";
}

const char *value_check_config_key(const char *text)
{
	size_t n = strlen(text);
	bool ok = n && n <= 253 && !str_eq(text, ".") && !str_has_prefix(text, "..");

	for (size_t i = 0; ok && i < n; i++)
		ok = is_alnum(text[i]) || text[i] == '-' || text[i] == '_' || text[i] == '.';
	return ok ? NULL : "must be at most 253 letters, digits, '-', '_' or '.', and not begin with '..'";
}

const char *value_check_env_name(const char *text)
{
	bool ok = *text;

	for (const char *p = text; ok && *p; p++)
		ok = *p >= 0x20 && *p < 0x7f && *p != '=';
	return ok ? NULL : "must be printable ASCII characters other than '='";
}

const char *value_check_ip(const char *text)
{
	unsigned char bytes[16];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1
		       ? NULL
		       : "must be an IPv4 or IPv6 address";
}

const char *value_check_sysctl(const char *text)
{
	size_t n = strlen(text), start = 0;
	bool ok = n && n <= 253;

	for (size_t i = 0; ok && i <= n; i++) {
		if (i < n && text[i] != '.' && text[i] != '/') {
			ok = is_lower(text[i]) || text[i] == '-' || text[i] == '_';
			continue;
		}
		ok = i > start && is_lower(text[start]) && is_lower(text[i - 1]);
		start = i + 1;
	}
	return ok ? NULL : "must be a kernel parameter such as net.core.somaxconn";
}

/* ---- paths ---- */

#define PATH_BYTES_MAX 1023
#define PATH_PART_MAX 255

/* False: too long, or a part is "..". */
static bool is_sane_path(const char *text)
{
	size_t part = 0;

	if (strlen(text) > PATH_BYTES_MAX)
		return false;
	for (const char *p = text;; p++) {
		if (*p && *p != '/') {
			part++;
			continue;
		}
		if (part > PATH_PART_MAX || (part == 2 && p[-1] == '.' && p[-2] == '.'))
			return false;
		if (!*p)
			return true;
		part = 0;
	}
}

const char *value_check_inner_path(const char *text)
{
	return *text && *text != '/' && is_sane_path(text) ? NULL
							   : "must be a relative path without '..', at most 1023 bytes";
}

const char *value_check_absolute_path(const char *text)
{
	return *text == '/' && is_sane_path(text) ? NULL : "must be an absolute path without '..', at most 1023 bytes";
}

/* ---- capabilities ---- */

/* By number, linux/capability.h. */
const char *const value_capability_names[VALUE_CAPABILITIES] = {"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER",
	"FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST",
	"NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE",
	"SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
	"LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM",
	"BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"};

int value_capability(const char *name)
{
	for (int i = 0; i < VALUE_CAPABILITIES; i++)
		if (str_eq(name, value_capability_names[i]))
			return i;
	return -1;
}

/* ---- base64 ---- */

static int base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (is_digit(c))
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int value_base64_decode(const char *text, size_t len, uint8_t *dst, size_t *ret)
{
	uint32_t bits = 0;
	unsigned n = 0, padding = 0;
	size_t out = 0;

	for (size_t i = 0; i < len; i++) {
		int d = base64_digit(text[i]);

		if (text[i] == '\n' || text[i] == '\r')
			continue;
		if (text[i] == '=' && n % 4 >= 2 && padding < 2) {
			padding++;
			n++;
			bits <<= 6;
		} else if (d < 0 || padding) {
			return -EINVAL;
		} else {
			bits = bits << 6 | (unsigned)d;
			n++;
		}
		if (n % 4 == 0) {
			for (unsigned b = 0; b < 3 - padding; b++)
				dst[out++] = (uint8_t)(bits >> (16 - 8 * b));
			bits = 0;
		}
	}
	*ret = out;
	return n % 4 ? -EINVAL : 0;
}

/* ---- text ---- */

bool value_is_text(const uint8_t *bytes, size_t len)
{
	return !memchr(bytes, 0, len) && utf8_valid(bytes, len);
}

/* ---- the nearest name ---- */

#define DISTANCE_MAX 63

static char fold(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

unsigned value_distance(const char *a, const char *b)
{
	unsigned rows[3][DISTANCE_MAX + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > DISTANCE_MAX || m > DISTANCE_MAX)
		return DISTANCE_MAX + 1;
	for (size_t j = 0; j <= m; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned same = fold(a[i - 1]) == fold(b[j - 1]) ? 0 : 1;

			row[j] = MIN_OF(above[j] + 1, row[j - 1] + 1);
			row[j] = MIN_OF(row[j], above[j - 1] + same);
			if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1]))
				row[j] = MIN_OF(row[j], before[j - 2] + 1);
		}
	}
	return rows[n % 3][m];
}
