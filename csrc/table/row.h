/* SPDX-License-Identifier: BSD-3-Clause */
/* row: a table's record as a row that leaves the meter; see netlog_flow.h. */
#ifndef NETLOG_ROW_H
#define NETLOG_ROW_H

#include "netlog_flow.h"

static inline void flow_widen(struct netlog_flow *flow, const struct netlog_record *record)
{
	flow->connection = record->connection;
	flow->tx_packets = record->packets[NETLOG_TX];
	flow->tx_bytes = record->bytes[NETLOG_TX];
	flow->rx_packets = record->packets[NETLOG_RX];
	flow->rx_bytes = record->bytes[NETLOG_RX];
}

static inline void flow_add(struct netlog_flow *flow, const struct netlog_record *record)
{
	flow->tx_packets += record->packets[NETLOG_TX];
	flow->tx_bytes += record->bytes[NETLOG_TX];
	flow->rx_packets += record->packets[NETLOG_RX];
	flow->rx_bytes += record->bytes[NETLOG_RX];
}

#endif
