/* SPDX-License-Identifier: BSD-3-Clause */
#include "prefixes.h"

#include <errno.h>
#include <stdlib.h>

#include "family.h"

/* Searches that run side by side: each waits for memory, and they wait together. */
#define LANES 8
/* Flows whose addresses are gathered by family before they are searched; both lists stay in L1. */
#define BLOCK_FLOWS 64

#define FLAGS_OF_ADDRESSES (NETLOG_NO_SRC | NETLOG_NO_DST | NETLOG_SRC_OTHER | NETLOG_DST_OTHER)

typedef unsigned __int128 u128; /* an address as a number; IPv4 in its low 32 bits */

/* Interval i is starts[i] .. starts[i + 1] - 1 and has values[i]; starts[0] is 0, so n >= 1. */
struct intervals_v4 {
	uint32_t *starts;
	uint32_t *values;
	size_t n;
};

struct intervals_v6 {
	u128 *starts;
	uint32_t *values;
	size_t n;
};

struct netlog_prefixes {
	struct intervals_v4 v4;
	struct intervals_v6 v6;
};

/* A prefix as a range of numbers. */
struct range {
	u128 first;
	u128 last;
	uint32_t clear;
	uint32_t set;
	size_t position; /* in what the caller gave */
};

/* Range that the sweep is in, and the value there. */
struct level {
	u128 last;
	uint32_t value;
};

static u128 make_u128(struct netlog_value value)
{
	return (u128)value.high << 64 | value.low;
}

static struct range make_range(const struct netlog_prefix *prefix, size_t position)
{
	unsigned bits = prefix->version == 4 ? 32 : 128;
	unsigned host_bits = bits - prefix->length;
	/* shifts by 128 are undefined: ::/0 is shifted in two steps */
	u128 host = host_bits ? (((u128)1 << (host_bits - 1)) << 1) - 1 : 0;
	u128 address = (u128)family_load_be64(prefix->address) << 64 |
		       family_load_be64(prefix->address + 8);

	if (prefix->version == 4)
		address &= UINT32_MAX;
	return (struct range){.first = address & ~host,
			      .last = address | host,
			      .clear = prefix->clear,
			      .set = prefix->set,
			      .position = position};
}

/* Outer ranges before the inner ones, equal ones as they were given. */
static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->last != y->last)
		return x->last > y->last ? -1 : 1;
	return x->position < y->position ? -1 : x->position > y->position;
}

/* From start on, the value is `value`. Starts come in order; the last word on a start counts, and
 * neighbours of equal value are one interval. */
static void append(struct intervals_v6 *out, u128 start, uint32_t value)
{
	if (out->n && out->starts[out->n - 1] == start)
		out->n--;
	if (out->n && out->values[out->n - 1] == value)
		return;
	out->starts[out->n] = start;
	out->values[out->n] = value;
	out->n++;
}

/* Leaves all levels that end before `until`; with until 0 all of them but the ground.
 * Returns the height that is left. */
static size_t leave(struct intervals_v6 *out, const struct level *stack, size_t height, u128 until)
{
	while (height > 1 && (until == 0 || stack[height - 1].last < until)) {
		u128 next = stack[height - 1].last + 1;

		height--;
		/* 0: it ended with the last address of all. Of levels that end together the
		 * outermost has the last word. */
		if (next != 0)
			append(out, next, stack[height - 1].value);
	}
	return height;
}

/* ranges are sorted. Prefixes nest or are disjoint, so a stack of those that are open is enough.
 * out and stack have room for 2n + 1 and n + 1. */
static void sweep(const struct range *ranges, size_t n, struct level *stack,
		  struct intervals_v6 *out)
{
	size_t height = 1;

	stack[0] = (struct level){.last = ~(u128)0, .value = 0};
	append(out, 0, 0);
	for (size_t i = 0; i < n; i++) {
		const struct range *range = &ranges[i];

		if (range->first)
			height = leave(out, stack, height, range->first);
		uint32_t value = (stack[height - 1].value & ~range->clear) | range->set;

		append(out, range->first, value);
		stack[height++] = (struct level){.last = range->last, .value = value};
	}
	leave(out, stack, height, 0);
}

/* The intervals of one family's prefixes, as 128-bit numbers. The caller frees out's arrays. */
static int flatten(const struct netlog_prefix *prefixes, size_t n, int version,
		   struct intervals_v6 *out)
{
	struct range *ranges = malloc((n + 1) * sizeof(*ranges));
	struct level *stack = malloc((n + 1) * sizeof(*stack));
	int result = -ENOMEM;
	size_t used = 0;

	*out = (struct intervals_v6){.starts = malloc((2 * n + 1) * sizeof(*out->starts)),
				     .values = malloc((2 * n + 1) * sizeof(*out->values))};
	if (ranges && stack && out->starts && out->values) {
		for (size_t i = 0; i < n; i++) {
			if (prefixes[i].version == version)
				ranges[used++] = make_range(&prefixes[i], i);
		}
		qsort(ranges, used, sizeof(*ranges), compare_ranges);
		sweep(ranges, used, stack, out);
		result = 0;
	}
	free(ranges);
	free(stack);
	return result;
}

