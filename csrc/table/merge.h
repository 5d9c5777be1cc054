/* SPDX-License-Identifier: BSD-3-Clause */
/* merge: the records of several tables -> one row a connection.
 *
 * Works in memory of the poller's own. A table's index may be lent, which saves the making of
 * another one; nothing that stands in it is believed: positions are checked, keys are compared, and
 * probes are bounded. A spoilt one can make a connection come twice, with the sums right, and no
 * more. For a region that another process writes, lend none.
 */
#ifndef NETLOG_MERGE_H
#define NETLOG_MERGE_H

#include "table/index.h"
#include "packet/key.h"
#include "netlog.h"

struct netlog_merge_source {
	const struct netlog_record *records;
	size_t count;
	bool split;                       /* may hold a connection more than once */
	const struct netlog_index *index; /* of the records, by key_hash(); or NULL */
};

/* Writes at most the sum of all counts rows to flows and returns how many; -ENOMEM. */
ssize_t netlog_merge(const struct netlog_merge_source *sources, size_t n,
		     const struct netlog_secret *secret, struct netlog_flow *flows);

#endif
