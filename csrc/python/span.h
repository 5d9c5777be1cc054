/* SPDX-License-Identifier: BSD-3-Clause */
/* span: counts packets that lie in one buffer and are described by numpy arrays. */
#ifndef NETLOG_SPAN_H
#define NETLOG_SPAN_H

#include "netlog.h"

/* n packets: their places in a buffer, and their directions. */
struct netlog_span {
	const uint8_t *data;
	size_t bytes;
	const uint64_t *offsets;   /* n, in bytes from data */
	const uint64_t *lengths;   /* n, in bytes */
	const uint8_t *directions; /* n of enum netlog_direction; NULL: all have `direction` */
	uint32_t direction;
	size_t n;
};

/* Counts all packets of a span in one bracket. Returns 0; -EINVAL: a packet does not lie within
 * data, and nothing was counted. Only the lane's owner calls it. */
int netlog_lane_count_span(struct netlog_lane *lane, const struct netlog_span *span);

/* Counts packets and datagrams in one bracket. For callers that can be interrupted between two
 * calls, as by a signal handler in Python: a bracket must not stay open. Only the lane's owner
 * calls it. */
void netlog_lane_count_bracket(struct netlog_lane *lane, const struct netlog_packet *packets,
			       size_t n_packets, const struct netlog_datagram *datagrams,
			       size_t n_datagrams);

#endif
