// SPDX-License-Identifier: BSD-3-Clause
/* instructions: a program for callgrind, which counts only what runs inside measure().
 *
 *	instructions WAY VERSION CONNECTIONS PACKETS
 *
 * WAY is how the packets come: `batch`; `single`, each in a bracket of its own; `datagrams`, in
 * batches; or `super`, IPv4 TCP super-packets in batches.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "python/span.h"

#define SWAP_NS     1000000000u
#define SUPER_BYTES 64040u
#define SUPER_SIZE  1400u

typedef void (*way)(const struct bench_pass *pass);

void measure(way count, struct bench_pass *pass);

/* The function that --toggle-collect names. */
__attribute__((noinline)) void measure(way count, struct bench_pass *pass)
{
	count(pass);
}

static const uint8_t *slot_of(const struct bench_pass *pass, size_t i)
{
	return pass->ring + i * BENCH_SLOT_BYTES;
}

static void count_batches(const struct bench_pass *pass)
{
	struct bench_pass copy = *pass;

	bench_count(&copy);
}

static void count_single(const struct bench_pass *pass)
{
	for (size_t i = 0; i < pass->packets; i++) {
		struct netlog_packet packet = {.data = slot_of(pass, i),
					       .length = BENCH_SLOT_BYTES,
					       .direction = NETLOG_TX};

		netlog_lane_count_bracket(pass->lane, &packet, 1, NULL, 0);
	}
}

static void count_super(const struct bench_pass *pass)
{
	struct netlog_packet batch[BENCH_BATCH];

	for (size_t i = 0; i < pass->packets; i += BENCH_BATCH) {
		for (size_t j = 0; j < BENCH_BATCH; j++)
			batch[j] = (struct netlog_packet){.data = slot_of(pass, i + j),
							  .length = SUPER_BYTES,
							  .gso_size = SUPER_SIZE,
							  .direction = NETLOG_TX};
		netlog_lane_enter(pass->lane);
		netlog_lane_count_packets(pass->lane, batch, BENCH_BATCH);
		netlog_lane_leave(pass->lane);
	}
}

/* Counts datagrams from the endpoint that is the slot's source address. */
static void count_datagrams(const struct bench_pass *pass)
{
	struct netlog_datagram batch[BENCH_BATCH];

	for (size_t i = 0; i < pass->packets; i += BENCH_BATCH) {
		for (size_t j = 0; j < BENCH_BATCH; j++) {
			batch[j] = (struct netlog_datagram){.address = {[10] = 0xff, [11] = 0xff},
							    .port = 51820,
							    .version = 4,
							    .length = BENCH_SLOT_BYTES,
							    .direction = NETLOG_RX};
			memcpy(batch[j].address + 12, slot_of(pass, i + j) + 12, 4);
		}
		netlog_lane_enter(pass->lane);
		netlog_lane_count_datagrams(pass->lane, batch, BENCH_BATCH);
		netlog_lane_leave(pass->lane);
	}
}

static const struct {
	const char *name;
	way count;
	int point;
} ways[] = {
	{"batch", count_batches, NETLOG_TUN},
	{"single", count_single, NETLOG_TUN},
	{"super", count_super, NETLOG_TUN},
	{"datagrams", count_datagrams, NETLOG_SOCK},
};

/* Turns IPv4 packets into TCP super-packets. Only their headers exist, and only those are read. */
static void make_super(uint8_t *ring, size_t slots)
{
	for (size_t i = 0; i < slots; i++) {
		uint8_t *slot = ring + i * BENCH_SLOT_BYTES;

		slot[2] = SUPER_BYTES >> 8;
		slot[3] = SUPER_BYTES & 0xff;
		slot[9] = 6;
		slot[32] = 0x50; /* 20 bytes of TCP header */
	}
}

static int run(size_t number, int version, uint32_t connections, size_t slots)
{
	struct netlog_meter_options options = {
		.max_flows = connections, .max_endpoints = connections, .max_lanes = 1};
	struct netlog_meter *meter;
	struct bench_pass pass = {.slots = slots, .packets = slots};
	uint8_t *ring = bench_allocate(slots * BENCH_SLOT_BYTES);
	uint32_t *numbers = calloc(slots, sizeof(*numbers));
	bool super = ways[number].count == count_super;

	if (!ring || !numbers || netlog_meter_open(&options, &meter) ||
	    netlog_meter_acquire_lane(meter, &pass.lane))
		return 1;
	pass.ring = ring;
	for (size_t i = 0; i < slots; i++)
		numbers[i] = (uint32_t)(i % connections);
	bench_fill(ring, slots, version, numbers);
	if (super)
		make_super(ring, slots);
	ways[number].count(&pass);
	bench_uniform(numbers, slots, connections, 1);
	bench_fill(ring, slots, version, numbers);
	if (super)
		make_super(ring, slots);
	measure(ways[number].count, &pass);
	/* Fail if the table does not have the expected connections: it would look too cheap. */
	if (netlog_meter_swap(meter, SWAP_NS) ||
	    netlog_meter_retired_rows(meter, ways[number].point) != connections)
		return 1;
	netlog_lane_release(pass.lane);
	netlog_meter_close(meter);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 5)
		return 2;
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (!strcmp(argv[1], ways[i].name))
			return run(i, atoi(argv[2]), (uint32_t)atoi(argv[3]),
				   (size_t)atol(argv[4]));
	return 2;
}
