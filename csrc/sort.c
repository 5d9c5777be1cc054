/* SPDX-License-Identifier: BSD-3-Clause */
/* A row's key has 308 bits, but in one period few of them vary, and fewer among rows of one class
 * and family. So rows are grouped by these two, and each group's varying bits are packed, in their
 * order, into the upper part of a 64-bit item, above the row's number; a radix sort of the items
 * then never looks at the rows again. Where more bits vary than an item holds, each run of equal
 * items is sorted in the same way by the bits that vary inside of it. Every round settles at least
 * 32 bits, so there are at most 10, each linear.
 */
#include "sort.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "family.h"

/* Of fewer rows, comparing whole keys is cheaper than finding out which bits vary. */
#define SMALL_ROWS 12
/* Rows from which wider digits pay: fewer passes over more memory than the first cache has. */
#define WIDE_ROWS         8192
#define NARROW_DIGIT_BITS 8
#define WIDE_DIGIT_BITS   11
#define MAX_DIGITS        8 /* 64 bits in digits of 8 */
/* Rows ahead that are fetched when they are visited in no order, and when in order: a row takes
 * less time there, and the processor's own prefetching stops at each page. */
#define PREFETCH_ROWS  8
#define PREFETCH_AHEAD 32
/* Scratch memory from here on is asked for in huge pages: a fault costs more than sorting a page.
 */
#define HUGE_BYTES ((size_t)2 << 20)
#define CLASSES    256
#define GROUPS     (CLASSES * 3) /* a class and the family of the source */

enum { SRC_HIGH, SRC_LOW, DST_HIGH, DST_LOW, SMALL_FIELDS, KEY_WORDS };

/* A row's place within its group. SMALL_FIELDS holds, from bit 0 on: proto 8, dst_port 16, dst's
 * family 2, src_port 16. */
struct key {
	uint64_t words[KEY_WORDS];
};

/* Where the key's fields are, the most significant first. */
struct field {
	uint8_t word;
	uint8_t low_bit;
	uint8_t bits;
};

#define FIELDS 6
static const struct field fields[FIELDS] = {
	{SRC_HIGH, 0, 64}, {SRC_LOW, 0, 64}, {SMALL_FIELDS, 24, 18},
	{DST_HIGH, 0, 64}, {DST_LOW, 0, 64}, {SMALL_FIELDS, 0, 24},
};

/* Neighbouring bits that vary, and where they go: item |= (word >> right & mask) << left. */
struct piece {
	uint64_t mask;
	uint8_t word;
	uint8_t right;
	uint8_t left;
};

struct packing {
	struct piece pieces[64];
	unsigned n;
	unsigned bits; /* of the packed key */
	bool complete; /* all bits that vary are in it */
};

