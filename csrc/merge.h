/* SPDX-License-Identifier: BSD-3-Clause */
/* merge: the records of several tables -> one row a connection.
 *
 * Works in memory of the poller's own and reads nothing of the tables but their records, so an
 * index that another process may have spoilt can not mislead it.
 */
#ifndef NETLOG_MERGE_H
#define NETLOG_MERGE_H

#include "key.h"
#include "netlog.h"

struct netlog_merge_source {
	const struct netlog_record *records;
	size_t count;
	bool split; /* may hold a connection more than once */
};

/* Writes at most the sum of all counts rows to flows and returns how many; -ENOMEM. */
ssize_t netlog_merge(const struct netlog_merge_source *sources, size_t n,
		     const struct netlog_secret *secret, struct netlog_flow *flows);

#endif
