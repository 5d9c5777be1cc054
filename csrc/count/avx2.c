/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef __x86_64__
#pragma GCC target("avx2,bmi,bmi2,popcnt")
#define COUNT_PACKETS netlog_count_packets_avx2
#include "count/loop.h"
#endif
