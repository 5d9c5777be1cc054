/* SPDX-License-Identifier: BSD-3-Clause */
/* table: the flows of one observation point in one bank, with one writer.
 *
 * A dense array of records, append only, behind an index that only the writer reads. A drain copies
 * the array; the poller never needs the index.
 *
 * Invariants: records[0..count) are whole; each is in the index once, but for those whose 32-bit
 * packet counter ran out (then `split` is set, and a younger record of the same connection is).
 *
 * Threads: add and count by the lane's owner inside its bracket; clear by the poller once the bank
 * is quiesced. The meter's handshake orders the two.
 * Progress: add takes at most NETLOG_MAX_PROBES buckets. Bounds: capacity; beyond it a packet is
 * unattributed.
 */
#ifndef NETLOG_TABLE_H
#define NETLOG_TABLE_H

#include "hash.h"
#include "index.h"
#include "packet.h"

/* The part of a table that lies in the region. writer: the owner; reader: the poller, quiesced. */
struct netlog_table_header {
	uint64_t count;      /* records in use */
	uint64_t split;      /* some connection has more than one record */
	uint64_t overflowed; /* some entry of the index is not in its own bucket */
	struct netlog_unattributed unattributed;
};

struct netlog_table {
	struct netlog_table_header *header;
	struct netlog_record *records;
	struct netlog_index index;
	uint32_t capacity;
	const struct netlog_secret *secret;
};

size_t netlog_table_index_bytes(uint32_t capacity);

/* Adds increment to the connection's record; counts it as unattributed if there is no room.
 * Returns the record, or NULL. */
struct netlog_record *netlog_table_add(struct netlog_table *table,
				       const struct netlog_connection *connection, uint64_t hash,
				       const struct netlog_increment *increment);

/* Counts packets; *last is the record that was hit last (NULL: none), and is kept up to date. */
void netlog_table_count_packets(struct netlog_table *table, const struct netlog_packet *packets,
				size_t n, struct netlog_record **last);
void netlog_table_count_datagrams(struct netlog_table *table,
				  const struct netlog_datagram *datagrams, size_t n,
				  struct netlog_record **last);

/* Empties the table; its pages stay. */
void netlog_table_clear(struct netlog_table *table);

#endif
