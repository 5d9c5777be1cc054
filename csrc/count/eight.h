/* SPDX-License-Identifier: BSD-3-Clause */
/* eight: the first pass of the loop (loop.h) over eight packets at once, for AVX2.
 *
 * block.h decodes and hashes them. Here they become pending packets; or they are counted at once,
 * if all belong to the connection that was hit last.
 */
#ifndef NETLOG_COUNT_EIGHT_H
#define NETLOG_COUNT_EIGHT_H

#include "count/block.h"
#include "count/pending.h"

#ifdef TARGET_AVX2

/* Whether all packets of a block belong to the connection of `last`. */
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

/* Appends a block without its addresses, and prefetches its buckets. */
NETLOG_INLINE void append_block(const struct netlog_table *table, const struct block *block,
				__m256i hashes, struct pending *pending)
{
	const struct netlog_index *index = &table->index;
	size_t at = pending->n;
	__m256i low = _mm256_unpacklo_epi32(block->ports, block->protocol);
	__m256i high = _mm256_unpackhi_epi32(block->ports, block->protocol);
	__m256i buckets = _mm256_and_si256(hashes, block_word(index->bucket_mask));
	__m256i tags = _mm256_or_si256(hashes, block_word(index->position_mask + 1));
	__m256i *tails = (__m256i *)&pending->tails[at];

	_mm256_storeu_si256(tails, _mm256_permute2x128_si256(low, high, 0x20));
	_mm256_storeu_si256(tails + 1, _mm256_permute2x128_si256(low, high, 0x31));
	store_lanes(&pending->hashes[at], hashes);
	/* A bucket has 64 bytes. */
	store_lanes(&pending->buckets[at], _mm256_slli_epi32(buckets, 6));
	store_lanes(&pending->tags[at], _mm256_and_si256(tags, block_word(~index->position_mask)));
	store_lanes(&pending->lengths[at], block->lengths);
	store_lanes(&pending->directions[at], _mm256_srli_epi32(block->rx, 31));
	for (int k = 0; k < BLOCK_PACKETS; k++)
		prefetch_bucket(table,
				(const uint8_t *)index->slots + pending->buckets[at + (size_t)k]);
	pending->n = at + BLOCK_PACKETS;
}

NETLOG_INLINE void append4(const struct netlog_table *table, const struct block *block,
			   struct pending *pending)
{
	store_lanes(&pending->src[pending->n], block->src);
	store_lanes(&pending->dst[pending->n], block->dst);
	append_block(table, block, block_hash4(block, table->secret), pending);
}

/* Which packets of a block are rx: source and destination of those are swapped. */
enum block_swap { BLOCK_SWAP_NONE, BLOCK_SWAP_ALL, BLOCK_SWAP_SOME };

NETLOG_INLINE __m256i swapped_addresses6(const uint8_t *data, enum block_swap swap, int32_t rx)
{
	__m256i there = _mm256_loadu_si256((const __m256i *)(data + 8));

	if (swap == BLOCK_SWAP_NONE)
		return there;
	if (swap == BLOCK_SWAP_ALL)
		return _mm256_permute4x64_epi64(there, 0x4e);
	return block_addresses6(data, _mm256_set1_epi32(rx));
}

/* Stores the addresses of a block, and computes their products for the hash. */
NETLOG_INLINE void store_addresses6(const struct netlog_table *table, const struct block *block,
				    enum block_swap swap, struct pending *pending,
				    __m256i *products)
{
	__m256i *stored = (__m256i *)&pending->addresses[pending->n];
	int32_t rx[BLOCK_PACKETS];

	_mm256_storeu_si256((__m256i *)rx, block->rx);
	UNROLL(8)
	for (int k = 0; k < BLOCK_PACKETS; k++) {
		__m256i addresses = swapped_addresses6(block->data[k], swap, rx[k]);

		_mm256_store_si256(stored + k, addresses);
		products[k] = block_products6(addresses, table->secret);
	}
}

NETLOG_INLINE void append6(const struct netlog_table *table, const struct block *block,
			   struct pending *pending)
{
	int rx = _mm256_movemask_ps(_mm256_castsi256_ps(block->rx));
	__m256i products[BLOCK_PACKETS];

	/* Usually a batch has one direction, as it was read from a device, or written to it. */
	if (rx == 0)
		store_addresses6(table, block, BLOCK_SWAP_NONE, pending, products);
	else if (rx == 0xff)
		store_addresses6(table, block, BLOCK_SWAP_ALL, pending, products);
	else
		store_addresses6(table, block, BLOCK_SWAP_SOME, pending, products);
	append_block(table, block, block_hash6(block, products, table->secret), pending);
}

/* The result of the first pass over eight packets. */
enum block_outcome { BLOCK_DECODED, BLOCK_NOT_PLAIN, BLOCK_MIXED };

/* Whether some of the packets are IPv4 and some are not. */
NETLOG_INLINE bool block_is_mixed(const struct block *block)
{
	__m256i version = _mm256_and_si256(block->w0, BLOCK_CONSTANT(first6));
	__m256i four = _mm256_cmpeq_epi32(version, block_word(0x40));
	int mask = _mm256_movemask_ps(_mm256_castsi256_ps(four));

	return mask != 0 && mask != 0xff;
}

/* First pass over eight packets, if all are plain and of one family. Else it changes nothing. */
NETLOG_INLINE enum block_outcome decode_block(struct netlog_table *table,
					      const struct netlog_packet *packets,
					      struct netlog_record *last, struct pass *pass)
{
	struct block block;

	if (unlikely(!block_load(&block, packets)))
		return BLOCK_NOT_PLAIN;
	block_read(&block, packets);
	if (block_decode4(&block)) {
		if (last && block_is_of(&block, 4, last) && block_add_all(last, &block))
			return BLOCK_DECODED;
		append4(table, &block, &pass->four);
		return BLOCK_DECODED;
	}
	if (!block_decode6(&block))
		return block_is_mixed(&block) ? BLOCK_MIXED : BLOCK_NOT_PLAIN;
	if (last && block_is_of(&block, 6, last) && block_add_all(last, &block))
		return BLOCK_DECODED;
	append6(table, &block, &pass->six);
	return BLOCK_DECODED;
}

/* First pass over up to PASS_PACKETS packets of both families. IPv4 packets are copied to the
 * front, in their order, and all others to the back. So at most one block has both families.
 * Copying the descriptors costs less than decoding the packets one by one (measured: 2.0 times the
 * floor instead of 2.9 times, 1 k connections). */
static NETLOG_NOINLINE void decode_mixed(struct netlog_table *table,
					 const struct netlog_packet *packets, size_t n,
					 struct netlog_record *last, struct pass *pass)
{
	struct netlog_packet sorted[PASS_PACKETS];
	size_t front = 0, back = n, at = 0;

	for (size_t i = 0; i < n; i++) {
		bool four = packets[i].length && packets[i].data[0] >> 4 == 4;

		/* Copied to both ends, and one copy stays: this avoids a branch that cannot be
		 * predicted. */
		sorted[front] = sorted[back - 1] = packets[i];
		front += four;
		back -= !four;
	}
	for (; n - at >= BLOCK_PACKETS; at += BLOCK_PACKETS)
		if (decode_block(table, sorted + at, last, pass) != BLOCK_DECODED)
			decode_each(table, sorted + at, BLOCK_PACKETS, last, pass);
	decode_each(table, sorted + at, n - at, last, pass);
}

#endif

#endif