/* IPv4 has 4-byte starts: a map of a few thousand prefixes stays in the first cache. */
static int narrow(struct intervals_v6 *wide, struct intervals_v4 *v4)
{
	size_t n = 0;

	v4->starts = malloc(wide->n * sizeof(*v4->starts));
	if (!v4->starts)
		return -ENOMEM;
	/* behind 255.255.255.255 the sweep may have returned to the ground */
	while (n < wide->n && wide->starts[n] <= UINT32_MAX) {
		v4->starts[n] = (uint32_t)wide->starts[n];
		n++;
	}
	v4->n = n;
	v4->values = wide->values;
	wide->values = NULL;
	return 0;
}

int netlog_prefixes_open(const struct netlog_prefix *prefixes, size_t n,
			 struct netlog_prefixes **map)
{
	struct netlog_prefixes *opened;
	struct intervals_v6 wide = {0};
	int result;

	for (size_t i = 0; i < n; i++) {
		int version = prefixes[i].version;

		if ((version != 4 && version != 6) ||
		    prefixes[i].length > (version == 4 ? 32 : 128))
			return -EINVAL;
	}
	opened = calloc(1, sizeof(*opened));
	if (!opened)
		return -ENOMEM;
	result = flatten(prefixes, n, 4, &wide);
	if (!result)
		result = narrow(&wide, &opened->v4);
	free(wide.starts);
	free(wide.values);
	if (!result)
		result = flatten(prefixes, n, 6, &opened->v6);
	if (result) {
		netlog_prefixes_close(opened);
		return result;
	}
	*map = opened;
	return 0;
}

void netlog_prefixes_close(struct netlog_prefixes *map)
{
	if (!map)
		return;
	free(map->v4.starts);
	free(map->v4.values);
	free(map->v6.starts);
	free(map->v6.values);
	free(map);
}

/* values[k] = the value of keys[k], for LANES keys. The steps do not depend on the keys, so the
 * searches run side by side, and the compiler makes a conditional move of each comparison. */
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

static void find_v6(const struct intervals_v6 *map, const u128 *keys, uint32_t *values)
{
	const u128 *at[LANES];

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

uint32_t netlog_prefixes_find(const struct netlog_prefixes *map, const uint8_t address[16],
			      int version)
{
	u128 number = (u128)family_load_be64(address) << 64 | family_load_be64(address + 8);
	uint32_t keys_v4[LANES] = {(uint32_t)number};
	u128 keys_v6[LANES] = {number};
	uint32_t values[LANES];

	if (version == 4)
		find_v4(&map->v4, keys_v4, values);
	else
		find_v6(&map->v6, keys_v6, values);
	return values[0];
}

/* The addresses of some flows, by family. LANES more than needed: the last search of a list runs
 * over its end, and finds what nobody asks for. */
struct block {
	u128 keys_v6[2 * BLOCK_FLOWS + LANES];
	uint32_t keys_v4[2 * BLOCK_FLOWS + LANES];
	/* whose address it is: 2 * flow, + 1 for the destination */
	uint8_t slots_v4[2 * BLOCK_FLOWS];
	uint8_t slots_v6[2 * BLOCK_FLOWS];
	/* by slot; as many more as above */
	uint32_t found[2 * BLOCK_FLOWS + LANES];
};

/* While one block is searched the next one comes from memory. */
static void prefetch_block(const struct netlog_flow *flows, size_t n)
{
	for (size_t i = 0; i < n && i < BLOCK_FLOWS; i++)
		__builtin_prefetch(&flows[i]);
}

/* Whether all flows have two addresses of this family: nearly always so, and then the addresses
 * need no sorting into lists. */
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
		/* IPv4 of zero bytes is absent */
		plain &= version != 4 || (src_low && dst_low);
	}
	return plain;
}

static u128 load_u128(const uint8_t *address)
{
	return (u128)family_load_be64(address) << 64 | family_load_be64(address + 8);
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
		block->keys_v6[2 * i] = load_u128(flows[i].connection.src);
		block->keys_v6[2 * i + 1] = load_u128(flows[i].connection.dst);
	}
	for (size_t i = 0; i < 2 * n; i += LANES)
		find_v6(map, block->keys_v6 + i, block->found + i);
}

/* Whatever the rows are. Every address is written to both lists, and one of them advanced: there is
 * no branch to guess where families mix. */
static void find_any(const struct netlog_prefixes *map, const struct netlog_flow *flows, size_t n,
		     struct block *block)
{
	size_t n_v4 = 0, n_v6 = 0;
	uint32_t values[LANES];

	for (size_t slot = 0; slot < 2 * n; slot++) {
		const struct netlog_connection *connection = &flows[slot / 2].connection;
		struct netlog_value value;
		enum netlog_family family =
			slot & 1 ? family_dst(connection, &value) : family_src(connection, &value);

		block->keys_v4[n_v4] = (uint32_t)value.low;
		block->slots_v4[n_v4] = (uint8_t)slot;
		n_v4 += family == NETLOG_IPV4;
		block->keys_v6[n_v6] = make_u128(value);
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

/* Finds both ends of the first of n flows, at most BLOCK_FLOWS. Returns how many. */
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
