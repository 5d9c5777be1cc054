/* SPDX-License-Identifier: BSD-3-Clause */
/* lane: the writer's half of the handshake, inline: for meter.c, and for writers that count one
 * packet a bracket and would pay more for the calls than for the counting.
 *
 * The handshake itself is explained in meter.c. Beside the bracket that the poller sees stands the
 * owner's copy. It is odd from before the one in the region to after it, so a signal handler that
 * interrupts the counting sees that it must not count into this lane.
 *
 * Threads: the lane's owner. Progress: wait-free.
 */
#ifndef NETLOG_LANE_H
#define NETLOG_LANE_H

#include "base/atomic.h"
#include "meter/meter.h"

/* Whether the owner is inside a bracket: for a signal handler on the owner's thread. */
NETLOG_INLINE bool lane_is_inside(const struct netlog_lane *lane)
{
	return lane->bracket % 2;
}

/* The owner's side of it alone: nobody else sees it. */
NETLOG_INLINE void lane_mark(struct netlog_lane *lane)
{
	lane->bracket++;
	/* A handler that comes now finds it marked. */
	atomic_compiler_barrier();
}

NETLOG_INLINE void lane_enter(struct netlog_lane *lane)
{
	lane_mark(lane);
	/* seq_cst, and the load after it: the writer's half of the handshake; pairs with
	 * netlog_meter_swap(). */
	store_seq_cst(&lane->header->bracket, lane->bracket);
	uint64_t epoch = load_seq_cst(lane->live_epoch);

	if (unlikely(epoch != lane->epoch)) {
		lane->epoch = epoch;
		lane->live = lane->tables[epoch % NETLOG_BANKS];
		lane->last[NETLOG_TUN] = lane->last[NETLOG_SOCK] = NULL;
		lane->woken = false;
	}
}

NETLOG_INLINE bool lane_nearly_full(const struct netlog_table *table)
{
	return table->header->count >= table->capacity - table->capacity / 4;
}

/* Leaves, where no connection was new: the tables are as full as they were. */
NETLOG_INLINE void lane_leave_as_full(struct netlog_lane *lane)
{
	uint64_t bracket = lane->bracket + 1;

	/* release: pairs with the load_acquire in is_quiesced(). Without it the poller could see
	 * this lane outside and drain records whose counts it does not see yet. */
	store_release(&lane->header->bracket, bracket);
	/* A handler that comes before this is refused. */
	atomic_compiler_barrier();
	lane->bracket = bracket;
}

NETLOG_INLINE void lane_leave(struct netlog_lane *lane)
{
	bool wake = !lane->woken && unlikely(lane_nearly_full(&lane->live[NETLOG_TUN]) ||
					     lane_nearly_full(&lane->live[NETLOG_SOCK]));

	lane_leave_as_full(lane);
	/* At most one system call a lane and epoch, and outside the bracket. */
	if (unlikely(wake)) {
		lane->woken = true;
		netlog_meter_wake(lane->meter);
	}
}

/* Counts one packet, in a bracket of its own, if it is of the connection that came last. Else
 * nothing has happened. For a lane that relies on the poller's barriers. */
NETLOG_INLINE bool lane_count_last(struct netlog_lane *lane, int point,
				   const struct netlog_key *key, int version, uint32_t direction,
				   uint64_t bytes)
{
	uint64_t bracket = lane->bracket;
	bool added = false;

	if (unlikely(lane_is_inside(lane)))
		return false;
	lane_mark(lane);
	struct netlog_record *last = lane->last[point];

	/* Its connection may be read outside the bracket: only the owner writes records. */
	if (unlikely(!last || !last_equals(key, version, &last->connection))) {
		lane->bracket = bracket;
		return false;
	}
	/* relaxed, where lane_enter() has seq_cst: the poller has a barrier executed between this
	 * and its look, see meter.c. */
	store_relaxed(&lane->header->bracket, bracket + 1);
	atomic_compiler_barrier();
	/* In another epoch `last` is of no use, and a counter that runs out needs another record.
	 */
	if (likely(load_seq_cst(lane->live_epoch) == lane->epoch &&
		   last->packets[direction] != UINT32_MAX)) {
		last->packets[direction]++;
		last->bytes[direction] += bytes;
		added = true;
	}
	/* As in lane_leave_as_full(). */
	store_release(&lane->header->bracket, bracket + 2);
	atomic_compiler_barrier();
	lane->bracket = bracket + 2;
	return added;
}

/* Inside a bracket: counts one packet of a known connection. */
NETLOG_INLINE void lane_add(struct netlog_lane *lane, int point, const struct netlog_key *key,
			    const struct netlog_increment *increment)
{
	struct netlog_table *table = &lane->live[point];
	struct netlog_record *last = lane->last[point];

	if (last && key_equals(key, &last->connection) && netlog_record_add(last, increment))
		return;
	lane->last[point] = netlog_table_add(table, key, key_hash(key, table->secret), increment);
}

#endif
