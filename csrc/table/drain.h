/* SPDX-License-Identifier: BSD-3-Clause */
/* drain: the records of several tables -> one row for each connection, some rows at a time.
 *
 * With it the memory of a poll does not grow with the connections. merge.h, in contrast, needs room
 * for all rows at once. A gateway has two threads for each queue: one counts a connection's tx, the
 * other its rx. The caller falls back to merge.h if there are more tables than NETLOG_DRAIN_TABLES,
 * or if a table has several records of one connection.
 *
 * How: tables are visited in order of size, the smallest first. Its records are visited in their
 * own order or, with three or more tables, in the order of its index. For each record the indexes
 * of the larger tables are searched for the same connection. What is found is added and marked as
 * taken. The next table is visited in the same way, without its taken records. So a record costs
 * one look-up in each larger table, where merging costs one look-up in all; hence the bound.
 *
 * As in merge.h, nothing in a lent index is trusted. A corrupt index can make a connection appear
 * twice, but the sums stay right.
 *
 * Threads: the poller. Ownership: the tables are lent until netlog_drain_end().
 */
#ifndef NETLOG_DRAIN_H
#define NETLOG_DRAIN_H

#include "table/merge.h"

#define NETLOG_DRAIN_TABLES 16

struct netlog_drain {
	struct netlog_merge_source sources[NETLOG_DRAIN_TABLES]; /* those with records, by size */
	size_t n;
	size_t source;                    /* the one that is visited now */
	size_t slot;                      /* its next index slot, if it is visited by its index */
	size_t at;                        /* its next record */
	size_t left[NETLOG_DRAIN_TABLES]; /* records that are not taken */
	uint64_t *taken[NETLOG_DRAIN_TABLES]; /* a bit for each record, in room; NULL: none taken */
	uint64_t *room;
	const struct netlog_secret *secret;
};

/* Returns 0; -ENOTSUP: use netlog_merge() instead, see above, or an index that is needed was not
 * lent; -ENOMEM. After an error *drain is unchanged. */
int netlog_drain_begin(struct netlog_drain *drain, const struct netlog_merge_source *sources,
		       size_t n, const struct netlog_secret *secret);

/* Writes up to capacity rows. Returns the number written; 0 after the last row. */
size_t netlog_drain_next(struct netlog_drain *drain, struct netlog_flow *flows, size_t capacity);

/* Frees what begin allocated. May be called twice, and on a drain that is all zero. */
void netlog_drain_end(struct netlog_drain *drain);

#endif
