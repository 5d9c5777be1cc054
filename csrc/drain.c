/* SPDX-License-Identifier: BSD-3-Clause */
#include "drain.h"

#include <errno.h>
#include <stdlib.h>

#include "lookup.h"
#include "widen.h"

/* Records that go through the passes together; see table.c. */
#define PASS_RECORDS 32
#define WORD_BITS    64

/* A record of the first table between the passes. */
struct pending {
	struct netlog_key key;
	uint64_t hash;
	size_t guess;
};

int netlog_drain_begin(struct netlog_drain *drain, const struct netlog_merge_source *sources,
		       size_t n, const struct netlog_secret *secret)
{
	struct netlog_drain begun = {.secret = secret};

	for (size_t i = 0; i < n; i++) {
		if (!sources[i].count)
			continue;
		if (begun.n == 2 || sources[i].split)
			return -ENOTSUP;
		begun.sources[begun.n++] = sources[i];
	}
	if (begun.n == 2) {
		struct netlog_merge_source *both = begun.sources;

		if (both[0].count > both[1].count) {
			struct netlog_merge_source larger = both[0];

			both[0] = both[1];
			both[1] = larger;
		}
		if (!both[1].index)
			return -ENOTSUP;
		begun.taken = calloc(both[1].count / WORD_BITS + 1, sizeof(*begun.taken));
		if (!begun.taken)
			return -ENOMEM;
	}
	*drain = begun;
	return 0;
}

static bool is_taken(const struct netlog_drain *drain, size_t position)
{
	return drain->taken[position / WORD_BITS] >> position % WORD_BITS & 1;
}

/* Adds the second table's record of the same connection, if there is one that nobody has. */
static void add_second(struct netlog_drain *drain, const struct pending *pending,
		       struct netlog_flow *flow)
{
	const struct netlog_merge_source *second = &drain->sources[1];
	size_t found = pending->guess;

	if (unlikely(found == LOOKUP_NONE ||
		     !key_equals(&pending->key, &second->records[found].connection)))
		found = lookup_find(second->index, second->records, sizeof(*second->records),
				    second->count, &pending->key, pending->hash);
	if (found == LOOKUP_NONE || is_taken(drain, found))
		return;
	flow_add(flow, &second->records[found]);
	drain->taken[found / WORD_BITS] |= (uint64_t)1 << found % WORD_BITS;
}

/* n rows of the first table, with what the second one has of them. */
static void join(struct netlog_drain *drain, const struct netlog_record *records, size_t n,
		 struct netlog_flow *flows)
{
	const struct netlog_merge_source *second = &drain->sources[1];
	struct pending pending[PASS_RECORDS];

	for (size_t i = 0; i < n; i++) {
		pending[i].key = key_of(&records[i].connection);
		pending[i].hash = key_hash(&pending[i].key, drain->secret);
		prefetch(index_bucket(second->index, pending[i].hash));
	}
	for (size_t i = 0; i < n; i++) {
		pending[i].guess = lookup_guess(second->index, second->count, pending[i].hash);
		if (likely(pending[i].guess != LOOKUP_NONE))
			prefetch(&second->records[pending[i].guess]);
	}
	for (size_t i = 0; i < n; i++) {
		flow_widen(&flows[i], &records[i]);
		add_second(drain, &pending[i], &flows[i]);
	}
}

/* Rows of the first table. Returns how many. */
static size_t next_of_first(struct netlog_drain *drain, struct netlog_flow *flows, size_t capacity)
{
	const struct netlog_merge_source *first = &drain->sources[0];
	size_t left = first->count - drain->at, n = left < capacity ? left : capacity;
	const struct netlog_record *records = first->records + drain->at;

	for (size_t start = 0; drain->taken && start < n; start += PASS_RECORDS) {
		size_t some = n - start < PASS_RECORDS ? n - start : PASS_RECORDS;

		join(drain, records + start, some, flows + start);
	}
	for (size_t i = 0; !drain->taken && i < n; i++)
		flow_widen(&flows[i], &records[i]);
	drain->at += n;
	return n;
}

/* Rows of the second table that the first one had none of. Returns how many. */
static size_t next_of_second(struct netlog_drain *drain, struct netlog_flow *flows, size_t capacity)
{
	const struct netlog_merge_source *second = &drain->sources[1];
	size_t n = 0;

	for (; drain->at < second->count && n < capacity; drain->at++) {
		if (!is_taken(drain, drain->at))
			flow_widen(&flows[n++], &second->records[drain->at]);
	}
	return n;
}

size_t netlog_drain_next(struct netlog_drain *drain, struct netlog_flow *flows, size_t capacity)
{
	size_t n = 0;

	if (drain->n && drain->source == 0) {
		n = next_of_first(drain, flows, capacity);
		if (drain->at == drain->sources[0].count) {
			drain->source = 1;
			drain->at = 0;
		}
	}
	if (drain->n == 2 && drain->source == 1)
		n += next_of_second(drain, flows + n, capacity - n);
	return n;
}

void netlog_drain_end(struct netlog_drain *drain)
{
	free(drain->taken);
	*drain = (struct netlog_drain){0};
}
