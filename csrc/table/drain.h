/* SPDX-License-Identifier: BSD-3-Clause */
/* drain: the records of some tables -> one row a connection, some at a time.
 *
 * So the memory of a poll does not grow with the connections: merge.h needs all rows at once. A
 * gateway counts a connection's tx on one thread and its rx on another, and has two threads for
 * each queue; more tables than NETLOG_DRAIN_TABLES, or one with several records for a connection,
 * are merged.
 *
 * The smallest table comes first, in the order of its records or, of three tables and more, of its
 * index. The other tables' records of the same connection are found by their indexes, added, and
 * noted as taken; what was not taken follows likewise. So a record costs a look-up for each table
 * that is larger than its own, where merging costs one: hence the bound. As in merge.h nothing in a
 * lent index is believed, and a spoilt one can make a connection come twice, with the sums right.
 *
 * Threads: the poller. Ownership: the tables are lent until the end.
 */
#ifndef NETLOG_DRAIN_H
#define NETLOG_DRAIN_H

#include "table/merge.h"

#define NETLOG_DRAIN_TABLES 16

struct netlog_drain {
	struct netlog_merge_source sources[NETLOG_DRAIN_TABLES]; /* those with records */
	size_t n;
	size_t source;
	size_t slot; /* the next one of the source's index, if records are visited by that */
	size_t at;   /* its next record */
	size_t left[NETLOG_DRAIN_TABLES];     /* records that were not taken */
	uint64_t *taken[NETLOG_DRAIN_TABLES]; /* a bit for each record, in room; or NULL: none is */
	uint64_t *room;
	const struct netlog_secret *secret;
};

/* Returns 0; -ENOTSUP: these are to be merged; -ENOMEM. Then there is nothing to end. */
int netlog_drain_begin(struct netlog_drain *drain, const struct netlog_merge_source *sources,
		       size_t n, const struct netlog_secret *secret);

/* Writes up to capacity rows. Returns how many; 0: there are no more. */
size_t netlog_drain_next(struct netlog_drain *drain, struct netlog_flow *flows, size_t capacity);

/* Ending twice is fine, and so is one that is all zero. */
void netlog_drain_end(struct netlog_drain *drain);

#endif
