/* SPDX-License-Identifier: BSD-3-Clause */
#include "table/drain.h"

#include <errno.h>
#include <stdlib.h>

#include "table/lookup.h"
#include "table/row.h"

/* Records that go through the passes together, so that their cache misses overlap; see
 * count/count.h. Half as many would do (measured: eight tables, 4 M connections that are in two
 * each, 0.45 s of CPU instead of 0.44 s). */
#define PASS_RECORDS 64
#define WORD_BITS    64

/* A record between the passes: its connection is looked up in a larger table. */
struct drain_lookup {
	struct netlog_key key;
	uint64_t hash;
	size_t guess; /* a position; LOOKUP_NONE; or ABSENT: the connection is not in the table */
};

#define ABSENT (LOOKUP_NONE - 1)

/* Inserts a source so that the sources stay in order of size, the smallest first. */
static void insert(struct netlog_drain *drain, const struct netlog_merge_source *source)
{
	size_t at = drain->n++;

	for (; at && drain->sources[at - 1].count > source->count; at--)
		drain->sources[at] = drain->sources[at - 1];
	drain->sources[at] = *source;
}

static size_t taken_words(const struct netlog_merge_source *source)
{
	return source->count / WORD_BITS + 1;
}

/* Whether a table's records are visited bucket by bucket of its index. The tables of one meter have
 * the same number of buckets and the same hash. So this order also walks through the buckets of the
 * other tables one after the other, where the order of records would jump about in memory
 * (measured: eight tables, 4 M connections that are in two each, a poll takes 0.84 s of CPU instead
 * of 0.95 s). With two tables it is slower. With few records most buckets are empty, and their
 * pages were never touched. */
static bool by_bucket(const struct netlog_drain *drain, size_t number)
{
	const struct netlog_merge_source *source = &drain->sources[number];

	return drain->n > 2 && source->count > source->index->bucket_mask;
}

/* Allocates the `taken` bits. Nobody looks up records in the first table, so it needs them only if
 * it is visited by bucket. */
static int open_taken(struct netlog_drain *drain)
{
	size_t first = drain->n > 2 ? 0 : 1, words = 0;
	uint64_t *room;

	for (size_t i = first; i < drain->n; i++) {
		if (!drain->sources[i].index)
			return -ENOTSUP;
		words += taken_words(&drain->sources[i]);
	}
	if (!words)
		return 0;
	room = drain->room = calloc(words, sizeof(*room));
	if (!room)
		return -ENOMEM;
	for (size_t i = first; i < drain->n; i++) {
		drain->taken[i] = room;
		room += taken_words(&drain->sources[i]);
	}
	return 0;
}

int netlog_drain_begin(struct netlog_drain *drain, const struct netlog_merge_source *sources,
		       size_t n, const struct netlog_secret *secret)
{
	struct netlog_drain begun = {.secret = secret};
	int rc;

	for (size_t i = 0; i < n; i++) {
		if (!sources[i].count)
			continue;
		if (begun.n == NETLOG_DRAIN_TABLES || sources[i].split)
			return -ENOTSUP;
		insert(&begun, &sources[i]);
	}
	for (size_t i = 0; i < begun.n; i++)
		begun.left[i] = begun.sources[i].count;
	rc = open_taken(&begun);
	if (!rc)
		*drain = begun;
	return rc;
}

static bool is_taken(const uint64_t *taken, size_t position)
{
	return taken[position / WORD_BITS] >> position % WORD_BITS & 1;
}

static void take(struct netlog_drain *drain, size_t number, size_t position)
{
	drain->taken[number][position / WORD_BITS] |= (uint64_t)1 << position % WORD_BITS;
	drain->left[number]--;
}

/* Takes the next records of the current source in the order of its index. If the index is corrupt
 * and leaves records out, gather() finds them afterwards. */
static size_t gather_by_bucket(struct netlog_drain *drain, const struct netlog_record **records,
			       size_t most)
{
	const struct netlog_merge_source *source = &drain->sources[drain->source];
	const struct netlog_index *index = source->index;
	size_t slots = ((size_t)index->bucket_mask + 1) * NETLOG_BUCKET_SLOTS;
	uint64_t *taken = drain->taken[drain->source];
	size_t n = 0;

	while (drain->slot < slots && n < most) {
		uint32_t slot = index->slots[drain->slot++];
		uint32_t position = slot_position(index, slot);

		if (!slot) {
			/* The slots after it in the bucket are empty, too. */
			drain->slot = (drain->slot + NETLOG_BUCKET_SLOTS - 1) &
				      ~(size_t)(NETLOG_BUCKET_SLOTS - 1);
			continue;
		}
		if (unlikely(position >= source->count) || is_taken(taken, position))
			continue;
		take(drain, drain->source, position);
		records[n++] = &source->records[position];
		prefetch_far(records[n - 1]);
	}
	return n;
}

