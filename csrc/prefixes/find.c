/* SPDX-License-Identifier: BSD-3-Clause */
/* find: searches the intervals of a map for many addresses at once. */
#define _GNU_SOURCE
#include "prefixes/intervals.h"

/* Searches that run side by side, so that they wait for memory together. */
#define LANES 8
/* Flows whose addresses are sorted by family before the search. Both lists stay in the first-level
 * cache. */
#define BLOCK_FLOWS 64

#define FLAGS_OF_ADDRESSES (NETLOG_NO_SRC | NETLOG_NO_DST | NETLOG_SRC_OTHER | NETLOG_DST_OTHER)

/* Sets values[k] to the value of keys[k], for LANES keys. The number of steps does not depend on
 * the keys, so the searches run side by side, and the compiler turns each comparison into a
 * conditional move. */
static void find_v4(const struct intervals_v4 *map, const uint32_t *keys, uint32_t *values)
{
	const uint32_t *at[LANES];

	for (int k = 0; k < LANES; k++)
		at[k] = map->starts;
	for (size_t length = map->n, half; length > 1; length -= half) {
		half = length / 2;
		for (int k = 0; k < LANES; k++)
			at[k] = at[k][half] <= keys[k] ? at[k] + half : at[k];
	}
	for (int k = 0; k < LANES; k++)
		values[k] = map->values[at[k] - map->starts];
}

static void find_v6(const struct intervals_v6 *map, const struct wide *keys, uint32_t *values)
{
	const struct wide *at[LANES];

	for (int k = 0; k < LANES; k++)
		at[k] = map->starts;
	for (size_t length = map->n, half; length > 1; length -= half) {
		half = length / 2;
		for (int k = 0; k < LANES; k++)
			at[k] = wide_at_most(at[k][half], keys[k]) ? at[k] + half : at[k];
	}
	for (int k = 0; k < LANES; k++)
		values[k] = map->values[at[k] - map->starts];
}

uint32_t netlog_prefixes_find(const struct netlog_prefixes *map, const uint8_t address[16],
			      int version)
{
	struct wide number = load_wide(address);
	uint32_t keys_v4[LANES] = {(uint32_t)number.low};
	struct wide keys_v6[LANES] = {number};
	uint32_t values[LANES];

	if (version == 4)
		find_v4(&map->v4, keys_v4, values);
	else
		find_v6(&map->v6, keys_v6, values);
	return values[0];
}

/* The addresses of some flows, by family. The arrays have LANES elements more than needed: the last
 * search of a list runs over its end, and nobody uses those results. */
struct block {
	struct wide keys_v6[2 * BLOCK_FLOWS + LANES];
	uint32_t keys_v4[2 * BLOCK_FLOWS + LANES];
	/* The slot of each address: 2 * flow, + 1 for the destination. */
	uint8_t slots_v4[2 * BLOCK_FLOWS];
	uint8_t slots_v6[2 * BLOCK_FLOWS];
	/* The values, by slot. */
	uint32_t found[2 * BLOCK_FLOWS + LANES];
};

/* Prefetches the next block while one is searched. */
static void prefetch_block(const struct netlog_flow *flows, size_t n)
{
	for (size_t i = 0; i < n && i < BLOCK_FLOWS; i++)
		__builtin_prefetch(&flows[i]);
}

/* Whether all flows have two addresses of this family. It is nearly always so, and then the
 * addresses need not be sorted into lists. */
static bool is_plain(const struct netlog_flow *flows, size_t n, uint8_t version)
{
	bool plain = true;

	for (size_t i = 0; i < n; i++) {
		const struct netlog_connection *connection = &flows[i].connection;
		uint64_t src_low, dst_low;

		memcpy(&src_low, connection->src + 8, sizeof(src_low));
		memcpy(&dst_low, connection->dst + 8, sizeof(dst_low));
		plain &= connection->version == version;
		plain &= (connection->flags & FLAGS_OF_ADDRESSES) == 0;
		/* An IPv4 address of zero bytes is absent; see family.h. */
		plain &= version != 4 || (src_low && dst_low);
	}
	return plain;
}

