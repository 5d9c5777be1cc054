/* SPDX-License-Identifier: BSD-3-Clause */
/* row: a table's record -> a row that leaves the meter; see include/netlog_flow.h. */
#ifndef NETLOG_ROW_H
#define NETLOG_ROW_H

#include "netlog_flow.h"

/* Makes flow the row of record, with wider counters. */
static inline void flow_widen(struct netlog_flow *flow, const struct netlog_record *record)
{
	flow->connection = record->connection;
	flow->tx_packets = record->packets[NETLOG_TX];
	flow->tx_bytes = record->bytes[NETLOG_TX];
	flow->rx_packets = record->packets[NETLOG_RX];
	flow->rx_bytes = record->bytes[NETLOG_RX];
}

/* Adds the counts of record, of the same connection, to flow. */
static inline void flow_add(struct netlog_flow *flow, const struct netlog_record *record)
{
	flow->tx_packets += record->packets[NETLOG_TX];
	flow->tx_bytes += record->bytes[NETLOG_TX];
	flow->rx_packets += record->packets[NETLOG_RX];
	flow->rx_bytes += record->bytes[NETLOG_RX];
}

#endif
