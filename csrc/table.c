/* SPDX-License-Identifier: BSD-3-Clause */
#include "table.h"

#include "compiler.h"

/* Packets that go through the passes together: enough to hide a miss behind the others' work, few
 * enough for their lines to stay in the first-level cache. */
#define PASS_PACKETS 32

/* Up to this many bytes of records and buckets a table lives in the second-level cache, where
 * going packet by packet is cheaper than passes. */
#define SINGLE_BYTES (512u * 1024)

/* A packet between the passes. */
struct pending {
	struct netlog_connection connection;
	struct netlog_increment increment;
	uint64_t hash;
	struct netlog_record *candidate;
};

size_t netlog_table_index_bytes(uint32_t capacity)
{
	return (size_t)index_buckets(capacity) * NETLOG_BUCKET_SLOTS * sizeof(uint32_t);
}

NETLOG_INLINE bool same_connection(const struct netlog_connection *a,
				   const struct netlog_connection *b)
{
	uint64_t difference = 0;

	for (size_t word = 0; word < sizeof(*a); word += 8)
		difference |=
			hash_word((const uint8_t *)a + word) ^ hash_word((const uint8_t *)b + word);
	return difference == 0;
}

/* False if the packet counter would run out; then nothing is added. */
NETLOG_INLINE bool record_add(struct netlog_record *record,
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

static void count_unattributed(struct netlog_table *table, int reason,
			       const struct netlog_increment *increment)
{
	struct netlog_unattributed *unattributed = &table->header->unattributed;

	unattributed->packets[reason][increment->direction] += increment->packets;
	unattributed->bytes[reason][increment->direction] += increment->bytes;
}

/* Appends a record for the connection and lets *slot point to it; NULL slot: there was no room. */
static struct netlog_record *append(struct netlog_table *table,
				    const struct netlog_connection *connection, uint32_t *slot,
				    uint32_t tag, const struct netlog_increment *increment)
{
	uint64_t position = table->header->count;

	if (unlikely(!slot || position >= table->capacity)) {
		count_unattributed(table, NETLOG_TABLE_FULL, increment);
		return NULL;
	}
	struct netlog_record *record = &table->records[position];

	record->connection = *connection;
	record->packets[NETLOG_TX] = record->packets[NETLOG_RX] = 0;
	record->bytes[NETLOG_TX] = record->bytes[NETLOG_RX] = 0;
	record->packets[increment->direction] = increment->packets;
	record->bytes[increment->direction] = increment->bytes;
	*slot = slot_make(tag, (uint32_t)position);
	table->header->count = position + 1;
	return record;
}

struct netlog_record *netlog_table_add(struct netlog_table *table,
				       const struct netlog_connection *connection, uint64_t hash,
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

			if (!same_connection(&record->connection, connection))
				continue;
			if (likely(record_add(record, increment)))
				return record;
			table->header->split = 1;
			return append(table, connection, slot, tag, increment);
		}
		uint32_t filled = bucket_filled(bucket);

		slot = NULL;
		if (likely(filled < NETLOG_BUCKET_SLOTS)) {
			slot = &bucket[filled];
			table->header->overflowed |= probe != 0;
			break;
		}
	}
	return append(table, connection, slot, tag, increment);
}

NETLOG_INLINE bool is_last(struct netlog_record *last, const struct netlog_connection *connection,
			   const struct netlog_increment *increment)
{
	return last && same_connection(&last->connection, connection) &&
	       record_add(last, increment);
}

/* Two packets in a row of one connection are common enough (bulk) to look before hashing. */
static void count_singly(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
			 struct netlog_record **last)
{
	struct netlog_connection connection;
	struct netlog_increment increment;

	for (size_t i = 0; i < n; i++) {
		if (i + PASS_PACKETS / 2 < n)
			prefetch(packets[i + PASS_PACKETS / 2].data);
		int reason = netlog_packet_decode(&packets[i], &connection, &increment);

		if (unlikely(reason))
			count_unattributed(table, reason - 1, &increment);
		else if (!is_last(*last, &connection, &increment))
			*last = netlog_table_add(table, &connection,
						 netlog_hash(table->secret, &connection),
						 &increment);
	}
}

