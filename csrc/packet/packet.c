/* SPDX-License-Identifier: BSD-3-Clause */
#include "packet/packet.h"

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
	NO_NEXT_HEADER = 59,
};

enum {
	EXTENSION_MIN = 8, /* the shortest extension header */
	FRAGMENT_HEADER = 8,
	TCP_HEADER_MIN = 20,
	UDP_HEADER = 8,
	UDP_LENGTH_AT = 4,
	OPTION_PAD1 = 0,
	OPTION_JUMBO = 0xc2, /* RFC 2675 */
	OPTION_JUMBO_BYTES = 4,
	JUMBO_HEADER = 8, /* the hop-by-hop header that Linux puts into its own super-packets */
};

/* AH stands between IP and the upper layer in IPv4, too. The others are protocols of their own
 * there. */
static bool is_extension(uint8_t version, uint8_t proto)
{
	if (version == 4)
		return proto == EXT_AUTHENTICATION;
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

static uint32_t extension_bytes(const uint8_t *extension, uint8_t proto)
{
	if (proto == EXT_FRAGMENT)
		return FRAGMENT_HEADER;
	if (proto == EXT_AUTHENTICATION)
		return (extension[1] + 2u) * 4; /* RFC 4302 §2.2: in 32-bit words, minus 2 */
	return (extension[1] + 1u) * 8;
}

/* Moves upper past extension headers. False for a chain that leaves the packet, or is longer
 * than NETLOG_MAX_EXTENSION_HEADERS. */
static bool walk_extensions(const uint8_t *data, struct netlog_upper *upper)
{
	for (int headers = 0; is_extension(upper->version, upper->proto); headers++) {
		if (headers == NETLOG_MAX_EXTENSION_HEADERS ||
		    upper->limit - upper->offset < EXTENSION_MIN)
			return false;
		const uint8_t *extension = data + upper->offset;
		uint32_t bytes = extension_bytes(extension, upper->proto);

		if (bytes > upper->limit - upper->offset)
			return false;
		if (upper->proto == EXT_FRAGMENT) {
			upper->fragment |= (load_be16(extension + 2) & 0xfff9) != 0;
			upper->later = (load_be16(extension + 2) & 0xfff8) != 0;
		}
		upper->proto = extension[0];
		upper->offset += bytes;
		if (upper->later)
			return true; /* the middle of the payload follows, not a header */
	}
	return true;
}

/* The jumbo payload length (RFC 2675) of a hop-by-hop header, of which `bytes` are there; 0: it has
 * none. */
static uint32_t jumbo_length(const uint8_t *extension, uint32_t bytes)
{
	uint32_t at = 2;

	if (bytes > extension_bytes(extension, EXT_HOP_BY_HOP))
		bytes = extension_bytes(extension, EXT_HOP_BY_HOP);
	while (at + 2 <= bytes) {
		const uint8_t *option = extension + at;

		if (option[0] == OPTION_PAD1) {
			at++;
			continue;
		}
		if (option[0] == OPTION_JUMBO && option[1] == OPTION_JUMBO_BYTES &&
		    at + 2 + OPTION_JUMBO_BYTES <= bytes)
			return load_be32(option + 2);
		at += 2u + option[1];
	}
	return 0;
}

/* Whether TCP or UDP fills what follows the headers of an IPv6 packet without a payload length, so
 * that it is a super-packet and no padding. 1 or 0; -1: what was captured does not tell. */
static int is_filled(const uint8_t *data, uint32_t captured, uint32_t length)
{
	struct netlog_upper upper = {
		.offset = PACKET_IP6_HEADER, .limit = captured, .version = 6, .proto = data[6]};

	if (!walk_extensions(data, &upper))
		return captured < length ? -1 : 0;
	uint32_t left = length - upper.offset;

	if (upper.later)
		return 0;
	if (upper.proto == PROTO_TCP)
		return left >= TCP_HEADER_MIN;
	if (upper.proto != PROTO_UDP || left < UDP_HEADER)
		return 0;
	if (captured < upper.offset + UDP_HEADER)
		return -1;
	return load_be16(data + upper.offset + UDP_LENGTH_AT) == left;
}

/* netlog_packet_own_length() of an IPv6 packet with a payload length of 0. */
static uint32_t zero_payload_length(const uint8_t *data, uint32_t captured, uint32_t length)
{
	if (data[6] == NO_NEXT_HEADER)
		return PACKET_IP6_HEADER;
	if (data[6] == EXT_HOP_BY_HOP) {
		uint32_t left = captured - PACKET_IP6_HEADER;
		uint32_t jumbo = 0;

		if (left >= EXTENSION_MIN)
			jumbo = jumbo_length(data + PACKET_IP6_HEADER, left);
		if (jumbo)
			return jumbo > UINT32_MAX - PACKET_IP6_HEADER ? UINT32_MAX
								      : jumbo + PACKET_IP6_HEADER;
	}
	/* More than a payload length can say. */
	if (length - PACKET_IP6_HEADER > UINT16_MAX)
		return length;
	int filled = is_filled(data, captured, length);

	if (filled < 0)
		return 0;
	return filled ? length : PACKET_IP6_HEADER;
}

uint32_t netlog_packet_own_length(const uint8_t *data, uint32_t captured, uint32_t length)
{
	if (captured < PACKET_IP4_HEADER)
		return 0;
	if (data[0] >> 4 == 4) {
		uint32_t total = load_be16(data + 2);

		return total ? total : length;
	}
	if (captured < PACKET_IP6_HEADER || data[0] >> 4 != 6)
		return 0;
	uint32_t payload = load_be16(data + 4);

	return payload ? PACKET_IP6_HEADER + payload : zero_payload_length(data, captured, length);
}

uint32_t netlog_packet_transport(const uint8_t *data, const struct netlog_upper *upper)
{
	uint32_t left = upper->limit - upper->offset;
	uint32_t bytes = UDP_HEADER;

	if (upper->proto == PROTO_TCP) {
		if (left < TCP_HEADER_MIN)
			return 0;
		bytes = (data[upper->offset + 12] >> 4) * 4u;
		if (bytes < TCP_HEADER_MIN)
			return 0;
	} else if (upper->proto != PROTO_UDP) {
		return 0;
	}
	return bytes <= left ? bytes : 0;
}

/* Bytes of the hop-by-hop header that Linux writes into an IPv6 super-packet beyond 64 KiB, and
 * takes out when it segments it. */
static uint32_t jumbo_header_bytes(const uint8_t *data)
{
	const uint8_t *extension = data + PACKET_IP6_HEADER;

	return data[6] == EXT_HOP_BY_HOP && !load_be16(data + 4) && extension[1] == 0 &&
			       extension[2] == OPTION_JUMBO
		       ? JUMBO_HEADER
		       : 0;
}

/* Adds what the segments of a super-packet repeat: all headers, in front of each payload. */
NETLOG_INLINE void add_segments(const struct netlog_packet *packet, uint32_t headers,
				uint32_t limit, struct netlog_increment *increment)
{
	uint32_t payload = limit - headers; /* what lies beyond is no payload */

	if (payload > packet->gso_size) {
		increment->packets = (payload - 1) / packet->gso_size + 1;
		increment->bytes += (uint64_t)(increment->packets - 1) * headers;
		if (unlikely(packet->data[0] >> 4 == 6))
			increment->bytes -=
				(uint64_t)increment->packets * jumbo_header_bytes(packet->data);
	}
}

static NETLOG_NOINLINE void count_tunnel_segments(const struct netlog_packet *packet,
						  const struct netlog_upper *upper,
						  struct netlog_increment *increment)
{
	if (packet->gso_size && packet->headers < upper->limit)
		add_segments(packet, packet->headers, upper->limit, increment);
}

/* Makes increment what a super-packet is on the wire: its payload in segments, each with all
 * headers. False if the header that announces the payload is not there. */
static bool count_segments(const struct netlog_packet *packet, const struct netlog_upper *upper,
			   struct netlog_increment *increment)
{
	if (unlikely(packet->headers)) {
		count_tunnel_segments(packet, upper, increment);
		return true;
	}
	if (upper->proto != PROTO_TCP && upper->proto != PROTO_UDP)
		return true; /* the kernel segments nothing else: gso_size has no meaning */
	uint32_t transport = netlog_packet_transport(packet->data, upper);

	if (!transport)
		return false;
	add_segments(packet, upper->offset + transport, upper->limit, increment);
	return true;
}

static bool has_ports(uint8_t proto)
{
	switch (proto) {
	case PROTO_TCP:
	case PROTO_UDP:
	case PROTO_DCCP:
	case PROTO_SCTP:
	case PROTO_UDPLITE:
		return true;
	default:
		return false;
	}
}

/* Of how much of a packet the headers tell. */
enum parsed { PARSED, PARSED_MALFORMED, PARSED_SNAPPED };

/* Walks the extension headers from upper->offset on, as far as they were captured. */
static enum parsed walk_captured(const uint8_t *data, uint32_t captured, struct netlog_upper *upper)
{
	uint32_t total = upper->limit;
	bool cut = captured < total;

	if (cut)
		upper->limit = captured;
	if (upper->offset > upper->limit || !walk_extensions(data, upper))
		return cut ? PARSED_SNAPPED : PARSED_MALFORMED;
	upper->limit = total;
	return PARSED;
}

/* Parse the IP headers of a packet of `length` bytes, of which `captured` are there, both at least
 * the shortest header of its version. Then upper->limit is the end of the packet by its own length.
 */
NETLOG_INLINE enum parsed parse4(const uint8_t *data, uint32_t captured, uint32_t length,
				 struct netlog_upper *upper)
{
	uint32_t header = (data[0] & 15u) * 4;
	uint32_t total = load_be16(data + 2);

	if (header < PACKET_IP4_HEADER || total > length)
		return PARSED_MALFORMED;
	if (unlikely(header > total)) {
		if (total || header > length)
			return PARSED_MALFORMED;
		total = length;
	}
	upper->offset = header;
	upper->limit = total;
	upper->proto = data[9];
	upper->fragment = (load_be16(data + 6) & 0x3fff) != 0;
	upper->later = (load_be16(data + 6) & 0x1fff) != 0;
	if (unlikely(upper->proto == PROTO_AH) && !upper->later)
		return walk_captured(data, captured, upper);
	return PARSED;
}

static enum parsed parse6(const uint8_t *data, uint32_t captured, uint32_t length,
			  struct netlog_upper *upper)
{
	uint32_t total = netlog_packet_own_length(data, captured, length);

	if (!total)
		return PARSED_SNAPPED;
	if (total > length)
		return PARSED_MALFORMED;
	upper->offset = PACKET_IP6_HEADER;
	upper->limit = total;
	upper->proto = data[6];
	upper->fragment = upper->later = false;
	return walk_captured(data, captured, upper);
}

NETLOG_INLINE uint32_t shortest_header(uint8_t version)
{
	return version == 4 ? PACKET_IP4_HEADER : PACKET_IP6_HEADER;
}

int netlog_packet_walk(const uint8_t *data, uint32_t length, struct netlog_upper *upper)
{
	if (length == 0)
		return 1 + NETLOG_MALFORMED;
	uint8_t version = data[0] >> 4;

	if (version != 4 && version != 6)
		return 1 + NETLOG_NOT_IP;
	*upper = (struct netlog_upper){.version = version};
	if (length < shortest_header(version))
		return 1 + NETLOG_MALFORMED;
	enum parsed parsed = version == 4 ? parse4(data, length, length, upper)
					  : parse6(data, length, length, upper);

	return parsed == PARSED ? 0 : 1 + NETLOG_MALFORMED;
}

int netlog_packet_decode(const struct netlog_packet *packet, struct netlog_key *key,
			 struct netlog_increment *increment)
{
	static const uint8_t no_ports[PACKET_PORTS];
	const uint8_t *data = packet->data;
	const uint8_t *ports = no_ports;
	struct netlog_upper upper;
	int rc = netlog_packet_walk(data, packet->length, &upper);

	packet_put_increment(increment, packet);
	if (rc)
		return rc;
	if (has_ports(upper.proto) && !upper.later) {
		if (upper.limit - upper.offset < PACKET_PORTS)
			return 1 + NETLOG_MALFORMED;
		ports = data + upper.offset;
		if (packet->gso_size && !upper.fragment &&
		    !count_segments(packet, &upper, increment))
			return 1 + NETLOG_MALFORMED;
	} else if (unlikely(packet->headers) && !upper.fragment) {
		count_tunnel_segments(packet, &upper, increment);
	}
	if (upper.version == 4)
		packet_put_addresses4(key, data, increment->direction);
	else
		packet_put_addresses6(key, data, increment->direction);
	packet_put_tail(key, ports, increment->direction, upper.version, upper.proto);
	return 0;
}

bool netlog_packet_has_headers(const struct netlog_packet *packet, uint32_t captured)
{
	const uint8_t *data = packet->data;
	uint32_t length = packet->length;
	struct netlog_upper upper = {0};

	if (captured >= length)
		return true;
	if (captured < PACKET_IP4_HEADER)
		return false; /* the plain decoders read this much before they know the version */
	uint8_t version = data[0] >> 4;

	if ((version != 4 && version != 6) || length < shortest_header(version))
		return true; /* no more is looked at */
	if (captured < shortest_header(version))
		return false;
	upper.version = version;
	enum parsed parsed = version == 4 ? parse4(data, captured, length, &upper)
					  : parse6(data, captured, length, &upper);

	if (parsed != PARSED)
		return parsed == PARSED_MALFORMED;
	if (!has_ports(upper.proto) || upper.later || upper.limit - upper.offset < PACKET_PORTS)
		return true;
	return upper.offset + PACKET_PORTS <= captured;
}
