/* SPDX-License-Identifier: BSD-3-Clause */
#include "python/span.h"

#include <errno.h>
#include <string.h>

#include "base/compiler.h"

/* Packets that are counted in one call: so few that their descriptors stay in the first-level
 * cache. */
#define CHUNK_PACKETS 64

NETLOG_INLINE uint64_t word_at(const struct netlog_words *words, size_t i)
{
	uint64_t wide;
	uint32_t narrow;

	if (words->kind == NETLOG_WORDS_64) {
		memcpy(&wide, (const char *)words->data + i * sizeof(wide), sizeof(wide));
		return wide;
	}
	memcpy(&narrow, (const char *)words->data + i * sizeof(narrow), sizeof(narrow));
	return words->kind == NETLOG_WORDS_I32 ? (uint64_t)(int64_t)(int32_t)narrow : narrow;
}

NETLOG_INLINE bool lies_within(const struct netlog_span *span, uint64_t offset, uint64_t length)
{
	return length <= span->bytes && length <= UINT32_MAX && offset <= span->bytes - length;
}

static bool all_lie_within(const struct netlog_span *span)
{
	bool within = true;

	for (size_t i = 0; i < span->n; i++)
		within &= lies_within(span, word_at(&span->offsets, i), word_at(&span->lengths, i));
	return within;
}

int netlog_lane_count_span(struct netlog_lane *lane, const struct netlog_span *span)
{
	struct netlog_packet packets[CHUNK_PACKETS];

	if (!all_lie_within(span))
		return -EINVAL;
	netlog_lane_enter(lane);
	for (size_t start = 0; start < span->n; start += CHUNK_PACKETS) {
		size_t part = span->n - start < CHUNK_PACKETS ? span->n - start : CHUNK_PACKETS;

		for (size_t i = 0; i < part; i++) {
			uint64_t offset = word_at(&span->offsets, start + i);
			uint64_t length = word_at(&span->lengths, start + i);

			/* Again, because the arrays are the caller's. */
			if (unlikely(!lies_within(span, offset, length)))
				offset = length = 0;
			packets[i].data = span->data + offset;
			packets[i].length = (uint32_t)length;
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
