/* SPDX-License-Identifier: BSD-3-Clause */
#include "packet.h"

#include <string.h>

#include "compiler.h"

enum {
	IP4_HEADER_MIN = 20,
	IP6_HEADER = 40,
	TCP_HEADER_MIN = 20,
	UDP_HEADER = 8,
	PORTS_BYTES = 4,
	IP6_FRAGMENT_HEADER = 8,
};

enum { PROTO_TCP = 6, PROTO_UDP = 17, PROTO_DCCP = 33, PROTO_SCTP = 132, PROTO_UDPLITE = 136 };

/* Extension headers that are walked (RFC 8200, RFC 4302, RFC 6275, RFC 7401, RFC 5533). */
enum {
	EXT_HOP_BY_HOP = 0,
	EXT_ROUTING = 43,
	EXT_FRAGMENT = 44,
	EXT_AUTHENTICATION = 51,
	EXT_DESTINATION = 60,
	EXT_MOBILITY = 135,
	EXT_HIP = 139,
	EXT_SHIM6 = 140,
};

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* What the IP header says: where the upper layer is, and how far it may reach. */
struct upper_layer {
	uint32_t offset;
	uint32_t limit; /* end of the packet by its own length field */
	uint8_t proto;
	bool fragment; /* a later fragment: no upper-layer header in it */
};

