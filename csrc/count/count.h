/* SPDX-License-Identifier: BSD-3-Clause */
/* count: batches of packets and datagrams -> a table.
 *
 * Packets go through passes, so that the misses of one are waited for while the others are worked
 * on: decode, hash and prefetch the bucket; match tags and prefetch the record; compare and add.
 * Small tables go through all three, too: with the last two in one, each packet waits for its
 * bucket and then for its record (measured on Zen 3: 15 to 20 % at 1 k connections).
 *
 * The loop over packets stands in loop.h and is compiled once for each level of the
 * instruction set (base.c, avx2.c, avx512.c: from AVX2 on eight headers are
 * decoded and hashed at once, and AVX-512 matches the tags of a bucket in one instruction); the
 * best one is chosen when a meter opens.
 *
 * Threads: the lane's owner, inside its bracket.
 */
#ifndef NETLOG_COUNT_H
#define NETLOG_COUNT_H

#include "table/table.h"

/* Counts n packets. *last is the record that was hit last (NULL: none), and is kept up to date: two
 * packets in a row of one connection are common enough (bulk) to look there before hashing. */
typedef void netlog_count_packets_fn(struct netlog_table *table,
				     const struct netlog_packet *packets, size_t n,
				     struct netlog_record **last);

netlog_count_packets_fn netlog_count_packets_base;
#ifdef __x86_64__
netlog_count_packets_fn netlog_count_packets_avx2;
netlog_count_packets_fn netlog_count_packets_avx512;
#endif

/* The one for this machine. */
netlog_count_packets_fn *netlog_count_packets_choose(void);

/* Any packet, also one that is not plain. Returns the record that was hit, or NULL. */
struct netlog_record *netlog_count_packet(struct netlog_table *table,
					  const struct netlog_packet *packet);

void netlog_count_datagrams(struct netlog_table *table, const struct netlog_datagram *datagrams,
			    size_t n, struct netlog_record **last);

#endif
