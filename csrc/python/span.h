/* SPDX-License-Identifier: BSD-3-Clause */
/* span: counting packets that lie in one buffer, described by arrays as numpy has them. */
#ifndef NETLOG_SPAN_H
#define NETLOG_SPAN_H

#include "netlog.h"

/* Where n packets lie, and which way they went. */
struct netlog_span {
	const uint8_t *data;
	size_t bytes;
	const uint64_t *offsets; /* n, in bytes from data */
	const uint64_t *lengths; /* n, in bytes */
	const uint8_t
		*directions; /* n of enum netlog_direction, or NULL: direction is that of all */
	uint32_t direction;
	size_t n;
};

/* One bracket around all of it. -EINVAL if a packet does not lie within data; then nothing was
 * counted. The lane's owner only. */
int netlog_lane_count_span(struct netlog_lane *lane, const struct netlog_span *span);

/* One bracket around packets and datagrams, for callers that something may interrupt between two
 * calls, as a signal's handler does in Python: a bracket must not stay open. The lane's owner only.
 */
void netlog_lane_count_bracket(struct netlog_lane *lane, const struct netlog_packet *packets,
			       size_t n_packets, const struct netlog_datagram *datagrams,
			       size_t n_datagrams);

#endif
