/* SPDX-License-Identifier: BSD-3-Clause */
#define COUNT_PACKETS netlog_count_packets_base
#include "count/loop.h"
