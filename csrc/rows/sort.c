/* SPDX-License-Identifier: BSD-3-Clause */
/* sort: a radix sort of packed keys.
 *
 * A row is sorted by 308 bits, but in one period few of them vary, and even fewer among rows of one
 * class and family. So rows are grouped by these two. The varying bits of each group are packed, in
 * their order, into the upper part of a 64-bit item, above the row's number. A radix sort of the
 * items then does not read the rows again.
 *
 * If more bits vary than an item can hold, each run of equal items is sorted in the same way, by
 * the bits that vary within the run. Every round settles at least 32 bits, so there are at most 10
 * rounds, each linear.
 */
#define _GNU_SOURCE
#include "rows/sort.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "rows/sort_key.h"

/* Up to this many rows, comparing whole keys is cheaper than finding out which bits vary. */
#define SMALL_ROWS 12
/* Up to this many items, comparing them is cheaper than counting digits. */
#define FEW_ITEMS 64
/* From this many rows on, wider digits pay off: they take fewer passes, but their counts need more
 * memory than the first-level cache has. */
#define WIDE_ROWS         8192
#define NARROW_DIGIT_BITS 8
#define WIDE_DIGIT_BITS   11
#define MAX_DIGITS        8 /* 64 bits in digits of 8 */
/* How many rows ahead are prefetched: PREFETCH_ROWS when rows are visited in no order,
 * PREFETCH_AHEAD when they are visited in order. In order a row takes less time, and the
 * processor's own prefetching stops at each page. */
#define PREFETCH_ROWS  16
#define PREFETCH_AHEAD 32
/* From this size on, scratch memory is requested in huge pages, because a page fault costs more
 * than sorting a page. */
#define HUGE_BYTES ((size_t)2 << 20)
#define CLASSES    256
#define FAMILIES   3
#define GROUPS     (CLASSES * FAMILIES) /* a class and the family of the source */

struct group {
	struct key first;
	struct key varying; /* the bits in which any row differs from the first */
	size_t rows;
	size_t next; /* the position of its next item */
	struct packing *packing;
};

struct sorter {
	const struct netlog_flow *flows;
	const uint8_t *classes;
	uint32_t *order;
	uint64_t *items;
	uint64_t *spare;
	unsigned row_bits; /* the lower part of an item */
	uint32_t counts[MAX_DIGITS][1 << WIDE_DIGIT_BITS];
};

static inline const struct netlog_connection *row_of(const struct sorter *sorter, size_t row)
{
	return &sorter->flows[row].connection;
}

/* Reads the row's key and returns its group. */
static inline unsigned read_row(const struct sorter *sorter, size_t row, struct key *key)
{
	unsigned class = sorter->classes ? sorter->classes[row] : 0;

	return class * FAMILIES + read_key(row_of(sorter, row), key);
}

static void insertion_sort(const struct sorter *sorter, size_t low, size_t n)
{
	struct key keys[SMALL_ROWS];
	uint32_t *order = sorter->order + low;

	for (size_t i = 0; i < n; i++) {
		uint32_t row = order[i];
		struct key key;
		size_t at = i;

		read_key(row_of(sorter, row), &key);
		for (; at > 0 && key_less(&key, &keys[at - 1]); at--) {
			keys[at] = keys[at - 1];
			order[at] = order[at - 1];
		}
		keys[at] = key;
		order[at] = row;
	}
}

/* Turns the counts into the position of each digit's first item. Returns false if all items have
 * the same digit. */
static bool sum_counts(uint32_t *counts, unsigned digit_bits, size_t n)
{
	uint32_t sum = 0;

	for (size_t value = 0; value < (size_t)1 << digit_bits; value++) {
		uint32_t count = counts[value];

		if (count == n)
			return false;
		counts[value] = sum;
		sum += count;
	}
	return true;
}

/* Sorts n items at *from by their upper `bits`, with *to as the other buffer. Each pass that moves
 * the items swaps the two, so the result is at *from. Stable: equal items keep the order of their
 * rows. */
