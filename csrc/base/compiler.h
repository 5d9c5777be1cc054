/* SPDX-License-Identifier: BSD-3-Clause */
/* compiler: the compiler extensions that the core uses, each under a plain name. */
#ifndef NETLOG_COMPILER_H
#define NETLOG_COMPILER_H

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

#define NETLOG_NOINLINE __attribute__((noinline))
/* The compiler puts rare code apart from code that runs often, so that the latter fills fewer cache
 * lines. */
#define NETLOG_RARE   __attribute__((noinline, cold))
#define NETLOG_OFTEN  __attribute__((noinline, hot))
#define NETLOG_INLINE static inline __attribute__((always_inline))

#ifdef __x86_64__
/* XCR0: the registers that the kernel saves. Only where CPUID says OSXSAVE. */
static inline unsigned int saved_registers(void)
{
	unsigned int low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}
#endif

#define prefetch(address) __builtin_prefetch((address), 0, 3)
/* Also takes the line away from other processors, so that a store need not wait for that. gcc emits
 * a plain prefetch unless it is told that the machine has the instruction; hence the assembly.
 * Every 64-bit x86 processor has it, or executes it as a no-op. */
#ifdef __x86_64__
#define prefetch_write(address) __asm__("prefetchw %0" : : "m"(*(const char *)(address)))
#else
#define prefetch_write(address) __builtin_prefetch((address), 1, 3)
#endif
/* Into the second-level cache: for many lines that come from far away. */
#define prefetch_far(address) __builtin_prefetch((address), 0, 2)

#define PRAGMA(...) _Pragma(#__VA_ARGS__)

/* Unrolls the next loop. gcc unrolls a short one without being asked. clang does not, and then
 * moves what the loop computes through memory (measured in store_addresses6(): 8.3 ns a packet,
 * not 6.3). */
#define UNROLL(times) PRAGMA(GCC unroll times)

/* Functions between TARGET_BEGIN and TARGET_END are compiled for processors with the named
 * features, such as "avx2,bmi2". clang does not define __AVX2__ there as gcc does, so the file also
 * defines TARGET_AVX2 or TARGET_AVX512, and headers test these. */
#ifdef __clang__
#define TARGET_BEGIN(features)                                                                     \
	PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define TARGET_END PRAGMA(clang attribute pop)
#else
#define TARGET_BEGIN(features) PRAGMA(GCC push_options) PRAGMA(GCC target(features))
#define TARGET_END             PRAGMA(GCC pop_options)
#endif

#endif
