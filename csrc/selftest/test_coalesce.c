/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of coalesce: whatever packets are added, segmenting the super-packets gives the same
 * packets again, in the order of each flow. Each packet lies in memory of its exact size, for the
 * sanitizer.
 *
 * Which packets are joined is tested in tests/oracle.
 */
#include "gso/coalesce.h"
#include "gso/segment.h"
#include "wire.h"

#define ROUNDS  (2000 / SLOWER)
#define FLOWS   6
#define PACKETS 200u
#define MOST    1600u
#define ALL     15

struct sent {
	uint8_t *data;
	uint32_t length;
	int flow;
};

struct world {
	uint64_t random;
	struct wire_flow flows[FLOWS];
	struct sent sent[PACKETS];
	uint32_t n;
	uint8_t *copies[PACKETS]; /* the coalescer gets these, and writes to them */
	bool back[PACKETS];
};

static uint32_t pick(struct world *world, uint32_t n)
{
	return (uint32_t)(next_random(&world->random) % n);
}

/* Sends the next packet of a flow. Sometimes it is lost, damaged, or ends a super-packet. */
static void send_one(struct world *world, uint32_t size)
{
	static uint8_t payload[MOST];
	int number = (int)pick(world, FLOWS);
	struct wire_flow *flow = &world->flows[number];
	struct sent *sent = &world->sent[world->n];
	uint32_t n = pick(world, 10) ? size : pick(world, size);
	uint8_t packet[MOST + 120];

	for (uint32_t i = 0; i < n; i++)
		payload[i] = (uint8_t)next_random(&world->random);
	flow->flags = (uint8_t)(pick(world, 20) ? 0x10 : 0x10 | 1u << pick(world, 8));
	sent->length = wire_make(flow, payload, n, false, packet);
	sent->flow = number;
	if (!pick(world, 30))
		packet[pick(world, sent->length)] ^= (uint8_t)(1 << pick(world, 8));
	flow->sequence += n;
	flow->id++;
	if (!pick(world, 30))
		return; /* lost */
	sent->data = malloc(sent->length);
	world->copies[world->n] = malloc(sent->length);
	CHECK(sent->data && world->copies[world->n]);
	memcpy(sent->data, packet, sent->length);
	memcpy(world->copies[world->n++], packet, sent->length);
}

/* Notes a packet that came back: the first one with these bytes that has not. Within its flow, no
 * earlier packet may be missing. */
static void take_back(struct world *world, int row, const uint8_t *packet, uint32_t length)
{
	for (uint32_t i = 0; i < world->n; i++) {
		const struct sent *sent = &world->sent[i];

		if (world->back[i] || sent->length != length ||
		    memcmp(sent->data, packet, length) != 0)
			continue;
		/* A damaged packet may belong to any flow. */
		for (uint32_t j = 0; j < i; j++)
			CHECK_ROW(
				row,
				world->back[j] || world->sent[j].flow != sent->flow ||
					!wire_is_right(packet, length, &world->flows[sent->flow]) ||
					!wire_is_right(world->sent[j].data, world->sent[j].length,
						       &world->flows[sent->flow]));
		world->back[i] = true;
		return;
	}
	CHECK_ROW(row, false && "a packet that nobody sent");
}

static void take_super(struct world *world, int row, struct netlog_coalescer *coalescer, uint32_t i)
{
	static uint8_t whole[UINT16_MAX], packet[UINT16_MAX];
	struct iovec vectors[1 + NETLOG_SUPER_SEGMENTS];
	uint32_t n = netlog_coalesce_vectors(coalescer, i, vectors), length = 0;
	struct netlog_packet counted = coalesce_packet(coalescer, i);
	struct netlog_segments plan;
	struct virtio_net_hdr header;

	CHECK_ROW(row, n == 1 + coalescer->supers[i].segments && vectors[0].iov_len == 10);
	memcpy(&header, vectors[0].iov_base, sizeof(header));
	for (uint32_t k = 1; k < n; k++) {
		memcpy(whole + length, vectors[k].iov_base, vectors[k].iov_len);
		length += (uint32_t)vectors[k].iov_len;
	}
	CHECK_ROW(row, length == counted.length && header.gso_size == counted.gso_size);
	CHECK_ROW(row, netlog_segments_plan(&header, whole, length, &plan) == 0);
	CHECK_ROW(row, plan.count == coalescer->supers[i].segments);
	for (uint32_t k = 0; k < plan.count; k++)
		take_back(world, row, packet, netlog_segment_copy(&plan, k, packet));
}

static uint32_t round_trip(struct world *world, int row, struct netlog_coalescer *coalescer)
{
	netlog_coalesce_begin(coalescer, ALL);
	for (uint32_t i = 0; i < world->n; i++)
		CHECK_ROW(row,
			  netlog_coalesce_add(coalescer, world->copies[i], world->sent[i].length));
	netlog_coalesce_finish(coalescer);
	for (uint32_t i = 0; i < coalescer->n_supers; i++)
		take_super(world, row, coalescer, i);
	for (uint32_t i = 0; i < world->n; i++) {
		CHECK_ROW(row, world->back[i]);
		free(world->sent[i].data);
		free(world->copies[i]);
	}
	return world->n - coalescer->n_supers;
}

static void test_round_trips(struct netlog_coalescer *coalescer)
{
	uint32_t joined = 0, packets = 0;

	for (int round = 0; round < ROUNDS; round++) {
		struct world world = {.random = (uint64_t)round};
		uint32_t size = 1 + pick(&world, MOST);

		for (int i = 0; i < FLOWS; i++)
			world.flows[i] = wire_random(&world.random);
		for (uint32_t i = 0; i < PACKETS; i++)
			send_one(&world, size);
		packets += world.n;
		joined += round_trip(&world, round, coalescer);
	}
	/* Without this check the test would pass even if no packets were joined. */
	CHECK(joined > packets / 2);
}

/* A coalescer refuses packets beyond its bound, and loses none. */
static void test_full(struct netlog_coalescer *coalescer)
{
	static uint8_t packets[NETLOG_COALESCE_PACKETS + 1][UDP4_BYTES];

	netlog_coalesce_begin(coalescer, ALL);
	for (uint32_t i = 0; i <= NETLOG_COALESCE_PACKETS; i++) {
		make_udp4(packets[i], 1, 2, 3, 4);
		CHECK_ROW(i, netlog_coalesce_add(coalescer, packets[i], UDP4_BYTES) ==
				     (i < NETLOG_COALESCE_PACKETS));
	}
	netlog_coalesce_finish(coalescer);
	CHECK(coalescer->n_supers == NETLOG_COALESCE_PACKETS);
}

int main(void)
{
	struct netlog_coalescer *coalescer = malloc(sizeof(*coalescer));

	CHECK(coalescer);
	test_round_trips(coalescer);
	test_full(coalescer);
	free(coalescer);
	puts("coalesce: ok");
	return 0;
}
