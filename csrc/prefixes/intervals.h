/* SPDX-License-Identifier: BSD-3-Clause */
/* intervals: the contents of a map of prefixes. prefixes.c writes them, find.c reads them. */
#ifndef NETLOG_INTERVALS_H
#define NETLOG_INTERVALS_H

#include "prefixes/family.h"
#include "prefixes/prefixes.h"

/* Interval i is starts[i] .. starts[i + 1] - 1, and its value is values[i]. starts[0] is 0, so n
 * >= 1.
 */
struct intervals_v4 {
	uint32_t *starts;
	uint32_t *values;
	size_t n;
};

struct intervals_v6 {
	struct wide *starts;
	uint32_t *values;
	size_t n;
};

struct netlog_prefixes {
	struct intervals_v4 v4;
	struct intervals_v6 v6;
};

/* Returns an address as a number, with IPv4 in its low 32 bits. */
static inline struct wide load_wide(const uint8_t address[16])
{
	return (struct wide){.high = family_load_be64(address),
			     .low = family_load_be64(address + 8)};
}

#endif
