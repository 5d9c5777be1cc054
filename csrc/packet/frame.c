/* SPDX-License-Identifier: BSD-3-Clause */
#include "packet/payload.h"

enum {
	ETHERTYPE_LEAST = 0x0600, /* below it is a length */
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_MPLS = 0x8847,
	ETHERTYPE_MPLS_MULTICAST = 0x8848,
	ETHERTYPE_PPPOE = 0x8864,
	ETHERTYPE_PROVIDER = 0x88a8,
	ETHERTYPE_OLD_PROVIDER = 0x9100, /* before 802.1ad, as the next */
	ETHERTYPE_OLDER_PROVIDER = 0x9200,
};

enum {
	SLL_HEADER = 16,
	SLL2_HEADER = 20,
	VLAN_TAG = 4,
	MPLS_LABEL = 4,
	PPPOE_HEADER = 6,
	FAMILY_HEADER = 4,
	HDLC_HEADER = 4,
	SNAP_HEADER = 8,
	SLL_OUTGOING = 4, /* PACKET_OUTGOING of packet(7) */
	SLL_8022 = 4,     /* ETH_P_802_2 of the kernel */
};

enum { PPP_IP4 = 0x21, PPP_IP6 = 0x57, PPP_MPLS = 0x281, PPP_MPLS_MULTICAST = 0x283 };

enum { NLPID_SNAP = 0x80, NLPID_IP6 = 0x8e, NLPID_IP4 = 0xcc, NLPID_PPP = 0xcf };

/* Address families as the systems number them that write NULL and LOOP. */
enum {
	FAMILY_IP4 = 2,
	FAMILY_IP6_LINUX = 10,
	FAMILY_IP6_BSD = 24, /* NetBSD, OpenBSD, BSD/OS; Npcap on Windows */
	FAMILY_IP6_FREEBSD = 28,
	FAMILY_IP6_DARWIN = 30,
};

