/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <linux/virtio_net.h>
#include <string.h>

#include "preload/descriptors.h"
#include "packet/frame.h"
#include "meter/meter.h"
#include "preload/observe.h"
#include "preload/process.h"

#define PI_BYTES    4
#define VNET_FIELDS 10 /* the bytes of the virtio header that are read */
/* The bytes that are gathered of a packet in several vectors: enough for all headers that a stack
 * sends. Longer chains of IPv6 extension headers count as malformed. */
#define GATHERED 2048
/* The transport header of a super-packet ends at most this many bytes after its ports. */
#define TRANSPORT_BYTES 64

/* These stand for a packet whose own bytes must not be read. not_ip has no IP version: for a frame
 * of another protocol, whose bytes could look like IP. malformed is an IPv4 header that is too
 * short. The decoders read no further than that. */
static const uint8_t not_ip[PACKET_IP6_HEADER + PACKET_PORTS];
static const uint8_t malformed[PACKET_IP6_HEADER + PACKET_PORTS] = {0x40};

static void count_unattributed(int reason, const struct netlog_increment *increment)
{
	struct netlog_lane *lane = process_enter();

	if (!lane) {
		process_count_laneless(NETLOG_TUN, increment);
		return;
	}
	netlog_table_add_unattributed(&lane->live[NETLOG_TUN], reason, increment);
	process_leave(lane);
}

static void count(const struct netlog_packet *packet)
{
	struct netlog_increment increment;
	struct netlog_key key;
	int reason = netlog_packet_decode(packet, &key, &increment);

	if (reason)
		count_unattributed(reason - 1, &increment);
	else
		process_count(NETLOG_TUN, &key, &increment);
}

/* Returns the payload bytes of a super-packet's segments; 0: not a super-packet. header: the virtio
 * header. */
static uint16_t segment_bytes(const uint8_t *header)
{
	struct virtio_net_hdr fields;

	memcpy(&fields, header, VNET_FIELDS);
	return (fields.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_NONE
		       ? 0
		       : fields.gso_size;
}

/* Whether the captured bytes include everything that a decoder reads of the packet. */
static bool has_headers(const struct netlog_packet *packet, uint32_t captured)
{
	/* netlog_packet_has_headers() takes no super-packets. So it is asked about a plain packet
	 * with fewer captured bytes, which leaves room for the transport header after the ports. */
	struct netlog_packet plain = *packet;

	if (captured >= packet->length)
		return true;
	plain.gso_size = 0;
	if (packet->gso_size)
		captured = captured > TRANSPORT_BYTES ? captured - TRANSPORT_BYTES : 0;
	return netlog_packet_has_headers(&plain, captured);
}

/* Moves a TAP's frame to its IP packet. Returns false for a frame of another kind, or one that was
 * cut; then only its length is reduced. */
static bool unwrap(struct netlog_frame *frame)
{
	if (netlog_frame_unwrap(NETLOG_LINK_ETHERNET, frame) == NETLOG_FRAME_PACKET)
		return true;
	frame->length -=
		frame->length < FRAME_ETHERNET_HEADER ? frame->length : FRAME_ETHERNET_HEADER;
	return false;
}

/* Counts a packet of any kind. The call moved `bytes`; data has the first `captured` of them. */
static void observe_any(uint32_t word, const uint8_t *data, size_t captured, size_t bytes,
			enum netlog_direction direction)
{
	struct netlog_packet packet = {.direction = (uint8_t)direction};
	size_t header = word & TUN_PI ? PI_BYTES : 0;
	size_t vnet_bytes = word >> TUN_VNET_AT;

	if (word & TUN_VNET && captured >= header + VNET_FIELDS)
		packet.gso_size = segment_bytes(data + header);
	header += word & TUN_VNET ? vnet_bytes : 0;
	if (header > captured)
		header = captured;
	struct netlog_frame frame = {
		.data = data + header,
		.captured = (uint32_t)(captured - header),
		.length = (uint32_t)(bytes - header),
	};
	bool is_ip = !(word & TUN_TAP) || unwrap(&frame);

	packet.data = frame.data;
	packet.length = frame.length;
	if (!is_ip) {
		packet.data = not_ip;
		packet.gso_size = 0;
	} else if (unlikely(!has_headers(&packet, frame.captured))) {
		packet.data = malformed;
		packet.gso_size = 0;
	}
	count(&packet);
}

static NETLOG_RARE ssize_t observe_rare(uint32_t word, const void *data, size_t bytes,
					enum netlog_direction direction)
{
	observe_any(word, data, bytes, bytes, direction);
	return (ssize_t)bytes;
}

/* The short path: nearly always no header precedes the packet, and its connection is the same as
 * last time. */
NETLOG_OFTEN ssize_t observe_packet(uint32_t word, const void *data, size_t bytes,
				    enum netlog_direction direction)
{
	struct netlog_packet packet = {
		.data = data, .length = (uint32_t)bytes, .direction = (uint8_t)direction};
	struct netlog_key key;

	if (likely(word == WORD_TUN && packet_decode_plain4(&packet, &key) &&
		   process_count_last(NETLOG_TUN, &key, 4, direction, (uint32_t)bytes)))
		return (ssize_t)bytes;
	if (likely(word == WORD_TUN && packet_decode_plain6(&packet, &key) &&
		   process_count_last(NETLOG_TUN, &key, 6, direction, (uint32_t)bytes)))
		return (ssize_t)bytes;
	return observe_rare(word, data, bytes, direction);
}

void observe_packet_vector(uint32_t word, const struct iovec *vectors, int n, size_t bytes,
			   enum netlog_direction direction)
{
	uint8_t gathered[GATHERED];
	size_t captured = 0;
	size_t wanted = bytes < sizeof(gathered) ? bytes : sizeof(gathered);

	if (n == 1) {
		(void)observe_packet(word, vectors->iov_base, bytes, direction);
		return;
	}
	for (int i = 0; i < n && captured < wanted; i++) {
		size_t part = vectors[i].iov_len;

		if (part > wanted - captured)
			part = wanted - captured;
		memcpy(gathered + captured, vectors[i].iov_base, part);
		captured += part;
	}
	observe_any(word, gathered, captured, bytes, direction);
}
