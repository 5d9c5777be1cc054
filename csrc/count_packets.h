/* SPDX-License-Identifier: BSD-3-Clause */
/* count_packets: the loop over packets, for one level of the instruction set; see count.h.
 *
 * Included once by each of count_*.c, which names the function in COUNT_PACKETS.
 *
 * What is plain (packet.h) stays in registers from the packet to the record. All else, and every
 * new connection, takes the call to netlog_count_packet() or netlog_table_add().
 */
#include "count.h"

/* Packets that go through the passes together: enough to hide a miss behind the others' work, few
 * enough for their lines to stay in the first-level cache. */
#define PASS_PACKETS 32

/* Up to this many bytes of records a table lives in the second-level cache. */
#define SINGLE_BYTES (512u * 1024)

/* A plain packet between the passes. */
struct pending {
	struct netlog_key key;
	uint64_t hash;
	struct netlog_record *candidate;
	uint32_t length;
	uint32_t direction;
};

/* Adds a packet of length bytes to record if it is the one of key, which is of the given version.
 * Not if the packet counter would run out. */
NETLOG_INLINE bool hit(struct netlog_record *record, const struct netlog_key *key, int version,
		       uint32_t direction, uint32_t length)
{
	if (version == 4 ? !key_equals4(key, &record->connection)
			 : !key_equals(key, &record->connection))
		return false;
	uint32_t packets = record->packets[direction] + 1;

	if (unlikely(packets == 0))
		return false;
	record->packets[direction] = packets;
	record->bytes[direction] += length;
	return true;
}

NETLOG_INLINE uint64_t hash_of(const struct netlog_key *key, int version,
			       const struct netlog_secret *secret)
{
	return version == 4 ? key_hash4(key, secret) : key_hash6(key, secret);
}

/* The record that the first matching tag in the hash's own bucket points to, or NULL. */
NETLOG_INLINE struct netlog_record *first_candidate(const struct netlog_index *index,
						    struct netlog_record *records, uint64_t hash)
{
	const uint32_t *bucket = index_bucket(index, hash);
	uint32_t candidates = index_candidates(index, bucket, index_tag(index, hash));

	if (unlikely(!candidates))
		return NULL;
	return &records[slot_position(index, bucket[__builtin_ctz(candidates)])];
}

/* Counts one plain packet of a small table. Returns the record that was hit, or NULL. */
NETLOG_INLINE struct netlog_record *count_plain(struct netlog_table *table,
						const struct netlog_index *index,
						const struct netlog_packet *packet,
						const struct netlog_key *key, int version,
						struct netlog_record *last)
{
	uint32_t direction = packet->direction & 1;

	if (last && hit(last, key, version, direction, packet->length))
		return last;
	last = first_candidate(index, table->records, hash_of(key, version, table->secret));
	if (likely(last && hit(last, key, version, direction, packet->length)))
		return last;
	return netlog_count_packet(table, packet);
}

static struct netlog_record *count_singly(struct netlog_table *table,
					  const struct netlog_packet *packets, size_t n,
					  struct netlog_record *last)
{
	/* A copy: the compiler can not know that a record's counters are not in the index. */
	const struct netlog_index index = table->index;
	struct netlog_key key;

	for (size_t i = 0; i < n; i++) {
		if (likely(packet_decode_plain4(&packets[i], &key)))
			last = count_plain(table, &index, &packets[i], &key, 4, last);
		else if (likely(packet_decode_plain6(&packets[i], &key)))
			last = count_plain(table, &index, &packets[i], &key, 6, last);
		else
			last = netlog_count_packet(table, &packets[i]);
	}
	return last;
}

/* First pass over one plain packet; false if it is counted already. */
NETLOG_INLINE bool prepare(const struct netlog_table *table, const struct netlog_packet *packet,
			   int version, struct netlog_record *last, struct pending *item)
{
	item->direction = packet->direction & 1;
	item->length = packet->length;
	if (last && hit(last, &item->key, version, item->direction, item->length))
		return false;
	item->hash = hash_of(&item->key, version, table->secret);
	prefetch(index_bucket(&table->index, item->hash));
	return true;
}

static size_t pass_decode(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
			  struct pending *pending, struct netlog_record *last)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++) {
		struct pending *item = &pending[kept];

		if (likely(packet_decode_plain4(&packets[i], &item->key)))
			kept += prepare(table, &packets[i], 4, last, item);
		else if (likely(packet_decode_plain6(&packets[i], &item->key)))
			kept += prepare(table, &packets[i], 6, last, item);
		else
			(void)netlog_count_packet(table, &packets[i]);
	}
	return kept;
}

static void pass_match(const struct netlog_table *table, struct pending *pending, size_t n)
{
	const struct netlog_index index = table->index;

	for (size_t i = 0; i < n; i++) {
		pending[i].candidate = first_candidate(&index, table->records, pending[i].hash);
		prefetch_write(pending[i].candidate);
	}
}

static struct netlog_record *pass_add(struct netlog_table *table, const struct pending *pending,
				      size_t n, struct netlog_record *last)
{
	for (size_t i = 0; i < n; i++) {
		const struct pending *item = &pending[i];

		last = item->candidate;
		if (likely(last && hit(last, &item->key, 6, item->direction, item->length)))
			continue;
		const struct netlog_increment increment = {
			.packets = 1, .direction = item->direction, .bytes = item->length};

		last = netlog_table_add(table, &item->key, item->hash, &increment);
	}
	return last;
}

void COUNT_PACKETS(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
		   struct netlog_record **last)
{
	struct pending pending[PASS_PACKETS];

	while (n) {
		size_t part = n < PASS_PACKETS ? n : PASS_PACKETS;

		/* The headers of the next ones, while these are worked on. */
		for (size_t i = part; i < n && i < 2 * part; i++)
			prefetch(packets[i].data);
		if (table->header->count * sizeof(struct netlog_record) <= SINGLE_BYTES) {
			*last = count_singly(table, packets, part, *last);
		} else {
			size_t kept = pass_decode(table, packets, part, pending, *last);

			pass_match(table, pending, kept);
			*last = pass_add(table, pending, kept, *last);
		}
		packets += part;
		n -= part;
	}
}