static void radix_sort(struct sorter *sorter, unsigned bits, uint64_t **from, uint64_t **to,
		       size_t n)
{
	unsigned widest = n < WIDE_ROWS ? NARROW_DIGIT_BITS : WIDE_DIGIT_BITS;
	unsigned digits = (bits + widest - 1) / widest;
	unsigned digit_bits = digits ? (bits + digits - 1) / digits : 0;
	unsigned low_bit = 64 - bits;
	uint64_t mask = ((uint64_t)1 << digit_bits) - 1;

	for (unsigned d = 0; d < digits; d++)
		memset(sorter->counts[d], 0, sizeof(uint32_t) << digit_bits);
	for (size_t i = 0; digits && i < n; i++) {
		uint64_t rest = (*from)[i] >> low_bit;

		for (unsigned d = 0; d < digits; d++, rest >>= digit_bits)
			sorter->counts[d][rest & mask]++;
	}
	for (unsigned d = 0; d < digits; d++) {
		unsigned shift = low_bit + d * digit_bits;
		uint32_t *counts = sorter->counts[d];
		uint64_t *source = *from, *target = *to;

		if (!sum_counts(counts, digit_bits, n))
			continue;
		for (size_t i = 0; i < n; i++)
			target[counts[source[i] >> shift & mask]++] = source[i];
		*from = target;
		*to = source;
	}
}

/* Prefetches the key of a row: 40 bytes, in one cache line or in two. */
static inline void prefetch_row(const struct sorter *sorter, size_t row)
{
	const struct netlog_connection *connection = row_of(sorter, row);

	__builtin_prefetch(connection);
	__builtin_prefetch(&connection->reserved);
}

/* Sorts n items by insertion. The row's number is a part of the item, so rows of equal keys stay in
 * order. */
static void insert_items(uint64_t *items, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		uint64_t item = items[i];
		size_t at = i;

		for (; at > 0 && items[at - 1] > item; at--)
			items[at] = items[at - 1];
		items[at] = item;
	}
}

static void sort_range(struct sorter *sorter, size_t low, size_t n);

/* Sorts each run of equal items at `from`, which are the items of order[low .. low + n - 1]. The
 * sort of a run overwrites only that run in the buffers, and this loop has passed it by then. */
static void sort_runs(struct sorter *sorter, const uint64_t *from, size_t low, size_t n)
{
	uint64_t rows = ((uint64_t)1 << sorter->row_bits) - 1;
	size_t start = 0;

	for (size_t i = 0; i < n; i++) {
		size_t next = i + PREFETCH_ROWS;

		if (next + 1 < n && (from[next] | rows) == (from[next + 1] | rows)) {
			prefetch_row(sorter, (size_t)(from[next] & rows));
			prefetch_row(sorter, (size_t)(from[next + 1] & rows));
		}
		if (i + 1 < n && (from[i] | rows) == (from[i + 1] | rows))
			continue;
		if (i > start)
			sort_range(sorter, low + start, i + 1 - start);
		start = i + 1;
	}
}

/* Sorts items[low .. low + n - 1] into the same part of order. */
static void sort_items(struct sorter *sorter, const struct packing *packing, size_t low, size_t n)
{
	uint64_t *from = sorter->items + low, *to = sorter->spare + low;
	uint64_t rows = ((uint64_t)1 << sorter->row_bits) - 1;

	if (n <= FEW_ITEMS)
		insert_items(from, n);
	else
		radix_sort(sorter, packing->bits, &from, &to, n);
	for (size_t i = 0; i < n; i++)
		sorter->order[low + i] = (uint32_t)(from[i] & rows);
	if (!packing->complete)
		sort_runs(sorter, from, low, n);
}

static inline size_t ahead(size_t i, size_t end)
{
	return i + PREFETCH_ROWS < end ? i + PREFETCH_ROWS : i;
}

