/* SPDX-License-Identifier: BSD-3-Clause */
/* family: the family and the value of each of a row's two addresses.
 *
 * Only this file interprets `version` and `flags` of a row, apart from the shortcut for plain rows
 * in find.c. It trusts neither: whatever the bytes are, an address is absent, IPv4 or IPv6. An IPv4
 * address whose bytes are all zero is absent, too: the real 0.0.0.0 is ::ffff:0.0.0.0 in mapped
 * form, whose last 8 bytes are never 0.
 */
#ifndef NETLOG_FAMILY_H
#define NETLOG_FAMILY_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "base/wide.h"
#include "netlog_flow.h"

/* In the order in which entries are sorted. */
enum netlog_family { NETLOG_ABSENT = 0, NETLOG_IPV4 = 1, NETLOG_IPV6 = 2 };

static inline uint64_t family_load_be64(const uint8_t *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return be64toh(word);
}

/* Returns the family of an address, and its value as a number. IPv4 is below 2^32. other: flags has
 * NETLOG_SRC_OTHER or NETLOG_DST_OTHER for this address. absent: flags has NETLOG_NO_SRC or
 * NETLOG_NO_DST for it. */
static inline enum netlog_family family_read(uint8_t version, unsigned other, unsigned absent,
					     const uint8_t address[16], struct wide *value)
{
	uint64_t low = family_load_be64(address + 8);
	enum netlog_family family = version == 4 ? NETLOG_IPV4 : NETLOG_IPV6;

	value->high = value->low = 0;
	if (absent || (version != 4 && version != 6))
		return NETLOG_ABSENT;
	if (other)
		family = family == NETLOG_IPV4 ? NETLOG_IPV6 : NETLOG_IPV4;
	if (family == NETLOG_IPV6) {
		value->high = family_load_be64(address);
		value->low = low;
		return NETLOG_IPV6;
	}
	value->low = low & UINT32_MAX;
	return low == 0 ? NETLOG_ABSENT : NETLOG_IPV4;
}

static inline enum netlog_family family_src(const struct netlog_connection *connection,
					    struct wide *value)
{
	return family_read(connection->version, connection->flags & NETLOG_SRC_OTHER,
			   connection->flags & NETLOG_NO_SRC, connection->src, value);
}

static inline enum netlog_family family_dst(const struct netlog_connection *connection,
					    struct wide *value)
{
	return family_read(connection->version, connection->flags & NETLOG_DST_OTHER,
			   connection->flags & NETLOG_NO_DST, connection->dst, value);
}

#endif
