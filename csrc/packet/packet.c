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
};

enum {
	EXTENSION_MIN = 8, /* the shortest extension header */
	FRAGMENT_HEADER = 8,
	TCP_HEADER_MIN = 20,
	UDP_HEADER = 8,
};

static bool is_extension(uint8_t proto)
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

static uint32_t extension_bytes(const uint8_t *extension, uint8_t proto)
{
	if (proto == EXT_FRAGMENT)
		return FRAGMENT_HEADER;
	if (proto == EXT_AUTHENTICATION)
		return (extension[1] + 2u) * 4; /* RFC 4302 §2.2: in 32-bit words, minus 2 */
	return (extension[1] + 1u) * 8;
}

/* Moves upper past the IPv6 extension headers. Returns false for a chain that leaves the packet or
 * has more than NETLOG_MAX_EXTENSION_HEADERS headers. */
static bool walk_extensions(const uint8_t *data, struct netlog_upper *upper)
{
	for (int headers = 0; is_extension(upper->proto); headers++) {
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

/* Makes increment the packets that a super-packet is on the wire: its payload in segments, each
 * with all headers. Returns false if the packet is too short for its TCP or UDP header. */
static bool count_segments(const struct netlog_packet *packet, const struct netlog_upper *upper,
			   struct netlog_increment *increment)
{
	if (upper->proto != PROTO_TCP && upper->proto != PROTO_UDP)
		return true; /* the kernel segments nothing else: gso_size has no meaning */
	uint32_t transport = netlog_packet_transport(packet->data, upper);

	if (!transport)
		return false;
	uint32_t headers = upper->offset + transport;
	uint32_t payload = upper->limit - headers; /* without bytes beyond the packet's end */

	if (payload > packet->gso_size) {
		increment->packets = (payload - 1) / packet->gso_size + 1;
		increment->bytes += (uint64_t)(increment->packets - 1) * headers;
	}
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

static bool parse_ip4(const uint8_t *data, uint32_t length, struct netlog_upper *upper)
{
	if (length < PACKET_IP4_HEADER)
		return false;
	uint32_t header = (data[0] & 15u) * 4;
	uint32_t total = load_be16(data + 2);

	if (header < PACKET_IP4_HEADER || header > total || total > length)
		return false;
	upper->offset = header;
	upper->limit = total;
	upper->proto = data[9];
	upper->fragment = (load_be16(data + 6) & 0x3fff) != 0;
	upper->later = (load_be16(data + 6) & 0x1fff) != 0;
	return true;
}

static bool parse_ip6(const uint8_t *data, uint32_t length, struct netlog_upper *upper)
{
	if (length < PACKET_IP6_HEADER)
		return false;
	uint32_t total = PACKET_IP6_HEADER + load_be16(data + 4);

	if (total > length)
		return false;
	upper->offset = PACKET_IP6_HEADER;
	upper->limit = total;
	upper->proto = data[6];
	upper->fragment = upper->later = false;
	return walk_extensions(data, upper);
}

int netlog_packet_walk(const uint8_t *data, uint32_t length, struct netlog_upper *upper)
{
	if (length == 0)
		return 1 + NETLOG_MALFORMED;
	uint8_t version = data[0] >> 4;

	if (version != 4 && version != 6)
		return 1 + NETLOG_NOT_IP;
	*upper = (struct netlog_upper){.version = version};
	if (version == 4 ? !parse_ip4(data, length, upper) : !parse_ip6(data, length, upper))
		return 1 + NETLOG_MALFORMED;
	return 0;
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
	uint32_t least = version == 4 ? PACKET_IP4_HEADER : PACKET_IP6_HEADER;

	if ((version != 4 && version != 6) || length < least)
		return true; /* the decoders stop here */
	if (captured < least)
		return false;
	if (version == 4) {
		if (!parse_ip4(data, length, &upper))
			return true;
	} else {
		uint32_t total = PACKET_IP6_HEADER + load_be16(data + 4);

		if (total > length)
			return true;
		upper.offset = PACKET_IP6_HEADER;
		upper.limit = total < captured ? total : captured;
		upper.proto = data[6];
		if (!walk_extensions(data, &upper))
			return total <= captured;
		upper.limit = total;
	}
	if (!has_ports(upper.proto) || upper.later || upper.limit - upper.offset < PACKET_PORTS)
		return true;
	return upper.offset + PACKET_PORTS <= captured;
}
