/* SPDX-License-Identifier: BSD-3-Clause */
#include "packet/payload.h"

/* Makes frame what was found in it: the packet, or what it is instead. */
static enum netlog_frame_fate take_inner(struct netlog_frame *frame,
					 const struct netlog_frame *inner,
					 enum netlog_frame_fate fate)
{
	if (fate == NETLOG_FRAME_PACKET) {
		*frame = *inner;
	} else {
		frame->space = inner->space;
		frame->number = inner->number;
	}
	return fate;
}

/* -- PKTAP, of Darwin ------------------------------------------------------------------------- */

enum {
	PKTAP_LENGTH = 0,
	PKTAP_NEXT = 4, /* 1: a packet follows */
	PKTAP_LINK = 8,
	PKTAP_FLAGS = 36,
	PKTAP_HEADER = 108, /* the shortest that Darwin writes */
	PKTAP_INCOMING = 1,
};

static uint32_t load_host_32(const uint8_t *bytes, bool swapped)
{
	uint32_t value = load_32(bytes);

	return swapped ? __builtin_bswap32(value) : value;
}

enum netlog_frame_fate netlog_link_pktap(uint16_t link, struct netlog_frame *frame)
{
	if (!frame_has(frame, 0, PKTAP_HEADER))
		return NETLOG_FRAME_CUT;
	const uint8_t *data = frame->data;
	/* In the byte order of the host that captured; no header is longer than 64 KiB. */
	bool swapped = load_32(data + PKTAP_LENGTH) > UINT16_MAX;
	uint32_t header = load_host_32(data + PKTAP_LENGTH, swapped);
	uint32_t next = load_host_32(data + PKTAP_LINK, swapped);
	struct netlog_frame inner = *frame;

	/* The number is also a private one of anybody's. */
	if (header < PKTAP_HEADER || header > UINT16_MAX || next > UINT16_MAX ||
	    load_host_32(data + PKTAP_NEXT, swapped) != 1 || next == NETLOG_LINK_PKTAP ||
	    next == NETLOG_LINK_PKTAP_DARWIN)
		return frame_unknown_link(frame, link);
	if (!frame_has(frame, header, 0))
		return NETLOG_FRAME_CUT;
	inner.incoming = load_host_32(data + PKTAP_FLAGS, swapped) & PKTAP_INCOMING;
	inner.data += header;
	inner.captured -= header;
	inner.length -= header;
	return take_inner(frame, &inner, netlog_frame_unwrap_any((uint16_t)next, &inner));
}

/* -- NFLOG, of Linux's netfilter -------------------------------------------------------------- */

enum {
	NFLOG_HEADER = 4,
	NFLOG_ATTRIBUTE = 4, /* length and type, in the byte order of the host that captured */
	NFLOG_PACKET_HEADER = 1,
	NFLOG_PAYLOAD = 9,
	NFLOG_IP4 = 2, /* AF_INET and AF_INET6 of Linux */
	NFLOG_IP6 = 10,
	NFLOG_HOOK_LOCAL_IN = 1, /* PREROUTING is before it, what leaves this host behind it */
};

/* A logged packet: where it is, how long, and what the attributes before it say. */
struct nflog {
	uint32_t at;
	uint32_t end;
	uint32_t type; /* an ethertype, or 0 */
	bool incoming;
};

static enum netlog_frame_fate find_nflog_payload(struct netlog_frame *frame, struct nflog *found)
{
	uint32_t at = NFLOG_HEADER;

