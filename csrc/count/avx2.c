/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef __x86_64__
#include "base/compiler.h"

#define TARGET_AVX2
TARGET_BEGIN("avx2,bmi,bmi2,popcnt")
#define COUNT_PACKETS netlog_count_packets_avx2
#include "count/loop.h"
TARGET_END
#endif
