/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef __x86_64__
#include "base/compiler.h"

#define TARGET_AVX2
#define TARGET_AVX512
TARGET_BEGIN("avx512f,avx2,bmi,bmi2,popcnt")
#define COUNT_PACKETS netlog_count_packets_avx512
#include "count/loop.h"
TARGET_END
#endif
