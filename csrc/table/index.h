/* SPDX-License-Identifier: BSD-3-Clause */
/* index: hash -> position in a dense array, in buckets of one cache line.
 *
 * A bucket has sixteen 4-byte slots. They are filled from the first on, and never emptied one by
 * one. An empty slot is 0. A filled slot has a tag (the hash's upper bits, never 0) above a
 * position plus one. A full bucket continues in the next bucket. The index holds no keys: a slot
 * whose tag matches is a candidate, and the caller compares the key in the array.
 *
 * Bounds: at most half of the slots are filled, so a bucket holds 8 entries on average. Even then
 * only 4 in 1 000 buckets get more than 16. A run of NETLOG_MAX_PROBES full buckets does not occur:
 * a Poisson variable of mean 64 exceeds 128 with probability 3e-13.
 *
 * Ownership: the slots belong to the maker of the index. Not thread-safe.
 */
#ifndef NETLOG_INDEX_H
#define NETLOG_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __SSE2__
#include <immintrin.h>
#endif

#include "base/compiler.h"

#define NETLOG_BUCKET_SLOTS 16u
#define NETLOG_MAX_PROBES   8u

struct netlog_index {
	uint32_t *slots; /* (bucket_mask + 1) * NETLOG_BUCKET_SLOTS, aligned to a cache line */
	uint32_t bucket_mask;
	uint32_t position_mask; /* the bits of a slot that hold a position plus one */
};

/* The number of buckets for this many entries: a power of two, at most half of the slots filled. */
static inline uint32_t index_buckets(uint64_t entries)
{
	uint32_t buckets = 1;

	while ((uint64_t)buckets * (NETLOG_BUCKET_SLOTS / 2) < entries)
		buckets *= 2;
	return buckets;
}

static inline uint32_t index_position_mask(uint64_t entries)
{
	uint32_t mask = 1;

	while (mask < entries)
		mask = mask * 2 + 1;
	return mask;
}

static inline uint32_t *index_bucket(const struct netlog_index *index, uint64_t bucket)
{
	return index->slots + (bucket & index->bucket_mask) * NETLOG_BUCKET_SLOTS;
}

static inline uint32_t index_tag(const struct netlog_index *index, uint64_t hash)
{
	/* The lowest bit of the tag is always set, so a filled slot is never 0. */
	return ((uint32_t)(hash >> 32) | (index->position_mask + 1)) & ~index->position_mask;
}

/* Returns a bit for each slot of the bucket: bit i is set if slot i, masked, equals value. */
static inline uint32_t bucket_match(const uint32_t *bucket, uint32_t value, uint32_t mask)
{
#if defined(TARGET_AVX512)
	__m512i line = _mm512_load_si512(bucket);

	return _mm512_cmpeq_epi32_mask(_mm512_and_si512(line, _mm512_set1_epi32((int)mask)),
				       _mm512_set1_epi32((int)value));
#elif defined(TARGET_AVX2)
	const __m256i *lines = (const __m256i *)bucket;
	__m256i values = _mm256_set1_epi32((int)value), masks = _mm256_set1_epi32((int)mask);
	__m256i a = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_load_si256(lines), masks), values);
	__m256i b =
		_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_load_si256(lines + 1), masks), values);

	return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(a)) |
	       (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(b)) << 8;
#elif defined(__SSE2__)
	const __m128i *lines = (const __m128i *)bucket;
	__m128i values = _mm_set1_epi32((int)value), masks = _mm_set1_epi32((int)mask);
	__m128i a = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(lines), masks), values);
	__m128i b = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(lines + 1), masks), values);
	__m128i c = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(lines + 2), masks), values);
	__m128i d = _mm_cmpeq_epi32(_mm_and_si128(_mm_load_si128(lines + 3), masks), values);

	return (uint32_t)_mm_movemask_epi8(
		_mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d)));
#else
	uint32_t bits = 0;

	for (uint32_t slot = 0; slot < NETLOG_BUCKET_SLOTS; slot++)
		bits |= (uint32_t)((bucket[slot] & mask) == value) << slot;
	return bits;
#endif
}

/* Returns a bit for each slot of the bucket: bit i is set if the tag of slot i matches. */
static inline uint32_t index_candidates(const struct netlog_index *index, const uint32_t *bucket,
					uint32_t tag)
{
	return bucket_match(bucket, tag, ~index->position_mask);
}

/* Finds the first slot that, masked, equals value. Returns false if no slot does. */
static inline bool bucket_first(const uint32_t *bucket, uint32_t value, uint32_t mask,
				uint32_t *slot)
{
#if defined(TARGET_AVX2) && !defined(TARGET_AVX512)
	const __m256i *lines = (const __m256i *)bucket;
	__m256i values = _mm256_set1_epi32((int)value), masks = _mm256_set1_epi32((int)mask);
	__m256i a = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_load_si256(lines), masks), values);
	__m256i b =
		_mm256_cmpeq_epi32(_mm256_and_si256(_mm256_load_si256(lines + 1), masks), values);
	/* Each slot has two bits, so twice the number of the first bit is its offset in bytes. */
	uint32_t bits = (uint32_t)_mm256_movemask_epi8(
		_mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8));

	if (unlikely(!bits))
		return false;
	*slot = *(const uint32_t *)((const uint8_t *)bucket + 2 * (size_t)__builtin_ctz(bits));
#else
	uint32_t bits = bucket_match(bucket, value, mask);

	if (unlikely(!bits))
		return false;
	*slot = bucket[__builtin_ctz(bits)];
#endif
	return true;
}

/* The number of filled slots, which are the first ones of the bucket. */
static inline uint32_t bucket_filled(const uint32_t *bucket)
{
	uint32_t empty = bucket_match(bucket, 0, ~0u);

	return empty ? (uint32_t)__builtin_ctz(empty) : NETLOG_BUCKET_SLOTS;
}

static inline uint32_t slot_position(const struct netlog_index *index, uint32_t slot)
{
	return (slot & index->position_mask) - 1;
}

static inline uint32_t slot_make(uint32_t tag, uint32_t position)
{
	return tag | (position + 1);
}

#endif
