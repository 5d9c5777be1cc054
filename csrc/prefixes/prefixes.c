/* SPDX-License-Identifier: BSD-3-Clause */
/* prefixes: turns prefixes into intervals, once, when a map is opened. find.c searches them. */
#define _GNU_SOURCE
#include "prefixes/prefixes.h"

#include <errno.h>
#include <stdlib.h>

#include "prefixes/intervals.h"

/* A prefix as a range of numbers. */
struct range {
	struct wide first;
	struct wide last;
	uint32_t clear;
	uint32_t set;
	size_t position; /* in the caller's list */
};

/* A range that the sweep is in, and its value. */
struct level {
	struct wide last;
	uint32_t value;
};

static struct range make_range(const struct netlog_prefix *prefix, size_t position)
{
	unsigned bits = prefix->version == 4 ? 32 : 128;
	struct wide host = wide_ones(bits - prefix->length);
	struct wide address = load_wide(prefix->address);

	if (prefix->version == 4)
		address = (struct wide){.low = address.low & UINT32_MAX};
	return (struct range){.first = {address.high & ~host.high, address.low & ~host.low},
			      .last = {address.high | host.high, address.low | host.low},
			      .clear = prefix->clear,
			      .set = prefix->set,
			      .position = position};
}

/* Sorts outer ranges before inner ones, and equal ones in the caller's order. */
static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (!wide_equal(x->first, y->first))
		return wide_at_most(x->first, y->first) ? -1 : 1;
	if (!wide_equal(x->last, y->last))
		return wide_at_most(y->last, x->last) ? -1 : 1;
	return x->position < y->position ? -1 : x->position > y->position;
}

/* Appends an interval: from `start` on, the value is `value`. Starts come in order. A second call
 * with the same start replaces the first. Neighbours of equal value become one interval. */
static void append(struct intervals_v6 *out, struct wide start, uint32_t value)
{
	if (out->n && wide_equal(out->starts[out->n - 1], start))
		out->n--;
	if (out->n && out->values[out->n - 1] == value)
		return;
	out->starts[out->n] = start;
	out->values[out->n] = value;
	out->n++;
}

/* Leaves all levels that end before `until`; or, if until is 0, all levels except the lowest.
 * Returns the remaining height. */
static size_t leave(struct intervals_v6 *out, const struct level *stack, size_t height,
		    struct wide until)
{
	while (height > 1 &&
	       (wide_is_zero(until) || !wide_at_most(until, stack[height - 1].last))) {
		struct wide next = wide_next(stack[height - 1].last);

		height--;
		/* 0: the level ended with the very last address. If several levels end together,
		 * the outermost comes last and replaces the others. */
		if (!wide_is_zero(next))
			append(out, next, stack[height - 1].value);
	}
	return height;
}

/* Turns n sorted ranges into intervals. Prefixes are nested or disjoint, so a stack of the open
 * ranges is enough. out has room for 2n + 1 intervals, stack for n + 1 levels. */
static void sweep(const struct range *ranges, size_t n, struct level *stack,
		  struct intervals_v6 *out)
{
	size_t height = 1;

	stack[0] = (struct level){.last = wide_ones(128), .value = 0};
	append(out, (struct wide){0}, 0);
	for (size_t i = 0; i < n; i++) {
		const struct range *range = &ranges[i];

		if (!wide_is_zero(range->first))
			height = leave(out, stack, height, range->first);
		uint32_t value = (stack[height - 1].value & ~range->clear) | range->set;

		append(out, range->first, value);
		stack[height++] = (struct level){.last = range->last, .value = value};
	}
	leave(out, stack, height, (struct wide){0});
}

/* Makes the intervals of one family's prefixes, with 128-bit starts. The caller frees out's arrays.
 */
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

/* Copies IPv4 intervals with 4-byte starts, so that a map of a few thousand prefixes stays in the
 * first-level cache. */
static int narrow(struct intervals_v6 *wide, struct intervals_v4 *v4)
{
	size_t n = 0;

	v4->starts = malloc(wide->n * sizeof(*v4->starts));
	if (!v4->starts)
		return -ENOMEM;
	/* After 255.255.255.255 the sweep may have returned to the lowest level. */
	while (n < wide->n && !wide->starts[n].high && wide->starts[n].low <= UINT32_MAX) {
		v4->starts[n] = (uint32_t)wide->starts[n].low;
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
