/* SPDX-License-Identifier: BSD-3-Clause */
/* lane: the writer's half of the handshake, inline.
 *
 * meter.c uses it, and so do writers that count one packet in each bracket: for them the calls
 * would cost more than the counting. meter.c explains the handshake.
 *
 * The bracket exists twice: in the region, where the poller sees it, and as the owner's copy. The
 * copy becomes odd before the one in the region does, and even after it. So a signal handler that
 * interrupts the counting sees that it must not count into this lane.
 *
 * Threads: the lane's owner. Progress: wait-free.
 */
#ifndef NETLOG_LANE_H
#define NETLOG_LANE_H

#include "base/atomic.h"
#include "meter/meter.h"

/* Whether the owner is inside a bracket. For a signal handler on the owner's thread. */
NETLOG_INLINE bool lane_is_inside(const struct netlog_lane *lane)
{
	return lane->bracket % 2;
}

/* Begins a bracket in the owner's copy only, which no other thread reads. */
NETLOG_INLINE void lane_mark(struct netlog_lane *lane)
{
	lane->bracket++;
	/* Compiler order: a signal handler that runs from here on finds the copy odd. */
	atomic_compiler_barrier();
}

NETLOG_INLINE void lane_enter(struct netlog_lane *lane)
{
	lane_mark(lane);
	/* seq_cst, this store and the load after it: the writer's half of the handshake; pairs with
	 * the store in netlog_meter_swap() and the load in wait_quiesced(). With less, the load
	 * could return the old epoch while the poller sees this lane outside, and the poller would
	 * drain a bank that is being written. */
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

/* Leaves a bracket in which no connection was new, so no table can have become nearly full. */
NETLOG_INLINE void lane_leave_as_full(struct netlog_lane *lane)
{
	uint64_t bracket = lane->bracket + 1;

	/* release: pairs with load_acquire() in is_quiesced(). Without it the poller could see this
	 * lane outside, and drain records whose last counts it does not see yet. */
	store_release(&lane->header->bracket, bracket);
	/* Compiler order: a signal handler that runs before this still finds the copy odd. */
	atomic_compiler_barrier();
	lane->bracket = bracket;
}

NETLOG_INLINE void lane_leave(struct netlog_lane *lane)
{
	bool wake = !lane->woken && unlikely(lane_nearly_full(&lane->live[NETLOG_TUN]) ||
					     lane_nearly_full(&lane->live[NETLOG_SOCK]));

	lane_leave_as_full(lane);
	/* At most one system call for each lane and epoch, and outside the bracket. */
	if (unlikely(wake)) {
		lane->woken = true;
		netlog_meter_wake(lane->meter);
	}
}

/* Counts one packet in a bracket of its own, if it belongs to the same connection as the last one.
 * Else it returns false and has counted nothing. Only for a lane that relies on the poller's
 * barriers. */
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

	/* The record's connection may be read outside the bracket: only the owner writes records.
	 */
	if (unlikely(!last || !last_equals(key, version, &last->connection))) {
		lane->bracket = bracket;
		return false;
	}
	/* release, where lane_enter() has seq_cst. The barrier that the poller has executed in this
	 * thread, between its store to the epoch and its load in wait_quiesced(), orders this store
	 * and the load after it; see meter.c.
	 *
	 * release also pairs with load_acquire() in is_quiesced(): a poller that waits for the end
	 * of the last bracket may see this value as the first that differs. Then it must see the
	 * counts of that bracket. Until C17 the release store that ended the bracket was enough, as
	 * later stores of the same thread continued its release sequence; since C20 they do not. On
	 * x86 a release store is a plain one. */
	store_release(&lane->header->bracket, bracket + 1);
	atomic_compiler_barrier();
	/* In another epoch `last` lies in the wrong bank. A counter that would overflow needs a new
	 * record. Either way the caller takes the long path. */
	if (likely(load_seq_cst(lane->live_epoch) == lane->epoch &&
		   last->packets[direction] != UINT32_MAX)) {
		last->packets[direction]++;
		last->bytes[direction] += bytes;
		added = true;
	}
	/* release: as in lane_leave_as_full(), with the same pair. */
	store_release(&lane->header->bracket, bracket + 2);
	atomic_compiler_barrier();
	lane->bracket = bracket + 2;
	return added;
}

/* Counts one packet whose connection is decoded. Only inside a bracket. */
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
