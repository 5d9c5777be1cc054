/* SPDX-License-Identifier: BSD-3-Clause */
/* frame: a frame of a link -> the IP packet in it.
 *
 * A frame has two lengths: the one on the wire, and the number of bytes that were captured. Only
 * captured bytes are read. The length on the wire is counted.
 *
 * Links pad short frames and append checksums, and captures keep both under any link type. So what
 * lies beyond the IP packet's own length is no part of the packet.
 *
 * Threads: any. Sources: the list of link types at tcpdump.org and the pages there that it leads
 * to; IEEE 802.3, 802.1Q, 802.1ad, 802.2, 802.11; RFC 1042 (SNAP), RFC 1661 and 1662 (PPP), RFC
 * 2516 (PPPoE), RFC 2427 (frame relay), RFC 3032 (MPLS).
 */
#ifndef NETLOG_FRAME_H
#define NETLOG_FRAME_H

#include "packet/packet.h"

/* Link types by their number in a capture file. RAW_BSD and RAW_OPENBSD are what a few systems
 * write into files in place of RAW. USER0 is anybody's; `tailscale debug capture` writes it. */
enum netlog_link {
	NETLOG_LINK_NULL = 0,
	NETLOG_LINK_ETHERNET = 1,
	NETLOG_LINK_PPP = 9,
	NETLOG_LINK_RAW_BSD = 12,
	NETLOG_LINK_RAW_OPENBSD = 14,
	NETLOG_LINK_PPP_HDLC = 50,
	NETLOG_LINK_PPP_ETHERNET = 51,
	NETLOG_LINK_RAW = 101,
	NETLOG_LINK_CISCO_HDLC = 104,
	NETLOG_LINK_80211 = 105,
	NETLOG_LINK_FRAME_RELAY = 107,
	NETLOG_LINK_LOOP = 108,
	NETLOG_LINK_SLL = 113,
	NETLOG_LINK_80211_RADIOTAP = 127,
	NETLOG_LINK_USER0 = 147,
	NETLOG_LINK_PKTAP_DARWIN = 149,
	NETLOG_LINK_MPLS = 219,
	NETLOG_LINK_IPV4 = 228,
	NETLOG_LINK_IPV6 = 229,
	NETLOG_LINK_NFLOG = 239,
	NETLOG_LINK_PKTAP = 258,
	NETLOG_LINK_SLL2 = 276,
};

/* Those of a customer and of a provider (802.1ad) are two; some switches stack more. */
#define NETLOG_MAX_VLAN_TAGS 8

/* The fate of a frame. */
enum netlog_frame_fate {
	NETLOG_FRAME_PACKET = 0,  /* an IP packet, as the link header says */
	NETLOG_FRAME_SNAPPED = 1, /* the packet's headers were not captured whole: unattributed */
	NETLOG_FRAME_NOT_IP = 2,  /* not IP, as the link header says: not counted */
	NETLOG_FRAME_CUT = 3,     /* the link header was not captured whole: not counted */
	NETLOG_FRAME_LINK = 4,    /* an unknown link type: not counted */
	NETLOG_FRAME_FATES = 5,
};

/* Whose number it is that says what a frame is which is left out. */
enum netlog_frame_space {
	NETLOG_SPACE_NONE = 0,
	NETLOG_SPACE_LINK = 1,      /* enum netlog_link, or another one of that list */
	NETLOG_SPACE_ETHERTYPE = 2, /* IEEE's */
	NETLOG_SPACE_LLC = 3,       /* IEEE 802.2: DSAP above SSAP */
	NETLOG_SPACE_PPP = 4,       /* IANA's PPP protocol */
	NETLOG_SPACE_FAMILY = 5,    /* an address family, of the host that captured */
	NETLOG_SPACE_NLPID = 6,     /* ISO/IEC TR 9577 */
	NETLOG_SPACE_80211 = 7,     /* enum netlog_80211_kind */
	NETLOG_SPACE_MPLS = 8,      /* 0: no IP packet below the labels */
	NETLOG_SPACE_TAILSCALE = 9, /* its path of a frame */
};

enum netlog_80211_kind {
	NETLOG_80211_MANAGEMENT = 0,
	NETLOG_80211_CONTROL = 1,
	NETLOG_80211_NO_DATA = 2,
	NETLOG_80211_ENCRYPTED = 3,
	NETLOG_80211_FRAGMENT = 4,
	NETLOG_80211_AGGREGATE = 5, /* A-MSDU: several packets in a frame */
	NETLOG_80211_OTHER = 6,     /* of a later version, or an extension */
};

enum { FRAME_ETHERNET_HEADER = 14, FRAME_ETHERTYPE_IP4 = 0x0800, FRAME_ETHERTYPE_IP6 = 0x86dd };

struct netlog_frame {
	const uint8_t *data;
	uint32_t captured; /* bytes at data; at most length */
	uint32_t length;   /* bytes on the wire */
	bool incoming;     /* the link says that this host did not send it */
	/* What it is, with NETLOG_FRAME_NOT_IP and NETLOG_FRAME_LINK. */
	uint16_t space; /* enum netlog_frame_space */
	uint16_t number;
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
