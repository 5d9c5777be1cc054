// SPDX-License-Identifier: BSD-3-Clause
/* drive: the main() of every program in this folder. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "drive.h"

static uint8_t *ring;
static uint32_t *numbers;

/* Counts every connection once; the last one fills up the last batch. */
static uint64_t meet_all(int version, size_t connections, size_t slots)
{
	uint64_t packets = 0;

	for (size_t first = 0; first < connections; first += slots) {
		size_t n = connections - first < slots ? connections - first : slots;
		size_t whole = (n + BENCH_BATCH - 1) / BENCH_BATCH * BENCH_BATCH;

		for (size_t i = 0; i < whole; i++)
			numbers[i] = (uint32_t)(first + (i < n ? i : n - 1));
		bench_fill(ring, whole, version, numbers);
		table_count(ring, whole);
		packets += whole;
	}
	return packets;
}

static uint64_t count_ring(size_t slots, size_t passes)
{
	uint64_t start = bench_cpu_ns();

	for (size_t i = 0; i < passes; i++)
		table_count(ring, slots);
	return bench_cpu_ns() - start;
}

int main(int argc, char **argv)
{
	char line[32];

	if (argc != 5)
		return 2;
	int version = atoi(argv[1]);
	size_t connections = strtoul(argv[2], NULL, 10);
	size_t slots = strtoul(argv[3], NULL, 10);
	size_t passes = strtoul(argv[4], NULL, 10);
	int status = table_open(version, connections);

	if (status)
		return status;
	ring = bench_allocate(slots * BENCH_SLOT_BYTES);
	numbers = calloc(slots, sizeof(*numbers));
	if (!ring || !numbers)
		return 1;
	uint64_t packets = meet_all(version, connections, slots);

	printf("{\"connections\": %zu}\n", connections);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		bench_uniform(numbers, slots, (uint32_t)connections, strtoull(line, NULL, 10));
		bench_fill(ring, slots, version, numbers);
		bench_chill(ring, slots * BENCH_SLOT_BYTES);
		uint64_t elapsed = count_ring(slots, passes);

		packets += slots * passes;
		/* Fail if packets were not counted: the table would look too cheap. */
		if (table_total() != packets)
			return 1;
		printf("{\"checksum\": \"%016" PRIx64 "\", \"ns\": %" PRIu64
		       ", \"packets\": %zu}\n",
		       bench_checksum(ring, slots), elapsed, slots * passes);
		fflush(stdout);
	}
	return 0;
}
