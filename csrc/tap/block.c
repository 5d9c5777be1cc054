/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap/block.h"

#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "gso/transport.h"
#include "packet/frame.h"

/* Packets or datagrams that are counted in one call. */
#define PART 256

#define LINE         64
#define AHEAD_FRAMES 8

enum {
	UDP_HEADER = 8,
	IP6_FRAGMENT = 44,
	IP6_FRAGMENT_HEADER = 8,
	/* netlog_packet_decode() reads this many bytes more of a super-packet: the rest of TCP's
	 * header after the ports. */
	GSO_HEADER = 16,
	/* Where the kernel puts the address of a frame, and the least where its bytes begin. */
	ADDRESS_AT = TPACKET_ALIGN((int)sizeof(struct tpacket3_hdr)),
	DATA_AT = ADDRESS_AT + sizeof(struct sockaddr_ll) + sizeof(struct virtio_net_hdr),
};

/* One frame of a block, its lengths checked. */
struct tapped {
	struct netlog_frame frame;
	const uint8_t *start; /* of the frame, whatever is unwrapped */
	uint16_t gso_size;    /* 0: no super-packet of TCP or UDP segments */
	uint16_t csum_start;  /* where in a super-packet its innermost transport header is; 0:
				 unknown */
	uint8_t gso_type;
	uint8_t type; /* PACKET_HOST and the like, of packet(7) */
	uint16_t link;
};

struct part {
	union {
		struct netlog_packet packets[PART];
		struct netlog_datagram datagrams[PART];
	};
	size_t n;
};

/* Stands for a packet whose headers were not captured whole: version 4 with a header length of 0,
 * so that it is unattributed. It has as many bytes as the plain decoders may read. */
static const uint8_t snapped_packet[64] = {0x40};

static void flush(const struct netlog_tap_reader *reader, struct part *part)
{
	if (reader->point == NETLOG_TUN)
		netlog_lane_count_packets(reader->lane, part->packets, part->n);
	else
		netlog_lane_count_datagrams(reader->lane, part->datagrams, part->n);
	part->n = 0;
}

static uint16_t link_of(uint16_t hardware)
{
	return hardware == ARPHRD_ETHER || hardware == ARPHRD_LOOPBACK ? NETLOG_LINK_ETHERNET
								       : NETLOG_LINK_RAW;
}

/* Reads the frame at `at`, of which `room` bytes lie in the block. Returns false if it does not
 * fit. */
