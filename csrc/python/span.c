/* SPDX-License-Identifier: BSD-3-Clause */
#include "python/span.h"

#include <errno.h>

/* Packets that are counted in one call: so few that their descriptors stay in the first-level
 * cache. */
#define CHUNK_PACKETS 64

static bool lies_within(const struct netlog_span *span)
{
	bool outside = false;

	for (size_t i = 0; i < span->n; i++) {
		uint64_t length = span->lengths[i];

		outside |= length > span->bytes || length > UINT32_MAX ||
			   span->offsets[i] > span->bytes - length;
	}
	return !outside;
}

int netlog_lane_count_span(struct netlog_lane *lane, const struct netlog_span *span)
{
	struct netlog_packet packets[CHUNK_PACKETS];

	if (!lies_within(span))
		return -EINVAL;
	netlog_lane_enter(lane);
	for (size_t start = 0; start < span->n; start += CHUNK_PACKETS) {
		size_t part = span->n - start < CHUNK_PACKETS ? span->n - start : CHUNK_PACKETS;

		for (size_t i = 0; i < part; i++) {
			packets[i].data = span->data + span->offsets[start + i];
			packets[i].length = (uint32_t)span->lengths[start + i];
			packets[i].gso_size = 0;
			packets[i].direction = span->directions ? span->directions[start + i]
								: (uint8_t)span->direction;
			packets[i].headers = 0;
		}
		netlog_lane_count_packets(lane, packets, part);
	}
	netlog_lane_leave(lane);
	return 0;
}

void netlog_lane_count_bracket(struct netlog_lane *lane, const struct netlog_packet *packets,
			       size_t n_packets, const struct netlog_datagram *datagrams,
			       size_t n_datagrams)
{
	netlog_lane_enter(lane);
	/* Mostly there is one packet of one kind, and an empty call would cost much in proportion.
	 */
	if (n_packets)
		netlog_lane_count_packets(lane, packets, n_packets);
	if (n_datagrams)
		netlog_lane_count_datagrams(lane, datagrams, n_datagrams);
	netlog_lane_leave(lane);
}
