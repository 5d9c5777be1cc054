// SPDX-License-Identifier: BSD-3-Clause
/* instructions: a program for callgrind, which counts what runs inside measure() and nothing else.
 *
 *	instructions VERSION CONNECTIONS PACKETS
 */
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

#define SWAP_NS 1000000000u

void measure(struct bench_pass *pass);

/* The function that --toggle-collect names. */
__attribute__((noinline)) void measure(struct bench_pass *pass)
{
	bench_count(pass);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	int version = atoi(argv[1]);
	uint32_t connections = (uint32_t)atoi(argv[2]);
	size_t slots = (size_t)atol(argv[3]);
	struct netlog_meter_options options = {
		.max_flows = connections, .max_endpoints = 1, .max_lanes = 1};
	struct netlog_meter *meter;
	struct bench_pass pass = {.slots = slots, .packets = slots};
	uint8_t *ring = bench_allocate(slots * BENCH_SLOT_BYTES);
	uint32_t *numbers = calloc(slots, sizeof(*numbers));

	if (!ring || !numbers || netlog_meter_open(&options, &meter) ||
	    netlog_meter_acquire_lane(meter, &pass.lane))
		return 1;
	pass.ring = ring;
	for (size_t i = 0; i < slots; i++)
		numbers[i] = (uint32_t)(i % connections);
	bench_fill(ring, slots, version, numbers);
	bench_count(&pass);
	bench_uniform(numbers, slots, connections, 1);
	bench_fill(ring, slots, version, numbers);
	measure(&pass);
	/* A table that was not the one we meant must not look cheap. */
	if (netlog_meter_swap(meter, SWAP_NS) ||
	    netlog_meter_retired_rows(meter, NETLOG_TUN) != connections)
		return 1;
	netlog_lane_release(pass.lane);
	netlog_meter_close(meter);
	return 0;
}
