/* SPDX-License-Identifier: BSD-3-Clause */
/* tally: how many rows a class has, and what their counts add up to. */
#ifndef NETLOG_TALLY_H
#define NETLOG_TALLY_H

#include "netlog.h"

/* A message has four arrays of entries; each is a class. */
#define NETLOG_CLASSES 4

struct netlog_tally {
	uint64_t rows;
	uint64_t tx_packets; /* a sum beyond 2^64 - 1 stays there */
	uint64_t tx_bytes;
	uint64_t rx_packets;
	uint64_t rx_bytes;
};

/* Adds each row to tallies[classes[i]]. A row that would be the entry {}, without address, protocol
 * and counts, gets the class NETLOG_LEFT_OUT instead. Rows of other classes are not looked at. */
void netlog_tally_flows(const struct netlog_flow *flows, size_t n, uint8_t *classes,
			struct netlog_tally tallies[NETLOG_CLASSES]);

#endif