	for (;;) {
		if (!frame_has(frame, at, NFLOG_ATTRIBUTE))
			return NETLOG_FRAME_CUT;
		const uint8_t *attribute = frame->data + at;
		/* Types are small, so the half with the number is the lower one. */
		bool little = attribute[2] != 0;
		uint32_t kind = little ? attribute[2] : attribute[3];
		uint32_t bytes =
			little ? (uint32_t)attribute[1] << 8 | attribute[0] : load_be16(attribute);

		if (bytes < NFLOG_ATTRIBUTE)
			return frame_not_ip(frame, NETLOG_SPACE_FAMILY, frame->data[0]);
		if (kind == NFLOG_PAYLOAD) {
			found->at = at + NFLOG_ATTRIBUTE;
			found->end = bytes < frame->length - at ? at + bytes : frame->length;
			return NETLOG_FRAME_PACKET;
		}
		if (kind == NFLOG_PACKET_HEADER && frame_has(frame, at, 7)) {
			found->type = load_be16(attribute + 4);
			found->incoming = attribute[6] <= NFLOG_HOOK_LOCAL_IN;
		}
		at += (bytes + 3) & ~3u;
	}
}

enum netlog_frame_fate netlog_link_nflog(struct netlog_frame *frame)
{
	struct netlog_frame inner = *frame;
	struct nflog found = {.at = 0};
	enum netlog_frame_fate fate = find_nflog_payload(frame, &found);

	if (fate != NETLOG_FRAME_PACKET)
		return fate;
	if (frame->data[0] == NFLOG_IP4 || frame->data[0] == NFLOG_IP6)
		found.type = FRAME_ETHERTYPE_IP4;
	if (!found.type)
		return frame_not_ip(frame, NETLOG_SPACE_FAMILY, frame->data[0]);
	inner.incoming = found.incoming;
	inner.length = found.end;
	if (inner.captured > inner.length)
		inner.captured = inner.length;
	return take_inner(frame, &inner, netlog_payload_ethertype(&inner, found.at, found.type));
}

/* -- IEEE 802.11 ------------------------------------------------------------------------------ */

enum {
	WLAN_HEADER = 24,
	WLAN_ADDRESS = 6,
	WLAN_QOS = 2,
	WLAN_HT = 4,
	WLAN_SEQUENCE_AT = 22,
	WLAN_TYPE_DATA = 2,
	/* the first byte */
	WLAN_SUBTYPE_NO_DATA = 0x40,
	WLAN_SUBTYPE_QOS = 0x80,
	/* the second */
	WLAN_TO_AND_FROM = 0x03,
	WLAN_MORE_FRAGMENTS = 0x04,
	WLAN_PROTECTED = 0x40,
	WLAN_ORDER = 0x80,
	/* of QoS control */
	WLAN_AGGREGATE = 0x80,
	RADIOTAP_HEADER = 8,
	RADIOTAP_LENGTH = 2,
	RADIOTAP_PRESENT = 4,
	RADIOTAP_PADDED = 0x20, /* of its flags: the header before the data is padded to words */
};

enum netlog_frame_fate netlog_link_80211(struct netlog_frame *frame, uint32_t at, bool padded)
{
	uint32_t header = WLAN_HEADER;

	if (!frame_has(frame, at, 2))
		return NETLOG_FRAME_CUT;
	const uint8_t *data = frame->data + at;
	uint32_t type = data[0] >> 2 & 3;

	if ((data[0] & 3) != 0 || type > WLAN_TYPE_DATA)
		return frame_not_ip(frame, NETLOG_SPACE_80211, NETLOG_80211_OTHER);
	if (type != WLAN_TYPE_DATA)
		return frame_not_ip(frame, NETLOG_SPACE_80211, type);
	if (data[0] & WLAN_SUBTYPE_NO_DATA)
		return frame_not_ip(frame, NETLOG_SPACE_80211, NETLOG_80211_NO_DATA);
	if (data[1] & WLAN_PROTECTED)
		return frame_not_ip(frame, NETLOG_SPACE_80211, NETLOG_80211_ENCRYPTED);
	if (!frame_has(frame, at, WLAN_HEADER))
		return NETLOG_FRAME_CUT;
	if ((data[1] & WLAN_MORE_FRAGMENTS) || (data[WLAN_SEQUENCE_AT] & 0x0f))
		return frame_not_ip(frame, NETLOG_SPACE_80211, NETLOG_80211_FRAGMENT);
	if ((data[1] & WLAN_TO_AND_FROM) == WLAN_TO_AND_FROM)
		header += WLAN_ADDRESS;
	if (data[0] & WLAN_SUBTYPE_QOS) {
		if (!frame_has(frame, at, header + WLAN_QOS))
			return NETLOG_FRAME_CUT;
		if (data[header] & WLAN_AGGREGATE)
			return frame_not_ip(frame, NETLOG_SPACE_80211, NETLOG_80211_AGGREGATE);
		header += WLAN_QOS;
		if (data[1] & WLAN_ORDER)
			header += WLAN_HT;
	}
	if (padded)
		header = (header + 3) & ~3u;
	return netlog_payload_llc(frame, at + header);
}

