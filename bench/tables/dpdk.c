// SPDX-License-Identifier: BSD-3-Clause
/* dpdk: rte_hash, looked up in bulk; its positions index an array of counters. */
#include <rte_eal.h>
#include <rte_hash.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "drive.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct rte_hash *table;
static struct table_counts *counters;
static size_t capacity;
static int ip_version;

union key {
	struct table_key4 v4;
	struct table_key6 v6;
};

/* DPDK's own huge pages must be reserved by root. Transparent ones need no privilege. */
static int advise(const struct rte_memseg_list *list, const struct rte_memseg *segment,
		  size_t length, void *unused)
{
	(void)list;
	(void)unused;
	madvise(segment->addr, length, MADV_HUGEPAGE);
	return 0;
}

int table_open(int version, size_t connections)
{
	char *arguments[] = {"dpdk",           "--no-huge",         "--no-pci", "--no-shconf",
			     "--no-telemetry", "--log-level=error", "-m",       "2048"};
	struct rte_hash_parameters parameters = {
		.name = "connections",
		/* A quarter more, because the buckets of eight fill up unevenly. */
		.entries = (uint32_t)(connections < 64 ? 64 : connections + connections / 4),
		.key_len = version == 4 ? sizeof(struct table_key4) : sizeof(struct table_key6),
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE,
	};

	if (rte_eal_init(COUNT(arguments), arguments) < 0)
		return 1;
	rte_memseg_contig_walk(advise, NULL);
	table = rte_hash_create(&parameters);
	if (!table)
		return 1;
	ip_version = version;
	capacity = (size_t)rte_hash_max_key_id(table) + 1;
	counters = bench_allocate(capacity * sizeof(*counters));
	return counters ? 0 : 1;
}

static int32_t insert(const union key *key)
{
	int32_t position = rte_hash_add_key(table, key);

	if (position < 0)
		abort();
	return position;
}

void table_count(const uint8_t *ring, size_t slots)
{
	for (size_t i = 0; i < slots; i += BENCH_BATCH) {
		union key keys[BENCH_BATCH];
		const void *pointers[BENCH_BATCH];
		int32_t positions[BENCH_BATCH];

		for (size_t j = 0; j < BENCH_BATCH; j++) {
			const uint8_t *packet = ring + (i + j) * BENCH_SLOT_BYTES;

			if (ip_version == 4)
				table_find_key4(&keys[j].v4, packet);
			else
				table_find_key6(&keys[j].v6, packet);
			pointers[j] = &keys[j];
		}
		rte_hash_lookup_bulk(table, pointers, BENCH_BATCH, positions);
		for (size_t j = 0; j < BENCH_BATCH; j++) {
			if (positions[j] < 0)
				positions[j] = insert(&keys[j]);
			__builtin_prefetch(&counters[positions[j]], 1);
		}
		for (size_t j = 0; j < BENCH_BATCH; j++)
			table_add(&counters[positions[j]]);
	}
}

uint64_t table_total(void)
{
	uint64_t packets = 0;

	for (size_t i = 0; i < capacity; i++)
		packets += counters[i].tx_packets;
	return packets;
}
