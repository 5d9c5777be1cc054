/* SPDX-License-Identifier: BSD-3-Clause */
/* packet: the bytes of an IP packet -> its connection, and what it stands for on the wire.
 *
 * Every read is preceded by a check against both the bytes at hand and the packet's own length
 * field. Nothing is verified beyond that: no checksums (with offloads they are partial), no
 * options.
 *
 * netlog_packet_decode() knows every kind of packet. packet_decode_plain4() and _plain6() know the
 * one kind that nearly all packets are, in a third of the instructions, and leave the others to it.
 *
 * Sources: RFC 791, RFC 8200 (extension headers), RFC 4302 (AH), RFC 1858 (fragments), RFC 2675
 * (jumbograms); Linux
 * virtio_net.h for what gso_size means.
 */
#ifndef NETLOG_PACKET_H
#define NETLOG_PACKET_H

#include "packet/key.h"
#include "netlog.h"

/* RFC 8200 names six extension headers and allows each once, one of them twice; more than 8 is no
 * packet that a stack of our days makes. */
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

/* Where the upper layer of a packet is, and how far it may reach. */
struct netlog_upper {
	uint32_t offset;
	uint32_t limit; /* end of the packet by its own length field */
	uint8_t version;
	uint8_t proto;
	bool fragment; /* a part of a packet, which nobody segments further */
	bool later;    /* a fragment but the first: no upper-layer header in it */
};

/* Walks the IP headers at data, of which `length` bytes are there. Returns 0 or 1 + the reason why
 * it is no whole IP packet; then upper means nothing. */
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

/* Decodes packet into key and increment. Returns 0, or 1 + the reason for which the packet has no
 * connection; then key is not written, and the increment is one packet of packet->length bytes. */
int netlog_packet_decode(const struct netlog_packet *packet, struct netlog_key *key,
			 struct netlog_increment *increment);

/* Whether netlog_packet_decode() of packet, which is no super-packet, reads nothing beyond its
 * first `captured` bytes: for a packet of which no more are there. Nor do the two plain decoders
 * then. */
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

/* For rx the packet's source is our destination. Which of the two lies where is arithmetic on the
 * address and not a branch or a swap: `own` and `other` are what differs between the directions. */
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

/* least <= total <= length in one comparison, where length is not below least. */
NETLOG_INLINE bool packet_reaches(uint32_t total, uint32_t least, uint32_t length)
{
	return total - least <= length - least;
}

/* One test: which of them comes next is anybody's guess, so a branch for each would be
 * mispredicted. */
NETLOG_INLINE bool packet_is_plain_proto(uint8_t proto)
{
	return proto < 64 &&
	       ((1ull << PROTO_TCP | 1ull << PROTO_UDP | 1ull << PROTO_DCCP) >> proto & 1);
}

/* TCP or UDP over IPv4 without options, whole, no super-packet, with room for the ports: then key
 * is written. False for all others. What it adds is one packet of packet->length bytes. */
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
