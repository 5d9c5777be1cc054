/* SPDX-License-Identifier: BSD-3-Clause */
/* coalesce: the packets of a batch, as they came from the wire -> super-packets with virtio
 * headers, for a TUN with offloads.
 *
 * The rules are those of the kernel's GRO. A packet is joined to the previous packet of its flow if
 * segmenting the two again gives the same bytes. That takes:
 *  - equal headers: TTL, TOS or traffic class, flow label, don't-fragment bit, acknowledgement,
 *    window, and options with their timestamps;
 *  - the next TCP sequence number, and the next IPv4 identification;
 *  - a payload that is not longer than the first one;
 *  - correct checksums, in the one form that a sender writes.
 *
 * PSH or a shorter payload ends a super-packet. These packets pass unchanged: fragments, IP options
 * and extension headers, TCP flags other than ACK, PSH and ECE, UDP without a checksum, and packets
 * without payload.
 *
 * The order of packets is kept within a flow. Super-packets come in the order of their first
 * packets.
 *
 * The bytes stay where they are. A super-packet is an array of iovec: the first packet, whose
 * headers netlog_coalesce_finish() makes those of the whole, and the payloads of the others.
 *
 * Threads: a coalescer belongs to one thread.
 * Ownership: the packets are the caller's, and stay in place until the super-packets are written.
 * Progress: no call waits or allocates. netlog_coalesce_add() takes time in proportion to the bytes
 * of the packet, whatever the other packets are. Bounds: a hash puts flows into COALESCE_SLOTS
 * slots. An attacker who aims at one slot only prevents flows from being joined.
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

/* The most segments of one super-packet: as many as the kernel's GRO puts into a UDP super-packet
 * (UDP_GRO_CNT_MAX). 64 KiB have fewer at an MTU of 1280 or more. */
#define NETLOG_SUPER_SEGMENTS 64u

/* The most flows that are joined at a time. A power of 2. */
#define COALESCE_SLOTS 64u

/* The super-packets that a TUN takes, as bits. */
enum netlog_coalesce_kinds {
	NETLOG_COALESCE_TCP4 = 1,
	NETLOG_COALESCE_TCP6 = 2,
	NETLOG_COALESCE_UDP4 = 4,
	NETLOG_COALESCE_UDP6 = 8,
};

/* A packet, or several that became one. */
struct netlog_super {
	struct virtio_net_hdr header;
	uint16_t gso_size; /* payload bytes of the first packet */
	uint32_t length;   /* bytes of the whole, from the IP header on */
	uint32_t segments;
	uint16_t first, last; /* its first and last piece, as indexes of pieces[] */
	uint16_t transport;   /* offset of the TCP or UDP header */
	uint16_t headers;     /* bytes of all headers */
	uint32_t next_sequence;
	uint16_t next_id;
	uint8_t version;
	uint8_t proto;
	bool checked; /* the first packet's checksums are correct */
	bool push;    /* the last packet had PSH */
};

/* A part of a super-packet: its first packet, or the payload of a later one. */
struct netlog_piece {
	uint8_t *data;
	uint16_t length;
	uint16_t next; /* an index of pieces[] */
};

struct netlog_coalescer {
	uint32_t kinds;
	uint32_t n_supers;
	uint32_t n_pieces;
	uint16_t slots[COALESCE_SLOTS]; /* 1 + the super-packet that is open there; 0: none is */
	struct netlog_piece pieces[NETLOG_COALESCE_PACKETS];
	struct netlog_super supers[NETLOG_COALESCE_PACKETS];
};

/* Empties the coalescer. kinds: the packets that are joined, as enum netlog_coalesce_kinds. All
 * others pass unchanged. */
void netlog_coalesce_begin(struct netlog_coalescer *coalescer, uint32_t kinds);

/* Adds packet[0..length-1], which begins with the IP header. length: 1 to 65535. The contents may
 * be anything. Returns false, and adds nothing, if there is no room. */
bool netlog_coalesce_add(struct netlog_coalescer *coalescer, uint8_t *packet, uint32_t length);

/* Completes the headers. After it, the caller writes supers[0..n_supers-1], once each. */
void netlog_coalesce_finish(struct netlog_coalescer *coalescer);

/* Makes vectors super-packet i as it is written to the TUN, virtio header first. Returns the number
 * of vectors, at most 1 + NETLOG_SUPER_SEGMENTS. They point into the coalescer and the packets. */
uint32_t netlog_coalesce_vectors(struct netlog_coalescer *coalescer, uint32_t i,
				 struct iovec *vectors);

/* Returns super-packet i in the form in which it is counted. Only the headers are at its data,
 * which is all that a decoder reads. */
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
