/* SPDX-License-Identifier: BSD-3-Clause */
/* sort: the order of entries in a message.
 *
 * By class, then (src, dst, proto): no address before IPv4 before IPv6, then by value, then by
 * port. Rows that are equal in all of it keep the order in which they were given. The time is
 * linear in n whatever the addresses are: an attacker picks them.
 */
#ifndef NETLOG_SORT_H
#define NETLOG_SORT_H

#include "netlog.h"

/* The class of rows that no message shows: they come last, unsorted. */
#define NETLOG_LEFT_OUT 255

/* order[] becomes the permutation of 0..n-1 that sorts flows; classes may be NULL (all the same).
 * n < 2^32. Returns 0 or -ENOMEM (then order is not written). */
int netlog_sort_flows(const struct netlog_flow *flows, const uint8_t *classes, size_t n,
		      uint32_t *order);

/* gathered[i] = flows[order[i]] for i < n. */
void netlog_gather_flows(const struct netlog_flow *flows, const uint32_t *order, size_t n,
			 struct netlog_flow *gathered);

#endif
