/* SPDX-License-Identifier: BSD-3-Clause */
/* lookup: finds a key in an array by its index.
 *
 * Each element of the array begins with its connection. The index may come from somebody else and
 * be corrupt. So each position is checked and each key compared, and no more buckets are searched
 * than netlog_table_add() searches.
 */
#ifndef NETLOG_LOOKUP_H
#define NETLOG_LOOKUP_H

#include "base/atomic.h"
#include "table/index.h"
#include "packet/key.h"

#define LOOKUP_NONE SIZE_MAX

NETLOG_INLINE const struct netlog_connection *lookup_at(const void *array, size_t element_bytes,
							size_t position)
{
	return (const struct netlog_connection *)((const uint8_t *)array +
						  position * element_bytes);
}

/* Returns the position of the key among count elements, or LOOKUP_NONE. */
NETLOG_INLINE size_t lookup_find(const struct netlog_index *index, const void *array,
				 size_t element_bytes, size_t count, const struct netlog_key *key,
				 uint64_t hash)
{
	uint32_t tag = index_tag(index, hash);

	for (uint32_t probe = 0; probe < NETLOG_MAX_PROBES; probe++) {
		const uint32_t *bucket = index_bucket(index, hash + probe);
		uint32_t candidates = index_candidates(index, bucket, tag);

		for (; candidates; candidates &= candidates - 1) {
			uint32_t slot = bucket[__builtin_ctz(candidates)];
			uint32_t position = slot_position(index, slot);

			if (likely(position < count) &&
			    likely(key_equals(key, lookup_at(array, element_bytes, position))))
				return position;
		}
		if (likely(bucket_filled(bucket) < NETLOG_BUCKET_SLOTS))
			return LOOKUP_NONE;
	}
	return LOOKUP_NONE;
}

/* Returns the position that lookup_find() would try first, or LOOKUP_NONE. */
NETLOG_INLINE size_t lookup_guess(const struct netlog_index *index, size_t count, uint64_t hash)
{
	const uint32_t *bucket = index_bucket(index, hash);
	uint32_t candidates = index_candidates(index, bucket, index_tag(index, hash));

	if (unlikely(!candidates))
		return LOOKUP_NONE;
	uint32_t position = slot_position(index, bucket[__builtin_ctz(candidates)]);

	return likely(position < count) ? position : LOOKUP_NONE;
}

/* Whether a key for which lookup_guess() found nothing is absent. It is if its bucket is not
 * full: slots are filled from the first on, so the last one is empty then. */
NETLOG_INLINE bool lookup_is_absent(const struct netlog_index *index, uint64_t hash)
{
	return !index_bucket(index, hash)[NETLOG_BUCKET_SLOTS - 1];
}

#endif
