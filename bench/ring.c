// SPDX-License-Identifier: BSD-3-Clause
/* ring: the packets that every bench counts, from a seeded generator. Its twin is goring/goring.go.
 */
#include <string.h>

#include "bench.h"

/* splitmix64, the public-domain generator: it mixes a counter. */
#define STEP 0x9e3779b97f4a7c15u

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

void bench_uniform(uint32_t *connections, size_t n, uint32_t limit, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t random = mix(seed + (i + 1) * STEP) >> 32;

		connections[i] = (uint32_t)(random * limit >> 32);
	}
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put_words(uint8_t *at, uint64_t first, uint64_t second)
{
	for (int i = 0; i < 8; i++) {
		at[i] = (uint8_t)(first >> (56 - 8 * i));
		at[i + 8] = (uint8_t)(second >> (56 - 8 * i));
	}
}

/* Each connection has an overlay source of its own (distinct up to 2^22), a random destination, and
 * either TCP or UDP. */
static void fill4(uint8_t *slot, uint32_t connection)
{
	uint64_t random = mix((connection + 1) * STEP);
	uint32_t source = 0x64400000u | (connection * 2654435761u & 0x3fffffu);

	slot[0] = 0x45;
	put16(slot + 2, BENCH_SLOT_BYTES);
	put16(slot + 6, 0x4000); /* don't fragment */
	slot[8] = 64;
	slot[9] = random & 1 ? 17 : 6;
	put16(slot + 12, source >> 16);
	put16(slot + 14, source & 0xffff);
	put16(slot + 16, (unsigned)(random >> 48));
	put16(slot + 18, (unsigned)(random >> 32) & 0xffff);
	put16(slot + 20, (unsigned)(random >> 16) & 0xffff);
	put16(slot + 22, 443);
}

static void fill6(uint8_t *slot, uint32_t connection)
{
	uint64_t random = mix((connection + 1) * STEP);

	slot[0] = 0x60;
	put16(slot + 4, BENCH_SLOT_BYTES - 40);
	slot[6] = random & 1 ? 17 : 6;
	slot[7] = 64;
	put_words(slot + 8, 0xfd7a115ca1e0ab12u, (uint64_t)connection << 32 | random >> 32);
	put_words(slot + 24, 0x20010db800000000u | random >> 40, mix(random));
	put16(slot + 40, (unsigned)(random >> 16) & 0xffff);
	put16(slot + 42, 443);
}

void bench_fill(uint8_t *ring, size_t slots, int version, const uint32_t *connections)
{
	for (size_t i = 0; i < slots; i++) {
		uint8_t *slot = ring + i * BENCH_SLOT_BYTES;

		memset(slot, 0, BENCH_SLOT_BYTES);
		if (version == 4)
			fill4(slot, connections[i]);
		else
			fill6(slot, connections[i]);
		memcpy(slot + BENCH_SLOT_BYTES - 4, &connections[i], 4);
	}
}

uint64_t bench_checksum(const uint8_t *ring, size_t slots)
{
	uint64_t sum = 0xcbf29ce484222325u;

	for (size_t i = 0; i < slots * BENCH_SLOT_BYTES; i++)
		sum = (sum ^ ring[i]) * 0x100000001b3u;
	return sum;
}
