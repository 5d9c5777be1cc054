/* SPDX-License-Identifier: BSD-3-Clause */
/* count: batches of packets and datagrams -> a table.
 *
 * Packets go through three passes, so that the cache misses of one packet overlap with the work for
 * the others:
 *  1. decode, hash, and prefetch the bucket;
 *  2. match tags, and prefetch the record;
 *  3. compare, and add.
 * Small tables use all three, too. With the last two in one, each packet would wait for its bucket
 * and then for its record (measured on Zen 3: 15 to 20 % slower at 1 k connections).
 *
 * loop.h has the loop over packets. It is compiled once for each level of the instruction set
 * (base.c, avx2.c, avx512.c). From AVX2 on, eight headers are decoded and hashed at once; AVX-512
 * matches the tags of a bucket in one instruction. The best level is chosen when a meter opens.
 *
 * Threads: the lane's owner, inside its bracket.
 */
#ifndef NETLOG_COUNT_H
#define NETLOG_COUNT_H

#include "table/table.h"

/* Counts n packets. *last is the record that was hit last (NULL: none), and is kept up to date. In
 * bulk traffic two packets in a row often belong to one connection, so the function compares with
 * *last before it hashes. */
typedef void netlog_count_packets_fn(struct netlog_table *table,
				     const struct netlog_packet *packets, size_t n,
				     struct netlog_record **last);

netlog_count_packets_fn netlog_count_packets_base;
#ifdef __x86_64__
netlog_count_packets_fn netlog_count_packets_avx2;
netlog_count_packets_fn netlog_count_packets_avx512;
#endif

/* Returns the best one for this machine. */
netlog_count_packets_fn *netlog_count_packets_choose(void);

/* Counts one packet of any kind. Returns the record that was hit, or NULL if it is unattributed. */
struct netlog_record *netlog_count_packet(struct netlog_table *table,
					  const struct netlog_packet *packet);

/* Counts n datagrams. *last: as above. */
void netlog_count_datagrams(struct netlog_table *table, const struct netlog_datagram *datagrams,
			    size_t n, struct netlog_record **last);

#endif
