/* SPDX-License-Identifier: BSD-3-Clause */
#include "gso/checksum.h"
#include "gso/segment.h"
#include "gso/transport.h"

/* Whether gso_type is that of the packet. No other bit may be set, not even VIRTIO_NET_HDR_GSO_ECN:
 * such offloads were not enabled. */
static bool is_type(uint8_t gso_type, const struct netlog_upper *upper)
{
	switch (gso_type) {
	case VIRTIO_NET_HDR_GSO_TCPV4:
		return upper->version == 4 && upper->proto == PROTO_TCP;
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return upper->version == 6 && upper->proto == PROTO_TCP;
	case GSO_UDP:
		return upper->proto == PROTO_UDP;
	default:
		return false;
	}
}

/* Completes the partial checksum of a single packet. Only the kernel knows to which protocol it
 * belongs: in a tunnel it is the checksum of an inner packet. */
static int complete(const struct virtio_net_hdr *header, uint8_t *data, uint32_t length)
{
	uint32_t at = (uint32_t)header->csum_start + header->csum_offset;
	struct netlog_upper upper;

	if (netlog_packet_walk(data, length, &upper) || upper.limit != length || upper.fragment)
		return NETLOG_SEGMENT_MALFORMED;
	if (header->csum_start < upper.offset || at + 2 > length)
		return NETLOG_SEGMENT_CHECKSUM;
	if (header->csum_start == upper.offset &&
	    (upper.proto == PROTO_TCP || upper.proto == PROTO_UDP) &&
	    header->csum_offset != transport_checksum(upper.proto))
		return NETLOG_SEGMENT_CHECKSUM;
	uint64_t sum =
		netlog_checksum_add(0, data + header->csum_start, length - header->csum_start);

	/* 0 becomes all ones for every protocol, as in the kernel's skb_checksum_help(). */
	checksum_store(data + at, checksum_finish_udp(sum));
	return 0;
}

/* Whether a jumbo option says the length, which must not be in a segment. */
static bool is_jumbo(const uint8_t *data, const struct netlog_upper *upper)
{
	return upper->version == 6 && !load_be16(data + IP6_PAYLOAD) && data[6] == 0;
}

/* What of a super-packet's own headers cannot be. */
static int judge(const uint8_t *data, const struct netlog_upper *upper, uint32_t transport,
		 uint32_t length)
{
	const uint8_t *header = data + upper->offset;

	if (!transport || upper->limit != length || upper->fragment ||
	    upper->offset + transport >= length || is_jumbo(data, upper))
		return NETLOG_SEGMENT_MALFORMED;
	if (upper->offset + transport > NETLOG_MAX_SEGMENT_HEADERS)
		return NETLOG_SEGMENT_HEADERS;
	/* SYN takes part in the numbering and RST ends it. No stack sends a super-packet with them.
	 */
	if (upper->proto == PROTO_TCP && header[TCP_FLAGS] & (TCP_SYN | TCP_RST))
		return NETLOG_SEGMENT_MALFORMED;
	if (upper->proto == PROTO_UDP && load_be16(header + UDP_LENGTH) != length - upper->offset)
		return NETLOG_SEGMENT_MALFORMED;
	return 0;
}

static int plan_super(const struct virtio_net_hdr *header, const uint8_t *data, uint32_t length,
		      struct netlog_segments *plan)
{
	struct netlog_upper upper;

	if (netlog_packet_walk(data, length, &upper))
		return NETLOG_SEGMENT_MALFORMED;
	if (!is_type(header->gso_type, &upper))
		return NETLOG_SEGMENT_TYPE;
	uint32_t transport = netlog_packet_transport(data, &upper);
	int fault = judge(data, &upper, transport, length);

	if (fault)
		return fault;
	if (!header->gso_size)
		return NETLOG_SEGMENT_SIZE;
	if (!(header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || header->csum_start != upper.offset ||
	    header->csum_offset != transport_checksum(upper.proto))
		return NETLOG_SEGMENT_CHECKSUM;
	uint32_t headers = upper.offset + transport;
	uint16_t partial = checksum_load(data + upper.offset + header->csum_offset);
	uint16_t bytes = checksum_of((uint16_t)(length - upper.offset));

	*plan = (struct netlog_segments){
		.data = data,
		.length = length,
		.headers = headers,
		.gso_size = header->gso_size,
		.count = (length - headers - 1) / header->gso_size + 1,
		.transport = upper.offset,
		.pseudo = checksum_fold((uint64_t)partial + (uint16_t)~bytes),
		.version = upper.version,
		.proto = upper.proto,
	};
	return 0;
}

int netlog_segments_plan(const struct virtio_net_hdr *header, uint8_t *data, uint32_t length,
			 struct netlog_segments *plan)
{
	if (header->hdr_len > length)
		return NETLOG_SEGMENT_HEADERS;
	if (header->gso_type != VIRTIO_NET_HDR_GSO_NONE)
		return plan_super(header, data, length, plan);
	*plan = (struct netlog_segments){.data = data, .length = length, .count = 1};
	return header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM ? complete(header, data, length) : 0;
}

/* Completes the IP header of segment i: its length and, for IPv4, identification and checksum. */
static void put_ip(const struct netlog_segments *plan, uint32_t i, uint32_t length, uint8_t *ip)
{
	if (plan->version == 6) {
		store_be16(ip + IP6_PAYLOAD, length - PACKET_IP6_HEADER);
		return;
	}
	store_be16(ip + IP4_TOTAL, length);
	store_be16(ip + IP4_ID, load_be16(ip + IP4_ID) + i);
	checksum_store(ip + IP4_CHECKSUM, checksum_ip4(ip, plan->transport));
}

static void put_tcp(const struct netlog_segments *plan, uint32_t i, uint8_t *tcp)
{
	store_be32(tcp + TCP_SEQUENCE, load_be32(tcp + TCP_SEQUENCE) + i * plan->gso_size);
	if (i)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	if (i + 1 < plan->count)
		tcp[TCP_FLAGS] &= (uint8_t)~(TCP_FIN | TCP_PSH);
}

void netlog_segment_headers(const struct netlog_segments *plan, uint32_t i, uint8_t *headers)
{
	uint32_t payload = segment_payload_bytes(plan, i);
	uint32_t above = plan->headers - plan->transport;
	uint8_t *transport = headers + plan->transport;

	if (!plan->headers)
		return;
	memcpy(headers, plan->data, plan->headers);
	put_ip(plan, i, plan->headers + payload, headers);
	if (plan->proto == PROTO_TCP)
		put_tcp(plan, i, transport);
	else
		store_be16(transport + UDP_LENGTH, above + payload);
	uint8_t *checksum = transport + transport_checksum(plan->proto);
	uint64_t sum = (uint64_t)plan->pseudo + checksum_of((uint16_t)(above + payload));

	checksum_store(checksum, 0);
	sum = netlog_checksum_add(sum, transport, above);
	sum = netlog_checksum_add(sum, segment_payload(plan, i), payload);
	checksum_store(checksum,
		       plan->proto == PROTO_TCP ? checksum_finish(sum) : checksum_finish_udp(sum));
}

uint32_t netlog_segment_copy(const struct netlog_segments *plan, uint32_t i, uint8_t *packet)
{
	uint32_t payload = segment_payload_bytes(plan, i);

	netlog_segment_headers(plan, i, packet);
	memcpy(packet + plan->headers, segment_payload(plan, i), payload);
	return plan->headers + payload;
}
