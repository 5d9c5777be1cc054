/* SPDX-License-Identifier: BSD-3-Clause */
/* tally: the number of rows of each class, and the sums of their counts. */
#ifndef NETLOG_TALLY_H
#define NETLOG_TALLY_H

#include "netlog.h"

/* A message has four arrays of entries, one for each class. */
#define NETLOG_CLASSES 4

struct netlog_tally {
	uint64_t rows;
	uint64_t tx_packets; /* each sum stays at 2^64 - 1 once it reaches that */
	uint64_t tx_bytes;
	uint64_t rx_packets;
	uint64_t rx_bytes;
};

/* Adds each row to tallies[classes[i]]. A row without addresses, protocol and counts, which would
 * become the entry {}, gets the class NETLOG_LEFT_OUT instead. Rows of other classes are not read.
 */
void netlog_tally_flows(const struct netlog_flow *flows, size_t n, uint8_t *classes,
			struct netlog_tally tallies[NETLOG_CLASSES]);

#endif