struct group {
	struct key first;
	struct key varying; /* bits in which some row differs from the first */
	size_t rows;
	size_t next; /* where its next item goes */
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

/* Returns the row's group. */
static inline unsigned read_key(const struct sorter *sorter, size_t row, struct key *key)
{
	const struct netlog_connection *connection = &sorter->flows[row].connection;
	unsigned class = sorter->classes ? sorter->classes[row] : 0;
	struct netlog_value src, dst;
	enum netlog_family src_family = family_src(connection, &src);
	enum netlog_family dst_family = family_dst(connection, &dst);
	uint64_t src_port = src_family ? connection->src_port : 0;
	uint64_t dst_port = dst_family ? connection->dst_port : 0;

	key->words[SRC_HIGH] = src.high;
	key->words[SRC_LOW] = src.low;
	key->words[DST_HIGH] = dst.high;
	key->words[DST_LOW] = dst.low;
	key->words[SMALL_FIELDS] =
		src_port << 26 | (uint64_t)dst_family << 24 | dst_port << 8 | connection->proto;
	return class * 3 + src_family;
}

static uint64_t read_field(const struct key *key, const struct field *field)
{
	return key->words[field->word] >> field->low_bit & ~(uint64_t)0 >> (64 - field->bits);
}

static bool key_less(const struct key *a, const struct key *b)
{
	for (int i = 0; i < FIELDS; i++) {
		uint64_t x = read_field(a, &fields[i]), y = read_field(b, &fields[i]);

		if (x != y)
			return x < y;
	}
	return false;
}

static void insertion_sort(const struct sorter *sorter, size_t low, size_t n)
{
	struct key keys[SMALL_ROWS];
	uint32_t *order = sorter->order + low;

	for (size_t i = 0; i < n; i++) {
		uint32_t row = order[i];
		struct key key;
		size_t at = i;

		read_key(sorter, row, &key);
		for (; at > 0 && key_less(&key, &keys[at - 1]); at--) {
			keys[at] = keys[at - 1];
			order[at] = order[at - 1];
		}
		keys[at] = key;
		order[at] = row;
	}
}

static inline void add_varying(struct key *varying, const struct key *first, const struct key *key)
{
	for (int w = 0; w < KEY_WORDS; w++)
		varying->words[w] |= key->words[w] ^ first->words[w];
}

/* Cuts the bits that vary in one field into pieces, the most significant first, and stops when
 * `room` bits are taken. */
static void cut_field(struct packing *packing, const struct field *field, uint64_t varying,
		      unsigned room)
{
	while (varying) {
		if (packing->bits == room) {
			packing->complete = false;
			return;
		}
		unsigned top = 63 - (unsigned)__builtin_clzll(varying);
		uint64_t below = ~varying & (((uint64_t)2 << top) - 1);
		unsigned low = below ? 64 - (unsigned)__builtin_clzll(below) : 0;
		unsigned length = top - low + 1;

		if (length > room - packing->bits) {
			length = room - packing->bits;
			low = top - length + 1;
		}
		packing->bits += length;
		packing->pieces[packing->n++] = (struct piece){
			.mask = ~(uint64_t)0 >> (64 - length),
			.word = field->word,
			.right = (uint8_t)(low + field->low_bit),
			.left = (uint8_t)(64 - packing->bits),
		};
		varying &= ((uint64_t)1 << low) - 1;
	}
}

static void plan_packing(struct packing *packing, const struct key *varying, unsigned row_bits)
{
	packing->n = packing->bits = 0;
	packing->complete = true;
	for (int i = 0; i < FIELDS; i++)
		cut_field(packing, &fields[i], read_field(varying, &fields[i]), 64 - row_bits);
}

static inline uint64_t pack(const struct packing *packing, const struct key *key, uint64_t row)
{
	uint64_t item = row;

	for (unsigned p = 0; p < packing->n; p++) {
		const struct piece *piece = &packing->pieces[p];

		item |= (key->words[piece->word] >> piece->right & piece->mask) << piece->left;
	}
	return item;
}

/* Turns counts into where each digit's first item goes. Returns false if all have the same. */
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

/* Sorts n items at *from by their upper `bits`, with *to as the other buffer; swaps the two as
 * often as it moved everything. Stable: rows stay in order among equals. */
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

static void sort_range(struct sorter *sorter, size_t low, size_t n);

/* Sorts items[low .. low + n - 1] into the same part of order. */
static void sort_items(struct sorter *sorter, const struct packing *packing, size_t low, size_t n)
{
	uint64_t *from = sorter->items + low, *to = sorter->spare + low;
	uint64_t rows = ((uint64_t)1 << sorter->row_bits) - 1;

	radix_sort(sorter, packing->bits, &from, &to, n);
	for (size_t i = 0; i < n; i++)
		sorter->order[low + i] = (uint32_t)(from[i] & rows);
	if (packing->complete)
		return;
	/* what a run's own sort overwrites in both buffers is the run, which is behind us */
	for (size_t start = 0, end; start < n; start = end) {
		uint64_t key = from[start] | rows;

		for (end = start + 1; end < n && (from[end] | rows) == key;)
			end++;
		if (end - start > 1)
			sort_range(sorter, low + start, end - start);
	}
}

static void prefetch_row(const struct sorter *sorter, size_t at, size_t end)
{
	if (at >= end)
		return;
	const struct netlog_connection *connection = &sorter->flows[sorter->order[at]].connection;

	/* 40 of a row's 72 bytes, in one cache line or in two */
	__builtin_prefetch(connection);
	__builtin_prefetch(&connection->reserved);
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
	read_key(sorter, sorter->order[low], &first);
	for (size_t i = low; i < low + n; i++) {
		prefetch_row(sorter, i + PREFETCH_ROWS, low + n);
		read_key(sorter, sorter->order[i], &key);
		add_varying(&varying, &first, &key);
	}
	plan_packing(&packing, &varying, sorter->row_bits);
	for (size_t i = low; i < low + n; i++) {
		prefetch_row(sorter, i + PREFETCH_ROWS, low + n);
		read_key(sorter, sorter->order[i], &key);
		sorter->items[i] = pack(&packing, &key, sorter->order[i]);
	}
	sort_items(sorter, &packing, low, n);
}

static inline void prefetch_ahead(const struct sorter *sorter, size_t row, size_t n)
{
	__builtin_prefetch(&sorter->flows[row + PREFETCH_AHEAD < n ? row + PREFETCH_AHEAD : row]);
}

/* Counts the groups' rows and finds the bits that vary in each. Returns how many have rows. */
static size_t survey(const struct sorter *sorter, size_t n, struct group *groups)
{
	size_t used = 0;

	for (size_t row = 0; row < n; row++) {
		prefetch_ahead(sorter, row, n);
		struct key key;
		struct group *group = &groups[read_key(sorter, row, &key)];

		if (group->rows++ == 0) {
			group->first = key;
			used++;
		}
		add_varying(&group->varying, &group->first, &key);
	}
	return used;
}

/* packings: one for each group that has rows. */
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
		/* nobody looks at rows that are left out: no bit of theirs matters */
		if (g / 3 == NETLOG_LEFT_OUT)
			groups[g].varying = (struct key){0};
		plan_packing(groups[g].packing, &groups[g].varying, sorter->row_bits);
	}
	for (size_t row = 0; row < n; row++) {
		prefetch_ahead(sorter, row, n);
		struct key key;
		struct group *group = &groups[read_key(sorter, row, &key)];

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
		madvise(memory, bytes, MADV_HUGEPAGE); /* a wish: without it, only slower */
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
