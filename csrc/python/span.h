/* SPDX-License-Identifier: BSD-3-Clause */
/* span: counts packets that lie in one buffer and are described by arrays of integers. */
#ifndef NETLOG_SPAN_H
#define NETLOG_SPAN_H

#include "netlog.h"

/* What the integers of an array are. Those of 64 bits are taken as unsigned: a negative one is
 * greater than any buffer. */
enum netlog_words_kind {
	NETLOG_WORDS_64 = 0,
	NETLOG_WORDS_U32 = 1,
	NETLOG_WORDS_I32 = 2,
};

/* An array of integers in host order, aligned or not. */
struct netlog_words {
	const void *data;
	uint32_t kind; /* enum netlog_words_kind */
};

/* n packets: their places in a buffer, and their directions. */
struct netlog_span {
	const uint8_t *data;
	size_t bytes;
	struct netlog_words offsets; /* n, in bytes from data */
	struct netlog_words lengths; /* n, in bytes */
	const uint8_t *directions;   /* n of enum netlog_direction; NULL: all have `direction` */
	uint32_t direction;
	size_t n;
};

/* Counts all packets of a span in one bracket. Only the lane's owner calls it.
 *
 * Returns 0; -EINVAL: a packet does not lie within data, and nothing was counted. Another thread
 * may write to the arrays meanwhile: nothing outside of data is read, and what then lies outside
 * counts as a packet of length 0. */
int netlog_lane_count_span(struct netlog_lane *lane, const struct netlog_span *span);

/* Counts packets and datagrams in one bracket. For callers that can be interrupted between two
 * calls, as by a signal handler in Python: a bracket must not stay open. Only the lane's owner
 * calls it. */
void netlog_lane_count_bracket(struct netlog_lane *lane, const struct netlog_packet *packets,
			       size_t n_packets, const struct netlog_datagram *datagrams,
			       size_t n_datagrams);

#endif