/* Sorts order[low .. low + n - 1], rows of one group. */
static void sort_range(struct sorter *sorter, size_t low, size_t n)
{
	struct key first, key, varying = {0};
	struct packing packing;

	if (n <= SMALL_ROWS) {
		insertion_sort(sorter, low, n);
		return;
	}
	read_key(row_of(sorter, sorter->order[low]), &first);
	for (size_t i = low; i < low + n; i++) {
		prefetch_row(sorter, sorter->order[ahead(i, low + n)]);
		read_key(row_of(sorter, sorter->order[i]), &key);
		add_varying(&varying, &first, &key);
	}
	plan_packing(&packing, &varying, sorter->row_bits);
	for (size_t i = low; i < low + n; i++) {
		prefetch_row(sorter, sorter->order[ahead(i, low + n)]);
		read_key(row_of(sorter, sorter->order[i]), &key);
		sorter->items[i] = pack(&packing, &key, sorter->order[i]);
	}
	sort_items(sorter, &packing, low, n);
}

static inline void prefetch_ahead(const struct sorter *sorter, size_t row, size_t n)
{
	__builtin_prefetch(&sorter->flows[row + PREFETCH_AHEAD < n ? row + PREFETCH_AHEAD : row]);
}

/* Counts the rows of each group and finds the bits that vary in it. Returns the number of groups
 * that have rows. */
static size_t survey(const struct sorter *sorter, size_t n, struct group *groups)
{
	size_t used = 0;

	for (size_t row = 0; row < n; row++) {
		prefetch_ahead(sorter, row, n);
		struct key key;
		struct group *group = &groups[read_row(sorter, row, &key)];

		if (group->rows++ == 0) {
			group->first = key;
			used++;
		}
		add_varying(&group->varying, &group->first, &key);
	}
	return used;
}

/* Packs and sorts all groups. packings: room for one for each group that has rows. */
static void sort_groups(struct sorter *sorter, size_t n, struct group *groups,
			struct packing *packings)
{
	size_t next = 0;

	for (size_t g = 0; g < GROUPS; g++) {
		if (!groups[g].rows)
			continue;
		groups[g].next = next;
		groups[g].packing = packings++;
		next += groups[g].rows;
		/* No message shows these rows, so their order does not matter. */
		if (g / FAMILIES == NETLOG_LEFT_OUT)
			groups[g].varying = (struct key){0};
		plan_packing(groups[g].packing, &groups[g].varying, sorter->row_bits);
	}
	for (size_t row = 0; row < n; row++) {
		prefetch_ahead(sorter, row, n);
		struct key key;
		struct group *group = &groups[read_row(sorter, row, &key)];

		sorter->items[group->next++] = pack(group->packing, &key, row);
	}
	for (size_t g = 0; g < GROUPS; g++) {
		if (groups[g].rows)
			sort_items(sorter, groups[g].packing, groups[g].next - groups[g].rows,
				   groups[g].rows);
	}
}

static void *open_scratch(size_t bytes)
{
	void *memory;

	if (bytes < HUGE_BYTES)
		return malloc(bytes);
	memory = aligned_alloc(HUGE_BYTES, (bytes + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));
	if (memory)
		madvise(memory, bytes, MADV_HUGEPAGE); /* may fail; then it is only slower */
	return memory;
}

int netlog_sort_flows(const struct netlog_flow *flows, const uint8_t *classes, size_t n,
		      uint32_t *order)
{
	struct sorter *sorter = malloc(sizeof(*sorter));
	struct group *groups = calloc(GROUPS, sizeof(*groups));
	uint64_t *scratch = open_scratch(2 * n * sizeof(*scratch));
	struct packing *packings = NULL;
	int result = -ENOMEM;

	if (!sorter || !groups || (n && !scratch))
		goto out;
	sorter->flows = flows;
	sorter->classes = classes;
	sorter->order = order;
	sorter->items = scratch;
	sorter->spare = scratch + n;
	sorter->row_bits = n > 1 ? 64 - (unsigned)__builtin_clzll((uint64_t)n - 1) : 1;
	packings = malloc((survey(sorter, n, groups) + 1) * sizeof(*packings));
	if (!packings)
		goto out;
	sort_groups(sorter, n, groups, packings);
	result = 0;
out:
	free(packings);
	free(scratch);
	free(groups);
	free(sorter);
	return result;
}

void netlog_gather_flows(const struct netlog_flow *flows, const uint32_t *order, size_t n,
			 struct netlog_flow *gathered)
{
	for (size_t i = 0; i < n; i++)
		gathered[i] = flows[order[i]];
}
