/* SPDX-License-Identifier: BSD-3-Clause */
/* wire: packets as a sender puts them on the wire, for the selftests of segment and coalesce. It
 * has a checksum of its own, which adds two bytes at a time. */
#ifndef NETLOG_SELFTEST_WIRE_H
#define NETLOG_SELFTEST_WIRE_H

#include "check.h"

struct wire_flow {
	int version;   /* 4 or 6 */
	uint8_t proto; /* 6 or 17 */
	uint32_t host; /* the lowest bits of the source address */
	uint32_t sequence;
	uint16_t id;
	uint8_t flags;    /* of TCP */
	uint32_t options; /* bytes of TCP options, a multiple of 4 */
};

static inline uint32_t wire_sum(const uint8_t *bytes, uint32_t n, uint32_t sum)
{
	for (uint32_t i = 0; i < n; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline uint32_t wire_ip(const struct wire_flow *flow)
{
	return flow->version == 4 ? 20 : 40;
}

static inline uint32_t wire_headers(const struct wire_flow *flow)
{
	return wire_ip(flow) + (flow->proto == 6 ? 20 + flow->options : 8);
}

static inline uint32_t wire_pseudo(const uint8_t *packet, const struct wire_flow *flow,
				   uint32_t bytes)
{
	uint32_t sum =
		flow->version == 4 ? wire_sum(packet + 12, 8, 0) : wire_sum(packet + 8, 32, 0);

	return wire_sum(packet, 0, sum + flow->proto + bytes);
}

/* Whether the checksums of a packet are correct, and its protocol is the flow's. */
static inline bool wire_is_right(const uint8_t *packet, uint32_t length,
				 const struct wire_flow *flow)
{
	uint32_t ip = wire_ip(flow);

	return (flow->version == 6 ? packet[6] == flow->proto
				   : wire_sum(packet, ip, 0) == 0xffff) &&
	       wire_sum(packet + ip, length - ip, wire_pseudo(packet, flow, length - ip)) == 0xffff;
}

/* Makes a packet of a flow with this payload. partial: only the pseudo header is in the checksum.
 * Returns the length of the packet. */
static inline uint32_t wire_make(const struct wire_flow *flow, const uint8_t *payload, uint32_t n,
				 bool partial, uint8_t *packet)
{
	uint32_t ip = wire_ip(flow), headers = wire_headers(flow), length = headers + n;
	uint8_t *above = packet + ip;
	uint8_t *checksum = above + (flow->proto == 6 ? 16 : 6);

	memset(packet, 1, headers);
	if (flow->version == 4) {
		packet[0] = 0x45;
		put_16(packet + 2, length);
		put_16(packet + 4, flow->id);
		put_16(packet + 6, 0x4000);
		packet[9] = flow->proto;
		put_32(packet + 12, flow->host);
		put_16(packet + 10, 0);
		put_16(packet + 10, ~wire_sum(packet, 20, 0) & 0xffff);
	} else {
		packet[0] = 0x60;
		put_16(packet + 4, length - 40);
		packet[6] = flow->proto;
		put_32(packet + 20, flow->host);
	}
	if (flow->proto == 6) {
		put_32(above + 4, flow->sequence);
		above[12] = (uint8_t)((20 + flow->options) / 4 << 4);
		above[13] = flow->flags;
	} else {
		put_16(above + 4, 8 + n);
	}
	memcpy(packet + headers, payload, n);
	uint32_t sum = wire_pseudo(packet, flow, length - ip);

	put_16(checksum, 0);
	if (partial) {
		put_16(checksum, sum);
		return length;
	}
	sum = ~wire_sum(above, length - ip, sum) & 0xffff;
	put_16(checksum, !sum && flow->proto == 17 ? 0xffff : sum);
	return length;
}

static inline struct wire_flow wire_random(uint64_t *random)
{
	return (struct wire_flow){
		.version = next_random(random) % 2 ? 4 : 6,
		.proto = next_random(random) % 2 ? 6 : 17,
		.host = (uint32_t)next_random(random),
		.sequence = (uint32_t)next_random(random),
		.id = (uint16_t)next_random(random),
		.flags = 0x10,
		.options = (uint32_t)(next_random(random) % 11) * 4,
	};
}

#endif
