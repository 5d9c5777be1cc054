/* SPDX-License-Identifier: BSD-3-Clause */
/* prefixes: an immutable map from addresses to 32-bit values, made from a list of prefixes.
 *
 * A prefix changes the value of the next larger prefix around it: value = (outer & ~clear) | set.
 * So the same map serves "the longest prefix wins" (clear = ~0) and "is it in any of these" (clear
 * = 0). Prefixes of equal address and length apply in the order in which they were given. Outside
 * all prefixes the value is 0.
 *
 * The map consists of sorted disjoint intervals, which are searched without branches. IPv4 and IPv6
 * are separate; an IPv4-mapped IPv6 address (version 6) is an IPv6 address.
 *
 * Threads: the owner opens and closes. In between, any thread may call the others.
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

/* Makes a map. The prefixes may have any order, and are copied. Returns 0; -EINVAL: a version or
 * length is out of range; -ENOMEM. */
int netlog_prefixes_open(const struct netlog_prefix *prefixes, size_t n,
			 struct netlog_prefixes **map);
/* NULL is allowed. */
void netlog_prefixes_close(struct netlog_prefixes *map);

/* Returns the value of an address. address: as in struct netlog_prefix; version: 4 or 6. */
uint32_t netlog_prefixes_find(const struct netlog_prefixes *map, const uint8_t address[16],
			      int version);

/* For each flow sets classes[i] = rule[s | d << 4], where s and d are the low 4 bits of the values
 * of its source and destination. An absent address has the value 0. rule has 256 entries. */
void netlog_prefixes_classify(const struct netlog_prefixes *map, const struct netlog_flow *flows,
			      size_t n, const uint8_t *rule, uint8_t *classes);

/* For each flow sets values[2 * i] and values[2 * i + 1] to the values of its source and
 * destination. An absent address has the value 0. */
void netlog_prefixes_find_ends(const struct netlog_prefixes *map, const struct netlog_flow *flows,
			       size_t n, uint32_t *values);

#endif