static uint32_t load_le32(const uint8_t *bytes)
{
	return __builtin_bswap32(load_be32(bytes));
}

/* The flags of a radiotap header of `bytes`; 0 if it has none. */
static uint8_t radiotap_flags(const uint8_t *data, uint32_t bytes)
{
	uint32_t present = load_le32(data + RADIOTAP_PRESENT), at = RADIOTAP_PRESENT;

	/* The last of the words has no highest bit. */
	while (at + 8 <= bytes && load_le32(data + at) >> 31)
		at += 4;
	at += 4;
	if (present & 1) /* a time of eight bytes, at a multiple of eight */
		at = ((at + 7) & ~7u) + 8;
	return present & 2 && at < bytes ? data[at] : 0;
}

enum netlog_frame_fate netlog_link_radiotap(struct netlog_frame *frame)
{
	if (!frame_has(frame, 0, RADIOTAP_HEADER))
		return NETLOG_FRAME_CUT;
	uint32_t bytes =
		(uint32_t)frame->data[RADIOTAP_LENGTH + 1] << 8 | frame->data[RADIOTAP_LENGTH];

	if (frame->data[0] != 0 || bytes < RADIOTAP_HEADER)
		return frame_not_ip(frame, NETLOG_SPACE_80211, NETLOG_80211_OTHER);
	if (!frame_has(frame, 0, bytes))
		return NETLOG_FRAME_CUT;
	return netlog_link_80211(frame, bytes,
				 radiotap_flags(frame->data, bytes) & RADIOTAP_PADDED);
}

/* -- tailscaled's own captures ---------------------------------------------------------------- */

enum {
	TAILSCALE_PATH = 2, /* little-endian */
	TAILSCALE_FROM_PEER = 1,
	TAILSCALE_TO_LOCAL = 2, /* made by tailscaled, as is 3 */
	TAILSCALE_TO_PEER = 3,
	TAILSCALE_DISCO = 254, /* what tailscaleds find each other by */
};

/* Behind the path are the addresses of SNAT and DNAT, each with its length before it. */
enum netlog_frame_fate netlog_link_tailscale(struct netlog_frame *frame)
{
	uint32_t at = TAILSCALE_PATH;

	if (!frame_has(frame, 0, TAILSCALE_PATH))
		return NETLOG_FRAME_CUT;
	uint32_t path = (uint32_t)frame->data[1] << 8 | frame->data[0];

	if (path == TAILSCALE_DISCO)
		return frame_not_ip(frame, NETLOG_SPACE_TAILSCALE, path);
	if (path > TAILSCALE_TO_PEER)
		return frame_unknown_link(frame, NETLOG_LINK_USER0);
	for (int address = 0; address < 2; address++) {
		if (!frame_has(frame, at, 1))
			return NETLOG_FRAME_CUT;
		uint8_t bytes = frame->data[at++];

		if (bytes != 0 && bytes != 4 && bytes != 16)
			return frame_unknown_link(frame, NETLOG_LINK_USER0);
		at += bytes;
	}
	if (!frame_has(frame, at, 1))
		return NETLOG_FRAME_CUT;
	if (frame->data[at] >> 4 != 4 && frame->data[at] >> 4 != 6)
		return frame_unknown_link(frame, NETLOG_LINK_USER0);
	frame->incoming = path == TAILSCALE_FROM_PEER || path == TAILSCALE_TO_LOCAL;
	return netlog_payload_ip(frame, at);
}
