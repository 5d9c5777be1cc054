/* SPDX-License-Identifier: BSD-3-Clause */
/* packet: the bytes of an IP packet -> its connection, and the packets that it is on the wire.
 *
 * Before every read, the offset is checked against the available bytes and against the packet's own
 * length field. Nothing else is verified: not checksums, which are partial with offloads, and not
 * options.
 *
 * netlog_packet_decode() decodes every kind of packet. packet_decode_plain4() and
 * packet_decode_plain6() decode the kind that nearly all packets are, in a third of the
 * instructions, and leave the others to it.
 *
 * Sources: RFC 791, RFC 8200 (extension headers), RFC 4302 (AH), RFC 1858 (fragments), RFC 2675
 * (jumbograms); Linux
 * virtio_net.h for what gso_size means.
 */
#ifndef NETLOG_PACKET_H
#define NETLOG_PACKET_H

#include "packet/key.h"
#include "netlog.h"

/* RFC 8200 names six extension headers and allows each once, and one of them twice. No stack in use
 * sends more than 8. */
#define NETLOG_MAX_EXTENSION_HEADERS 8

#define PACKET_IP4_HEADER 20
#define PACKET_IP6_HEADER 40
#define PACKET_PORTS      4

enum {
	PROTO_TCP = 6,
	PROTO_UDP = 17,
	PROTO_DCCP = 33,
	PROTO_AH = 51, /* walked as an extension header, by IPv4 too */
	PROTO_SCTP = 132,
	PROTO_UDPLITE = 136,
};

/* What one packet adds to a record. */
struct netlog_increment {
	uint32_t packets;
	uint32_t direction;
	uint64_t bytes;
};

/* The upper layer of a packet: where it begins and ends, in bytes from the IP header. */
struct netlog_upper {
	uint32_t offset;
	uint32_t limit; /* end of the packet by its own length field */
	uint8_t version;
	uint8_t proto;
	bool fragment; /* a part of a packet; the kernel does not segment it further */
	bool later;    /* a fragment other than the first: it has no upper-layer header */
};

/* Walks the IP headers of data[0..length-1]. Returns 0; or, if it is not a whole IP packet, 1 +
 * enum netlog_unattributed_reason. Then *upper has no meaning. */
int netlog_packet_walk(const uint8_t *data, uint32_t length, struct netlog_upper *upper);

/* The bytes that a packet has by its own headers. It came in `length` bytes, of which `captured`
 * are at data. More than `length`: it is cut. 0: what was captured does not tell.
 *
 * A length field of 0 stands for all bytes that came: so a super-packet beyond 64 KiB (BIG TCP) has
 * it, and a packet that the network card is to segment (TSO). In IPv6 it can also be an empty
 * packet, maybe with padding behind it. It is a super-packet if a jumbo option says its length, if
 * it is beyond 64 KiB, or if TCP, or UDP by its own length field, fills what came. */
uint32_t netlog_packet_own_length(const uint8_t *data, uint32_t captured, uint32_t length);

/* Bytes of the TCP or UDP header there. 0: it is not, by its own length, or it is neither. */
uint32_t netlog_packet_transport(const uint8_t *data, const struct netlog_upper *upper);

/* Decodes packet into key and increment. Returns 0; or, if the packet has no connection, 1 + enum
 * netlog_unattributed_reason. Then key is not written, and increment is one packet of
 * packet->length bytes. */
int netlog_packet_decode(const struct netlog_packet *packet, struct netlog_key *key,
			 struct netlog_increment *increment);

/* Whether netlog_packet_decode() and the two plain decoders read only the first `captured` bytes of
 * packet. For a packet of which no more bytes were captured; not for a super-packet. */
bool netlog_packet_has_headers(const struct netlog_packet *packet, uint32_t captured);

/* Whether that is so of an IPv4 packet without options at once. */
NETLOG_INLINE bool packet_has_headers4(const uint8_t *data, uint32_t captured)
{
	return captured >= PACKET_IP4_HEADER + PACKET_PORTS && data[0] == 0x45 &&
	       data[9] != PROTO_AH;
}

NETLOG_INLINE uint16_t load_be16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

NETLOG_INLINE uint32_t load_be32(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
	       bytes[3];
}

