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
#define VNET_FIELDS 10 /* of the virtio header, that are looked at */
/* Of a packet in pieces: all headers that a stack makes. Longer chains of IPv6 extension headers
 * count as malformed. */
#define GATHERED 2048
/* The transport header of a super-packet lies within so many bytes behind its ports. */
#define TRANSPORT_BYTES 64

/* What stands for a packet whose own bytes are not to be read: no IP version, for a frame of
 * another protocol, whose bytes could pass for IP's; and a header of version 4 that is too short.
 * No decoder looks beyond them then. */
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

/* Those of a super-packet's segments; 0: a packet of its own. */
static uint16_t segment_bytes(const uint8_t *header)
{
	struct virtio_net_hdr fields;

	memcpy(&fields, header, VNET_FIELDS);
	return (fields.gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_NONE
		       ? 0
		       : fields.gso_size;
}

/* Whether all that a decoder reads of the packet is there. */
static bool has_headers(const struct netlog_packet *packet, uint32_t captured)
{
	/* A super-packet is asked about as one packet, with room behind its ports. */
	struct netlog_packet plain = *packet;

	if (captured >= packet->length)
		return true;
	plain.gso_size = 0;
	if (packet->gso_size)
		captured = captured > TRANSPORT_BYTES ? captured - TRANSPORT_BYTES : 0;
	return netlog_packet_has_headers(&plain, captured);
}

/* Moves a TAP's frame to its IP packet. Returns false for a frame of another kind, or a cut one;
 * then only its length is moved. */
static bool unwrap(struct netlog_frame *frame)
{
	if (netlog_frame_unwrap(NETLOG_LINK_ETHERNET, frame) == NETLOG_FRAME_PACKET)
		return true;
	frame->length -=
		frame->length < FRAME_ETHERNET_HEADER ? frame->length : FRAME_ETHERNET_HEADER;
	return false;
}

/* data: the first `captured` bytes of what crossed, of `bytes` in all. */
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

/* Nearly always nothing precedes the packet, and it is of the connection that came last. */
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
