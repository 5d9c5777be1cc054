/* SPDX-License-Identifier: BSD-3-Clause */
/* frame: a frame of a link -> the IP packet in it.
 *
 * A frame has two lengths: the one on the wire, and the number of bytes that were captured. Only
 * captured bytes are read. The length on the wire is counted.
 *
 * Ethernet pads short frames and may append a checksum. So on Ethernet, and on the cooked links
 * that may stand for it, bytes beyond the IP packet's own length do not belong to the packet.
 *
 * Threads: any. Sources: the list of link types at tcpdump.org, with LINKTYPE_LINUX_SLL and
 * LINKTYPE_LINUX_SLL2; IEEE 802.3, 802.1Q, 802.1ad.
 */
#ifndef NETLOG_FRAME_H
#define NETLOG_FRAME_H

#include "packet/packet.h"

/* Link types by their number in a capture file. A few systems write RAW_BSD or RAW_OPENBSD into
 * files where others write RAW. */
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

/* A customer's tag and a provider's (802.1ad). Switches do not pass more. */
#define NETLOG_MAX_VLAN_TAGS 2

/* The fate of a frame. */
enum netlog_frame_fate {
	NETLOG_FRAME_PACKET = 0,  /* an IP packet, as the link header says */
	NETLOG_FRAME_SNAPPED = 1, /* the packet's headers were not captured whole: unattributed */
	NETLOG_FRAME_NOT_IP = 2,  /* not IP, as the link header says: not counted */
	NETLOG_FRAME_CUT = 3,     /* the link header was not captured whole: not counted */
	NETLOG_FRAME_LINK = 4,    /* an unknown link type: not counted */
	NETLOG_FRAME_FATES = 5,
};

enum { FRAME_ETHERNET_HEADER = 14, FRAME_ETHERTYPE_IP4 = 0x0800, FRAME_ETHERTYPE_IP6 = 0x86dd };

struct netlog_frame {
	const uint8_t *data;
	uint32_t captured; /* bytes at data; at most length */
	uint32_t length;   /* bytes on the wire */
	bool incoming;     /* another host sent it, as a cooked link header says */
};

/* Moves the frame past its link header, to the IP packet. link: enum netlog_link, or any other
 * number. Returns NETLOG_FRAME_PACKET, or the reason why there is no packet; then data and lengths
 * are unchanged. */
enum netlog_frame_fate netlog_frame_unwrap_any(uint16_t link, struct netlog_frame *frame);

/* The same. It handles inline what most captures consist of: IPv4 on Ethernet, whole and unpadded.
 */
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
