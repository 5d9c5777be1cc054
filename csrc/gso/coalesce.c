/* SPDX-License-Identifier: BSD-3-Clause */
#include "gso/checksum.h"
#include "gso/coalesce.h"
#include "gso/transport.h"

enum { NO_SUPER = 0 };

/* A packet that may be joined, or to which others may be joined. */
struct candidate {
	uint8_t *data;
	uint32_t length;
	uint32_t transport;
	uint32_t headers;
	uint32_t slot;
	uint8_t version;
	uint8_t proto;
};

void netlog_coalesce_begin(struct netlog_coalescer *coalescer, uint32_t kinds)
{
	coalescer->kinds = kinds;
	coalescer->n_supers = coalescer->n_pieces = 0;
	memset(coalescer->slots, NO_SUPER, sizeof(coalescer->slots));
}

static uint32_t slot_of(const uint8_t *data, const struct netlog_upper *upper)
{
	uint64_t ports = load_32(data + upper->offset) ^ (uint64_t)upper->proto << 32;
	uint64_t addresses = upper->version == 4
				     ? load_64(data + 12)
				     : load_64(data + 8) ^ load_64(data + 16) * 3 ^
					       load_64(data + 24) * 5 ^ load_64(data + 32) * 7;

	return (uint32_t)hash_fold(addresses ^ 0x9e3779b97f4a7c15u, ports ^ 0xbf58476d1ce4e5b9u) %
	       COALESCE_SLOTS;
}

static uint32_t kind_of(const struct netlog_upper *upper)
{
	if (upper->proto == PROTO_TCP)
		return upper->version == 4 ? NETLOG_COALESCE_TCP4 : NETLOG_COALESCE_TCP6;
	return upper->version == 4 ? NETLOG_COALESCE_UDP4 : NETLOG_COALESCE_UDP6;
}

/* Whether the IP header is one that segmenting would give: without options or extension headers,
 * no fragment, no bit set but don't-fragment, its length in its length field, and no byte behind
 * the packet. */
static bool is_plain_ip(const struct candidate *packet, const struct netlog_upper *upper)
{
	if (upper->limit != packet->length)
		return false;
	if (upper->version == 6)
		return upper->offset == PACKET_IP6_HEADER && load_be16(packet->data + IP6_PAYLOAD);
	return load_be16(packet->data + IP4_TOTAL) && upper->offset == PACKET_IP4_HEADER &&
	       !(packet->data[IP4_FRAGMENT] & 0xbf) && !packet->data[IP4_FRAGMENT + 1];
}

static bool is_plain_transport(const struct candidate *packet)
{
	const uint8_t *header = packet->data + packet->transport;

	if (packet->proto == PROTO_TCP)
		return (header[TCP_FLAGS] & ~(TCP_PSH | TCP_ECE)) == TCP_ACK;
	return load_be16(header + UDP_LENGTH) == packet->length - packet->transport &&
	       checksum_load(header + UDP_CHECKSUM);
}

/* Fills packet. Returns false if it passes unchanged. Then it closes the super-packets that the
 * packet must not overtake. */
static bool read_candidate(struct netlog_coalescer *coalescer, struct candidate *packet)
{
	struct netlog_upper upper;

	if (netlog_packet_walk(packet->data, packet->length, &upper) || upper.fragment ||
	    upper.later) {
		/* The packet does not show its flow, or not in every fragment: closes all. */
		memset(coalescer->slots, NO_SUPER, sizeof(coalescer->slots));
		return false;
	}
	if (upper.proto != PROTO_TCP && upper.proto != PROTO_UDP)
		return false;
	uint32_t transport = netlog_packet_transport(packet->data, &upper);

	if (!transport) {
		memset(coalescer->slots, NO_SUPER, sizeof(coalescer->slots));
		return false;
	}
	packet->transport = upper.offset;
	packet->headers = upper.offset + transport;
	packet->version = upper.version;
	packet->proto = upper.proto;
	packet->slot = slot_of(packet->data, &upper);
	if ((coalescer->kinds & kind_of(&upper)) && packet->headers < packet->length &&
	    is_plain_ip(packet, &upper) && is_plain_transport(packet))
		return true;
	coalescer->slots[packet->slot] = NO_SUPER;
	return false;
}

