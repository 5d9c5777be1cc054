/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets that were coalesced and segmented again are the packets that came, byte by byte.
 *
 * Every packet of a batch comes out once: unchanged, or as a segment of a super-packet, in the
 * order of its flow. A super-packet counts as the packets that it was made of.
 */
#include "fuzz.h"
#include "gso/checksum.h"
#include "gso/coalesce.h"
#include "gso/segment.h"
#include "gso/transport.h"

#define MOST_PACKETS (NETLOG_COALESCE_PACKETS + 40u)
#define FLOWS        4u

struct packets {
	uint32_t n;
	uint32_t taken;
	uint8_t *data[MOST_PACKETS];
	uint8_t *before[MOST_PACKETS]; /* as they came: the coalescer changes headers in place */
	uint32_t length[MOST_PACKETS];
	bool found[MOST_PACKETS];
	uint32_t sequence[FLOWS];
	uint16_t id[FLOWS];
};

static struct netlog_coalescer coalescer;

static void put_ip(uint8_t *packet, uint32_t length, uint8_t proto, uint32_t flow, uint16_t id)
{
	if (flow & 1) {
		packet[0] = 0x60;
		put_16(packet + 4, length - PACKET_IP6_HEADER);
		packet[6] = proto;
		packet[7] = 64;
		packet[23] = (uint8_t)flow;
		packet[39] = 9;
		return;
	}
	packet[0] = 0x45;
	put_16(packet + 2, length);
	put_16(packet + 4, id);
	put_16(packet + 6, 0x4000);
	packet[8] = 64;
	packet[9] = proto;
	put_32(packet + 12, 0x0a000000 + flow);
	put_32(packet + 16, 0x0a000009);
}

/* Makes the checksums correct, as far as the packet can have any. */
static void put_checksums(uint8_t *packet, uint32_t length)
{
	struct netlog_upper upper;

	if (netlog_packet_walk(packet, length, &upper) || upper.limit != length ||
	    !netlog_packet_transport(packet, &upper))
		return;
	uint8_t *header = packet + upper.offset;
	uint8_t *checksum = header + transport_checksum(upper.proto);
	uint32_t bytes = length - upper.offset;

	checksum_store(checksum, 0);
	uint64_t sum = checksum_pseudo(packet, upper.version, upper.proto, (uint16_t)bytes);

	sum = netlog_checksum_add(sum, header, bytes);
	checksum_store(checksum,
		       upper.proto == PROTO_TCP ? checksum_finish(sum) : checksum_finish_udp(sum));
	if (upper.version == 4)
		checksum_store(packet + 10, checksum_ip4(packet, upper.offset));
}

/* Makes the next packet of one of four flows, maybe with one bit of its headers changed. */
static uint32_t make_next(struct input *input, struct packets *packets, uint8_t choice,
			  uint8_t **packet)
{
	uint32_t flow = choice >> 2 & 3;
	uint8_t proto = choice & 1 ? PROTO_UDP : PROTO_TCP;
	uint32_t ip = flow & 1 ? PACKET_IP6_HEADER : PACKET_IP4_HEADER;
	uint32_t headers = ip + (proto == PROTO_UDP ? 8 : choice & 16 ? 32 : 20);
	uint32_t payload = choice & 32 ? take_16(input) % 1500 : 40 + (choice >> 6) * 8u;
	uint32_t length = headers + payload;
	uint8_t *bytes = *packet = room(length);
	uint8_t change = take_8(input);

	put_ip(bytes, length, proto, flow, packets->id[flow]++);
	put_16(bytes + ip, 1000 + flow);
	put_16(bytes + ip + 2, 80);
	if (proto == PROTO_UDP) {
		put_16(bytes + ip + 4, 8 + payload);
	} else {
		put_32(bytes + ip + 4, packets->sequence[flow]);
		packets->sequence[flow] += payload;
		bytes[ip + 12] = (uint8_t)((headers - ip) / 4 << 4);
		bytes[ip + 13] = TCP_ACK;
	}
	memset(bytes + headers, change, payload);
	if (change & 1)
		bytes[take_8(input) % headers] ^= (uint8_t)(1 << (change >> 1 & 7));
	if (!(change & 0x80))
		put_checksums(bytes, length);
	return length;
}

