/* SPDX-License-Identifier: BSD-3-Clause */
/* prefixes: an immutable map from addresses to small values, given as a set of prefixes.
 *
 * A prefix changes the value that its surroundings have: value = (surrounding & ~clear) | set. So
 * the same map serves "the longest prefix wins" (clear = ~0) and "is it in any of these" (clear =
 * 0). Prefixes of equal address and length apply in the order in which they were given. Outside of
 * all prefixes the value is 0.
 *
 * Kept as sorted disjoint intervals, searched without branches; IPv4 and IPv6 apart. An IPv4-mapped
 * IPv6 address (version 6) is an IPv6 address.
 *
 * Threads: open and close by the owner, find and classify from any thread in between.
 */
#ifndef NETLOG_PREFIXES_H
#define NETLOG_PREFIXES_H

#include "netlog.h"

struct netlog_prefix {
	uint8_t address[16]; /* IPv4 in mapped form; bits beyond length are ignored */
	uint8_t version;     /* 4 or 6 */
	uint8_t length;      /* 0..32 for IPv4, 0..128 for IPv6 */
	uint16_t reserved;
	uint32_t clear;
	uint32_t set;
};

struct netlog_prefixes;

/* prefixes are copied; any order. -EINVAL for a version or length out of range, -ENOMEM. */
int netlog_prefixes_open(const struct netlog_prefix *prefixes, size_t n,
			 struct netlog_prefixes **map);
void netlog_prefixes_close(struct netlog_prefixes *map);

/* address as in struct netlog_prefix; version 4 or 6. */
uint32_t netlog_prefixes_find(const struct netlog_prefixes *map, const uint8_t address[16],
			      int version);

/* classes[i] = rule[src_value | dst_value << 4] for each flow; values are cut to 4 bits, and an
 * address that is not there has value 0. rule has 256 entries. */
void netlog_prefixes_classify(const struct netlog_prefixes *map, const struct netlog_flow *flows,
			      size_t n, const uint8_t *rule, uint8_t *classes);

/* values[2 * i] and values[2 * i + 1] become the whole values of flow i's source and destination; 0
 * for one that is not there. */
void netlog_prefixes_find_ends(const struct netlog_prefixes *map, const struct netlog_flow *flows,
			       size_t n, uint32_t *values);

#endif