/* Whether the checksums are correct, in the one form that segmenting writes. */
static bool is_intact(const uint8_t *data, uint32_t length, uint32_t transport, uint8_t proto)
{
	const uint8_t *header = data + transport;
	int version = data[0] >> 4;
	uint16_t stored = checksum_load(header + transport_checksum(proto));
	uint64_t sum = checksum_pseudo(data, version, proto, (uint16_t)(length - transport));

	if (version == 4 && checksum_load(data + IP4_CHECKSUM) != checksum_ip4(data, transport))
		return false;
	sum = netlog_checksum_add(sum, header, length - transport);
	/* Subtracts the checksum field, by adding its complement. */
	sum = checksum_plus(sum, (uint16_t)~stored);
	return stored == (proto == PROTO_TCP ? checksum_finish(sum) : checksum_finish_udp(sum));
}

static bool is_next_ip4(const struct netlog_super *super, const uint8_t *first, const uint8_t *data)
{
	/* Compares all fields except length, identification and checksum. */
	return load_be16(data + IP4_ID) == super->next_id &&
	       ((uint32_t)(checksum_load(first) ^ checksum_load(data)) |
		(load_32(first + 6) ^ load_32(data + 6))) == 0 &&
	       load_64(first + 12) == load_64(data + 12);
}

static bool is_next_ip6(const uint8_t *first, const uint8_t *data)
{
	/* Compares all fields except the length. */
	return load_32(first) == load_32(data) &&
	       checksum_load(first + 6) == checksum_load(data + 6) &&
	       memcmp(first + 8, data + 8, 32) == 0;
}

static bool is_next_tcp(const struct netlog_super *super, const uint8_t *first, const uint8_t *tcp)
{
	uint32_t header = super->headers - super->transport;

	/* Compares all fields except the checksum. If the first packet has PSH, none may follow it.
	 */
	return load_32(first) == load_32(tcp) &&
	       load_be32(tcp + TCP_SEQUENCE) == super->next_sequence &&
	       load_32(first + TCP_ACKNOWLEDGEMENT) == load_32(tcp + TCP_ACKNOWLEDGEMENT) &&
	       first[TCP_OFFSET] == tcp[TCP_OFFSET] &&
	       first[TCP_FLAGS] == (tcp[TCP_FLAGS] & ~TCP_PSH) &&
	       checksum_load(first + 14) == checksum_load(tcp + 14) && /* window */
	       checksum_load(first + 18) == checksum_load(tcp + 18) && /* urgent pointer */
	       memcmp(first + TCP_OPTIONS, tcp + TCP_OPTIONS, header - TCP_OPTIONS) == 0;
}

/* Whether the packet has the headers of the super-packet's next segment. */
static bool is_next(const struct netlog_super *super, const uint8_t *first,
		    const struct candidate *packet)
{
	const uint8_t *data = packet->data;

	if (super->version != packet->version || super->proto != packet->proto ||
	    super->headers != packet->headers)
		return false;
	if (super->version == 4 ? !is_next_ip4(super, first, data) : !is_next_ip6(first, data))
		return false;
	first += super->transport;
	data += super->transport;
	return super->proto == PROTO_TCP ? is_next_tcp(super, first, data)
					 : load_32(first) == load_32(data);
}

static bool has_room(const struct netlog_super *super, const struct candidate *packet)
{
	uint32_t payload = packet->length - packet->headers;

	return payload <= super->gso_size && super->segments < NETLOG_SUPER_SEGMENTS &&
	       super->length + payload <= UINT16_MAX;
}

/* Whether the checksums of the first and of this packet are correct. Those of the first are checked
 * only when a second packet comes, so most packets that stay alone are never summed. */
static bool are_intact(struct netlog_super *super, const struct netlog_piece *first,
		       const struct candidate *packet)
{
	if (!super->checked &&
	    !is_intact(first->data, first->length, super->transport, super->proto))
		return false;
	super->checked = true;
	return is_intact(packet->data, packet->length, packet->transport, packet->proto);
}

static uint16_t add_piece(struct netlog_coalescer *coalescer, uint8_t *data, uint32_t length)
{
	coalescer->pieces[coalescer->n_pieces] =
		(struct netlog_piece){.data = data, .length = (uint16_t)length};
	return (uint16_t)coalescer->n_pieces++;
}

static void add_super(struct netlog_coalescer *coalescer, uint8_t *data, uint32_t length)
{
	uint16_t piece = add_piece(coalescer, data, length);

	coalescer->supers[coalescer->n_supers++] = (struct netlog_super){
		.length = length, .segments = 1, .first = piece, .last = piece};
}

static bool is_pushed(const struct candidate *packet)
{
	return packet->proto == PROTO_TCP && packet->data[packet->transport + TCP_FLAGS] & TCP_PSH;
}

