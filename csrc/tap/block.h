/* SPDX-License-Identifier: BSD-3-Clause */
/* block: a block of a packet socket's ring (TPACKET_V3) -> counts on a lane.
 *
 * At a TUN each frame is an IP packet or, as its virtio header says, a super-packet. Packets that
 * left this host's stack are tx, all others are rx.
 *
 * At a socket each frame is a UDP datagram from or to one local port. It is counted by its remote
 * endpoint:
 *  - Its bytes are those that the UDP header announces. So the first fragment of a datagram counts
 *    for the whole datagram. The other fragments, which have no UDP header, are not counted.
 *  - A frame that left this host counts if the port is its source (tx). A frame that came to this
 *    host counts if the port is its destination (rx). On `lo` each datagram is seen twice, leaving
 *    and coming; it counts once for each end that has the port.
 *
 * The kernel writes the ring. Every offset and length in it is checked nevertheless, and only
 * captured bytes within the block are read.
 *
 * Threads: one at a time. Sources: Linux Documentation/networking/packet_mmap.rst,
 * include/linux/if_packet.h, virtio_net.h; RFC 768.
 */
#ifndef NETLOG_TAP_BLOCK_H
#define NETLOG_TAP_BLOCK_H

#include "netlog.h"

/* Counters of a tap, in frames since it was opened. */
enum netlog_tap_count {
	NETLOG_TAP_FRAMES = 0,     /* read from the ring */
	NETLOG_TAP_COUNTED = 1,    /* counted on the lane, perhaps as unattributed */
	NETLOG_TAP_SNAPPED = 2,    /* of these: headers longer than the snap length; unattributed */
	NETLOG_TAP_NOT_IP = 3,     /* not counted: not IP, as the link header says */
	NETLOG_TAP_OTHER_HOST = 4, /* not counted: neither from nor to this host */
	NETLOG_TAP_MALFORMED = 5,  /* not counted: not a datagram of the port */
	NETLOG_TAP_UNREADABLE = 6, /* announced by the ring, but not found in it */
	NETLOG_TAP_DROPS = 7,      /* not counted: the kernel found no room in the ring */
	NETLOG_TAP_FREEZES = 8,    /* not frames: times that the ring became full */
	NETLOG_TAP_COUNTS = 9,
};

struct netlog_tap_reader {
	struct netlog_lane *lane;           /* the caller has entered it */
	uint8_t point;                      /* enum netlog_point */
	uint16_t port;                      /* the local port, host order; NETLOG_SOCK only */
	uint64_t counts[NETLOG_TAP_COUNTS]; /* the reader adds to them */
};

/* Counts the frames of a block that belongs to this program now. block: a struct tpacket_block_desc
 * with its frames, of `bytes` in all. */
void netlog_tap_count_block(struct netlog_tap_reader *reader, const uint8_t *block, size_t bytes);

#endif
