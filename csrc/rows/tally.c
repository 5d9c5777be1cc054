/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "rows/tally.h"

#include "prefixes/family.h"
#include "rows/sort.h"

static void add(uint64_t *sum, uint64_t value)
{
	if (__builtin_add_overflow(*sum, value, sum))
		*sum = UINT64_MAX;
}

static bool says_nothing(const struct netlog_flow *flow)
{
	struct wide value;

	return !(flow->tx_packets | flow->tx_bytes | flow->rx_packets | flow->rx_bytes |
		 flow->connection.proto) &&
	       !family_src(&flow->connection, &value) && !family_dst(&flow->connection, &value);
}

void netlog_tally_flows(const struct netlog_flow *flows, size_t n, uint8_t *classes,
			struct netlog_tally tallies[NETLOG_CLASSES])
{
	for (size_t i = 0; i < n; i++) {
		const struct netlog_flow *flow = &flows[i];
		struct netlog_tally *tally;

		if (classes[i] >= NETLOG_CLASSES)
			continue;
		if (says_nothing(flow)) {
			classes[i] = NETLOG_LEFT_OUT;
			continue;
		}
		tally = &tallies[classes[i]];
		tally->rows++;
		add(&tally->tx_packets, flow->tx_packets);
		add(&tally->tx_bytes, flow->tx_bytes);
		add(&tally->rx_packets, flow->rx_packets);
		add(&tally->rx_bytes, flow->rx_bytes);
	}
}
