/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of forward: which packets are forwarded, and where to. Packets are cut at every length,
 * and end where the readable memory ends. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <sys/mman.h>

#include "relay/forward.c"
#include "check.h"

#define PAGE     4096
#define OVERLAY  0x64400000u /* 100.64.0.0 */
#define CAPACITY 200u

/* Peer 0 has 100.64.0.0/24 and fd00::/16, peer 1 has 100.64.0.128/25. */
static struct netlog_peers *peers;
static struct netlog_endpoint endpoints[2];

struct row {
	int version;
	uint32_t src, dst;
	int from; /* the endpoint's peer; -1: an unknown endpoint */
	int to;   /* tx: the peer that gets it; -1: none */
	enum netlog_fate rx;
};

static const struct row rows[] = {
	{4, OVERLAY + 1, OVERLAY + 2, 0, 0, NETLOG_FORWARDED},
	{4, OVERLAY + 1, OVERLAY + 128, 0, 1, NETLOG_FORWARDED},
	{4, OVERLAY + 127, OVERLAY + 127, 0, 0, NETLOG_FORWARDED},
	{4, OVERLAY + 128, OVERLAY + 255, 0, 1, NETLOG_DROP_SOURCE_NOT_ALLOWED},
	{4, OVERLAY + 128, OVERLAY + 256, 1, -1, NETLOG_FORWARDED},
	{4, OVERLAY + 1, OVERLAY - 1, 1, -1, NETLOG_DROP_SOURCE_NOT_ALLOWED},
	{4, OVERLAY + 1, OVERLAY + 2, -1, 0, NETLOG_DROP_UNKNOWN_ENDPOINT},
	{4, 0x08080808, OVERLAY + 2, 0, 0, NETLOG_DROP_SOURCE_NOT_ALLOWED},
	{6, 1, 2, 0, 0, NETLOG_FORWARDED},
	{6, 1, 2, 1, 0, NETLOG_DROP_SOURCE_NOT_ALLOWED},
	{6, 1, 2, -1, 0, NETLOG_DROP_UNKNOWN_ENDPOINT},
};

static void open_peers(void)
{
	struct netlog_prefix prefixes[3] = {
		{.version = 4, .length = 24, .clear = UINT32_MAX, .set = 1},
		{.version = 4, .length = 25, .clear = UINT32_MAX, .set = 2},
		{.version = 6, .length = 16, .clear = UINT32_MAX, .set = 1, .address = {0xfd}},
	};

	for (int i = 0; i < 2; i++) {
		uint8_t ipv4[4];

		put_32(ipv4, OVERLAY + 128 * (uint32_t)i);
		map_ipv4(ipv4, prefixes[i].address);
		endpoints[i] = (struct netlog_endpoint){.port = (uint16_t)(i + 1), .version = 4};
		memcpy(endpoints[i].address, prefixes[i].address, sizeof(endpoints[i].address));
	}
	CHECK(netlog_peers_open(endpoints, 2, prefixes, 3, &peers) == 0);
}

static uint32_t make(const struct row *row, uint8_t *packet)
{
	if (row->version == 4) {
		make_udp4(packet, row->src, row->dst, 9, 9);
		return UDP4_BYTES;
	}
	make_udp6(packet, row->src, row->dst, 9, 9);
	return UDP6_BYTES;
}

/* A batch of one slot that ends where the readable memory ends. */
struct edge {
	uint8_t *end;
	uint32_t length;
	struct netlog_endpoint from;
	struct netlog_batch batch;
};

static void place(struct edge *edge, const uint8_t *packet, uint32_t length)
{
	edge->length = length;
	edge->batch = (struct netlog_batch){
		.data = edge->end - length,
		.lengths = &edge->length,
		.endpoints = &edge->from,
		.stride = CAPACITY,
		.capacity = CAPACITY,
		.n = 1,
	};
	memcpy(edge->batch.data, packet, length);
}

static void check_fate(int row, const struct netlog_fates *fates, enum netlog_fate fate,
		       uint32_t length, uint32_t picked)
{
	for (int other = 1; other < NETLOG_FATES; other++) {
		uint64_t expected = fate != NETLOG_FORWARDED && other == (int)fate;

		CHECK_ROW(row, fates->packets[other] == expected);
		CHECK_ROW(row, fates->bytes[other] == expected * length);
	}
	/* Forwarded packets are counted later, by the outcome of the socket or the TUN. */
	CHECK_ROW(row, fates->packets[NETLOG_FORWARDED] == 0);
	CHECK_ROW(row, picked == (fate == NETLOG_FORWARDED));
}

