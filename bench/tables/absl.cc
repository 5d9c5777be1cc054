// SPDX-License-Identifier: BSD-3-Clause
/* absl: absl::flat_hash_map, one packet after the other. With -DPREFETCH it first finds and
 * prefetches the keys of a whole batch, which users of the library rarely do. */
#include <absl/container/flat_hash_map.h>

#include "drive.h"

/* Hashes numbers of eight bytes each, because hashing a string of bytes takes longer. */
struct Hash {
	size_t operator()(const table_key4 &key) const
	{
		return absl::HashOf(key.words[0], key.words[1]);
	}
	size_t operator()(const table_key6 &key) const
	{
		return absl::HashOf(key.source[0], key.source[1], key.destination[0],
				    key.destination[1], key.rest);
	}
};

static bool same(table_pair a, table_pair b)
{
	table_pair differing = a ^ b;

	return !(differing[0] | differing[1]);
}

struct Equal {
	bool operator()(const table_key4 &a, const table_key4 &b) const
	{
		return same(a.words, b.words);
	}
	bool operator()(const table_key6 &a, const table_key6 &b) const
	{
		return same(a.source, b.source) && same(a.destination, b.destination) &&
		       a.rest == b.rest;
	}
};

template <typename Key> using Map = absl::flat_hash_map<Key, table_counts, Hash, Equal>;

static Map<table_key4> map4;
static Map<table_key6> map6;
static int ip_version;

template <typename Key, void find(Key *, const uint8_t *)>
static void count(Map<Key> &map, const uint8_t *ring, size_t slots)
{
	for (size_t i = 0; i < slots; i += BENCH_BATCH) {
		Key keys[BENCH_BATCH];

		for (size_t j = 0; j < BENCH_BATCH; j++) {
			find(&keys[j], ring + (i + j) * BENCH_SLOT_BYTES);
#ifdef PREFETCH
			map.prefetch(keys[j]);
		}
		for (size_t j = 0; j < BENCH_BATCH; j++) {
#endif
			table_add(&map[keys[j]]);
		}
	}
}

int table_open(int version, size_t connections)
{
	ip_version = version;
	if (version == 4)
		map4.reserve(connections);
	else
		map6.reserve(connections);
	return 0;
}

void table_count(const uint8_t *ring, size_t slots)
{
	if (ip_version == 4)
		count<table_key4, table_find_key4>(map4, ring, slots);
	else
		count<table_key6, table_find_key6>(map6, ring, slots);
}

template <typename Key> static uint64_t total(const Map<Key> &map)
{
	uint64_t packets = 0;

	for (const auto &entry : map)
		packets += entry.second.tx_packets;
	return packets;
}

uint64_t table_total(void)
{
	return ip_version == 4 ? total(map4) : total(map6);
}
