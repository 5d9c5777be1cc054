/* SPDX-License-Identifier: BSD-3-Clause */
/* count_packets: the loop over packets, for one level of the instruction set; see count.h.
 *
 * Included once by each of count_*.c, which names the function in COUNT_PACKETS.
 *
 * What is plain (packet.h) is decoded inline: eight packets at once where the machine has AVX2 and
 * they are of one family (count_block.h), else one by one. All else, and every new connection,
 * takes the call to netlog_count_packet() or netlog_table_add().
 */
#include "count_block.h"
#include "count.h"

/* Packets that go through the passes together: as many as a receive brings at once. Half as many
 * are as good below 64 k connections, and cost 10 % at 1 M: too few misses are waited for at once.
 */
#define PASS_PACKETS 64

/* How far ahead headers are asked for. */
#define AHEAD_PACKETS 48

/* Up to this many bytes of records a table lives in the second-level cache. */
#define SMALL_BYTES (512u * 1024)

/* Plain packets of one family between the passes, field by field: eight of each are written at
 * once. */
struct pending {
	struct {
		uint64_t words[4];
	} addresses[PASS_PACKETS] __attribute__((aligned(64))); /* of a key; IPv6 only */
	uint32_t src[PASS_PACKETS], dst[PASS_PACKETS];          /* IPv4 only */
	uint64_t tails[PASS_PACKETS];                           /* of a key */
	uint32_t hashes[PASS_PACKETS];                          /* one half of key_hash() */
	uint32_t buckets[PASS_PACKETS];                         /* bytes from index.slots on */
	uint32_t tags[PASS_PACKETS];
	uint32_t lengths[PASS_PACKETS];
	uint32_t directions[PASS_PACKETS];
	struct netlog_record *candidates[PASS_PACKETS]; /* after pass_match() */
	size_t n;
};

/* Both families. */
struct pass {
	struct pending four, six;
};

/* Whether record is the one of pending packet i. */
NETLOG_INLINE bool is_of(const struct netlog_record *record, const struct pending *pending,
			 size_t i, int version)
{
	const struct netlog_connection *connection = &record->connection;

	if (unlikely(pending->tails[i] != load_64(&connection->src_port)))
		return false;
	if (version == 4)
		return likely(pending->src[i] == load_32(connection->src + 12)) &&
		       likely(pending->dst[i] == load_32(connection->dst + 12));
#if defined(__AVX2__)
	__m256i difference =
		_mm256_xor_si256(_mm256_load_si256((const __m256i *)&pending->addresses[i]),
				 _mm256_load_si256((const __m256i *)connection));

	return _mm256_testz_si256(difference, difference);
#else
	const uint64_t *words = pending->addresses[i].words;

	return ((words[0] ^ load_64(connection->src)) | (words[1] ^ load_64(connection->src + 8)) |
		(words[2] ^ load_64(connection->dst)) |
		(words[3] ^ load_64(connection->dst + 8))) == 0;
#endif
}

