/* SPDX-License-Identifier: BSD-3-Clause */
/* segment: a packet with its virtio header, as a TUN with offloads delivers it -> the packets that
 * go on the wire.
 *
 * A super-packet (GSO) becomes segments of gso_size bytes of payload, each with headers of its own.
 * Lengths and checksums are those of the segment. IPv4 identifications and TCP sequence numbers are
 * counted on. FIN and PSH are on the last segment only, CWR on the first only. This is what the
 * kernel's own segmentation does, byte by byte. The payload is not moved: a segment consists of new
 * headers and a piece of the packet.
 *
 * If a single packet has a partial checksum, the checksum is completed.
 *
 * The virtio header is not trusted: it must agree with the packet's own headers. If it does not,
 * the packet is refused with a reason and is not changed. hdr_len is not used, except that it must
 * lie within the packet: it is only a hint of the kernel, and may be longer than the headers.
 *
 * The sum of the checksum's pseudo header is taken from the packet, where the kernel has left it.
 * With an IPv6 routing header it is not the sum of the addresses in the IP header.
 *
 * Threads: any; a packet belongs to one thread.
 * Progress: no call waits or allocates. netlog_segments_plan() takes time in proportion to the
 * length of a single packet, netlog_segment_headers() to the bytes of a segment. Sources: Linux
 * include/uapi/linux/virtio_net.h, Documentation/networking/segmentation-offloads; virtio 1.2
 * §5.1.6.
 */
#ifndef NETLOG_SEGMENT_H
#define NETLOG_SEGMENT_H

#include <linux/virtio_net.h>

#include "packet/packet.h"

/* The longest headers that are repeated before each segment. Room for IPv6 with 152 bytes of
 * extension headers and the longest TCP header. */
#define NETLOG_MAX_SEGMENT_HEADERS 256u

/* The reason why a packet is refused. */
enum netlog_segment_fault {
	NETLOG_SEGMENT_MALFORMED = 1, /* not a whole IP packet, or bytes after its end */
	NETLOG_SEGMENT_TYPE = 2,      /* gso_type was not enabled, or is not the packet's */
	NETLOG_SEGMENT_SIZE = 3,      /* a super-packet with a gso_size of 0 */
	NETLOG_SEGMENT_CHECKSUM = 4,  /* no checksum lies at csum_start + csum_offset */
	NETLOG_SEGMENT_HEADERS = 5,   /* headers too long, or hdr_len beyond the packet */
	NETLOG_SEGMENT_FAULTS = 6,
};

/* How a packet is segmented. Valid as long as the packet stays in place. */
struct netlog_segments {
	const uint8_t *data;
	uint32_t length;
	uint32_t headers;   /* bytes before each payload; 0: the packet is the only segment */
	uint32_t gso_size;  /* payload bytes of each segment except the last */
	uint32_t count;     /* segments, 1 or more */
	uint32_t transport; /* offset of the TCP or UDP header */
	uint16_t pseudo;    /* sum of the pseudo header without its length */
	uint8_t version;
	uint8_t proto;
};

/* Plans the segments of data[0..length-1], which begins with the IP header. If a single packet
 * needs its checksum, writes it; writes nothing else to data. Returns 0 or an enum
 * netlog_segment_fault; then data is unchanged, and *plan has no meaning. */
int netlog_segments_plan(const struct virtio_net_hdr *header, uint8_t *data, uint32_t length,
			 struct netlog_segments *plan);

/* The payload of segment i, i < plan->count, and its length. */
NETLOG_INLINE const uint8_t *segment_payload(const struct netlog_segments *plan, uint32_t i)
{
	return plan->data + plan->headers + (size_t)i * plan->gso_size;
}

NETLOG_INLINE uint32_t segment_payload_bytes(const struct netlog_segments *plan, uint32_t i)
{
	return i + 1 < plan->count ? plan->gso_size
				   : plan->length - plan->headers - i * plan->gso_size;
}

/* Writes the headers of segment i, i < plan->count: plan->headers bytes, at most
 * NETLOG_MAX_SEGMENT_HEADERS. Writes nothing for a single packet. */
void netlog_segment_headers(const struct netlog_segments *plan, uint32_t i, uint8_t *headers);

/* Writes segment i as a whole to packet, which has room for plan->headers + plan->gso_size bytes;
 * or, for a single packet, for plan->length bytes. Returns the length of the segment. */
uint32_t netlog_segment_copy(const struct netlog_segments *plan, uint32_t i, uint8_t *packet);

#endif
