/* SPDX-License-Identifier: BSD-3-Clause */
/* tap: a thread that counts what crosses an interface, in front of a data plane that is not ours.
 *
 *	netlog_tap_open(&options, lane, &tap);	the ring is there, and empty
 *	netlog_tap_start(tap);			from now on it is counted
 *
 * The thread sleeps in poll(2) until the kernel hands over a block of the ring, counts it whole in
 * one enter/leave, and gives it back. So a packet is counted at most two times
 * NETLOG_TAP_BLOCK_MS after it crossed. An interface that goes down may come up again; when it is
 * removed, netlog_tap_is_gone() says so and the tap is to be closed.
 *
 * A tap sees what the interface was given: also what a TUN's full queue, or a socket's full buffer,
 * drops afterwards.
 *
 * Threads: open, start, stop and close by the owner; counts and is_gone by any in between.
 * Ownership: the lane is the caller's, must outlive close(), and is nobody else's meanwhile.
 * Bounds: stop waits for a block that the kernel has not handed over yet, at most
 * NETLOG_TAP_STOP_MS. What the ring had no room for is in NETLOG_TAP_DROPS.
 */
#ifndef NETLOG_TAP_H
#define NETLOG_TAP_H

#include "tap/block.h"
#include "tap/ring.h"

/* The kernel's timer comes twice before a block is handed over that it has just begun. */
#define NETLOG_TAP_STOP_MS (5 * NETLOG_TAP_BLOCK_MS)

struct netlog_tap;

/* 0 or -errno, as netlog_tap_ring_open(); -ENOMEM. */
int netlog_tap_open(const struct netlog_tap_options *options, struct netlog_lane *lane,
		    struct netlog_tap **tap);
/* The thread runs when this returns 0, with all signals blocked. -EAGAIN, or setsockopt(2)'s. */
int netlog_tap_start(struct netlog_tap *tap);
/* Nothing that comes from now on is counted; what came before is, when this returns. */
void netlog_tap_stop(struct netlog_tap *tap);
/* The fan-out group, for further taps of the same interface; -errno if there is none. */
int netlog_tap_fanout(const struct netlog_tap *tap);
bool netlog_tap_is_gone(const struct netlog_tap *tap);
/* Adds the tap's counts to sums[NETLOG_TAP_COUNTS]. */
void netlog_tap_counts(const struct netlog_tap *tap, uint64_t *sums);
/* Stops, and frees. NULL is fine. */
void netlog_tap_close(struct netlog_tap *tap);

#endif
