/* SPDX-License-Identifier: BSD-3-Clause */
#include "table/table.h"

#include "base/atomic.h"

size_t netlog_table_index_bytes(uint32_t capacity)
{
	return (size_t)index_buckets(capacity) * NETLOG_BUCKET_SLOTS * sizeof(uint32_t);
}

void netlog_table_add_unattributed(struct netlog_table *table, int reason,
				   const struct netlog_increment *increment)
{
	struct netlog_unattributed *unattributed = &table->header->unattributed;

	unattributed->packets[reason][increment->direction] += increment->packets;
	unattributed->bytes[reason][increment->direction] += increment->bytes;
}

/* Appends a record for key and makes *slot point to it. slot NULL: the index has no room. */
static struct netlog_record *append(struct netlog_table *table, const struct netlog_key *key,
				    uint32_t *slot, uint32_t tag,
				    const struct netlog_increment *increment)
{
	uint64_t position = table->header->count;

	if (unlikely(!slot || position >= table->capacity)) {
		netlog_table_add_unattributed(table, NETLOG_TABLE_FULL, increment);
		return NULL;
	}
	struct netlog_record *record = &table->records[position];

	if (likely(position + NETLOG_APPEND_AHEAD < table->capacity))
		prefetch_write(record + NETLOG_APPEND_AHEAD);
	memcpy(&record->connection, key, sizeof(record->connection));
	record->packets[NETLOG_TX] = record->packets[NETLOG_RX] = 0;
	record->bytes[NETLOG_TX] = record->bytes[NETLOG_RX] = 0;
	record->packets[increment->direction] = increment->packets;
	record->bytes[increment->direction] = increment->bytes;
	/* release, only for the compiler's order: a process that is killed here leaves whole
	 * records, and no index slot that points beyond the count. The poller reads both after the
	 * handshake.
	 */
	store_release(&table->header->count, position + 1);
	*slot = slot_make(tag, (uint32_t)position);
	return record;
}

/* Adds where the first candidate was not the record: tries the other candidates and buckets, then
 * appends a record. */
static NETLOG_NOINLINE struct netlog_record *add_other(struct netlog_table *table,
						       const struct netlog_key *key, uint64_t hash,
						       const struct netlog_increment *increment)
{
	const struct netlog_index *index = &table->index;
	uint32_t tag = index_tag(index, hash);
	uint32_t *slot = NULL;

	for (uint32_t probe = 0; probe < NETLOG_MAX_PROBES; probe++) {
		uint32_t *bucket = index_bucket(index, hash + probe);
		uint32_t candidates = index_candidates(index, bucket, tag);

		for (; candidates; candidates &= candidates - 1) {
			slot = &bucket[__builtin_ctz(candidates)];
			struct netlog_record *record = &table->records[slot_position(index, *slot)];

			if (!key_equals(key, &record->connection))
				continue;
			if (likely(netlog_record_add(record, increment)))
				return record;
			table->header->split = 1;
			return append(table, key, slot, tag, increment);
		}
		uint32_t filled = bucket_filled(bucket);

		slot = NULL;
		if (likely(filled < NETLOG_BUCKET_SLOTS)) {
			slot = &bucket[filled];
			table->header->overflowed |= probe != 0;
			break;
		}
	}
	return append(table, key, slot, tag, increment);
}

/* Nearly every packet finds its record at the first candidate of its own bucket. That path is short
 * enough to save no registers (measured: a quarter of the instructions). */
struct netlog_record *netlog_table_add(struct netlog_table *table, const struct netlog_key *key,
				       uint64_t hash, const struct netlog_increment *increment)
{
	const struct netlog_index *index = &table->index;
	const uint32_t *bucket = index_bucket(index, hash);
	uint32_t candidates = index_candidates(index, bucket, index_tag(index, hash));

	if (likely(candidates)) {
		uint32_t slot = bucket[__builtin_ctz(candidates)];
		struct netlog_record *record = &table->records[slot_position(index, slot)];

		if (likely(key_equals(key, &record->connection)) &&
		    likely(netlog_record_add(record, increment)))
			return record;
	}
	return add_other(table, key, hash, increment);
}

void netlog_table_clear(struct netlog_table *table)
{
	struct netlog_table_header *header = table->header;
	size_t buckets = (size_t)table->index.bucket_mask + 1;
	/* relaxed: the bank is quiesced. In a file the count may be anything, so it is checked. */
	uint64_t count = load_relaxed(&header->count);

	/* With few records only their buckets are cleared, so that a table with little traffic
	 * never touches the other pages of a large index. */
	if (count < buckets / 4 && count <= table->capacity && !header->overflowed) {
		for (uint64_t i = 0; i < count; i++) {
			struct netlog_key key = key_of(&table->records[i].connection);

			memset(index_bucket(&table->index, key_hash(&key, table->secret)), 0,
			       NETLOG_BUCKET_SLOTS * sizeof(uint32_t));
		}
	} else {
		memset(table->index.slots, 0, buckets * NETLOG_BUCKET_SLOTS * sizeof(uint32_t));
	}
	/* Compiler order: the header is cleared last, after the index. A poller that is killed
	 * before has cleared nothing, as far as its successor sees, which clears again. */
	atomic_compiler_barrier();
	memset(header, 0, sizeof(*header));
}