/* The key that was taken apart. */
NETLOG_INLINE struct netlog_key key_of_pending(const struct pending *pending, size_t i, int version)
{
	const uint64_t *words = pending->addresses[i].words;

	if (version == 4)
		return (struct netlog_key){{0, key_mapped(pending->src[i])},
					   {0, key_mapped(pending->dst[i])},
					   pending->tails[i]};
	return (struct netlog_key){{words[0], words[1]}, {words[2], words[3]}, pending->tails[i]};
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

/* Finds the record that the first matching tag in the packet's own bucket points to. A flag and not
 * NULL: the compiler would test the pointer once more (measured: 3 instructions a packet). */
NETLOG_INLINE bool first_candidate(const struct netlog_index *index, struct netlog_record *records,
				   const struct pending *pending, size_t i,
				   struct netlog_record **candidate)
{
	const uint8_t *bucket = (const uint8_t *)index->slots + pending->buckets[i];
	uint32_t slot;

	if (unlikely(!bucket_first((const uint32_t *)bucket, pending->tags[i],
				   ~index->position_mask, &slot)))
		return false;
	*candidate = &records[(size_t)(slot & index->position_mask) - 1];
	return true;
}

/* First pass over one plain packet, for whom it is not counted at once. */
NETLOG_INLINE void prepare(const struct netlog_table *table, const struct netlog_packet *packet,
			   const struct netlog_key *key, int version, struct netlog_record *last,
			   struct pending *pending)
{
	uint32_t direction = packet->direction & 1;
	size_t i = pending->n;

	if (last && last_equals(key, version, &last->connection) &&
	    add(last, direction, packet->length))
		return;
	uint64_t hash =
		version == 4 ? key_hash4(key, table->secret) : key_hash6(key, table->secret);
	const uint32_t *bucket = index_bucket(&table->index, hash);

	if (version == 4) {
		pending->src[i] = (uint32_t)key_pair4(key);
		pending->dst[i] = (uint32_t)(key_pair4(key) >> 32);
	} else {
		memcpy(&pending->addresses[i], key, sizeof(pending->addresses[i]));
	}
	pending->tails[i] = key->tail;
	pending->hashes[i] = (uint32_t)hash;
	pending->buckets[i] = (uint32_t)((const uint8_t *)bucket - (uint8_t *)table->index.slots);
	pending->tags[i] = index_tag(&table->index, hash);
	pending->lengths[i] = packet->length;
	pending->directions[i] = direction;
	pending->n = i + 1;
	prefetch_far(bucket);
}

/* First pass, one by one. */
static void decode_each(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
			struct netlog_record *last, struct pass *pass)
{
	for (size_t i = 0; i < n; i++) {
		struct netlog_key key;

		/* A super-packet is never plain. */
		if (packets[i].gso_size)
			(void)netlog_count_packet(table, &packets[i]);
		else if (likely(packet_decode_plain4(&packets[i], &key)))
			prepare(table, &packets[i], &key, 4, last, &pass->four);
		else if (likely(packet_decode_plain6(&packets[i], &key)))
			prepare(table, &packets[i], &key, 6, last, &pass->six);
		else
			(void)netlog_count_packet(table, &packets[i]);
	}
}

#ifdef __AVX2__

/* Whether all packets of a block are of the connection that was hit last. */
NETLOG_INLINE bool block_is_of(const struct block *block, int version,
			       const struct netlog_record *last)
{
	const uint8_t *bytes = (const uint8_t *)last;
	__m256i equal = _mm256_and_si256(
		_mm256_cmpeq_epi32(block->ports, block_word(load_32(bytes + 32))),
		_mm256_cmpeq_epi32(block->protocol, block_word(load_32(bytes + 36))));

	if (likely(_mm256_movemask_epi8(equal) != -1))
		return false;
	if (version == 4) {
		equal = _mm256_and_si256(
			_mm256_cmpeq_epi32(block->src, block_word(load_32(bytes + 12))),
			_mm256_cmpeq_epi32(block->dst, block_word(load_32(bytes + 28))));
		return _mm256_movemask_epi8(equal) == -1;
	}
	__m256i addresses = _mm256_load_si256((const __m256i *)bytes);
	__m256i differs = _mm256_setzero_si256();
	int32_t rx[BLOCK_PACKETS];

	_mm256_storeu_si256((__m256i *)rx, block->rx);
	for (int k = 0; k < BLOCK_PACKETS; k++)
		differs = _mm256_or_si256(
			differs,
			_mm256_xor_si256(addresses, block_addresses6(block->data[k],
								     _mm256_set1_epi32(rx[k]))));
	return _mm256_testz_si256(differs, differs);
}

NETLOG_INLINE void store_lanes(uint32_t *words, __m256i lanes)
{
	_mm256_storeu_si256((__m256i *)words, lanes);
}

/* Appends a block, but for its addresses, and asks for its buckets. */
NETLOG_INLINE void append_block(const struct netlog_index *index, const struct block *block,
				__m256i hashes, struct pending *pending)
{
	size_t at = pending->n;
	__m256i low = _mm256_unpacklo_epi32(block->ports, block->protocol);
	__m256i high = _mm256_unpackhi_epi32(block->ports, block->protocol);
	__m256i buckets = _mm256_and_si256(hashes, block_word(index->bucket_mask));
	__m256i tags = _mm256_or_si256(hashes, block_word(index->position_mask + 1));
	__m256i *tails = (__m256i *)&pending->tails[at];

	_mm256_storeu_si256(tails, _mm256_permute2x128_si256(low, high, 0x20));
	_mm256_storeu_si256(tails + 1, _mm256_permute2x128_si256(low, high, 0x31));
	store_lanes(&pending->hashes[at], hashes);
	/* 64 bytes a bucket. */
	store_lanes(&pending->buckets[at], _mm256_slli_epi32(buckets, 6));
	store_lanes(&pending->tags[at], _mm256_and_si256(tags, block_word(~index->position_mask)));
	store_lanes(&pending->lengths[at], block->lengths);
	store_lanes(&pending->directions[at], _mm256_srli_epi32(block->rx, 31));
	for (int k = 0; k < BLOCK_PACKETS; k++)
		prefetch_far((const uint8_t *)index->slots + pending->buckets[at + (size_t)k]);
	pending->n = at + BLOCK_PACKETS;
}

NETLOG_INLINE void append4(const struct netlog_table *table, const struct block *block,
			   struct pending *pending)
{
	store_lanes(&pending->src[pending->n], block->src);
	store_lanes(&pending->dst[pending->n], block->dst);
	append_block(&table->index, block, block_hash4(block, table->secret), pending);
}

NETLOG_INLINE void append6(const struct netlog_table *table, const struct block *block,
			   struct pending *pending)
{
	size_t at = pending->n;
	__m256i products[BLOCK_PACKETS];
	int32_t rx[BLOCK_PACKETS];

	_mm256_storeu_si256((__m256i *)rx, block->rx);
	for (int k = 0; k < BLOCK_PACKETS; k++) {
		__m256i addresses = block_addresses6(block->data[k], _mm256_set1_epi32(rx[k]));

		_mm256_store_si256((__m256i *)&pending->addresses[at + (size_t)k], addresses);
		products[k] = block_products6(addresses, table->secret);
	}
	append_block(&table->index, block, block_hash6(block, products, table->secret), pending);
}

/* First pass over eight packets; false if one of them is not plain, or they are of two families. */
NETLOG_INLINE bool decode_block(struct netlog_table *table, const struct netlog_packet *packets,
				struct netlog_record *last, struct pass *pass)
{
	struct block block;

	if (unlikely(!block_load(&block, packets)))
		return false;
	block_read(&block, packets);
	if (block_decode4(&block)) {
		if (last && block_is_of(&block, 4, last) && block_add_all(last, &block))
			return true;
		append4(table, &block, &pass->four);
		return true;
	}
	if (!block_decode6(&block))
		return false;
	if (last && block_is_of(&block, 6, last) && block_add_all(last, &block))
		return true;
	append6(table, &block, &pass->six);
	return true;
}

#endif

/* Asks for the headers of n packets. */
NETLOG_INLINE void prefetch_headers(const struct netlog_packet *packets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		prefetch(packets[i].data);
}

static void pass_decode(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
			struct netlog_record *last, struct pass *pass)
{
	const struct netlog_packet *end = packets + n;

	pass->four.n = pass->six.n = 0;
	if (likely(n >= AHEAD_PACKETS))
		prefetch_headers(packets, AHEAD_PACKETS);
	else
		prefetch_headers(packets, n);
#ifdef __AVX2__
	for (; end - packets >= BLOCK_PACKETS; packets += BLOCK_PACKETS) {
		if (end - packets >= AHEAD_PACKETS + BLOCK_PACKETS)
			prefetch_headers(packets + AHEAD_PACKETS, BLOCK_PACKETS);
		if (unlikely(!decode_block(table, packets, last, pass)))
			decode_each(table, packets, BLOCK_PACKETS, last, pass);
	}
	if (unlikely(packets != end))
		decode_each(table, packets, (size_t)(end - packets), last, pass);
#else
	for (; packets < end; packets++) {
		if (end - packets > AHEAD_PACKETS)
			prefetch(packets[AHEAD_PACKETS].data);
		decode_each(table, packets, 1, last, pass);
	}
#endif
}

/* Buckets and records of a large table go to the second-level cache: it waits for three times as
 * many lines at once as the first, whose buffers the headers need (measured: 10 % at 4 M). */
static void pass_match(const struct netlog_table *table, struct pending *pending)
{
	const struct netlog_index index = table->index;
	struct netlog_record *records = table->records;

	for (size_t i = 0; i < pending->n; i++) {
		struct netlog_record *candidate = NULL;

		(void)first_candidate(&index, records, pending, i, &candidate);
		pending->candidates[i] = candidate;
		prefetch_far(candidate);
	}
}

/* What is not where it was looked for first, or is new. */
static NETLOG_NOINLINE struct netlog_record *settle_other(struct netlog_table *table,
							  const struct pending *pending, size_t i,
							  int version)
{
	struct netlog_key key = key_of_pending(pending, i, version);
	struct netlog_increment increment = {1, pending->directions[i], pending->lengths[i]};
	uint64_t hash = pending->hashes[i];

	return netlog_table_add(table, &key, hash << 32 | hash, &increment);
}

/* Adds the packet to the candidate, if that is its record. */
NETLOG_INLINE bool settle(struct netlog_record *candidate, const struct pending *pending, size_t i,
			  int version)
{
	return likely(is_of(candidate, pending, i, version)) &&
	       likely(add(candidate, pending->directions[i], pending->lengths[i]));
}

NETLOG_INLINE struct netlog_record *pass_add(struct netlog_table *table,
					     const struct pending *pending, int version,
					     struct netlog_record *last)
{
	for (size_t i = 0; i < pending->n; i++) {
		last = pending->candidates[i];
		if (unlikely(!last || !settle(last, pending, i, version)))
			last = settle_other(table, pending, i, version);
	}
	return last;
}

/* The last two passes in one, where no record is far away. */
NETLOG_INLINE struct netlog_record *pass_match_add(struct netlog_table *table,
						   const struct pending *pending, int version,
						   struct netlog_record *last)
{
	/* A copy: the compiler can not know that a record's counters are not in the index. */
	const struct netlog_index index = table->index;
	struct netlog_record *records = table->records;

	for (size_t i = 0; i < pending->n; i++) {
		if (unlikely(!first_candidate(&index, records, pending, i, &last)) ||
		    unlikely(!settle(last, pending, i, version)))
			last = settle_other(table, pending, i, version);
	}
	return last;
}

/* A packet by itself: there is nothing to wait for together with it. */
NETLOG_INLINE struct netlog_record *count_single(struct netlog_table *table,
						 const struct netlog_packet *packet,
						 struct netlog_record *last)
{
	struct netlog_increment increment;
	struct netlog_key key;
	int version = 4;

	if (unlikely(!packet_decode_plain4(packet, &key))) {
		version = 6;
		if (unlikely(!packet_decode_plain6(packet, &key))) {
			(void)netlog_count_packet(table, packet);
			return last;
		}
	}
	if (last && last_equals(&key, version, &last->connection) &&
	    add(last, packet->direction & 1, packet->length))
		return last;
	packet_put_increment(&increment, packet);
	return netlog_table_add(table, &key, key_hash(&key, table->secret), &increment);
}

static NETLOG_NOINLINE void count_many(struct netlog_table *table,
				       const struct netlog_packet *packets, size_t n,
				       struct netlog_record **last)
{
	struct pass pass;

	while (n) {
		size_t part = n < PASS_PACKETS ? n : PASS_PACKETS;

		pass_decode(table, packets, part, *last, &pass);
		if (table->header->count * sizeof(struct netlog_record) <= SMALL_BYTES) {
			*last = pass_match_add(table, &pass.four, 4, *last);
			*last = pass_match_add(table, &pass.six, 6, *last);
		} else {
			pass_match(table, &pass.four);
			pass_match(table, &pass.six);
			*last = pass_add(table, &pass.four, 4, *last);
			*last = pass_add(table, &pass.six, 6, *last);
		}
		packets += part;
		n -= part;
	}
}

void COUNT_PACKETS(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
		   struct netlog_record **last)
{
	if (n == 1)
		*last = count_single(table, packets, *last);
	else
		count_many(table, packets, n, last);
}
