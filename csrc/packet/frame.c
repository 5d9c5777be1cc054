/* SPDX-License-Identifier: BSD-3-Clause */
#include "packet/frame.h"

enum {
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_PROVIDER = 0x88a8,
	ETHERTYPE_OLD_PROVIDER = 0x9100, /* before 802.1ad */
};

enum {
	SLL_HEADER = 16,
	SLL2_HEADER = 20,
	VLAN_TAG = 4,
	SLL_OUTGOING = 4, /* PACKET_OUTGOING of packet(7) */
};

/* The header of a link that names what it carries. */
struct link_header {
	uint32_t bytes;
	uint32_t type_at;
};

static bool is_vlan(uint32_t type)
{
	return type == ETHERTYPE_VLAN || type == ETHERTYPE_PROVIDER ||
	       type == ETHERTYPE_OLD_PROVIDER;
}

static void advance(struct netlog_frame *frame, uint32_t bytes)
{
	frame->data += bytes;
	frame->captured -= bytes;
	frame->length -= bytes;
}

/* Leaves what the packet has by its own length, where it says so in good faith. */
static void trim(struct netlog_frame *frame)
{
	uint32_t length = netlog_packet_own_length(frame->data, frame->captured, frame->length);

	if (length >= PACKET_IP4_HEADER && length < frame->length)
		frame->length = length;
	if (frame->captured > frame->length)
		frame->captured = frame->length;
}

static enum netlog_frame_fate unwrap(struct link_header header, struct netlog_frame *frame)
{
	uint32_t at = header.bytes;

	if (frame->captured < at)
		return NETLOG_FRAME_CUT;
	uint32_t type = load_be16(frame->data + header.type_at);

	for (int tags = 0; is_vlan(type) && tags < NETLOG_MAX_VLAN_TAGS; tags++) {
		if (frame->captured - at < VLAN_TAG)
			return NETLOG_FRAME_CUT;
		type = load_be16(frame->data + at + 2);
		at += VLAN_TAG;
	}
	if (type != FRAME_ETHERTYPE_IP4 && type != FRAME_ETHERTYPE_IP6)
		return NETLOG_FRAME_NOT_IP;
	advance(frame, at);
	trim(frame);
	return NETLOG_FRAME_PACKET;
}

enum netlog_frame_fate netlog_frame_unwrap_any(uint16_t link, struct netlog_frame *frame)
{
	const uint8_t *data = frame->data;

	switch (link) {
	case NETLOG_LINK_RAW:
	case NETLOG_LINK_RAW_BSD:
	case NETLOG_LINK_RAW_OPENBSD:
	case NETLOG_LINK_IPV4:
	case NETLOG_LINK_IPV6:
		trim(frame);
		return NETLOG_FRAME_PACKET;
	case NETLOG_LINK_ETHERNET:
		return unwrap((struct link_header){FRAME_ETHERNET_HEADER, 12}, frame);
	case NETLOG_LINK_SLL:
		if (frame->captured >= SLL_HEADER)
			frame->incoming = load_be16(data) != SLL_OUTGOING;
		return unwrap((struct link_header){SLL_HEADER, 14}, frame);
	case NETLOG_LINK_SLL2:
		if (frame->captured >= SLL2_HEADER)
			frame->incoming = data[10] != SLL_OUTGOING;
		return unwrap((struct link_header){SLL2_HEADER, 0}, frame);
	default:
		return NETLOG_FRAME_LINK;
	}
}
