/* SPDX-License-Identifier: BSD-3-Clause */
/* wake: the poller sleeps on a futex in the region until a writer wakes it. */
#define _GNU_SOURCE
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic.h"
#include "meter/clock.h"
#include "meter/meter.h"

/* What SYS_futex takes. On a 32-bit machine the C library's timespec may be longer. */
struct kernel_time {
	long s;
	long ns;
};

int netlog_meter_wait(struct netlog_meter *meter, uint64_t timeout_ns)
{
	uint64_t deadline_ns = monotonic_ns() + timeout_ns;
	uint32_t *wakes = &meter->region->wakes;

	for (;;) {
		/* acquire: pairs with add_release_32() in netlog_meter_wake(). Without it the
		 * poller could wake and not see yet what the waker wrote before. */
		uint32_t seen = load_acquire_32(wakes);

		if (seen != meter->wakes_seen) {
			meter->wakes_seen = seen;
			return 1;
		}
		uint64_t now = monotonic_ns();

		if (now >= deadline_ns)
			return 0;
		struct kernel_time left = {.s = (long)((deadline_ns - now) / NS_PER_S),
					   .ns = (long)((deadline_ns - now) % NS_PER_S)};

		/* For whatever reason it returns, the loop looks again. */
		(void)syscall(SYS_futex, wakes, FUTEX_WAIT, seen, &left, NULL, 0);
	}
}

void netlog_meter_wake(struct netlog_meter *meter)
{
	uint32_t *wakes = &meter->region->wakes;

	/* release: pairs with load_acquire_32() in netlog_meter_wait(), which says why. */
	add_release_32(wakes, 1);
	(void)syscall(SYS_futex, wakes, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
