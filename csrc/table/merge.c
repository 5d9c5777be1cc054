/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "table/merge.h"

#include <errno.h>
#include <sys/mman.h>

#include "table/lookup.h"
#include "table/row.h"

/* Records that go through the passes together, so that their cache misses overlap; see
 * count/count.h. */
#define PASS_RECORDS 32

/* An index slot has 32 bits: at most 29 for a position plus one, so at least 3 for a tag. */
#define MAX_MERGED_ROWS (1u << 28)

/* Two indexes find rows. One is lent by the first table, whose records are the first rows in the
 * same order. The other is built here, for the rows after those. */
struct merge {
	const struct netlog_index *lent; /* NULL: none is lent */
	size_t lent_rows;
	struct netlog_index own; /* positions count from lent_rows; slots NULL: not needed yet */
	size_t own_bytes;
	size_t records; /* in all sources */
	const struct netlog_secret *secret;
	struct netlog_flow *flows;
	size_t count;
};

static size_t index_bytes(size_t rows)
{
	return (size_t)index_buckets(rows) * NETLOG_BUCKET_SLOTS * sizeof(uint32_t);
}

static int open_own(struct merge *merge)
{
	size_t rows = merge->records - merge->lent_rows, bytes = index_bytes(rows);
	void *slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (slots == MAP_FAILED)
		return -ENOMEM;
	/* If the kernel refuses huge pages, there are only more page faults. */
	(void)madvise(slots, bytes, MADV_HUGEPAGE);
	merge->own.slots = slots;
	merge->own.bucket_mask = index_buckets(rows) - 1;
	merge->own.position_mask = index_position_mask(rows);
	merge->own_bytes = bytes;
	return 0;
}

static void close_own(struct merge *merge)
{
	if (merge->own.slots)
		munmap(merge->own.slots, merge->own_bytes);
}

/* Returns the row of a key among count rows, or NULL. In the index that is built here, a run of
 * full buckets never exceeds what lookup_find() searches; see index.h. */
static inline struct netlog_flow *find(const struct netlog_index *index, struct netlog_flow *rows,
				       size_t count, const struct netlog_key *key, uint64_t hash)
{
	size_t position = lookup_find(index, rows, sizeof(*rows), count, key, hash);

	return position == LOOKUP_NONE ? NULL : &rows[position];
}

/* Returns the row that find() would try first, or NULL, and prefetches it. A row has 72 bytes, so
 * it lies on two lines. Always inline: gcc treats a function that only prefetches as one without
 * effect. */
NETLOG_INLINE struct netlog_flow *guess(const struct netlog_index *index, struct netlog_flow *rows,
					size_t count, uint64_t hash)
{
	size_t position = lookup_guess(index, count, hash);

	if (unlikely(position == LOOKUP_NONE))
		return NULL;
	prefetch_write(&rows[position]);
	prefetch_write(&rows[position].rx_bytes);
	return &rows[position];
}

/* Appends a row for a connection that has none, and enters it into the own index. */
static inline void append(struct merge *merge, const struct netlog_record *record, uint64_t hash)
{
	uint32_t *bucket = index_bucket(&merge->own, hash);
	uint32_t filled = bucket_filled(bucket);

	/* At least half of the slots stay empty, so this loop ends. */
	for (uint64_t probe = 1; unlikely(filled == NETLOG_BUCKET_SLOTS); probe++) {
		bucket = index_bucket(&merge->own, hash + probe);
		filled = bucket_filled(bucket);
	}
	bucket[filled] = slot_make(index_tag(&merge->own, hash),
				   (uint32_t)(merge->count - merge->lent_rows));
	flow_widen(&merge->flows[merge->count++], record);
}

static void append_lent(struct merge *merge, const struct netlog_merge_source *source)
{
	for (size_t i = 0; i < source->count; i++)
		flow_widen(&merge->flows[i], &source->records[i]);
	merge->count = source->count;
}

