/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef __x86_64__
#pragma GCC target("avx512f,avx2,bmi,bmi2,popcnt")
#define COUNT_PACKETS netlog_count_packets_avx512
#include "count/loop.h"
#endif