NETLOG_INLINE void store_be16(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

NETLOG_INLINE void store_be32(uint8_t *bytes, uint32_t value)
{
	store_be16(bytes, value >> 16);
	store_be16(bytes + 2, value);
}

/* Writes the addresses from this node's side: for rx the packet's source is the destination. The
 * direction selects the offsets `own` and `other`, so it takes neither a branch nor a swap. */
NETLOG_INLINE void packet_put_addresses4(struct netlog_key *key, const uint8_t *data,
					 uint32_t direction)
{
	const uint8_t *addresses = data + 12;
	const size_t own = direction, other = direction ^ 1;

	key->src[0] = key->dst[0] = 0;
	key->src[1] = key_mapped(load_32(addresses + own * 4));
	key->dst[1] = key_mapped(load_32(addresses + other * 4));
}

NETLOG_INLINE void packet_put_addresses6(struct netlog_key *key, const uint8_t *data,
					 uint32_t direction)
{
	const size_t own = (size_t)direction * 16, other = own ^ 16;
	const uint8_t *addresses = data + 8;

	key->src[0] = load_64(addresses + own);
	key->src[1] = load_64(addresses + own + 8);
	key->dst[0] = load_64(addresses + other);
	key->dst[1] = load_64(addresses + other + 8);
}

NETLOG_INLINE void packet_put_tail(struct netlog_key *key, const uint8_t *ports, uint32_t direction,
				   uint8_t version, uint8_t proto)
{
	uint32_t pair = load_be32(ports);
	uint32_t swapped = pair << 16 | pair >> 16;

	key->tail = key_tail(direction ? swapped : pair, version, proto, 0);
}

NETLOG_INLINE void packet_put_increment(struct netlog_increment *increment,
					const struct netlog_packet *packet)
{
	increment->packets = 1;
	increment->direction = packet->direction & 1;
	increment->bytes = packet->length;
}

/* Whether least <= total <= length, in one comparison. length must not be below least. */
NETLOG_INLINE bool packet_reaches(uint32_t total, uint32_t least, uint32_t length)
{
	return total - least <= length - least;
}

/* One test for all protocols: which one comes next cannot be predicted, so the branch predictor
 * would often miss with a branch for each. */
NETLOG_INLINE bool packet_is_plain_proto(uint8_t proto)
{
	return proto < 64 &&
	       ((1ull << PROTO_TCP | 1ull << PROTO_UDP | 1ull << PROTO_DCCP) >> proto & 1);
}

/* Decodes a plain packet: TCP, UDP or DCCP over IPv4 without options, not a fragment, not a
 * super-packet, whole, and with room for the ports. Its increment is one packet of packet->length
 * bytes. Returns false, and does not write key, for any other packet. */
NETLOG_INLINE bool packet_decode_plain4(const struct netlog_packet *packet, struct netlog_key *key)
{
	const uint8_t *data = packet->data;
	uint32_t direction = packet->direction & 1;

	if (unlikely(packet->length < PACKET_IP4_HEADER + PACKET_PORTS || packet->gso_size))
		return false;
	/* Version, header length and fragment bits with one test. */
	static const uint8_t mask_bytes[8] = {0xff, 0, 0, 0, 0, 0, 0x1f, 0xff};
	static const uint8_t plain_bytes[8] = {0x45, 0, 0, 0, 0, 0, 0, 0};
	uint32_t total = load_be16(data + 2);
	uint8_t proto = data[9];

	if (unlikely((load_64(data) & load_64(mask_bytes)) != load_64(plain_bytes)) ||
	    unlikely(!packet_reaches(total, PACKET_IP4_HEADER + PACKET_PORTS, packet->length)) ||
	    unlikely(!packet_is_plain_proto(proto)))
		return false;
	packet_put_addresses4(key, data, direction);
	packet_put_tail(key, data + PACKET_IP4_HEADER, direction, 4, proto);
	return true;
}

/* The same over IPv6 without extension headers. */
NETLOG_INLINE bool packet_decode_plain6(const struct netlog_packet *packet, struct netlog_key *key)
{
	const uint8_t *data = packet->data;
	uint32_t direction = packet->direction & 1;

	if (unlikely(packet->length < PACKET_IP6_HEADER + PACKET_PORTS || packet->gso_size))
		return false;
	uint32_t payload = load_be16(data + 4);
	uint8_t proto = data[6];

	if (unlikely(data[0] >> 4 != 6) ||
	    unlikely(!packet_reaches(PACKET_IP6_HEADER + payload, PACKET_IP6_HEADER + PACKET_PORTS,
				     packet->length)) ||
	    unlikely(!packet_is_plain_proto(proto)))
		return false;
	packet_put_addresses6(key, data, direction);
	packet_put_tail(key, data + PACKET_IP6_HEADER, direction, 6, proto);
	return true;
}

#endif