static bool is_vlan(uint32_t type)
{
	return type == ETHERTYPE_VLAN || type == ETHERTYPE_PROVIDER ||
	       type == ETHERTYPE_OLD_PROVIDER || type == ETHERTYPE_OLDER_PROVIDER;
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

enum netlog_frame_fate netlog_payload_ip(struct netlog_frame *frame, uint32_t at)
{
	if (!frame_has(frame, at, 0))
		return NETLOG_FRAME_CUT;
	advance(frame, at);
	trim(frame);
	return NETLOG_FRAME_PACKET;
}

/* Labels do not say what they carry. IP shows its version; anything else is not looked at. */
static enum netlog_frame_fate unwrap_mpls(struct netlog_frame *frame, uint32_t at)
{
	bool last;

	do {
		if (!frame_has(frame, at, MPLS_LABEL))
			return NETLOG_FRAME_CUT;
		last = frame->data[at + 2] & 1;
		at += MPLS_LABEL;
	} while (!last);
	if (!frame_has(frame, at, 1))
		return NETLOG_FRAME_CUT;
	uint8_t version = frame->data[at] >> 4;

	if (version != 4 && version != 6)
		return frame_not_ip(frame, NETLOG_SPACE_MPLS, 0);
	return netlog_payload_ip(frame, at);
}

enum netlog_frame_fate netlog_payload_ppp(struct netlog_frame *frame, uint32_t at)
{
	if (!frame_has(frame, at, 1))
		return NETLOG_FRAME_CUT;
	uint32_t protocol = frame->data[at++];

	/* The first byte of two is even; the protocol may be compressed to one, which is odd. */
	if (!(protocol & 1)) {
		if (!frame_has(frame, at, 1))
			return NETLOG_FRAME_CUT;
		protocol = protocol << 8 | frame->data[at++];
	}
	switch (protocol) {
	case PPP_IP4:
	case PPP_IP6:
		return netlog_payload_ip(frame, at);
	case PPP_MPLS:
	case PPP_MPLS_MULTICAST:
		return unwrap_mpls(frame, at);
	default:
		return frame_not_ip(frame, NETLOG_SPACE_PPP, protocol);
	}
}

enum netlog_frame_fate netlog_payload_llc(struct netlog_frame *frame, uint32_t at)
{
	/* RFC 1042, and IEEE 802.1H for the few protocols that bridges treat otherwise. */
	static const uint8_t snap[5] = {0xaa, 0xaa, 3};

	if (!frame_has(frame, at, 2))
		return NETLOG_FRAME_CUT;
	const uint8_t *llc = frame->data + at;

	if (load_be16(llc) != 0xaaaa)
		return frame_not_ip(frame, NETLOG_SPACE_LLC, load_be16(llc));
	if (!frame_has(frame, at, SNAP_HEADER))
		return NETLOG_FRAME_CUT;
	uint32_t type = load_be16(llc + 6);

	if (memcmp(llc, snap, sizeof(snap)) != 0 || (llc[5] != 0 && llc[5] != 0xf8) ||
	    type < ETHERTYPE_LEAST)
		return frame_not_ip(frame, NETLOG_SPACE_LLC, load_be16(llc));
	return netlog_payload_ethertype(frame, at + SNAP_HEADER, type);
}

enum netlog_frame_fate netlog_payload_ethertype(struct netlog_frame *frame, uint32_t at,
						uint32_t type)
{
	for (int tags = 0; is_vlan(type) && tags < NETLOG_MAX_VLAN_TAGS; tags++) {
		if (!frame_has(frame, at, VLAN_TAG))
			return NETLOG_FRAME_CUT;
		type = load_be16(frame->data + at + 2);
		at += VLAN_TAG;
	}
	switch (type) {
	case FRAME_ETHERTYPE_IP4:
	case FRAME_ETHERTYPE_IP6:
		return netlog_payload_ip(frame, at);
	case ETHERTYPE_PPPOE:
		return netlog_payload_ppp(frame, at + PPPOE_HEADER);
	case ETHERTYPE_MPLS:
	case ETHERTYPE_MPLS_MULTICAST:
		return unwrap_mpls(frame, at);
	default:
		return type < ETHERTYPE_LEAST ? netlog_payload_llc(frame, at)
					      : frame_not_ip(frame, NETLOG_SPACE_ETHERTYPE, type);
	}
}

/* NULL, in the byte order of the host that captured, and LOOP. */
static enum netlog_frame_fate unwrap_family(struct netlog_frame *frame)
{
	if (!frame_has(frame, 0, FAMILY_HEADER))
		return NETLOG_FRAME_CUT;
	uint32_t family = load_be32(frame->data);

	/* No family has a number that needs the other half. */
	if (family > UINT16_MAX)
		family = __builtin_bswap32(family);
	switch (family) {
	case FAMILY_IP4:
	case FAMILY_IP6_LINUX:
	case FAMILY_IP6_BSD:
	case FAMILY_IP6_FREEBSD:
	case FAMILY_IP6_DARWIN:
		return netlog_payload_ip(frame, FAMILY_HEADER);
	default:
		return frame_not_ip(frame, NETLOG_SPACE_FAMILY, family);
	}
}

/* Cisco's HDLC, which has an ethertype. */
static enum netlog_frame_fate unwrap_hdlc(struct netlog_frame *frame)
{
	if (!frame_has(frame, 0, HDLC_HEADER))
		return NETLOG_FRAME_CUT;
	uint32_t type = load_be16(frame->data + 2);

	return type < ETHERTYPE_LEAST ? frame_not_ip(frame, NETLOG_SPACE_ETHERTYPE, type)
				      : netlog_payload_ethertype(frame, HDLC_HEADER, type);
}

/* PPP with or without HDLC's address and control; links of PPP_HDLC may change to Cisco's. */
static enum netlog_frame_fate unwrap_ppp(uint16_t link, struct netlog_frame *frame)
{
	if (!frame_has(frame, 0, 2))
		return NETLOG_FRAME_CUT;
	uint8_t address = frame->data[0];

	if (link == NETLOG_LINK_PPP_HDLC && (address == 0x0f || address == 0x8f))
		return unwrap_hdlc(frame);
	return netlog_payload_ppp(frame, address == 0xff && frame->data[1] == 3 ? 2 : 0);
}

/* RFC 2427, or an ethertype behind the address, as Cisco's switches have it. */
static enum netlog_frame_fate unwrap_frame_relay(struct netlog_frame *frame)
{
	uint32_t at = 0;
	bool last;

	do {
		if (!frame_has(frame, at, 1))
			return NETLOG_FRAME_CUT;
		last = frame->data[at++] & 1;
	} while (!last);
	if (!frame_has(frame, at, 2))
		return NETLOG_FRAME_CUT;
	if (frame->data[at] != 3)
		return netlog_payload_ethertype(frame, at + 2, load_be16(frame->data + at));
	at++;
	/* A byte that pads to an even address. */
	if (frame->data[at] == 0)
		at++;
	if (!frame_has(frame, at, 1))
		return NETLOG_FRAME_CUT;
	uint8_t nlpid = frame->data[at++];

	switch (nlpid) {
	case NLPID_IP4:
	case NLPID_IP6:
		return netlog_payload_ip(frame, at);
	case NLPID_PPP:
		return netlog_payload_ppp(frame, at);
	case NLPID_SNAP:
		if (!frame_has(frame, at, 5))
			return NETLOG_FRAME_CUT;
		if (frame->data[at] == 0 && load_be16(frame->data + at + 1) == 0)
			return netlog_payload_ethertype(frame, at + 5,
							load_be16(frame->data + at + 3));
		return frame_not_ip(frame, NETLOG_SPACE_NLPID, nlpid);
	default:
		return frame_not_ip(frame, NETLOG_SPACE_NLPID, nlpid);
	}
}

static enum netlog_frame_fate unwrap_cooked(struct netlog_frame *frame, uint32_t header,
					    uint32_t type_at)
{
	if (!frame_has(frame, 0, header))
		return NETLOG_FRAME_CUT;
	uint32_t type = load_be16(frame->data + type_at);

	if (type < ETHERTYPE_LEAST && type != SLL_8022)
		return frame_not_ip(frame, NETLOG_SPACE_ETHERTYPE, type);
	return netlog_payload_ethertype(frame, header, type);
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
		return netlog_payload_ip(frame, 0);
	case NETLOG_LINK_ETHERNET:
		if (!frame_has(frame, 0, FRAME_ETHERNET_HEADER))
			return NETLOG_FRAME_CUT;
		return netlog_payload_ethertype(frame, FRAME_ETHERNET_HEADER,
						load_be16(data + FRAME_ETHERNET_HEADER - 2));
	case NETLOG_LINK_SLL:
		if (frame->captured >= SLL_HEADER)
			frame->incoming = load_be16(data) != SLL_OUTGOING;
		return unwrap_cooked(frame, SLL_HEADER, 14);
	case NETLOG_LINK_SLL2:
		if (frame->captured >= SLL2_HEADER)
			frame->incoming = data[10] != SLL_OUTGOING;
		return unwrap_cooked(frame, SLL2_HEADER, 0);
	case NETLOG_LINK_NULL:
	case NETLOG_LINK_LOOP:
		return unwrap_family(frame);
	case NETLOG_LINK_PPP:
	case NETLOG_LINK_PPP_HDLC:
		return unwrap_ppp(link, frame);
	case NETLOG_LINK_PPP_ETHERNET:
		return netlog_payload_ppp(frame, PPPOE_HEADER);
	case NETLOG_LINK_CISCO_HDLC:
		return unwrap_hdlc(frame);
	case NETLOG_LINK_FRAME_RELAY:
		return unwrap_frame_relay(frame);
	case NETLOG_LINK_MPLS:
		return unwrap_mpls(frame, 0);
	case NETLOG_LINK_80211:
		return netlog_link_80211(frame, 0, false);
	case NETLOG_LINK_80211_RADIOTAP:
		return netlog_link_radiotap(frame);
	case NETLOG_LINK_NFLOG:
		return netlog_link_nflog(frame);
	case NETLOG_LINK_PKTAP:
	case NETLOG_LINK_PKTAP_DARWIN:
		return netlog_link_pktap(link, frame);
	case NETLOG_LINK_USER0:
		return netlog_link_tailscale(frame);
	default:
		return frame_unknown_link(frame, link);
	}
}
