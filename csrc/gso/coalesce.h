/* SPDX-License-Identifier: BSD-3-Clause */
/* coalesce: the packets of a batch, as they came off the wire -> super-packets with their virtio
 * headers, for a TUN with offloads.
 *
 * The rules are those of the kernel's GRO. A packet is joined to the one before it of its flow if
 * segmenting the two again gives the same bytes: equal headers (TTL, TOS or traffic class, flow
 * label, don't-fragment bit, acknowledgement, window, options with their timestamps), the next TCP
 * sequence number, the next IPv4 identification, a payload no longer than the first one's, and
 * checksums that are right, in the one form that a sender writes. PSH or a shorter payload ends a
 * super-packet. All else goes on as it is: fragments, IP options and extension headers, TCP flags
 * other than ACK, PSH and ECE, UDP without a checksum, packets without payload.
 *
 * The order of packets is kept within a flow. Super-packets come in the order of their first
 * packets.
 *
 * The bytes stay where they are: a super-packet is the first packet, whose headers finish() makes
 * those of the whole, and the payloads of the others, as an array of iovec.
 *
 * Threads: a coalescer belongs to one. Ownership: the packets are the caller's, and stay in place
 * until the super-packets are written. Progress: no call waits or allocates; add() takes time by
 * the bytes of the packet, whatever the others are. Flows meet in COALESCE_SLOTS slots by a hash;
 * who aims at one keeps flows from being joined, and no more.
 *
 * Sources: Linux net/ipv4/tcp_offload.c, udp_offload.c, net/core/gro.c; RFC 6864 (identification).
 */
#ifndef NETLOG_COALESCE_H
#define NETLOG_COALESCE_H

#include <linux/virtio_net.h>
#include <sys/uio.h>

#include "packet/packet.h"

/* Packets that a coalescer takes before its super-packets are written. */
#define NETLOG_COALESCE_PACKETS 512u

/* Segments of one super-packet: as many as the kernel's GRO gives a UDP one (UDP_GRO_CNT_MAX), and
 * more than 64 KiB have at an MTU of 1280 or more. */
#define NETLOG_SUPER_SEGMENTS 64u

/* Flows that are joined at a time, at most. A power of 2. */
#define COALESCE_SLOTS 64u

/* What the TUN takes, as bits. */
enum netlog_coalesce_kinds {
	NETLOG_COALESCE_TCP4 = 1,
	NETLOG_COALESCE_TCP6 = 2,
	NETLOG_COALESCE_UDP4 = 4,
	NETLOG_COALESCE_UDP6 = 8,
};

/* A packet, or several that became one. */
struct netlog_super {
	struct virtio_net_hdr header;
	uint16_t gso_size; /* payload of the first */
	uint32_t length;   /* bytes of the whole, from the IP header on */
	uint32_t segments;
	uint16_t first, last; /* pieces */
	uint16_t transport;
	uint16_t headers;
	uint32_t next_sequence;
	uint16_t next_id;
	uint8_t version;
	uint8_t proto;
	bool checked; /* the first packet's checksums are right */
	bool push;    /* the last one had PSH */
};

struct netlog_piece {
	uint8_t *data;
	uint16_t length;
	uint16_t next;
};

struct netlog_coalescer {
	uint32_t kinds;
	uint32_t n_supers;
	uint32_t n_pieces;
	uint16_t slots[COALESCE_SLOTS]; /* 1 + the super-packet that is open there, or 0 */
	struct netlog_piece pieces[NETLOG_COALESCE_PACKETS];
	struct netlog_super supers[NETLOG_COALESCE_PACKETS];
};

/* Empties it. kinds: what is joined; all else goes on as it is. */
void netlog_coalesce_begin(struct netlog_coalescer *coalescer, uint32_t kinds);

/* Takes packet[0..length-1], from the IP header on, whatever is in it; length 1 to 65535. False if
 * there is no room: then it was not taken. */
bool netlog_coalesce_add(struct netlog_coalescer *coalescer, uint8_t *packet, uint32_t length);

/* Completes the headers. Then supers[0..n_supers-1] are to be written, once. */
void netlog_coalesce_finish(struct netlog_coalescer *coalescer);

/* A super-packet as it is written to the TUN, virtio header first. Returns how many vectors, at
 * most 1 + NETLOG_SUPER_SEGMENTS. They point into the coalescer and the packets. */
uint32_t netlog_coalesce_vectors(struct netlog_coalescer *coalescer, uint32_t i,
				 struct iovec *vectors);

/* The super-packet as it is counted. Only what a decoder reads of it, its headers, is there. */
NETLOG_INLINE struct netlog_packet coalesce_packet(const struct netlog_coalescer *coalescer,
						   uint32_t i)
{
	const struct netlog_super *super = &coalescer->supers[i];

	return (struct netlog_packet){
		.data = coalescer->pieces[super->first].data,
		.length = super->length,
		.gso_size = super->header.gso_size,
	};
}

#endif
