/* SPDX-License-Identifier: BSD-3-Clause */
/* atomic: the only place with atomic primitives.
 *
 * The order of an operation stands in its name or in its comment:
 *
 * acquire: what the storing thread wrote before its release store is seen after this load.
 * release: what this thread wrote before is seen by every thread that loads the value with acquire.
 * acq_rel: both, for an operation that loads and stores.
 * seq_cst: both, and all threads agree on one order of all seq_cst operations. Needed where two
 *          threads each store one word and then load the other's (Dekker).
 * relaxed: the access is whole, nothing more.
 *
 * A processor of 32 bits may have no instruction that accesses 64 bits as a whole. Then the
 * compiler's library does it with locks, which are private to the process: see
 * ATOMIC_ACROSS_PROCESSES.
 */
#ifndef NETLOG_ATOMIC_H
#define NETLOG_ATOMIC_H

#include <stdbool.h>
#include <stdint.h>

/* Whether processes that share memory may use words of 64 bits in it. */
#define ATOMIC_ACROSS_PROCESSES __atomic_always_lock_free(sizeof(uint64_t), 0)

/* For a word in a struct that these functions access. In 32-bit x86 a uint64_t is aligned to 4
 * bytes otherwise, so that it could lie in two cache lines, where an access is not whole. */
#define ATOMIC_WORD _Alignas(8)
typedef uint64_t atomic_word __attribute__((aligned(8)));

static inline uint64_t load_relaxed(const uint64_t *word)
{
	return __atomic_load_n((const atomic_word *)word, __ATOMIC_RELAXED);
}

static inline uint64_t load_acquire(const uint64_t *word)
{
	return __atomic_load_n((const atomic_word *)word, __ATOMIC_ACQUIRE);
}

static inline uint64_t load_seq_cst(const uint64_t *word)
{
	return __atomic_load_n((const atomic_word *)word, __ATOMIC_SEQ_CST);
}

static inline void store_relaxed(uint64_t *word, uint64_t value)
{
	__atomic_store_n((atomic_word *)word, value, __ATOMIC_RELAXED);
}

static inline void store_release(uint64_t *word, uint64_t value)
{
	__atomic_store_n((atomic_word *)word, value, __ATOMIC_RELEASE);
}

static inline void store_seq_cst(uint64_t *word, uint64_t value)
{
	__atomic_store_n((atomic_word *)word, value, __ATOMIC_SEQ_CST);
}

/* Orders accesses for the compiler, not for other processors: for a signal handler on this thread,
 * and for what a killed process leaves behind. */
static inline void atomic_compiler_barrier(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* Stores desired if *word is expected, and returns whether it did. acq_rel. */
static inline bool compare_exchange(uint64_t *word, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n((atomic_word *)word, &expected, desired, false,
					   __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static inline uint32_t load_acquire_32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uint32_t load_relaxed_32(const uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/* Returns the old value. acq_rel. */
static inline uint32_t exchange_32(uint32_t *word, uint32_t desired)
{
	return __atomic_exchange_n(word, desired, __ATOMIC_ACQ_REL);
}

/* As compare_exchange(). */
static inline bool compare_exchange_32(uint32_t *word, uint32_t expected, uint32_t desired)
{
	return __atomic_compare_exchange_n(word, &expected, desired, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

/* Subtracts 1 and returns the new value. acq_rel. */
static inline uint64_t decrement(uint64_t *word)
{
	return __atomic_sub_fetch((atomic_word *)word, 1, __ATOMIC_ACQ_REL);
}

static inline void add_relaxed_32(uint32_t *word, uint32_t value)
{
	__atomic_fetch_add(word, value, __ATOMIC_RELAXED);
}

static inline void add_relaxed(uint64_t *word, uint64_t value)
{
	__atomic_fetch_add((atomic_word *)word, value, __ATOMIC_RELAXED);
}

static inline void store_release_32(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void add_release_32(uint32_t *word, uint32_t value)
{
	__atomic_fetch_add(word, value, __ATOMIC_RELEASE);
}

static inline bool flag_relaxed(const bool *flag)
{
	return __atomic_load_n(flag, __ATOMIC_RELAXED);
}

static inline void set_flag_relaxed(bool *flag, bool value)
{
	__atomic_store_n(flag, value, __ATOMIC_RELAXED);
}

#endif
