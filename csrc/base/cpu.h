/* SPDX-License-Identifier: BSD-3-Clause */
/* cpu: which levels of the instruction set the processor executes.
 *
 * A level is usable if CPUID names its instructions and the kernel saves its registers.
 * __builtin_cpu_supports() would do, but it asks the compiler's runtime library, and zig's answers
 * no to every question: a core that zig links would count 2 times slower, with count/base.c.
 *
 * Source: Intel SDM, volume 1, sections 14.3 and 15.2.
 */
#ifndef NETLOG_CPU_H
#define NETLOG_CPU_H

#ifdef __x86_64__

#include <cpuid.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

/* Bits of XCR0. */
enum {
	CPU_SAVES_AVX = 0x06,    /* xmm and ymm */
	CPU_SAVES_AVX512 = 0xe6, /* these, the masks and zmm */
};

/* features: bits of CPUID leaf 7, EBX. saved: bits of XCR0. */
static inline bool cpu_has(uint32_t features, uint32_t saved)
{
	uint32_t eax, ebx, ecx, edx;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
		return false;
	if ((saved_registers() & saved) != saved)
		return false;
	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & features) == features;
}

/* For count_avx2.c. */
static inline bool cpu_has_avx2(void)
{
	return cpu_has(bit_AVX2 | bit_BMI | bit_BMI2, CPU_SAVES_AVX);
}

/* For count_avx512.c. */
static inline bool cpu_has_avx512(void)
{
	return cpu_has(bit_AVX512F | bit_AVX2 | bit_BMI | bit_BMI2, CPU_SAVES_AVX512);
}

#endif

#endif
