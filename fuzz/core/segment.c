/* SPDX-License-Identifier: BSD-3-Clause */
/* A super-packet becomes the packets that its count says, and bundles carry those byte by byte.
 *
 * Any virtio header before any packet is refused, with the packet unchanged, or gives a plan. The
 * segments of a plan have the payload of the packet, and together the packets and bytes that
 * counting gives. If the packet was valid, each segment belongs to its connection, and has correct
 * checksums.
 */
#include "fuzz.h"
#include "gso/checksum.h"
#include "gso/transport.h"
#include "io/bundle.h"

/* More segments than a bundler has room for. */
#define MOST_SEGMENTS 1024u

struct super {
	uint8_t *data;
	uint32_t length;
	struct virtio_net_hdr header;
	bool valid; /* its checksum and lengths are what a kernel leaves */
};

struct parts {
	struct netlog_segments plan;
	uint32_t n; /* segments that are kept: the first ones */
	uint8_t *data[MOST_SEGMENTS];
	uint32_t length[MOST_SEGMENTS];
};

/* Adds what the kernel leaves in a super-packet: the sum of the pseudo header. */
static void finish_super(struct input *input, struct super *super, const struct netlog_upper *upper)
{
	uint8_t *header = super->data + upper->offset;
	uint16_t bytes = (uint16_t)(super->length - upper->offset);
	uint64_t sum = checksum_pseudo(super->data, upper->version, upper->proto, bytes);

	super->header.flags |= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	checksum_store(header + transport_checksum(upper->proto), checksum_fold(sum));
	if (upper->proto == PROTO_TCP)
		header[TCP_FLAGS] = take_8(input) & (uint8_t)~(TCP_SYN | TCP_RST);
	super->valid = true;
}

static void take_super(struct input *input, struct super *super)
{
	static const uint8_t types[2][2] = {{VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6},
					    {GSO_UDP, GSO_UDP}};
	struct netlog_upper upper = {0};
	uint8_t choice = take_8(input);

	super->valid = false;
	super->length = make_packet(input, &super->data);
	bool whole = netlog_packet_walk(super->data, super->length, &upper) == 0;
	struct virtio_net_hdr *header = &super->header;

	header->flags = choice & 3;
	header->gso_type = types[upper.proto != PROTO_TCP][upper.version == 6];
	if (choice & 4)
		header->gso_type = take_8(input);
	header->gso_size = choice & 8 ? take_8(input) : take_16(input);
	header->hdr_len = choice & 16 ? take_16(input) : 0;
	header->csum_start = choice & 32 ? take_16(input) : (uint16_t)upper.offset;
	header->csum_offset =
		choice & 64 ? take_16(input) : (uint16_t)transport_checksum(upper.proto);
	if (whole && !(choice & 0x80) && upper.offset + 20 <= super->length &&
	    (upper.proto == PROTO_TCP || upper.proto == PROTO_UDP))
		finish_super(input, super, &upper);
}

static bool has_correct_checksums(const uint8_t *packet, uint32_t length)
{
	struct netlog_upper upper;

	if (netlog_packet_walk(packet, length, &upper))
		return false;
	if (upper.version == 4 &&
	    checksum_fold(netlog_checksum_add(0, packet, upper.offset)) != 0xffff)
		return false;
	uint32_t bytes = length - upper.offset;
	uint64_t sum = checksum_pseudo(packet, upper.version, upper.proto, (uint16_t)bytes);

	return checksum_fold(netlog_checksum_add(sum, packet + upper.offset, bytes)) == 0xffff;
}

/* Whether the sum that the kernel leaves is that of the addresses in the header: a routing header
 * has another destination. */
static bool is_routed(const uint8_t *packet)
{
	return packet[0] >> 4 == 6 && packet[6] != PROTO_TCP && packet[6] != PROTO_UDP;
}

static void cut(struct parts *parts)
{
	const struct netlog_segments *plan = &parts->plan;

	parts->n = plan->count < MOST_SEGMENTS ? plan->count : MOST_SEGMENTS;
	for (uint32_t i = 0; i < parts->n; i++) {
		parts->length[i] = plan->headers + segment_payload_bytes(plan, i);
		parts->data[i] = room(parts->length[i]);
		CHECK(netlog_segment_copy(plan, i, parts->data[i]) == parts->length[i]);
	}
}