static bool read_frame(const uint8_t *at, size_t room, struct tapped *tapped)
{
	struct tpacket3_hdr header;
	struct sockaddr_ll address;
	struct virtio_net_hdr gso;

	if (room < DATA_AT)
		return false;
	memcpy(&header, at, sizeof(header));
	memcpy(&address, at + ADDRESS_AT, sizeof(address));
	if (header.tp_mac < DATA_AT || header.tp_mac > room || header.tp_net < header.tp_mac ||
	    header.tp_snaplen > room - header.tp_mac || header.tp_snaplen > header.tp_len)
		return false;
	memcpy(&gso, at + header.tp_mac - sizeof(gso), sizeof(gso));
	*tapped = (struct tapped){
		.frame = {.data = at + header.tp_mac,
			  .captured = header.tp_snaplen,
			  .length = header.tp_len},
		.gso_type = gso.gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN,
		.type = address.sll_pkttype,
		.link = link_of(address.sll_hatype),
	};
	if (tapped->gso_type == VIRTIO_NET_HDR_GSO_TCPV4 ||
	    tapped->gso_type == VIRTIO_NET_HDR_GSO_TCPV6 || tapped->gso_type == GSO_UDP)
		tapped->gso_size = gso.gso_size;
	tapped->start = tapped->frame.data;
	if (tapped->gso_size && (gso.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		tapped->csum_start = gso.csum_start;
	/* A link of another kind may have a header too, whose length the kernel knows. */
	uint32_t link_bytes = (uint32_t)header.tp_net - header.tp_mac;

	if (tapped->link != NETLOG_LINK_RAW)
		link_bytes = 0;
	if (link_bytes > header.tp_snaplen)
		return false;
	tapped->frame.data += link_bytes;
	tapped->frame.captured -= link_bytes;
	tapped->frame.length -= link_bytes;
	return true;
}

static bool has_headers(const struct netlog_packet *packet, uint32_t captured)
{
	if (packet->gso_size && captured < packet->length) {
		if (captured <= GSO_HEADER)
			return false;
		captured -= GSO_HEADER;
	}
	/* Without options, the ports end here. */
	if (likely(packet_has_headers4(packet->data, captured)))
		return true;
	return netlog_packet_has_headers(packet, captured);
}

/* Bytes from the IP header to the payload of a super-packet that lies in a tunnel, whose segments
 * repeat them; 0: it is in none, or its headers were not captured. The kernel segments by the
 * innermost transport header, and has its checksum left to do. */
static uint32_t tunnel_headers(const struct tapped *tapped)
{
	const struct netlog_frame *packet = &tapped->frame;
	uint32_t link = (uint32_t)(packet->data - tapped->start);
	uint32_t least = packet->captured && packet->data[0] >> 4 == 4 ? (packet->data[0] & 15u) * 4
								       : PACKET_IP6_HEADER;

	if (tapped->csum_start <= link + least)
		return 0;
	uint32_t transport = tapped->csum_start - link;

	if (tapped->gso_type == GSO_UDP)
		return transport + UDP_HEADER;
	if (packet->captured <= transport + TCP_OFFSET)
		return 0;
	return transport + (packet->data[transport + TCP_OFFSET] >> 4) * 4u;
}

static void take_packet(struct netlog_tap_reader *reader, const struct tapped *tapped,
			struct part *part)
{
	struct netlog_packet *packet = &part->packets[part->n++];

	*packet = (struct netlog_packet){
		.data = tapped->frame.data,
		.length = tapped->frame.length,
		.gso_size = tapped->gso_size,
		.direction = tapped->type == PACKET_OUTGOING ? NETLOG_TX : NETLOG_RX,
	};
	if (unlikely(tapped->csum_start)) {
		uint32_t headers = tunnel_headers(tapped);

		packet->headers = headers <= UINT8_MAX ? (uint8_t)headers : 0;
	}
	reader->counts[NETLOG_TAP_COUNTED]++;
	if (unlikely(!has_headers(packet, tapped->frame.captured))) {
		reader->counts[NETLOG_TAP_SNAPPED]++;
		packet->data = snapped_packet;
		packet->gso_size = 0;
		packet->headers = 0;
	}
}

/* The offset of the UDP header in an IP packet, and the bytes of the packet from there on. */
struct udp_at {
	uint32_t offset;
	uint32_t left;
	bool fragment;
};

static bool find_udp4(const struct netlog_frame *packet, struct udp_at *udp)
{
	const uint8_t *data = packet->data;

	if (packet->captured < PACKET_IP4_HEADER)
		return false;
	uint32_t header = (data[0] & 15u) * 4;
	uint32_t total = netlog_packet_own_length(data, packet->captured, packet->length);
	uint32_t fragment = load_be16(data + 6) & 0x3fff;

	if (header < PACKET_IP4_HEADER || header > total || total > packet->length ||
	    data[9] != PROTO_UDP || (fragment & 0x1fff))
		return false;
	*udp = (struct udp_at){.offset = header, .left = total - header, .fragment = fragment != 0};
	return true;
}

static bool find_udp6(const struct netlog_frame *packet, struct udp_at *udp)
{
	const uint8_t *data = packet->data;

	if (packet->captured < PACKET_IP6_HEADER + IP6_FRAGMENT_HEADER)
		return false; /* a UDP header and a fragment header are equally long */
	uint32_t payload = load_be16(data + 4);

	if (PACKET_IP6_HEADER + payload > packet->length)
		return false;
	*udp = (struct udp_at){.offset = PACKET_IP6_HEADER, .left = payload};
	if (data[6] != IP6_FRAGMENT)
		return data[6] == PROTO_UDP;
	const uint8_t *fragment = data + PACKET_IP6_HEADER;

	if (fragment[0] != PROTO_UDP || (load_be16(fragment + 2) & 0xfff8) ||
	    payload < IP6_FRAGMENT_HEADER)
		return false;
	udp->offset += IP6_FRAGMENT_HEADER;
	udp->left -= IP6_FRAGMENT_HEADER;
	udp->fragment = (load_be16(fragment + 2) & 1) != 0;
	return true;
}

/* Returns the payload bytes of the datagram; -1: it is malformed, or its header was not captured.
 */
static int64_t payload_bytes(const struct netlog_frame *packet, const struct udp_at *udp)
{
	if (udp->left < UDP_HEADER || packet->captured < udp->offset + UDP_HEADER)
		return -1;
	uint32_t length = load_be16(packet->data + udp->offset + 4);

	if (length < UDP_HEADER || (length > udp->left && !udp->fragment))
		return -1;
	return (int64_t)length - UDP_HEADER;
}

static void put_remote(struct netlog_datagram *datagram, const uint8_t *data, bool tx)
{
	datagram->version = data[0] >> 4;
	if (datagram->version == 4) {
		memcpy(datagram->address, key_mapped_prefix, sizeof(key_mapped_prefix));
		memcpy(datagram->address + 12, data + (tx ? 16 : 12), 4);
	} else {
		memcpy(datagram->address, data + (tx ? 24 : 8), sizeof(datagram->address));
	}
}

static void take_datagram(struct netlog_tap_reader *reader, const struct tapped *tapped,
			  struct part *part)
{
	const struct netlog_frame *packet = &tapped->frame;
	bool tx = tapped->type == PACKET_OUTGOING;
	struct udp_at udp = {0};
	uint8_t version = packet->captured ? packet->data[0] >> 4 : 0;

	if (!(version == 4 && find_udp4(packet, &udp)) &&
	    !(version == 6 && find_udp6(packet, &udp)))
		goto malformed;
	int64_t payload = payload_bytes(packet, &udp);

	if (payload < 0)
		goto malformed;
	const uint8_t *ports = packet->data + udp.offset;

	if (load_be16(ports + (tx ? 0 : 2)) != reader->port)
		goto malformed;
	struct netlog_datagram *datagram = &part->datagrams[part->n++];

	*datagram = (struct netlog_datagram){
		.port = load_be16(ports + (tx ? 2 : 0)),
		.direction = tx ? NETLOG_TX : NETLOG_RX,
		.length = (uint32_t)payload,
		/* A datagram that the kernel cuts into fragments remains one datagram. */
		.gso_size = tapped->gso_type == GSO_UDP ? tapped->gso_size : 0,
	};
	/* The datagrams of a tunnel carry headers of their own before each segment. */
	uint32_t headers = tapped->csum_start ? tunnel_headers(tapped) : 0;
	uint32_t inner = headers > udp.offset + UDP_HEADER ? headers - udp.offset - UDP_HEADER : 0;

	if (inner && inner < payload && inner + tapped->gso_size <= UINT16_MAX) {
		uint32_t segments = ((uint32_t)payload - inner - 1) / tapped->gso_size + 1;

		datagram->length += (segments - 1) * inner;
		datagram->gso_size = (uint16_t)(tapped->gso_size + inner);
	}
	put_remote(datagram, packet->data, tx);
	reader->counts[NETLOG_TAP_COUNTED]++;
	return;

malformed:
	reader->counts[NETLOG_TAP_MALFORMED]++;
}

/* Whether the frame is from or to this host. A TUN has no others; and all frames of a TAP count,
 * whatever their address. */
static bool is_ours(const struct netlog_tap_reader *reader, uint8_t type)
{
	if (type == PACKET_OTHERHOST)
		return reader->point == NETLOG_TUN;
	return type <= PACKET_OUTGOING;
}

static void take(struct netlog_tap_reader *reader, struct tapped *tapped, struct part *part)
{
	reader->counts[NETLOG_TAP_FRAMES]++;
	if (!is_ours(reader, tapped->type)) {
		reader->counts[NETLOG_TAP_OTHER_HOST]++;
		return;
	}
	if (netlog_frame_unwrap(tapped->link, &tapped->frame) != NETLOG_FRAME_PACKET) {
		reader->counts[NETLOG_TAP_NOT_IP]++;
		return;
	}
	if (reader->point == NETLOG_TUN)
		take_packet(reader, tapped, part);
	else
		take_datagram(reader, tapped, part);
	if (part->n == PART)
		flush(reader, part);
}

/* Prefetches a later frame, because another processor has written it. Frames follow each other and
 * are mostly of one size, so the offset of a later one can be guessed. */
static void prefetch_ahead(const uint8_t *block, size_t bytes, size_t at, uint32_t next)
{
	size_t guess = at + (size_t)AHEAD_FRAMES * next;

	if (guess + 3 * LINE > bytes)
		return;
	prefetch(block + guess);
	prefetch(block + guess + LINE);
	prefetch(block + guess + 2 * LINE);
}

void netlog_tap_count_block(struct netlog_tap_reader *reader, const uint8_t *block, size_t bytes)
{
	struct tpacket_block_desc header;
	struct part part = {.n = 0};

	if (bytes < sizeof(header)) {
		reader->counts[NETLOG_TAP_UNREADABLE]++;
		return;
	}
	memcpy(&header, block, sizeof(header));
	size_t at = header.hdr.bh1.offset_to_first_pkt;
	uint32_t frames = header.hdr.bh1.num_pkts;

	for (uint32_t i = 0; i < frames; i++) {
		struct tapped tapped;
		uint32_t next;

		if (at > bytes || !read_frame(block + at, bytes - at, &tapped)) {
			reader->counts[NETLOG_TAP_UNREADABLE] += frames - i;
			break;
		}
		memcpy(&next, block + at + offsetof(struct tpacket3_hdr, tp_next_offset),
		       sizeof(next));
		prefetch_ahead(block, bytes, at, next);
		take(reader, &tapped, &part);
		if (next < DATA_AT) {
			/* 0 after the last frame. The offset never goes backwards, so the loop
			 * ends. */
			reader->counts[NETLOG_TAP_UNREADABLE] += frames - i - 1;
			break;
		}
		at += next;
	}
	flush(reader, &part);
}
