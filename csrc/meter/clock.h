/* SPDX-License-Identifier: BSD-3-Clause */
/* clock: the monotonic time in which deadlines are given. */
#ifndef NETLOG_CLOCK_H
#define NETLOG_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "base/compiler.h"

#define NS_PER_S 1000000000ull

NETLOG_INLINE uint64_t monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

#endif