static void check_counts(const struct super *super, const struct parts *parts)
{
	const struct netlog_segments *plan = &parts->plan;
	struct netlog_packet packet = packet_of(super->data, super->length, 0);
	struct netlog_increment increment, one;
	struct netlog_key key = {.tail = 0}, other = {.tail = 0};
	uint64_t bytes = 0, payload = 0;

	for (uint32_t i = 0; i < plan->count; i++) {
		payload += segment_payload_bytes(plan, i);
		bytes += plan->headers + segment_payload_bytes(plan, i);
	}
	CHECK(payload + plan->headers == super->length);
	if (!plan->headers) { /* a single packet, which need not be one of IP */
		CHECK(plan->count == 1);
		return;
	}
	packet.gso_size = super->header.gso_size;
	CHECK(netlog_packet_decode(&packet, &key, &increment) == 0);
	CHECK(increment.packets == plan->count && increment.bytes == bytes);
	if (!super->valid)
		return;
	for (uint32_t i = 0; i < parts->n; i++) {
		struct netlog_packet part = packet_of(parts->data[i], parts->length[i], 0);

		CHECK_ROW(i, netlog_packet_decode(&part, &other, &one) == 0);
		CHECK_ROW(i, !memcmp(&key, &other, sizeof(key)));
		CHECK_ROW(i, is_routed(super->data) ||
				     has_correct_checksums(parts->data[i], parts->length[i]));
	}
}

/* Checks one bundle, whose first datagram is segment `at`. Returns the segment after it. */
static uint32_t check_bundle(const struct netlog_bundler *bundler,
			     const struct netlog_bundle *bundle, const struct parts *parts,
			     uint32_t at)
{
	uint8_t *flat = room(bundle->length);
	uint32_t bytes = 0;

	CHECK(bundle->datagrams >= 1 && bundle->datagrams <= bundler->most);
	CHECK(bundle->datagrams == 1 || bundle->length <= NETLOG_BUNDLE_BYTES);
	for (uint32_t i = 0; i < bundle->n_vectors; i++) {
		const struct iovec *vector = &bundler->vectors[bundle->first + i];

		CHECK(vector->iov_len <= bundle->length - bytes);
		memcpy(flat + bytes, vector->iov_base, vector->iov_len);
		bytes += (uint32_t)vector->iov_len;
	}
	CHECK(bytes == bundle->length);
	bytes = 0;
	for (uint32_t i = 0; i < bundle->datagrams; i++, at++) {
		uint32_t length =
			i + 1 < bundle->datagrams ? bundle->datagram_bytes : bundle->length - bytes;

		CHECK(length == parts->length[at]);
		CHECK(!memcmp(flat + bytes, parts->data[at], length));
		bytes += length;
	}
	free(flat);
	return at;
}

static void check_bundles(const struct parts *parts, uint32_t most)
{
	static struct netlog_bundler bundler;
	struct netlog_endpoint endpoint = {0};
	uint32_t added = 0, at = 0;

	netlog_bundle_begin(&bundler, most);
	while (added < parts->n && netlog_bundle_add(&bundler, &endpoint, &parts->plan, added))
		added++;
	CHECK(added);
	for (uint32_t i = 0; i < bundler.n_bundles; i++)
		at = check_bundle(&bundler, &bundler.bundles[i], parts, at);
	CHECK(at == added);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	static struct parts parts;
	struct super super;
	uint8_t most = take_8(&input);

	take_super(&input, &super);
	uint8_t *before = copy_of(super.data, super.length);
	int fault = netlog_segments_plan(&super.header, super.data, super.length, &parts.plan);

	CHECK(fault >= 0 && fault < NETLOG_SEGMENT_FAULTS);
	if (fault) {
		CHECK(!memcmp(before, super.data, super.length));
	} else {
		CHECK(parts.plan.count && parts.plan.headers <= NETLOG_MAX_SEGMENT_HEADERS);
		cut(&parts);
		check_counts(&super, &parts);
		check_bundles(&parts, 1 + most % NETLOG_BUNDLE_DATAGRAMS);
		for (uint32_t i = 0; i < parts.n; i++)
			free(parts.data[i]);
	}
	free(before);
	free(super.data);
	return 0;
}
