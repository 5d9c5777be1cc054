/* SPDX-License-Identifier: BSD-3-Clause */
/* sort: the order of entries in a message.
 *
 * Rows are sorted by class, then by source, destination and protocol. Of addresses, absent comes
 * before IPv4 before IPv6; then they are sorted by value, then by port. Equal rows keep the order
 * in which they were given. The time is linear in n whatever the addresses are, because an attacker
 * can choose them.
 */
#ifndef NETLOG_SORT_H
#define NETLOG_SORT_H

#include "netlog.h"

/* The class of rows that no message shows. They come last, unsorted. */
#define NETLOG_LEFT_OUT 255

/* Sets order[] to the permutation of 0..n-1 that sorts flows. classes: NULL if all are the same. n:
 * less than 2^32. Returns 0, or -ENOMEM; then order is not written. */
int netlog_sort_flows(const struct netlog_flow *flows, const uint8_t *classes, size_t n,
		      uint32_t *order);

/* Sets gathered[i] to flows[order[i]] for i < n. */
void netlog_gather_flows(const struct netlog_flow *flows, const uint32_t *order, size_t n,
			 struct netlog_flow *gathered);

#endif