/* Lists the next records of the current source that are not taken. Returns their number; 0: there
 * are no more. */
static size_t gather(struct netlog_drain *drain, const struct netlog_record **records, size_t most)
{
	const struct netlog_merge_source *source = &drain->sources[drain->source];
	const uint64_t *taken = drain->taken[drain->source];
	size_t n = 0;

	if (!drain->left[drain->source])
		return 0;
	if (by_bucket(drain, drain->source))
		n = gather_by_bucket(drain, records, most);
	if (n)
		return n;
	for (; drain->at < source->count && n < most; drain->at++) {
		if (!taken || !is_taken(taken, drain->at))
			records[n++] = &source->records[drain->at];
	}
	return n;
}

/* Adds a table's record of the same connection, if there is one that is not taken. */
static void add_other(struct netlog_drain *drain, size_t number, const struct drain_lookup *pending,
		      struct netlog_flow *flow)
{
	const struct netlog_merge_source *other = &drain->sources[number];
	uint64_t *taken = drain->taken[number];
	size_t found = pending->guess;

	if (found == ABSENT)
		return;
	if (unlikely(found == LOOKUP_NONE ||
		     !key_equals(&pending->key, &other->records[found].connection)))
		found = lookup_find(other->index, other->records, sizeof(*other->records),
				    other->count, &pending->key, pending->hash);
	if (found == LOOKUP_NONE || is_taken(taken, found))
		return;
	flow_add(flow, &other->records[found]);
	take(drain, number, found);
}

/* Prefetches the buckets of n connections in a table's index. */
static void prefetch_buckets(const struct netlog_drain *drain, size_t number,
			     const struct drain_lookup *pending, size_t n)
{
	for (size_t i = 0; i < n && number < drain->n; i++)
		prefetch(index_bucket(drain->sources[number].index, pending[i].hash));
}

/* Adds what a table has of n connections, whose buckets were prefetched. */
static void join_other(struct netlog_drain *drain, size_t number, struct drain_lookup *pending,
		       size_t n, struct netlog_flow *flows)
{
	const struct netlog_merge_source *other = &drain->sources[number];

	for (size_t i = 0; i < n; i++) {
		size_t guess = lookup_guess(other->index, other->count, pending[i].hash);

		if (guess != LOOKUP_NONE)
			prefetch_far(&other->records[guess]);
		else if (likely(lookup_is_absent(other->index, pending[i].hash)))
			guess = ABSENT;
		pending[i].guess = guess;
	}
	for (size_t i = 0; i < n; i++)
		add_other(drain, number, &pending[i], &flows[i]);
}

/* Adds what the sources after the current one have of n connections. */
static void join(struct netlog_drain *drain, const struct netlog_record **records, size_t n,
		 struct netlog_flow *flows)
{
	struct drain_lookup pending[PASS_RECORDS];

	if (drain->source + 1 == drain->n)
		return;
	for (size_t i = 0; i < n; i++) {
		pending[i].key = key_of(&records[i]->connection);
		pending[i].hash = key_hash(&pending[i].key, drain->secret);
	}
	prefetch_buckets(drain, drain->source + 1, pending, n);
	for (size_t number = drain->source + 1; number < drain->n; number++) {
		prefetch_buckets(drain, number + 1, pending, n);
		join_other(drain, number, pending, n, flows);
	}
}

size_t netlog_drain_next(struct netlog_drain *drain, struct netlog_flow *flows, size_t capacity)
{
	const struct netlog_record *records[PASS_RECORDS];
	size_t n = 0;

	while (drain->source < drain->n && n < capacity) {
		size_t left = capacity - n;
		size_t some = gather(drain, records, left < PASS_RECORDS ? left : PASS_RECORDS);

		for (size_t i = 0; i < some; i++)
			flow_widen(&flows[n + i], records[i]);
		join(drain, records, some, flows + n);
		n += some;
		if (!some) {
			drain->source++;
			drain->at = drain->slot = 0;
		}
	}
	return n;
}

void netlog_drain_end(struct netlog_drain *drain)
{
	free(drain->room);
	*drain = (struct netlog_drain){0};
}