static inline uint16_t read_16(const uint8_t *bytes)
{
	return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static inline bool has_ports(uint8_t proto)
{
	/* One test for the five: TCP and UDP and DCCP lie below 64, SCTP and UDP-Lite in 128..191.
	 */
	static const uint64_t low = 1ull << PROTO_TCP | 1ull << PROTO_UDP | 1ull << PROTO_DCCP;
	static const uint64_t high = 1ull << (PROTO_SCTP - 128) | 1ull << (PROTO_UDPLITE - 128);
	uint64_t set = proto < 64 ? low : (proto >> 6) == 2 ? high : 0;

	return set >> (proto & 63) & 1;
}

static inline bool parse_ip4(const uint8_t *data, uint32_t length, struct upper_layer *upper)
{
	if (length < IP4_HEADER_MIN)
		return false;
	uint32_t header = (data[0] & 15u) * 4;
	uint32_t total = read_16(data + 2);

	if (header < IP4_HEADER_MIN || header > total || total > length)
		return false;
	upper->offset = header;
	upper->limit = total;
	upper->proto = data[9];
	upper->fragment = (read_16(data + 6) & 0x1fff) != 0;
	return true;
}

static inline bool is_extension(uint8_t proto)
{
	switch (proto) {
	case EXT_HOP_BY_HOP:
	case EXT_ROUTING:
	case EXT_FRAGMENT:
	case EXT_AUTHENTICATION:
	case EXT_DESTINATION:
	case EXT_MOBILITY:
	case EXT_HIP:
	case EXT_SHIM6:
		return true;
	default:
		return false;
	}
}

/* Moves upper past the extension headers. False for a chain that leaves the packet or is too long.
 */
static NETLOG_NOINLINE bool walk_extensions(const uint8_t *data, struct upper_layer *upper)
{
	for (int headers = 0; is_extension(upper->proto); headers++) {
		if (headers == NETLOG_MAX_EXTENSION_HEADERS)
			return false;
		/* The shortest extension header is 8 bytes. */
		if (upper->limit - upper->offset < 8)
			return false;
		const uint8_t *extension = data + upper->offset;
		uint32_t bytes;

		if (upper->proto == EXT_FRAGMENT)
			bytes = IP6_FRAGMENT_HEADER;
		else if (upper->proto == EXT_AUTHENTICATION)
			bytes = (extension[1] + 2u) * 4; /* RFC 4302 §2.2: in words, minus two */
		else
			bytes = (extension[1] + 1u) * 8;
		if (bytes > upper->limit - upper->offset)
			return false;
		upper->fragment =
			upper->proto == EXT_FRAGMENT && (read_16(extension + 2) & 0xfff8) != 0;
		upper->proto = extension[0];
		upper->offset += bytes;
		if (upper->fragment)
			return true;
	}
	return true;
}

static inline bool parse_ip6(const uint8_t *data, uint32_t length, struct upper_layer *upper)
{
	if (length < IP6_HEADER)
		return false;
	uint32_t total = IP6_HEADER + read_16(data + 4);

	if (total > length)
		return false;
	upper->offset = IP6_HEADER;
	upper->limit = total;
	upper->proto = data[6];
	upper->fragment = false;
	return likely(has_ports(upper->proto)) || walk_extensions(data, upper);
}

/* How many packets a super-packet is on the wire: its payload in segments, each with all headers.
 * False if the header that announces the payload is not there. */
static NETLOG_NOINLINE bool count_segments(const struct netlog_packet *packet,
					   const struct upper_layer *upper,
					   struct netlog_increment *increment)
{
	uint32_t transport;

	if (upper->proto == PROTO_TCP) {
		if (upper->limit - upper->offset < TCP_HEADER_MIN)
			return false;
		transport = (packet->data[upper->offset + 12] >> 4) * 4u;
		if (transport < TCP_HEADER_MIN)
			return false;
	} else if (upper->proto == PROTO_UDP) {
		transport = UDP_HEADER;
	} else {
		return true; /* the kernel segments nothing else; gso_size is noise */
	}
	if (transport > upper->limit - upper->offset)
		return false;
	uint32_t headers = upper->offset + transport;
	uint32_t payload = packet->length - headers;

	if (payload > packet->gso_size) {
		increment->packets = (payload + packet->gso_size - 1) / packet->gso_size;
		increment->bytes += (uint64_t)(increment->packets - 1) * headers;
	}
	return true;
}

/* Writes the addresses from this node's side: for rx the packet's source is our destination. */
static inline void put_addresses4(struct netlog_connection *connection, const uint8_t *data,
				  int direction)
{
	uint8_t *ours[2] = {connection->src, connection->dst};

	memcpy(connection->src, mapped_prefix, sizeof(mapped_prefix));
	memcpy(connection->dst, mapped_prefix, sizeof(mapped_prefix));
	memcpy(ours[direction] + 12, data + 12, 4);
	memcpy(ours[1 - direction] + 12, data + 16, 4);
}

static inline void put_addresses6(struct netlog_connection *connection, const uint8_t *data,
				  int direction)
{
	uint8_t *ours[2] = {connection->src, connection->dst};

	memcpy(ours[direction], data + 8, 16);
	memcpy(ours[1 - direction], data + 24, 16);
}

int netlog_packet_decode(const struct netlog_packet *packet, struct netlog_connection *connection,
			 struct netlog_increment *increment)
{
	const uint8_t *data = packet->data;
	int direction = packet->direction & 1;
	struct upper_layer upper;
	uint16_t ports[2] = {0, 0};

	increment->packets = 1;
	increment->direction = (uint32_t)direction;
	increment->bytes = packet->length;
	if (unlikely(packet->length == 0))
		return 1 + NETLOG_MALFORMED;
	int version = data[0] >> 4;

	if (likely(version == 4)) {
		if (unlikely(!parse_ip4(data, packet->length, &upper)))
			return 1 + NETLOG_MALFORMED;
	} else if (version == 6) {
		if (unlikely(!parse_ip6(data, packet->length, &upper)))
			return 1 + NETLOG_MALFORMED;
	} else {
		return 1 + NETLOG_NOT_IP;
	}
	if (!upper.fragment && has_ports(upper.proto)) {
		if (unlikely(upper.limit - upper.offset < PORTS_BYTES))
			return 1 + NETLOG_MALFORMED;
		ports[direction] = read_16(data + upper.offset);
		ports[1 - direction] = read_16(data + upper.offset + 2);
		if (unlikely(packet->gso_size != 0) && !count_segments(packet, &upper, increment))
			return 1 + NETLOG_MALFORMED;
	}
	if (likely(version == 4))
		put_addresses4(connection, data, direction);
	else
		put_addresses6(connection, data, direction);
	connection->src_port = ports[0];
	connection->dst_port = ports[1];
	connection->version = (uint8_t)version;
	connection->proto = upper.proto;
	connection->flags = 0;
	connection->reserved = 0;
	return 0;
}