/* Begins a super-packet with a packet to which others may be joined. */
static void begin(struct netlog_coalescer *coalescer, const struct candidate *packet)
{
	uint32_t payload = packet->length - packet->headers;
	const uint8_t *header = packet->data + packet->transport;

	add_super(coalescer, packet->data, packet->length);
	struct netlog_super *super = &coalescer->supers[coalescer->n_supers - 1];

	super->gso_size = (uint16_t)payload;
	super->transport = (uint16_t)packet->transport;
	super->headers = (uint16_t)packet->headers;
	super->version = packet->version;
	super->proto = packet->proto;
	super->next_id = (uint16_t)(load_be16(packet->data + IP4_ID) + 1);
	super->next_sequence = load_be32(header + TCP_SEQUENCE) + payload;
	coalescer->slots[packet->slot] = (uint16_t)coalescer->n_supers;
}

static void join(struct netlog_coalescer *coalescer, struct netlog_super *super,
		 const struct candidate *packet)
{
	uint32_t payload = packet->length - packet->headers;
	uint16_t piece = add_piece(coalescer, packet->data + packet->headers, payload);

	coalescer->pieces[super->last].next = piece;
	super->last = piece;
	super->length += payload;
	super->segments++;
	super->next_sequence += payload;
	super->next_id++;
	super->push = is_pushed(packet);
	if (super->push || payload < super->gso_size)
		coalescer->slots[packet->slot] = NO_SUPER;
}

bool netlog_coalesce_add(struct netlog_coalescer *coalescer, uint8_t *data, uint32_t length)
{
	struct candidate packet = {.data = data, .length = length};

	if (coalescer->n_pieces == NETLOG_COALESCE_PACKETS)
		return false;
	if (!read_candidate(coalescer, &packet)) {
		add_super(coalescer, data, length);
		return true;
	}
	uint32_t open = coalescer->slots[packet.slot];

	if (open) {
		struct netlog_super *super = &coalescer->supers[open - 1];
		const struct netlog_piece *first = &coalescer->pieces[super->first];

		if (has_room(super, &packet) && is_next(super, first->data, &packet) &&
		    are_intact(super, first, &packet)) {
			join(coalescer, super, &packet);
			return true;
		}
	}
	begin(coalescer, &packet);
	return true;
}

/* Makes the first packet's headers those of the whole, and fills the virtio header. */
static void complete(struct netlog_super *super, uint8_t *data)
{
	uint8_t *header = data + super->transport;
	uint16_t bytes = (uint16_t)(super->length - super->transport);

	if (super->version == 4) {
		store_be16(data + IP4_TOTAL, super->length);
		checksum_store(data + IP4_CHECKSUM, checksum_ip4(data, super->transport));
	} else {
		store_be16(data + IP6_PAYLOAD, super->length - PACKET_IP6_HEADER);
	}
	if (super->push)
		header[TCP_FLAGS] |= TCP_PSH;
	if (super->proto == PROTO_UDP)
		store_be16(header + UDP_LENGTH, bytes);
	uint64_t pseudo = checksum_pseudo(data, super->version, super->proto, bytes);

	checksum_store(header + transport_checksum(super->proto), checksum_fold(pseudo));
	super->header = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = super->proto == PROTO_UDP ? GSO_UDP
			    : super->version == 4     ? VIRTIO_NET_HDR_GSO_TCPV4
						      : VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = super->headers,
		.gso_size = super->gso_size,
		.csum_start = super->transport,
		.csum_offset = (uint16_t)transport_checksum(super->proto),
	};
}

void netlog_coalesce_finish(struct netlog_coalescer *coalescer)
{
	for (uint32_t i = 0; i < coalescer->n_supers; i++) {
		struct netlog_super *super = &coalescer->supers[i];

		if (super->segments > 1)
			complete(super, coalescer->pieces[super->first].data);
	}
}

uint32_t netlog_coalesce_vectors(struct netlog_coalescer *coalescer, uint32_t i,
				 struct iovec *vectors)
{
	struct netlog_super *super = &coalescer->supers[i];
	uint32_t piece = super->first;

	vectors[0] = (struct iovec){.iov_base = &super->header, .iov_len = sizeof(super->header)};
	for (uint32_t n = 0; n < super->segments; n++) {
		const struct netlog_piece *part = &coalescer->pieces[piece];

		vectors[1 + n] = (struct iovec){.iov_base = part->data, .iov_len = part->length};
		piece = part->next;
	}
	return 1 + super->segments;
}