static void find_plain_v4(const struct intervals_v4 *map, const struct netlog_flow *flows, size_t n,
			  struct block *block)
{
	for (size_t i = 0; i < n; i++) {
		const struct netlog_connection *connection = &flows[i].connection;

		block->keys_v4[2 * i] = (uint32_t)family_load_be64(connection->src + 8);
		block->keys_v4[2 * i + 1] = (uint32_t)family_load_be64(connection->dst + 8);
	}
	for (size_t i = 0; i < 2 * n; i += LANES)
		find_v4(map, block->keys_v4 + i, block->found + i);
}

static void find_plain_v6(const struct intervals_v6 *map, const struct netlog_flow *flows, size_t n,
			  struct block *block)
{
	for (size_t i = 0; i < n; i++) {
		block->keys_v6[2 * i] = load_wide(flows[i].connection.src);
		block->keys_v6[2 * i + 1] = load_wide(flows[i].connection.dst);
	}
	for (size_t i = 0; i < 2 * n; i += LANES)
		find_v6(map, block->keys_v6 + i, block->found + i);
}

/* Finds both ends of any flows. Every address is written to both lists, and only one list advances.
 * So no branch has to be predicted where families mix. */
static void find_any(const struct netlog_prefixes *map, const struct netlog_flow *flows, size_t n,
		     struct block *block)
{
	size_t n_v4 = 0, n_v6 = 0;
	uint32_t values[LANES];

	for (size_t slot = 0; slot < 2 * n; slot++) {
		const struct netlog_connection *connection = &flows[slot / 2].connection;
		struct wide value;
		enum netlog_family family =
			slot & 1 ? family_dst(connection, &value) : family_src(connection, &value);

		block->keys_v4[n_v4] = (uint32_t)value.low;
		block->slots_v4[n_v4] = (uint8_t)slot;
		n_v4 += family == NETLOG_IPV4;
		block->keys_v6[n_v6] = value;
		block->slots_v6[n_v6] = (uint8_t)slot;
		n_v6 += family == NETLOG_IPV6;
		block->found[slot] = 0;
	}
	for (size_t i = 0; i < n_v4; i += LANES) {
		find_v4(&map->v4, block->keys_v4 + i, values);
		for (size_t k = 0; k < LANES && i + k < n_v4; k++)
			block->found[block->slots_v4[i + k]] = values[k];
	}
	for (size_t i = 0; i < n_v6; i += LANES) {
		find_v6(&map->v6, block->keys_v6 + i, values);
		for (size_t k = 0; k < LANES && i + k < n_v6; k++)
			block->found[block->slots_v6[i + k]] = values[k];
	}
}

/* Finds both ends of the first flows, at most BLOCK_FLOWS of n. Returns their number. */
static size_t find_block(const struct netlog_prefixes *map, const struct netlog_flow *flows,
			 size_t n, struct block *block)
{
	size_t count = n < BLOCK_FLOWS ? n : BLOCK_FLOWS;

	prefetch_block(flows + count, n - count);
	if (is_plain(flows, count, 4))
		find_plain_v4(&map->v4, flows, count, block);
	else if (is_plain(flows, count, 6))
		find_plain_v6(&map->v6, flows, count, block);
	else
		find_any(map, flows, count, block);
	return count;
}

void netlog_prefixes_classify(const struct netlog_prefixes *map, const struct netlog_flow *flows,
			      size_t n, const uint8_t *rule, uint8_t *classes)
{
	struct block block = {0};

	for (size_t start = 0, count; start < n; start += count) {
		count = find_block(map, flows + start, n - start, &block);
		for (size_t i = 0; i < count; i++) {
			uint32_t src = block.found[2 * i] & 15, dst = block.found[2 * i + 1] & 15;

			classes[start + i] = rule[src | dst << 4];
		}
	}
}

void netlog_prefixes_find_ends(const struct netlog_prefixes *map, const struct netlog_flow *flows,
			       size_t n, uint32_t *values)
{
	struct block block = {0};

	for (size_t start = 0, count; start < n; start += count) {
		count = find_block(map, flows + start, n - start, &block);
		memcpy(values + 2 * start, block.found, 2 * count * sizeof(*values));
	}
}
