/* SPDX-License-Identifier: BSD-3-Clause */
/* table: the counts of one observation point in one bank of one lane.
 *
 * A dense array of records, append only, behind an index. While the bank is live, only the writer
 * reads the index. The poller copies the array; it may use the index of a quiesced bank to find the
 * same connection in several tables (meter/retired.c lends it), but never has to.
 *
 * Invariants: records[0..count) are whole. Each record is indexed once, with two exceptions, in
 * which `split` is set:
 *  - a 32-bit packet counter overflowed: the index points to the newer record of the connection;
 *  - the lane's owner died: its last record may not be in the index.
 *
 * Threads: the lane's owner adds, inside its bracket. The poller clears, once the bank is quiesced.
 * The meter's handshake orders the two.
 * Progress: add searches at most NETLOG_MAX_PROBES buckets.
 * Bounds: capacity. A packet of a connection that finds no room is unattributed.
 */
#ifndef NETLOG_TABLE_H
#define NETLOG_TABLE_H

#include "table/index.h"
#include "packet/packet.h"

/* The part of a table that lies in the region. writer: the lane's owner; reader: the poller, once
 * the bank is quiesced. */
struct netlog_table_header {
	uint64_t count;      /* records in use */
	uint64_t split;      /* 1: a connection may have more than one record */
	uint64_t overflowed; /* 1: an entry of the index is not in its own bucket */
	struct netlog_unattributed unattributed;
};

/* How many records ahead append prefetches. New connections come in crowds, above all after a swap,
 * when the bank has left the cache. */
#define NETLOG_APPEND_AHEAD 16u

struct netlog_table {
	struct netlog_table_header *header;
	struct netlog_record *records;
	struct netlog_index index;
	uint32_t capacity;
	bool filling; /* expect new connections: the last batch had some, or the table is empty */
	uint64_t met; /* records when the last batch began */
	const struct netlog_secret *secret;
};

size_t netlog_table_index_bytes(uint32_t capacity);

/* Begins a batch: notes whether to expect new connections. In an empty table it also prefetches the
 * first records; the later ones are prefetched when a record is appended. */
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

/* Adds increment to the record of key, which it appends if there is none. hash: key_hash() of key.
 * Returns the record, or NULL if there was no room; then increment is unattributed. */
struct netlog_record *netlog_table_add(struct netlog_table *table, const struct netlog_key *key,
				       uint64_t hash, const struct netlog_increment *increment);

/* Counts a packet without a connection. reason: enum netlog_unattributed_reason. */
void netlog_table_add_unattributed(struct netlog_table *table, int reason,
				   const struct netlog_increment *increment);

/* Returns false, and adds nothing, if the packet counter would overflow. */
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

/* Empties the table. Its pages stay mapped, so that the next epoch need not fault them in. */
void netlog_table_clear(struct netlog_table *table);

#endif
