/* SPDX-License-Identifier: BSD-3-Clause */
/* count_packets: the loop over packets, for one level of the instruction set; see count.h.
 *
 * Included once by each of count_*.c, which names the function in COUNT_PACKETS.
 *
 * What is plain (packet.h) is decoded inline and carried from pass to pass in one cache line. All
 * else, and every new connection, takes the call to netlog_count_packet() or netlog_table_add().
 */
#include "count.h"

/* Packets that go through the passes together: as many as a receive brings at once. Half as many
 * are as good below 64 k connections, and cost 10 % at 1 M: too few misses are waited for at once.
 */
#define PASS_PACKETS 64

/* How far ahead headers are asked for. One by one, as the others are decoded: all at once they
 * would take every line fill buffer there is from the buckets. */
#define AHEAD_PACKETS 16

/* Up to this many bytes of records a table lives in the second-level cache. */
#define SMALL_BYTES (512u * 1024)

/* A plain packet between the passes. One cache line. */
struct pending {
	struct netlog_key key;
	union {
		uint64_t hash;                   /* before pass_match() */
		struct netlog_record *candidate; /* after it */
	};
	struct netlog_packet packet;
} __attribute__((aligned(64)));

static_assert(sizeof(struct pending) == 64, "a line a packet");

/* Whether record is the one of the pending packet. Wide loads: the key was stored word by word, but
 * so long ago that it is in the cache. */
NETLOG_INLINE bool is_of(const struct netlog_record *record, const struct pending *item)
{
#if defined(__AVX512F__)
	static const __mmask8 words = (1u << sizeof(item->key) / 8) - 1;

	return _mm512_mask_cmpneq_epi64_mask(words, _mm512_load_si512(item),
					     _mm512_load_si512(record)) == 0;
#elif defined(__AVX2__)
	__m256i difference =
		_mm256_xor_si256(_mm256_load_si256((const __m256i *)&item->key),
				 _mm256_load_si256((const __m256i *)&record->connection));

	return item->key.tail == load_64(&record->connection.src_port) &&
	       _mm256_testz_si256(difference, difference);
#else
	return key_equals(&item->key, &record->connection);
#endif
}

/* False if the packet counter would run out; then nothing is added. */
NETLOG_INLINE bool add(struct netlog_record *record, uint32_t direction, uint32_t length)
{
	uint32_t packets = record->packets[direction] + 1;

	if (unlikely(packets == 0))
		return false;
	record->packets[direction] = packets;
	record->bytes[direction] += length;
	return true;
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

/* First pass over one plain packet; false if it is counted already. */
NETLOG_INLINE bool prepare(const struct netlog_table *table, const struct netlog_packet *packet,
			   struct netlog_key key, int version, struct netlog_record *last,
			   struct pending *item)
{
	uint32_t direction = packet->direction & 1;

	if (last && last_equals(&key, version, &last->connection) &&
	    add(last, direction, packet->length))
		return false;
	item->key = key;
	item->packet = *packet;
	item->hash = version == 4 ? key_hash4(&key, table->secret) : key_hash6(&key, table->secret);
	prefetch(index_bucket(&table->index, item->hash));
	return true;
}

static size_t pass_decode(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
			  struct pending *pending, struct netlog_record *last)
{
	const struct netlog_packet *end = packets + n;
	struct pending *item = pending;

	for (size_t i = 0; i < n && i < AHEAD_PACKETS; i++)
		prefetch(packets[i].data);
	for (const struct netlog_packet *packet = packets; packet < end; packet++) {
		struct netlog_key key;

		if (end - packet > AHEAD_PACKETS)
			prefetch(packet[AHEAD_PACKETS].data);
		if (likely(packet_decode_plain4(packet, &key)))
			item += prepare(table, packet, key, 4, last, item);
		else if (likely(packet_decode_plain6(packet, &key)))
			item += prepare(table, packet, key, 6, last, item);
		else
			(void)netlog_count_packet(table, packet);
	}
	return (size_t)(item - pending);
}

static void pass_match(const struct netlog_table *table, struct pending *pending, size_t n)
{
	const struct netlog_index index = table->index;

	for (size_t i = 0; i < n; i++) {
		pending[i].candidate = first_candidate(&index, table->records, pending[i].hash);
		prefetch_write(pending[i].candidate);
	}
}

NETLOG_INLINE struct netlog_record *settle(struct netlog_table *table, const struct pending *item,
					   struct netlog_record *candidate)
{
	if (likely(candidate && is_of(candidate, item) &&
		   add(candidate, item->packet.direction & 1, item->packet.length)))
		return candidate;
	struct netlog_increment increment;

	packet_put_increment(&increment, &item->packet);
	return netlog_table_add(table, &item->key, key_hash(&item->key, table->secret), &increment);
}

static struct netlog_record *pass_add(struct netlog_table *table, const struct pending *pending,
				      size_t n, struct netlog_record *last)
{
	for (size_t i = 0; i < n; i++)
		last = settle(table, &pending[i], pending[i].candidate);
	return last;
}

/* The last two passes in one, where no record is far away. */
static struct netlog_record *pass_match_add(struct netlog_table *table,
					    const struct pending *pending, size_t n,
					    struct netlog_record *last)
{
	/* A copy: the compiler can not know that a record's counters are not in the index. */
	const struct netlog_index index = table->index;
	struct netlog_record *records = table->records;

	for (size_t i = 0; i < n; i++)
		last = settle(table, &pending[i],
			      first_candidate(&index, records, pending[i].hash));
	return last;
}

void COUNT_PACKETS(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
		   struct netlog_record **last)
{
	struct pending pending[PASS_PACKETS];

	while (n) {
		size_t part = n < PASS_PACKETS ? n : PASS_PACKETS;
		size_t kept = pass_decode(table, packets, part, pending, *last);

		if (table->header->count * sizeof(struct netlog_record) <= SMALL_BYTES) {
			*last = pass_match_add(table, pending, kept, *last);
		} else {
			pass_match(table, pending, kept);
			*last = pass_add(table, pending, kept, *last);
		}
		packets += part;
		n -= part;
	}
}
