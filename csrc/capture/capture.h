/* SPDX-License-Identifier: BSD-3-Clause */
/* capture: the bytes of a capture file -> counts on a lane of a meter.
 *
 * The caller passes the file piece by piece, in a buffer of its own, and sets the periods: counting
 * stops before the first packet that is after the current period. A file with a fault is counted up
 * to the fault.
 *
 * A packet that was cut by the snap length counts with its length on the wire, if its headers up to
 * the ports were captured.
 *
 * Threads: one at a time. Ownership: the capture keeps no pointer into the caller's bytes.
 */
#ifndef NETLOG_CAPTURE_H
#define NETLOG_CAPTURE_H

#include "netlog.h"
#include "prefixes/prefixes.h"
#include "capture/records.h"

/* The most records of one call. A meter with room for four times as many connections is never full
 * before the caller learns that it is nearly full. */
#define NETLOG_CAPTURE_MAX_RECORDS 32768u

/* Why netlog_capture_count() returned. */
enum netlog_capture_stop {
	NETLOG_CAPTURE_MORE = 0,   /* the next record is incomplete: it needs `need` bytes */
	NETLOG_CAPTURE_PERIOD = 1, /* the next packet, at time_ns, is not before until_ns */
	NETLOG_CAPTURE_PAUSE = 2,  /* NETLOG_CAPTURE_MAX_RECORDS were read: call again */
};

struct netlog_capture;

/* One call of netlog_capture_count(). */
struct netlog_capture_step {
	/* Set by the caller. Times are nanoseconds since 1970. */
	const uint8_t *data; /* the file, from the first byte that was not consumed */
	size_t bytes;        /* bytes at data */
	uint64_t start_ns;   /* packets before it count as late, and are counted like others */
	uint64_t until_ns;   /* the first nanosecond of the next period */
	/* Results. */
	size_t consumed;       /* bytes of the records that were read, all whole */
	size_t need;           /* bytes from `consumed` on; only after NETLOG_CAPTURE_MORE */
	uint64_t time_ns;      /* of the next packet; only after NETLOG_CAPTURE_PERIOD */
	uint32_t fault;        /* enum netlog_fault of the record at `consumed`; 0: none */
	uint32_t unknown_link; /* the link type of the last frame with NETLOG_FRAME_LINK */
	/* Sums. The call adds to them; the caller resets them. */
	uint64_t frames[NETLOG_FRAME_FATES];
	uint64_t late;               /* packets before start_ns */
	uint64_t snapped_packets[2]; /* those with NETLOG_FRAME_SNAPPED, by direction */
	uint64_t snapped_bytes[2];
};

/* Opens a capture at the beginning of a file.
 *
 * locals: a map that is non-zero for the addresses of this node; it must outlive the capture. It
 * decides the direction: a packet from such an address is tx; any other packet to such an address
 * is rx; all others are tx. NULL: a cooked link header decides; without one, packets are tx.
 *
 * Returns 0 or -ENOMEM. */
int netlog_capture_open(const struct netlog_prefixes *locals, struct netlog_capture **capture);
/* NULL is allowed. */
void netlog_capture_close(struct netlog_capture *capture);

/* Counts the packets of a period on the lane, in one bracket. Returns an enum netlog_capture_stop;
 * -EBADMSG: the record at `consumed` has a fault; or -ENOMEM. After an error the capture can only
 * be closed. */
int netlog_capture_count(struct netlog_capture *capture, struct netlog_lane *lane,
			 struct netlog_capture_step *step);

#endif
