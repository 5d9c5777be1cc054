/* SPDX-License-Identifier: BSD-3-Clause */
/* tap: a thread that counts the packets of an interface whose data plane is not netlog's.
 *
 *	netlog_tap_open(&options, lane, &tap);	the ring exists, and is empty
 *	netlog_tap_start(tap);			from now on packets are counted
 *
 * The thread sleeps in poll(2) until the kernel passes a block of the ring to it. It counts the
 * block as a whole within one enter and leave, and gives it back. So a packet is counted at most
 * twice NETLOG_TAP_BLOCK_MS after it crossed. An interface that goes down may come up again. If it
 * is removed, netlog_tap_is_gone() returns true, and the owner closes the tap.
 *
 * A tap sees all packets that the interface was given. That includes packets that a TUN's full
 * queue or a socket's full buffer drops afterwards.
 *
 * Threads: the owner opens, starts, stops and closes. In between, any thread may call the others.
 * Ownership: the lane is the caller's, and must exist until netlog_tap_close() has returned.
 * Meanwhile nobody else may use it. Bounds: netlog_tap_stop() waits at most NETLOG_TAP_STOP_MS for
 * a block that the kernel has not passed yet. Frames for which the ring had no room are counted in
 * NETLOG_TAP_DROPS.
 */
#ifndef NETLOG_TAP_H
#define NETLOG_TAP_H

#include "tap/block.h"
#include "tap/ring.h"

/* The kernel's timer fires twice before it passes a block that it has just begun; and some reserve.
 */
#define NETLOG_TAP_STOP_MS (5 * NETLOG_TAP_BLOCK_MS)

struct netlog_tap;

/* Opens a tap. Returns 0, -ENOMEM, or what netlog_tap_ring_open() returns. */
int netlog_tap_open(const struct netlog_tap_options *options, struct netlog_lane *lane,
		    struct netlog_tap **tap);
/* Starts the thread, with all signals blocked. Returns 0; -EAGAIN; or the errno of setsockopt(2).
 */
int netlog_tap_start(struct netlog_tap *tap);
/* Stops the thread. When this returns, all packets that came before the call are counted, and no
 * later ones are. */
void netlog_tap_stop(struct netlog_tap *tap);
/* Returns the number of the fan-out group, for further taps of the same interface; or -errno if
 * there is no group. */
int netlog_tap_fanout(const struct netlog_tap *tap);
/* Whether the interface was removed. */
bool netlog_tap_is_gone(const struct netlog_tap *tap);
/* Adds the tap's counters to sums[NETLOG_TAP_COUNTS]. */
void netlog_tap_counts(const struct netlog_tap *tap, uint64_t *sums);
/* Stops, and frees. NULL is allowed. */
void netlog_tap_close(struct netlog_tap *tap);

#endif
