/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of segment: packets that end where the readable memory ends, whole and cut, with any
 * virtio header. Segments must have correct checksums and the whole payload.
 *
 * tests/oracle compares each byte of a segment with scapy, and tests/system with the kernel. This
 * program checks what Python cannot see.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "gso/segment.h"
#include "wire.h"

#define PAGES_BYTES (17u * 4096u)
#define ROUNDS      (20000 / SLOWER)
#define MOST        4000u

static struct virtio_net_hdr header_of(const struct wire_flow *flow, uint16_t gso_size)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = flow->proto == 17    ? 5
			    : flow->version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4
						 : VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = (uint16_t)wire_headers(flow),
		.gso_size = gso_size,
		.csum_start = (uint16_t)wire_ip(flow),
		.csum_offset = flow->proto == 6 ? 16 : 6,
	};
}

static void fill(uint64_t *random, uint8_t *bytes, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		bytes[i] = (uint8_t)next_random(random);
}

static void check_segment(int row, const struct netlog_segments *plan, uint32_t i,
			  const struct wire_flow *flow)
{
	uint8_t headers[NETLOG_MAX_SEGMENT_HEADERS + 1], packet[MOST + NETLOG_MAX_SEGMENT_HEADERS];
	uint32_t payload = segment_payload_bytes(plan, i);
	uint32_t length = netlog_segment_copy(plan, i, packet);
	uint32_t ip = wire_ip(flow);

	headers[plan->headers] = 0x5a;
	netlog_segment_headers(plan, i, headers);
	CHECK_ROW(row, headers[plan->headers] == 0x5a);
	CHECK_ROW(row, memcmp(headers, packet, plan->headers) == 0);
	CHECK_ROW(row, length == plan->headers + payload && payload);
	CHECK_ROW(row, wire_is_right(packet, length, flow));
	CHECK_ROW(row, memcmp(packet + plan->headers, segment_payload(plan, i), payload) == 0);
	if (flow->version == 4)
		CHECK_ROW(row, load_be16(packet + 4) == (uint16_t)(flow->id + i));
	if (flow->proto == 6)
		CHECK_ROW(row, load_be32(packet + ip + 4) == flow->sequence + i * plan->gso_size);
}

static void test_segments(uint8_t *end)
{
	static uint8_t payload[MOST];
	uint64_t random = 1;

	for (int round = 0; round < ROUNDS; round++) {
		struct wire_flow flow = wire_random(&random);
		uint32_t n = 1 + (uint32_t)(next_random(&random) % MOST);
		uint16_t gso_size = (uint16_t)(1 + n / (1 + next_random(&random) % 50));
		uint32_t length = wire_headers(&flow) + n;
		uint8_t *packet = end - length;
		struct virtio_net_hdr header = header_of(&flow, gso_size);
		struct netlog_segments plan;
		uint32_t sum = 0;

		fill(&random, payload, n);
		wire_make(&flow, payload, n, true, packet);
		CHECK_ROW(round, netlog_segments_plan(&header, packet, length, &plan) == 0);
		CHECK_ROW(round, plan.count == (n - 1) / gso_size + 1);
		for (uint32_t i = 0; i < plan.count; i++) {
			check_segment(round, &plan, i, &flow);
			sum += segment_payload_bytes(&plan, i);
		}
		CHECK_ROW(round, sum == n);
		header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		CHECK_ROW(round, netlog_segments_plan(&header, packet, length, &plan) == 0);
		CHECK_ROW(round, plan.count == 1 && plan.headers == 0);
		CHECK_ROW(round, wire_is_right(packet, length, &flow));
	}
}

/* A packet with one byte changed, cut anywhere, with a random virtio header: it is refused and
 * unchanged, or segmented within its own bytes. */
static void test_anything(uint8_t *end)
{
	static uint8_t payload[200], before[400];
	uint64_t random = 2;

	for (int round = 0; round < 10 * ROUNDS; round++) {
		struct wire_flow flow = wire_random(&random);
		struct virtio_net_hdr header = header_of(&flow, 60);
		uint8_t whole[400], segment[UINT16_MAX + NETLOG_MAX_SEGMENT_HEADERS];
		uint32_t length = wire_make(&flow, payload, sizeof(payload), true, whole);
		struct netlog_segments plan;

		((uint8_t *)&header)[next_random(&random) % sizeof(header)] ^=
			(uint8_t)(next_random(&random) & next_random(&random));
		whole[next_random(&random) % 100] ^=
			(uint8_t)(next_random(&random) & next_random(&random));
		if (next_random(&random) % 4 == 0)
			length = (uint32_t)(next_random(&random) % (length + 1));
		uint8_t *packet = end - length;

		memcpy(packet, whole, length);
		memcpy(before, whole, length);
		if (netlog_segments_plan(&header, packet, length, &plan)) {
			CHECK_ROW(round, memcmp(packet, before, length) == 0);
			continue;
		}
		uint32_t sum = plan.headers;

		for (uint32_t i = 0; i < plan.count; i++)
			sum += netlog_segment_copy(&plan, i, segment) - plan.headers;
		CHECK_ROW(round, sum == length);
	}
}

int main(void)
{
	uint8_t *pages = mmap(NULL, PAGES_BYTES + 4096, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(pages != MAP_FAILED && mprotect(pages + PAGES_BYTES, 4096, PROT_NONE) == 0);
	test_segments(pages + PAGES_BYTES);
	test_anything(pages + PAGES_BYTES);
	puts("segment: ok");
	return 0;
}