static size_t pass_decode(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
			  struct pending *pending, struct netlog_record *last)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct pending *item = &pending[kept];
		int reason = netlog_packet_decode(&packets[i], &item->connection, &item->increment);

		if (unlikely(reason)) {
			count_unattributed(table, reason - 1, &item->increment);
			continue;
		}
		if (is_last(last, &item->connection, &item->increment))
			continue;
		item->hash = netlog_hash(table->secret, &item->connection);
		prefetch(index_bucket(&table->index, item->hash));
		kept++;
	}
	return kept;
}

static void pass_match(const struct netlog_table *table, struct pending *pending, size_t n)
{
	const struct netlog_index *index = &table->index;

	for (size_t i = 0; i < n; i++) {
		const uint32_t *bucket = index_bucket(index, pending[i].hash);
		uint32_t candidates =
			index_candidates(index, bucket, index_tag(index, pending[i].hash));

		pending[i].candidate = NULL;
		if (likely(candidates)) {
			uint32_t slot = bucket[__builtin_ctz(candidates)];

			pending[i].candidate = &table->records[slot_position(index, slot)];
			prefetch_write(pending[i].candidate);
		}
	}
}

static struct netlog_record *pass_add(struct netlog_table *table, const struct pending *pending,
				      size_t n, struct netlog_record *last)
{
	for (size_t i = 0; i < n; i++) {
		const struct pending *item = &pending[i];

		if (likely(is_last(item->candidate, &item->connection, &item->increment)))
			last = item->candidate;
		else
			last = netlog_table_add(table, &item->connection, item->hash,
						&item->increment);
	}
	return last;
}

static bool is_small(const struct netlog_table *table)
{
	size_t lines = table->header->count + table->index.bucket_mask / 4;

	return lines * sizeof(struct netlog_record) <= SINGLE_BYTES;
}

void netlog_table_count_packets(struct netlog_table *table, const struct netlog_packet *packets,
				size_t n, struct netlog_record **last)
{
	struct pending pending[PASS_PACKETS];

	while (n) {
		size_t part = n < PASS_PACKETS ? n : PASS_PACKETS;

		if (is_small(table)) {
			count_singly(table, packets, part, last);
		} else {
			for (size_t i = part; i < n && i < part + PASS_PACKETS; i++)
				prefetch(packets[i].data);
			size_t kept = pass_decode(table, packets, part, pending, *last);

			pass_match(table, pending, kept);
			*last = pass_add(table, pending, kept, *last);
		}
		packets += part;
		n -= part;
	}
}

void netlog_table_count_datagrams(struct netlog_table *table,
				  const struct netlog_datagram *datagrams, size_t n,
				  struct netlog_record **last)
{
	struct netlog_connection connection = {.flags = NETLOG_NO_SRC};
	struct netlog_increment increment;

	for (size_t i = 0; i < n; i++) {
		const struct netlog_datagram *datagram = &datagrams[i];

		memcpy(connection.dst, datagram->address, sizeof(connection.dst));
		connection.dst_port = datagram->port;
		connection.version = datagram->version;
		increment.direction = datagram->direction & 1;
		increment.bytes = datagram->length;
		increment.packets = 1;
		if (datagram->gso_size && datagram->length > datagram->gso_size)
			increment.packets =
				(datagram->length + datagram->gso_size - 1) / datagram->gso_size;
		if (!is_last(*last, &connection, &increment))
			*last = netlog_table_add(table, &connection,
						 netlog_hash(table->secret, &connection),
						 &increment);
	}
}

void netlog_table_clear(struct netlog_table *table)
{
	struct netlog_table_header *header = table->header;
	uint64_t buckets = (uint64_t)table->index.bucket_mask + 1;

	/* A few records: visit their buckets only, so that a table which sees little traffic never
	 * touches the pages of a large index. */
	if (header->count < buckets / 4 && !header->overflowed) {
		for (uint64_t i = 0; i < header->count; i++) {
			uint64_t hash = netlog_hash(table->secret, &table->records[i].connection);

			memset(index_bucket(&table->index, hash), 0,
			       NETLOG_BUCKET_SLOTS * sizeof(uint32_t));
		}
	} else {
		memset(table->index.slots, 0, buckets * NETLOG_BUCKET_SLOTS * sizeof(uint32_t));
	}
	memset(header, 0, sizeof(*header));
}
