/* SPDX-License-Identifier: BSD-3-Clause */
/* wide: numbers of 128 bits, with or without a compiler that has them.
 *
 * Compilers for 32-bit machines have no __int128. So a number is a pair of words everywhere, and
 * only the operations that are faster with __int128 use it where it exists. The *_halves() form of
 * an operation is the portable one; a selftest compares the two.
 */
#ifndef NETLOG_WIDE_H
#define NETLOG_WIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct wide {
	uint64_t high;
	uint64_t low;
};

NETLOG_INLINE struct wide wide_multiply_halves(uint64_t a, uint64_t b)
{
	uint64_t low = (uint64_t)(uint32_t)a * (uint32_t)b;
	uint64_t middle = (a >> 32) * (uint32_t)b + (low >> 32);
	/* Below 2^64, as (2^32 - 1)^2 + 2^32 - 1 is. */
	uint64_t other = (uint64_t)(uint32_t)a * (b >> 32) + (uint32_t)middle;

	return (struct wide){.high = (a >> 32) * (b >> 32) + (middle >> 32) + (other >> 32),
			     .low = other << 32 | (uint32_t)low};
}

NETLOG_INLINE bool wide_at_most_halves(struct wide a, struct wide b)
{
	return a.high < b.high || (a.high == b.high && a.low <= b.low);
}

#ifdef __SIZEOF_INT128__

NETLOG_INLINE unsigned __int128 wide_whole(struct wide number)
{
	return (unsigned __int128)number.high << 64 | number.low;
}

NETLOG_INLINE struct wide wide_multiply(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (struct wide){.high = (uint64_t)(product >> 64), .low = (uint64_t)product};
}

/* Whether a <= b. Compilers turn the comparison of halves into a branch, and this one not. */
NETLOG_INLINE bool wide_at_most(struct wide a, struct wide b)
{
	return wide_whole(a) <= wide_whole(b);
}

#else

NETLOG_INLINE struct wide wide_multiply(uint64_t a, uint64_t b)
{
	return wide_multiply_halves(a, b);
}

NETLOG_INLINE bool wide_at_most(struct wide a, struct wide b)
{
	return wide_at_most_halves(a, b);
}

#endif

NETLOG_INLINE bool wide_equal(struct wide a, struct wide b)
{
	return a.high == b.high && a.low == b.low;
}

NETLOG_INLINE bool wide_is_zero(struct wide number)
{
	return !(number.high | number.low);
}

/* The next number; 0 after the largest. */
NETLOG_INLINE struct wide wide_next(struct wide number)
{
	return (struct wide){.high = number.high + (number.low == UINT64_MAX),
			     .low = number.low + 1};
}

/* Returns the number whose lowest n bits are set, and no others. n: 0..128. */
NETLOG_INLINE struct wide wide_ones(unsigned n)
{
	/* A shift by 64 is undefined. */
	if (n >= 64)
		return (struct wide){.high = n == 64 ? 0 : UINT64_MAX >> (128 - n),
				     .low = UINT64_MAX};
	return (struct wide){.low = ((uint64_t)1 << n) - 1};
}

/* Returns the low word of the number shifted right. n: 0..127. */
NETLOG_INLINE uint64_t wide_shifted(struct wide number, unsigned n)
{
	if (n >= 64)
		return number.high >> (n - 64);
	return n ? number.high << (64 - n) | number.low >> n : number.low;
}

#endif
