/* SPDX-License-Identifier: BSD-3-Clause */
#include "merge.h"

#include <errno.h>
#include <sys/mman.h>

#include "index.h"

/* Records that go through the passes together; see table.c. */
#define PASS_RECORDS 32

/* A slot's position and tag share 32 bits; four of them stay for the tag. */
#define MAX_MERGED_ROWS (1u << 28)

struct merge {
	struct netlog_index index;
	const struct netlog_secret *secret;
	struct netlog_flow *flows;
	size_t count;
};

static inline void widen(struct netlog_flow *flow, const struct netlog_record *record)
{
	flow->connection = record->connection;
	flow->tx_packets = record->packets[NETLOG_TX];
	flow->tx_bytes = record->bytes[NETLOG_TX];
	flow->rx_packets = record->packets[NETLOG_RX];
	flow->rx_bytes = record->bytes[NETLOG_RX];
}

static inline void add(struct netlog_flow *flow, const struct netlog_record *record)
{
	flow->tx_packets += record->packets[NETLOG_TX];
	flow->tx_bytes += record->bytes[NETLOG_TX];
	flow->rx_packets += record->packets[NETLOG_RX];
	flow->rx_bytes += record->bytes[NETLOG_RX];
}

/* The row of a connection among the candidates of its buckets; or where to note a new one. */
static struct netlog_flow *find(const struct merge *merge, const struct netlog_record *record,
				uint64_t hash, uint32_t **free_slot)
{
	uint32_t tag = index_tag(&merge->index, hash);

	/* Half of the slots stay empty, so this ends. */
	for (uint64_t probe = 0;; probe++) {
		uint32_t *bucket = index_bucket(&merge->index, hash + probe);
		uint32_t candidates = index_candidates(&merge->index, bucket, tag);

		for (; candidates; candidates &= candidates - 1) {
			uint32_t slot = bucket[__builtin_ctz(candidates)];
			struct netlog_flow *flow =
				&merge->flows[slot_position(&merge->index, slot)];

			if (!memcmp(&flow->connection, &record->connection,
				    sizeof(flow->connection)))
				return flow;
		}
		uint32_t filled = bucket_filled(bucket);

		if (likely(filled < NETLOG_BUCKET_SLOTS)) {
			*free_slot = &bucket[filled];
			return NULL;
		}
	}
}

static void append(struct merge *merge, const struct netlog_record *record, uint64_t hash,
		   uint32_t *slot)
{
	widen(&merge->flows[merge->count], record);
	*slot = slot_make(index_tag(&merge->index, hash), (uint32_t)merge->count);
	merge->count++;
}

/* The first table's records are all new, as long as none of its connections was split. */
static void append_all(struct merge *merge, const struct netlog_record *records, size_t count)
{
	uint64_t hashes[PASS_RECORDS];

	for (size_t start = 0; start < count; start += PASS_RECORDS) {
		size_t n = count - start < PASS_RECORDS ? count - start : PASS_RECORDS;

		for (size_t i = 0; i < n; i++) {
			struct netlog_key key = key_of(&records[start + i].connection);

			hashes[i] = key_hash(&key, merge->secret);
			prefetch_write(index_bucket(&merge->index, hashes[i]));
		}
		for (size_t i = 0; i < n; i++) {
			uint32_t *bucket = index_bucket(&merge->index, hashes[i]);
			uint32_t filled = bucket_filled(bucket);

			for (uint64_t probe = 1; unlikely(filled == NETLOG_BUCKET_SLOTS); probe++) {
				bucket = index_bucket(&merge->index, hashes[i] + probe);
				filled = bucket_filled(bucket);
			}
			append(merge, &records[start + i], hashes[i], &bucket[filled]);
		}
	}
}

static void merge_all(struct merge *merge, const struct netlog_record *records, size_t count)
{
	uint64_t hashes[PASS_RECORDS];

	for (size_t start = 0; start < count; start += PASS_RECORDS) {
		size_t n = count - start < PASS_RECORDS ? count - start : PASS_RECORDS;

		for (size_t i = 0; i < n; i++) {
			struct netlog_key key = key_of(&records[start + i].connection);

			hashes[i] = key_hash(&key, merge->secret);
			prefetch_write(index_bucket(&merge->index, hashes[i]));
		}
		for (size_t i = 0; i < n; i++) {
			const uint32_t *bucket = index_bucket(&merge->index, hashes[i]);
			uint32_t tag = index_tag(&merge->index, hashes[i]);
			uint32_t candidates = index_candidates(&merge->index, bucket, tag);

			if (likely(candidates)) {
				uint32_t slot = bucket[__builtin_ctz(candidates)];
				const struct netlog_flow *flow =
					&merge->flows[slot_position(&merge->index, slot)];

				/* A row is 72 bytes and may lie on two lines. */
				prefetch_write(flow);
				prefetch_write(&flow->rx_bytes);
			}
		}
		for (size_t i = 0; i < n; i++) {
			const struct netlog_record *record = &records[start + i];
			uint32_t *slot = NULL;
			struct netlog_flow *flow = find(merge, record, hashes[i], &slot);

			if (likely(flow != NULL))
				add(flow, record);
			else
				append(merge, record, hashes[i], slot);
		}
	}
}

static size_t map_index(struct netlog_index *index, size_t rows)
{
	size_t bytes = (size_t)index_buckets(rows) * NETLOG_BUCKET_SLOTS * sizeof(uint32_t);
	void *slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (slots == MAP_FAILED)
		return 0;
	/* Only fewer page faults are lost if the kernel refuses. */
	(void)madvise(slots, bytes, MADV_HUGEPAGE);
	index->slots = slots;
	index->bucket_mask = index_buckets(rows) - 1;
	index->position_mask = index_position_mask(rows);
	return bytes;
}

ssize_t netlog_merge(const struct netlog_merge_source *sources, size_t n,
		     const struct netlog_secret *secret, struct netlog_flow *flows)
{
	struct merge merge = {.secret = secret, .flows = flows};
	const struct netlog_merge_source *only = NULL;
	size_t rows = 0, filled = 0;

	for (size_t i = 0; i < n; i++) {
		rows += sources[i].count;
		if (sources[i].count) {
			only = &sources[i];
			filled++;
		}
	}
	if (rows > MAX_MERGED_ROWS)
		return -ENOMEM;
	if (filled == 0)
		return 0;
	if (filled == 1 && !only->split) {
		for (size_t i = 0; i < only->count; i++)
			widen(&flows[i], &only->records[i]);
		return (ssize_t)only->count;
	}
	size_t bytes = map_index(&merge.index, rows);

	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (merge.count == 0 && !sources[i].split)
			append_all(&merge, sources[i].records, sources[i].count);
		else
			merge_all(&merge, sources[i].records, sources[i].count);
	}
	munmap(merge.index.slots, bytes);
	return (ssize_t)merge.count;
}
