/* SPDX-License-Identifier: BSD-3-Clause */
/* segment: a packet with its virtio header, as a TUN with offloads hands it over -> the packets
 * that go on the wire.
 *
 * A super-packet (GSO) becomes segments of gso_size bytes of payload, each with all headers of its
 * own: lengths and checksums its own, IPv4 identifications and TCP sequence numbers counted on,
 * FIN and PSH on the last segment only, CWR on the first only. That is what the kernel's own
 * segmentation does, byte by byte. A packet of its own whose checksum is still partial gets it
 * completed. The payload is not moved: a segment is headers that are written, and a piece of the
 * packet.
 *
 * Nothing that the virtio header says is believed: it must agree with the packet's own headers, or
 * the packet is refused with a reason and is not changed. hdr_len is a hint of the kernel's, which
 * may be longer than the headers are, and is not used.
 *
 * The checksum's pseudo header is taken from the packet, where the kernel has left its sum: with an
 * IPv6 routing header it is not that of the addresses.
 *
 * Threads: any; a packet belongs to one. Progress: no call waits or allocates; plan() takes time by
 * the length of a packet of its own, headers() by the bytes of a segment.
 * Sources: Linux include/uapi/linux/virtio_net.h, Documentation/networking/segmentation-offloads;
 * virtio 1.2 §5.1.6.
 */
#ifndef NETLOG_SEGMENT_H
#define NETLOG_SEGMENT_H

#include <linux/virtio_net.h>

#include "packet/packet.h"

/* The longest headers that are repeated in front of each segment: IPv6 with 152 bytes of extension
 * headers before a TCP header at its longest. */
#define NETLOG_MAX_SEGMENT_HEADERS 256u

/* Why a packet is refused. */
enum netlog_segment_fault {
	NETLOG_SEGMENT_MALFORMED = 1, /* no whole IP packet, or bytes behind its end */
	NETLOG_SEGMENT_TYPE = 2,      /* a gso_type that was not asked for, or not the packet's */
	NETLOG_SEGMENT_SIZE = 3,      /* a super-packet with a gso_size of 0 */
	NETLOG_SEGMENT_CHECKSUM = 4,  /* csum_start or csum_offset is not where a checksum is */
	NETLOG_SEGMENT_HEADERS = 5,   /* too long, or hdr_len beyond the packet */
	NETLOG_SEGMENT_FAULTS = 6,
};

/* How a packet is segmented. Good as long as the packet is where it was. */
struct netlog_segments {
	const uint8_t *data;
	uint32_t length;
	uint32_t headers;  /* bytes in front of each segment; 0: the packet is the only segment */
	uint32_t gso_size; /* bytes of payload of each segment but the last */
	uint32_t count;    /* 1 or more */
	uint32_t transport;
	uint16_t pseudo; /* sum of the pseudo header, but for its length */
	uint8_t version;
	uint8_t proto;
};

/* Plans the segments of data[0..length-1], from the IP header on. A packet of its own that needs
 * its checksum gets it here; nothing else of data is written. Returns 0 or an enum
 * netlog_segment_fault; then data is as it was, and plan means nothing. */
int netlog_segments_plan(const struct virtio_net_hdr *header, uint8_t *data, uint32_t length,
			 struct netlog_segments *plan);

/* Where the payload of segment i begins, i < plan->count, and how long it is. */
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
 * NETLOG_MAX_SEGMENT_HEADERS. Nothing for a packet of its own. */
void netlog_segment_headers(const struct netlog_segments *plan, uint32_t i, uint8_t *headers);

/* Writes the whole of segment i to packet, which has room for plan->headers + plan->gso_size bytes.
 * Returns its bytes. */
uint32_t netlog_segment_copy(const struct netlog_segments *plan, uint32_t i, uint8_t *packet);

#endif
