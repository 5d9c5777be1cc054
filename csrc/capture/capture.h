/* SPDX-License-Identifier: BSD-3-Clause */
/* capture: the bytes of a capture file -> counts on a lane of a meter.
 *
 * The caller hands over the file piece by piece, in a buffer of its own, and cuts the periods:
 * counting stops before the first packet that is not of the current one. A file with a fault is
 * counted up to there.
 *
 * A packet that the snap length cut counts as what it was on the wire, as long as its headers up to
 * the ports were captured.
 *
 * Threads: one at a time. Ownership: the capture keeps no pointer into the caller's bytes.
 */
#ifndef NETLOG_CAPTURE_H
#define NETLOG_CAPTURE_H

#include "netlog.h"
#include "prefixes/prefixes.h"
#include "capture/records.h"

/* Records of one call. A meter that holds four times as many connections is never full before the
 * caller learns that it is nearly so. */
#define NETLOG_CAPTURE_MAX_RECORDS 32768u

/* Why netlog_capture_count() returned. */
enum netlog_capture_stop {
	NETLOG_CAPTURE_MORE = 0,   /* the next record is not all there: it needs `need` bytes */
	NETLOG_CAPTURE_PERIOD = 1, /* the next packet is of time_ns, which is not before until_ns */
	NETLOG_CAPTURE_PAUSE = 2,  /* NETLOG_CAPTURE_MAX_RECORDS: call again */
};

struct netlog_capture;

/* One call of netlog_capture_count(). */
struct netlog_capture_step {
	const uint8_t *data; /* the file, from the first byte that was not consumed yet */
	size_t bytes;        /* of it */
	uint64_t start_ns;   /* packets before it are late, and counted all the same */
	uint64_t until_ns;   /* the first nanosecond of the next period */
	/* results */
	size_t consumed; /* bytes, whole records */
	size_t need;     /* bytes from `consumed` on; NETLOG_CAPTURE_MORE only */
	uint64_t time_ns;
	uint32_t fault;        /* enum netlog_fault of the record at `consumed`; -EBADMSG only */
	uint32_t unknown_link; /* the last link type of fate NETLOG_FRAME_LINK */
	/* sums: added to, and the caller's to reset */
	uint64_t frames[NETLOG_FRAME_FATES];
	uint64_t late;
	uint64_t snapped_packets[2]; /* NETLOG_FRAME_SNAPPED, by direction */
	uint64_t snapped_bytes[2];
};

/* locals: non-zero for the addresses of this node, or NULL; it outlives the capture. With it, a
 * packet from such an address is tx, else one to such an address is rx, else tx. Without it, what a
 * cooked link says, else tx. -ENOMEM. */
int netlog_capture_open(const struct netlog_prefixes *locals, struct netlog_capture **capture);
/* NULL is fine. */
void netlog_capture_close(struct netlog_capture *capture);

/* Counts the packets of a period on the lane, in one bracket. Returns an enum netlog_capture_stop,
 * -EBADMSG for a fault, or -ENOMEM. After an error the capture is good for nothing but closing. */
int netlog_capture_count(struct netlog_capture *capture, struct netlog_lane *lane,
			 struct netlog_capture_step *step);

#endif
