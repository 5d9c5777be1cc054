/* SPDX-License-Identifier: BSD-3-Clause */
#include "table/merge.h"

#include <errno.h>
#include <sys/mman.h>

#include "table/lookup.h"
#include "table/row.h"

/* Records that go through the passes together; see table.c. */
#define PASS_RECORDS 32

/* A slot's position and tag share 32 bits; four of them stay for the tag. */
#define MAX_MERGED_ROWS (1u << 28)

/* Rows are found by two indexes: the lent one of the first table, whose records are the first rows
 * in their order, and one of our own for the rows that came after them. */
struct merge {
	const struct netlog_index *lent; /* NULL: none */
	size_t lent_rows;
	struct netlog_index own; /* slots NULL: not needed yet; positions count from lent_rows */
	size_t own_bytes;
	size_t records; /* of all sources */
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
	/* Only fewer page faults are lost if the kernel refuses. */
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

/* The row of a key among count rows, or NULL. In our own index, so many buckets as are looked at
 * are never full in a row. */
static inline struct netlog_flow *find(const struct netlog_index *index, struct netlog_flow *rows,
				       size_t count, const struct netlog_key *key, uint64_t hash)
{
	size_t position = lookup_find(index, rows, sizeof(*rows), count, key, hash);

	return position == LOOKUP_NONE ? NULL : &rows[position];
}

/* The row that find() would look at first, or NULL. It is asked for: a row is 72 bytes and lies on
 * two lines. Always inline: gcc takes a function that only prefetches for one without effect. */
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

/* Writes a row that is not there yet and tells our own index. */
static inline void append(struct merge *merge, const struct netlog_record *record, uint64_t hash)
{
	uint32_t *bucket = index_bucket(&merge->own, hash);
	uint32_t filled = bucket_filled(bucket);

	/* Half of the slots stay empty, so this ends. */
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
	/* Each record of the first one is a row: copied in order, it can lend its index. */
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
