/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* IP and MAC addresses as text and bytes. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct inet_addr {
	uint8_t family; /* AF_INET or AF_INET6; 0: none */
	uint8_t prefix; /* bits: 0..32 or 0..128 */
	uint8_t bytes[16];
};

#define INET_TEXT_MAX (INET6_ADDRSTRLEN + 4) /* address, slash, three digits, NUL */
#define MAC_TEXT_MAX 18

static inline unsigned inet_bytes(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

/* "10.1.2.3/24", without with_prefix "10.1.2.3"; "" for no address. */
void inet_text(char dst[INET_TEXT_MAX], const struct inet_addr *a, bool with_prefix);
/* The reverse; the prefix must be there, or must not. -EINVAL quotes the text. */
int inet_parse(struct inet_addr *ret, const char *text, bool with_prefix, struct err *err) must_check;
/* fe80::/10 */
bool inet_is_link_local6(const struct inet_addr *a);

void mac_text(char dst[MAC_TEXT_MAX], const uint8_t mac[6]);
/* "aa:bb:cc:dd:ee:ff", any case. -EINVAL quotes the text. */
int mac_parse(uint8_t ret[6], const char *text, struct err *err) must_check;
/* May an interface be called so? 1 to 15 bytes, printable, no slash, colon or space, neither "." nor "..". */
bool link_name_valid(const char *name);