/* A record between the passes. */
struct merge_lookup {
	uint64_t hash;
	struct netlog_flow *guess;
};

static void prepare(const struct merge *merge, const struct netlog_record *records, size_t n,
		    struct merge_lookup *pending)
{
	struct netlog_flow *own_rows = merge->flows + merge->lent_rows;
	size_t own_count = merge->count - merge->lent_rows;

	for (size_t i = 0; i < n; i++) {
		struct netlog_key key = key_of(&records[i].connection);

		pending[i].hash = key_hash(&key, merge->secret);
		pending[i].guess = NULL;
		if (merge->lent)
			prefetch(index_bucket(merge->lent, pending[i].hash));
		if (merge->own.slots)
			prefetch_write(index_bucket(&merge->own, pending[i].hash));
	}
	for (size_t i = 0; i < n && merge->lent; i++)
		pending[i].guess =
			guess(merge->lent, merge->flows, merge->lent_rows, pending[i].hash);
	for (size_t i = 0; i < n && own_count; i++) {
		if (!pending[i].guess)
			pending[i].guess = guess(&merge->own, own_rows, own_count, pending[i].hash);
	}
}

static struct netlog_flow *find_row(const struct merge *merge, const struct netlog_key *key,
				    uint64_t hash)
{
	size_t own_count = merge->count - merge->lent_rows;
	struct netlog_flow *flow = NULL;

	if (merge->lent)
		flow = find(merge->lent, merge->flows, merge->lent_rows, key, hash);
	if (!flow && own_count)
		flow = find(&merge->own, merge->flows + merge->lent_rows, own_count, key, hash);
	return flow;
}

static int merge_record(struct merge *merge, const struct netlog_record *record,
			const struct merge_lookup *pending)
{
	struct netlog_key key = key_of(&record->connection);
	struct netlog_flow *flow = pending->guess;

	if (unlikely(!flow || !key_equals(&key, &flow->connection)))
		flow = find_row(merge, &key, pending->hash);
	if (likely(flow != NULL)) {
		flow_add(flow, record);
		return 0;
	}
	if (unlikely(!merge->own.slots) && open_own(merge))
		return -ENOMEM;
	append(merge, record, pending->hash);
	return 0;
}

static int merge_source(struct merge *merge, const struct netlog_merge_source *source)
{
	struct merge_lookup pending[PASS_RECORDS];

	for (size_t start = 0; start < source->count; start += PASS_RECORDS) {
		size_t left = source->count - start;
		size_t n = left < PASS_RECORDS ? left : PASS_RECORDS;

		prepare(merge, source->records + start, n, pending);
		for (size_t i = 0; i < n; i++) {
			if (merge_record(merge, &source->records[start + i], &pending[i]))
				return -ENOMEM;
		}
	}
	return 0;
}

ssize_t netlog_merge(const struct netlog_merge_source *sources, size_t n,
		     const struct netlog_secret *secret, struct netlog_flow *flows)
{
	struct merge merge = {.secret = secret, .flows = flows};
	size_t first = 0, filled = 0;
	int rc = 0;

	for (size_t i = n; i-- > 0;) {
		merge.records += sources[i].count;
		if (sources[i].count) {
			first = i;
			filled++;
		}
	}
	if (merge.records > MAX_MERGED_ROWS)
		return -ENOMEM;
	if (filled == 0)
		return 0;
	/* If each record of the first table has a connection of its own, they are copied in order,
	 * and the table's index then finds rows. */
	if (!sources[first].split && (filled == 1 || sources[first].index)) {
		append_lent(&merge, &sources[first]);
		merge.lent = sources[first].index;
		merge.lent_rows = sources[first].count;
		first++;
	}
	for (size_t i = first; i < n && !rc; i++)
		rc = merge_source(&merge, &sources[i]);
	close_own(&merge);
	return rc ? rc : (ssize_t)merge.count;
}
