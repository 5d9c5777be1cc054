/* SPDX-License-Identifier: BSD-3-Clause */
/* frame: what lies on a link -> the IP packet in it.
 *
 * A frame has two lengths: what it had on the wire, and how much of it was captured. Nothing beyond
 * the captured bytes is ever read; what is counted is the length on the wire.
 *
 * Links pad short frames and append checksums, and captures keep both under any link type. So what
 * lies beyond the IP packet's own length is no part of the packet.
 *
 * Threads: any. Sources: the list of link types at tcpdump.org, LINKTYPE_LINUX_SLL and
 * LINKTYPE_LINUX_SLL2 there; IEEE 802.3, 802.1Q, 802.1ad.
 */
#ifndef NETLOG_FRAME_H
#define NETLOG_FRAME_H

#include "packet/packet.h"

/* Link types by their number in a capture file. RAW_BSD and RAW_OPENBSD are what a few systems
 * write into files in place of RAW. */
enum netlog_link {
	NETLOG_LINK_ETHERNET = 1,
	NETLOG_LINK_RAW_BSD = 12,
	NETLOG_LINK_RAW_OPENBSD = 14,
	NETLOG_LINK_RAW = 101,
	NETLOG_LINK_SLL = 113,
	NETLOG_LINK_IPV4 = 228,
	NETLOG_LINK_IPV6 = 229,
	NETLOG_LINK_SLL2 = 276,
};

/* A customer's and a provider's (802.1ad); nobody's switch passes more of them. */
#define NETLOG_MAX_VLAN_TAGS 2

/* What becomes of a frame. */
enum netlog_frame_fate {
	NETLOG_FRAME_PACKET = 0,  /* an IP packet, says the link */
	NETLOG_FRAME_SNAPPED = 1, /* one whose headers were not captured whole: unattributed */
	NETLOG_FRAME_NOT_IP = 2,  /* the link says that it is something else: left out */
	NETLOG_FRAME_CUT = 3,     /* its link header was not captured whole: left out */
	NETLOG_FRAME_LINK = 4,    /* of a link type that is not known: left out */
	NETLOG_FRAME_FATES = 5,
};

enum { FRAME_ETHERNET_HEADER = 14, FRAME_ETHERTYPE_IP4 = 0x0800, FRAME_ETHERTYPE_IP6 = 0x86dd };

struct netlog_frame {
	const uint8_t *data;
	uint32_t captured; /* bytes at data, at most length */
	uint32_t length;   /* bytes on the wire */
	bool incoming;     /* a cooked link says that this host did not send it */
};

/* Moves the frame past its link header, to the IP packet. Returns NETLOG_FRAME_PACKET or why there
 * is none; then data and lengths are as they were. */
enum netlog_frame_fate netlog_frame_unwrap_any(uint16_t link, struct netlog_frame *frame);

/* The same, with what most captures consist of up front: IPv4 on Ethernet, whole and unpadded. */
NETLOG_INLINE enum netlog_frame_fate netlog_frame_unwrap(uint16_t link, struct netlog_frame *frame)
{
	const uint8_t *packet = frame->data + FRAME_ETHERNET_HEADER;

	if (unlikely(link != NETLOG_LINK_ETHERNET ||
		     frame->captured < FRAME_ETHERNET_HEADER + PACKET_IP4_HEADER ||
		     load_be16(packet - 2) != FRAME_ETHERTYPE_IP4 || packet[0] >> 4 != 4 ||
		     load_be16(packet + 2) != frame->length - FRAME_ETHERNET_HEADER))
		return netlog_frame_unwrap_any(link, frame);
	frame->data = packet;
	frame->captured -= FRAME_ETHERNET_HEADER;
	frame->length -= FRAME_ETHERNET_HEADER;
	return NETLOG_FRAME_PACKET;
}

#endif
