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

/* Kinds of frames that are left out, which are told apart; all further ones are one more. */
#define NETLOG_CAPTURE_KINDS 32u

/* A link has no longer packets, but for the loopback interface. A host with offloads has, before
 * they are segmented and after they were joined. */
#define NETLOG_CAPTURE_LARGE 9216u

struct netlog_capture;

struct netlog_capture_kind {
	uint16_t space;  /* enum netlog_frame_space; NETLOG_SPACE_NONE: further ones */
	uint16_t number; /* what that space calls them */
	uint32_t reserved;
	uint64_t frames;
};

/* One call of netlog_capture_count(). */
struct netlog_capture_step {
	/* Set by the caller. Times are nanoseconds since 1970. */
	const uint8_t *data; /* the file, from the first byte that was not consumed */
	size_t bytes;        /* bytes at data */
	uint64_t start_ns;   /* packets before it count as late, and are counted like others */
	uint64_t until_ns;   /* the first nanosecond of the next period */
	/* results */
	size_t consumed; /* bytes, whole records */
	size_t need;     /* bytes from `consumed` on; NETLOG_CAPTURE_MORE only */
	uint64_t time_ns;
	uint32_t fault; /* enum netlog_fault of the record at `consumed`; -EBADMSG only */
	/* sums: added to, and the caller's to reset */
	uint64_t frames[NETLOG_FRAME_FATES];
	uint64_t late;
	uint64_t untimed; /* packets with an impossible time, which count as of the one before */
	uint64_t large;   /* packets of more than NETLOG_CAPTURE_LARGE bytes, each counted as one */
	uint64_t snapped_packets[2]; /* NETLOG_FRAME_SNAPPED, by direction */
	uint64_t snapped_bytes[2];
	uint32_t n_kinds; /* of frames of fates NETLOG_FRAME_NOT_IP and NETLOG_FRAME_LINK */
	struct netlog_capture_kind kinds[NETLOG_CAPTURE_KINDS + 1];
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
