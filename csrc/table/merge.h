/* SPDX-License-Identifier: BSD-3-Clause */
/* merge: the records of several tables -> one row for each connection.
 *
 * Works in memory of the poller's own. The caller may lend a table's index, which saves building
 * another one. Nothing in a lent index is trusted: positions are checked, keys are compared, and
 * probes are bounded. A corrupt index can make a connection appear twice, but the sums stay right,
 * and nothing worse happens. Do not lend the index of a meter in a file, which other programs
 * write.
 */
#ifndef NETLOG_MERGE_H
#define NETLOG_MERGE_H

#include "table/index.h"
#include "packet/key.h"
#include "netlog.h"

struct netlog_merge_source {
	const struct netlog_record *records;
	size_t count;
	bool split;                       /* may have several records of a connection */
	const struct netlog_index *index; /* of the records, by key_hash(); NULL: not lent */
};

/* Merges n tables. flows has room for as many rows as all tables have records. Returns the number
 * of rows written, or -ENOMEM. */
ssize_t netlog_merge(const struct netlog_merge_source *sources, size_t n,
		     const struct netlog_secret *secret, struct netlog_flow *flows);

#endif