static void check_tx(int number, struct edge *edge, enum netlog_fate fate, int to)
{
	struct netlog_outgoing outgoing[NETLOG_BATCH];
	struct netlog_fates fates = {0};
	uint32_t picked = netlog_forward_tx(peers, &edge->batch, 1, outgoing, &fates);

	check_fate(number, &fates, fate, edge->length, picked);
	if (picked) {
		CHECK_ROW(number, outgoing[0].data == edge->batch.data);
		CHECK_ROW(number, outgoing[0].length == edge->length);
		CHECK_ROW(number, outgoing[0].endpoint == netlog_peers_endpoint(peers, to));
	}
}

static void check_rx(int number, struct edge *edge, enum netlog_fate fate)
{
	struct netlog_packet packets[NETLOG_BATCH];
	struct netlog_fates fates = {0};
	uint32_t picked = netlog_forward_rx(peers, &edge->batch, 1, packets, &fates);

	check_fate(number, &fates, fate, edge->length, picked);
	if (picked) {
		CHECK_ROW(number, packets[0].data == edge->batch.data);
		CHECK_ROW(number, packets[0].length == edge->length);
	}
}

static void test_rows(struct edge *edge)
{
	for (int number = 0; number < (int)(sizeof(rows) / sizeof(rows[0])); number++) {
		const struct row *row = &rows[number];
		uint8_t packet[CAPACITY];
		uint32_t whole = make(row, packet);

		edge->from = row->from < 0 ? (struct netlog_endpoint){.port = 1, .version = 4}
					   : endpoints[row->from];
		for (uint32_t length = 0; length <= whole; length++) {
			bool cut = length < whole;

			place(edge, packet, length);
			check_tx(number, edge,
				 cut           ? NETLOG_DROP_MALFORMED
				 : row->to < 0 ? NETLOG_DROP_NO_PEER
					       : NETLOG_FORWARDED,
				 row->to);
			check_rx(number, edge,
				 cut && row->from >= 0 ? NETLOG_DROP_MALFORMED : row->rx);
		}
	}
}

static void test_other_versions(struct edge *edge)
{
	edge->from = endpoints[0];
	for (int version = 0; version < 16; version++) {
		uint8_t packet[UDP6_BYTES] = {(uint8_t)(version << 4)};

		if (version == 4 || version == 6)
			continue;
		for (uint32_t length = 1; length <= sizeof(packet); length++) {
			place(edge, packet, length);
			check_tx(version, edge, NETLOG_DROP_NOT_IP, 0);
			check_rx(version, edge, NETLOG_DROP_NOT_IP);
		}
	}
}

/* A datagram that is longer than its slot is not read. */
static void test_truncated(struct edge *edge)
{
	uint8_t packet[CAPACITY];

	place(edge, packet, make(&rows[0], packet));
	edge->from = endpoints[0];
	edge->length = CAPACITY + 1;
	check_rx(0, edge, NETLOG_DROP_TRUNCATED);
}

static void test_outcome(void)
{
	struct netlog_outcome outcome = {
		.done_packets = 1,
		.done_bytes = 10,
		.refused_packets = 2,
		.refused_bytes = 20,
		.full_packets = 3,
		.full_bytes = 30,
	};
	struct netlog_fates tx = {0}, rx = {0};

	for (int round = 1; round <= 2; round++) {
		netlog_fates_add_outcome(&tx, NETLOG_TX, &outcome);
		netlog_fates_add_outcome(&rx, NETLOG_RX, &outcome);
		uint64_t times = (uint64_t)round;

		CHECK(tx.packets[NETLOG_FORWARDED] == times && tx.bytes[0] == 10 * times);
		CHECK(tx.packets[NETLOG_DROP_SEND_FAILED] == 2 * times);
		CHECK(tx.bytes[NETLOG_DROP_SEND_FAILED] == 20 * times);
		CHECK(tx.packets[NETLOG_DROP_SEND_QUEUE_FULL] == 3 * times);
		CHECK(tx.bytes[NETLOG_DROP_SEND_QUEUE_FULL] == 30 * times);
		CHECK(rx.packets[NETLOG_DROP_WRITE_FAILED] == 2 * times);
		CHECK(rx.packets[NETLOG_DROP_SEND_FAILED] == 0);
	}
}

int main(void)
{
	uint8_t *pages =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct edge edge = {.end = pages + PAGE};

	CHECK(pages != MAP_FAILED && mprotect(edge.end, PAGE, PROT_NONE) == 0);
	open_peers();
	test_rows(&edge);
	test_other_versions(&edge);
	test_truncated(&edge);
	test_outcome();
	netlog_peers_close(peers);
	puts("forward: ok");
	return 0;
}
