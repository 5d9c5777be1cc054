/* SPDX-License-Identifier: BSD-3-Clause */
/* pending: packets between the passes of the loop (loop.h), and the first pass over packets one by
 * one.
 *
 * Like the whole loop, it is compiled for each level of the instruction set.
 */
#ifndef NETLOG_COUNT_PENDING_H
#define NETLOG_COUNT_PENDING_H

#include "count/count.h"

/* Packets that go through the passes together: as many as one receive brings. With half as many it
 * is as fast below 64 k connections, and 10 % slower at 1 M: too few cache misses overlap. */
#define PASS_PACKETS 64

/* Plain packets of one family between the passes. Each field is an array, so that eight packets are
 * written at once. */
struct pending {
	struct {
		uint64_t words[4];
	} addresses[PASS_PACKETS] __attribute__((aligned(64))); /* of a key; IPv6 only */
	uint32_t src[PASS_PACKETS], dst[PASS_PACKETS];          /* IPv4 only */
	uint64_t tails[PASS_PACKETS];                           /* of a key */
	uint32_t hashes[PASS_PACKETS];                          /* one half of key_hash() */
	uint32_t buckets[PASS_PACKETS];                         /* bytes from index.slots */
	uint32_t tags[PASS_PACKETS];
	uint32_t lengths[PASS_PACKETS];
	uint32_t directions[PASS_PACKETS];
	struct netlog_record *candidates[PASS_PACKETS]; /* after pass_match() */
	size_t n;
};

/* The packets of one pass: IPv4 and IPv6. */
struct pass {
	struct pending four, six;
};

/* Whether pending packet i belongs to record. */
NETLOG_INLINE bool is_of(const struct netlog_record *record, const struct pending *pending,
			 size_t i, int version)
{
	const struct netlog_connection *connection = &record->connection;

	if (unlikely(pending->tails[i] != load_64(&connection->src_port)))
		return false;
	if (version == 4)
		return likely(pending->src[i] == load_32(connection->src + 12)) &&
		       likely(pending->dst[i] == load_32(connection->dst + 12));
#if defined(TARGET_AVX2)
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

/* Puts the key of pending packet i together again. */
NETLOG_INLINE struct netlog_key key_of_pending(const struct pending *pending, size_t i, int version)
{
	const uint64_t *words = pending->addresses[i].words;

	if (version == 4)
		return (struct netlog_key){{0, key_mapped(pending->src[i])},
					   {0, key_mapped(pending->dst[i])},
					   pending->tails[i]};
	return (struct netlog_key){{words[0], words[1]}, {words[2], words[3]}, pending->tails[i]};
}

/* Adds one packet. Returns false, and adds nothing, if the packet counter would overflow. */
NETLOG_INLINE bool add(struct netlog_record *record, uint32_t direction, uint32_t length)
{
	uint32_t packets = record->packets[direction] + 1;

	if (unlikely(packets == 0))
		return false;
	record->packets[direction] = packets;
	record->bytes[direction] += length;
	return true;
}

/* Finds the record to which the first matching tag in the packet's own bucket points. Returns false
 * if no tag matches. It does not return NULL, because the compiler would test the pointer once more
 * (measured: 3 instructions a packet). */
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

/* Prefetches a bucket, into the second-level cache. That cache has three times as many misses in
 * flight as the first-level one, whose buffers the headers need (measured: 10 % at 4 M
 * connections).
 *
 * If connections are new, the bucket will be written. The poller has cleared it, so its line may be
 * in the cache of the poller's processor. A prefetch for writing fetches it from there: the first
 * batch after a swap takes 5.5 us instead of 9 us (measured: 1 k connections, 99th percentile). */
NETLOG_INLINE void prefetch_bucket(const struct netlog_table *table, const void *bucket)
{
	if (unlikely(table->filling))
		prefetch_write(bucket);
	else
		prefetch_far(bucket);
}

/* First pass over one plain packet: adds it to the last record, or makes it pending. */
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
	prefetch_bucket(table, bucket);
}

/* First pass over packets one by one. */
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

#endif
