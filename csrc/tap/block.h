/* SPDX-License-Identifier: BSD-3-Clause */
/* block: a block of a packet socket's ring (TPACKET_V3) -> counts on a lane.
 *
 * At a TUN each frame is an IP packet, or a super-packet by its virtio header. What left this
 * host's stack is tx, all else rx. At a socket each frame is a UDP datagram to or from one local
 * port, counted by its remote endpoint:
 *  - Its bytes are those that its UDP header announces. So the first fragment of a datagram counts
 *    for the whole of it, and the others, which have no UDP header, are left out.
 *  - A frame that left this host counts if the port is its source (tx), one that came to this host
 *    if it is its destination (rx). On `lo`, where each datagram is seen leaving and coming, it
 *    counts once for each end that has the port, and no more.
 *
 * The kernel lays the ring out; every offset and length in it is checked all the same, and nothing
 * beyond the block, or beyond what was captured of a frame, is read.
 *
 * Threads: one at a time. Sources: Linux Documentation/networking/packet_mmap.rst,
 * include/linux/if_packet.h, virtio_net.h; RFC 768.
 */
#ifndef NETLOG_TAP_BLOCK_H
#define NETLOG_TAP_BLOCK_H

#include "netlog.h"

/* What becomes of frames, and of the ring; each a sum since the tap was opened. */
enum netlog_tap_count {
	NETLOG_TAP_FRAMES = 0,     /* found in the ring */
	NETLOG_TAP_COUNTED = 1,    /* counted on the lane, if maybe as unattributed */
	NETLOG_TAP_SNAPPED = 2,    /* of these: headers longer than the snap length; unattributed */
	NETLOG_TAP_NOT_IP = 3,     /* left out: the link says that it is something else */
	NETLOG_TAP_OTHER_HOST = 4, /* left out: neither from nor to this host */
	NETLOG_TAP_MALFORMED = 5,  /* left out: no datagram of the port */
	NETLOG_TAP_UNREADABLE = 6, /* the ring did not hold what it announced */
	NETLOG_TAP_DROPS = 7,      /* the kernel found no room in the ring: not counted */
	NETLOG_TAP_FREEZES = 8,    /* times that the ring ran full */
	NETLOG_TAP_COUNTS = 9,
};

struct netlog_tap_reader {
	struct netlog_lane *lane;           /* the caller is between its enter and leave */
	uint8_t point;                      /* enum netlog_point */
	uint16_t port;                      /* the local one, host order; NETLOG_SOCK only */
	uint64_t counts[NETLOG_TAP_COUNTS]; /* added to */
};

/* block: `bytes` of a struct tpacket_block_desc that the kernel has handed over. */
void netlog_tap_count_block(struct netlog_tap_reader *reader, const uint8_t *block, size_t bytes);

#endif
