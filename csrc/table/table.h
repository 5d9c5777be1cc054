/* SPDX-License-Identifier: BSD-3-Clause */
/* table: the flows of one observation point in one bank, with one writer.
 *
 * A dense array of records, append only, behind an index that only the writer reads. A drain copies
 * the array; the poller never needs the index.
 *
 * Invariants: records[0..count) are whole; each is in the index once, but for those whose 32-bit
 * packet counter ran out (then `split` is set, and a younger record of the same connection is).
 *
 * Threads: add by the lane's owner inside its bracket; clear by the poller once the bank
 * is quiesced. The meter's handshake orders the two.
 * Progress: add takes at most NETLOG_MAX_PROBES buckets. Bounds: capacity; beyond it a packet is
 * unattributed.
 */
#ifndef NETLOG_TABLE_H
#define NETLOG_TABLE_H

#include "table/index.h"
#include "packet/packet.h"

/* The part of a table that lies in the region. writer: the owner; reader: the poller, quiesced. */
struct netlog_table_header {
	uint64_t count;      /* records in use */
	uint64_t split;      /* some connection has more than one record */
	uint64_t overflowed; /* some entry of the index is not in its own bucket */
	struct netlog_unattributed unattributed;
};

/* New connections come in crowds, above all after a swap, when the bank has left the cache: so many
 * records further on are asked for. */
#define NETLOG_APPEND_AHEAD 16u

struct netlog_table {
	struct netlog_table_header *header;
	struct netlog_record *records;
	struct netlog_index index;
	uint32_t capacity;
	bool filling; /* the last batch found new connections, as all do that come after a swap */
	uint64_t met; /* records when it began */
	const struct netlog_secret *secret;
};

size_t netlog_table_index_bytes(uint32_t capacity);

/* At the beginning of a batch: whether new connections are to be expected, and the first records of
 * an empty table, as those behind them are asked for when a record is appended. */
NETLOG_INLINE void table_begin(struct netlog_table *table)
{
	uint64_t count = table->header->count;

	table->filling = count == 0 || count != table->met;
	table->met = count;
	if (likely(count))
		return;
	for (uint32_t i = 0; i < NETLOG_APPEND_AHEAD && i < table->capacity; i++)
		prefetch_write(&table->records[i]);
}

/* Adds increment to the record of key, whose hash is hash; counts it as unattributed if there is no
 * room. Returns the record, or NULL. */
struct netlog_record *netlog_table_add(struct netlog_table *table, const struct netlog_key *key,
				       uint64_t hash, const struct netlog_increment *increment);

/* Counts a packet that has no connection. */
void netlog_table_add_unattributed(struct netlog_table *table, int reason,
				   const struct netlog_increment *increment);

/* False if the packet counter would run out; then nothing is added. */
NETLOG_INLINE bool netlog_record_add(struct netlog_record *record,
				     const struct netlog_increment *increment)
{
	uint32_t direction = increment->direction;
	uint32_t packets;

	if (unlikely(__builtin_add_overflow(record->packets[direction], increment->packets,
					    &packets)))
		return false;
	record->packets[direction] = packets;
	record->bytes[direction] += increment->bytes;
	return true;
}

/* Empties the table; its pages stay. */
void netlog_table_clear(struct netlog_table *table);

#endif