static void take_packets(struct input *input, struct packets *packets)
{
	packets->n = 0;
	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		packets->sequence[flow] = 100 * flow;
		packets->id[flow] = (uint16_t)flow;
	}
	while (input->left && packets->n < MOST_PACKETS) {
		uint8_t choice = take_8(input), *packet = NULL;
		uint32_t length = (choice & 3) == 3 ? make_packet(input, &packet)
						    : make_next(input, packets, choice, &packet);

		if (!length || length > UINT16_MAX) { /* which no batch has */
			free(packet);
			continue;
		}
		packets->data[packets->n] = packet;
		packets->before[packets->n] = copy_of(packet, length);
		packets->length[packets->n] = length;
		packets->found[packets->n++] = false;
	}
}

/* The bytes of a super-packet as they are written, which the caller frees. */
static uint8_t *gather(uint32_t i)
{
	struct iovec vectors[1 + NETLOG_SUPER_SEGMENTS];
	uint32_t n = netlog_coalesce_vectors(&coalescer, i, vectors);
	uint32_t bytes = 0, length = coalescer.supers[i].length;
	uint8_t *flat = room(length);

	CHECK(n <= 1 + NETLOG_SUPER_SEGMENTS);
	for (uint32_t at = 1; at < n; at++) { /* behind the virtio header */
		CHECK(vectors[at].iov_len <= length - bytes);
		memcpy(flat + bytes, vectors[at].iov_base, vectors[at].iov_len);
		bytes += (uint32_t)vectors[at].iov_len;
	}
	CHECK(bytes == length);
	return flat;
}

/* Finds a packet, from `from` on, that came with these bytes. Returns the place after it. */
static uint32_t find(struct packets *packets, uint32_t from, const uint8_t *bytes, uint32_t length)
{
	for (uint32_t i = from; i < packets->taken; i++) {
		if (packets->found[i] || packets->length[i] != length ||
		    memcmp(packets->before[i], bytes, length))
			continue;
		packets->found[i] = true;
		return i + 1;
	}
	CHECK(false); /* a packet that did not come */
	return 0;
}

static void check_segments(struct packets *packets, uint32_t i, uint8_t *flat)
{
	const struct netlog_super *super = &coalescer.supers[i];
	struct netlog_packet packet = coalesce_packet(&coalescer, i);
	struct netlog_increment increment;
	struct netlog_segments plan;
	struct netlog_key key;
	uint64_t bytes = 0;
	uint32_t from = 0;

	packet.data = flat;
	CHECK(netlog_packet_decode(&packet, &key, &increment) == 0);
	CHECK(netlog_segments_plan(&super->header, flat, super->length, &plan) == 0);
	CHECK(plan.count == super->segments && increment.packets == super->segments);
	for (uint32_t at = 0; at < plan.count; at++) {
		uint32_t length = plan.headers + segment_payload_bytes(&plan, at);
		uint8_t *segment = room(length);

		CHECK(netlog_segment_copy(&plan, at, segment) == length);
		from = find(packets, from, segment, length);
		bytes += length;
		free(segment);
	}
	CHECK(bytes == increment.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	static struct packets packets;
	uint8_t kinds = take_8(&input) & 15;
	uint32_t found = 0;

	take_packets(&input, &packets);
	packets.taken = 0;
	netlog_coalesce_begin(&coalescer, kinds);
	while (packets.taken < packets.n &&
	       netlog_coalesce_add(&coalescer, packets.data[packets.taken],
				   packets.length[packets.taken]))
		packets.taken++;
	CHECK(packets.taken == packets.n || packets.taken == NETLOG_COALESCE_PACKETS);
	netlog_coalesce_finish(&coalescer);
	for (uint32_t i = 0; i < coalescer.n_supers; i++) {
		uint8_t *flat = gather(i);

		if (coalescer.supers[i].segments == 1)
			find(&packets, 0, flat, coalescer.supers[i].length);
		else
			check_segments(&packets, i, flat);
		free(flat);
	}
	for (uint32_t i = 0; i < packets.n; i++) {
		found += packets.found[i];
		free(packets.data[i]);
		free(packets.before[i]);
	}
	CHECK(found == packets.taken);
	return 0;
}
