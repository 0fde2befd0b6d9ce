/* SPDX-License-Identifier: Apache-2.0 */
#include "net/inet.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>

#include "base/bytes.h"

void inet_text(char dst[INET_TEXT_MAX], const struct inet_addr *a, bool with_prefix)
{
	dst[0] = '\0';
	if (!a->family || !inet_ntop(a->family, a->bytes, dst, INET6_ADDRSTRLEN) || !with_prefix)
		return;
	(void)snprintf(dst + strlen(dst), 5, "/%u", a->prefix);
}

int inet_parse(struct inet_addr *ret, const char *text, bool with_prefix, struct err *err)
{
	struct inet_addr a = {.family = strchr(text, ':') ? AF_INET6 : AF_INET};
	char address[INET6_ADDRSTRLEN];
	size_t n = strcspn(text, "/");
	uint64_t prefix = 0;

	if (n >= sizeof(address) || (text[n] == '/') != with_prefix)
		return err_set(err, EINVAL, "'%.80s' is no IP address%s", text, with_prefix ? " with a prefix" : "");
	memcpy(address, text, n);
	address[n] = '\0';
	if (inet_pton(a.family, address, a.bytes) != 1 ||
		(with_prefix && str_to_u64(text + n + 1, inet_bytes(a.family) * 8, &prefix, NULL) < 0))
		return err_set(err, EINVAL, "'%.80s' is no IP address%s", text, with_prefix ? " with a prefix" : "");
	a.prefix = (uint8_t)(with_prefix ? prefix : inet_bytes(a.family) * 8);
	*ret = a;
	return 0;
}

bool inet_is_link_local6(const struct inet_addr *a)
{
	return a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

void mac_text(char dst[MAC_TEXT_MAX], const uint8_t mac[6])
{
	(void)snprintf(
		dst, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mac_parse(uint8_t ret[6], const char *text, struct err *err)
{
	uint8_t mac[6];
	bool good = strlen(text) == MAC_TEXT_MAX - 1;

	for (size_t i = 0; good && i < 6; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		good = high >= 0 && low >= 0 && text[3 * i + 2] == (i < 5 ? ':' : '\0');
		mac[i] = good ? (uint8_t)(high << 4 | low) : 0;
	}
	if (!good)
		return err_set(err, EINVAL, "'%.40s' is no MAC address", text);
	memcpy(ret, mac, sizeof(mac));
	return 0;
}

bool link_name_valid(const char *name)
{
	size_t n = strlen(name);

	if (n == 0 || n >= IF_NAMESIZE || str_eq(name, ".") || str_eq(name, ".."))
		return false;
	for (; *name; name++)
		if ((unsigned char)*name <= 0x20 || (unsigned char)*name >= 0x7f || *name == '/' || *name == ':')
			return false;
	return true;
}
