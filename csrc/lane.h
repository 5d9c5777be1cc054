/* SPDX-License-Identifier: BSD-3-Clause */
/* lane: the writer's half of the handshake, inline: for meter.c, and for writers that count one
 * packet a bracket and would pay more for the calls than for the counting.
 *
 * The handshake itself is explained in meter.c.
 *
 * Threads: the lane's owner. Progress: wait-free.
 */
#ifndef NETLOG_LANE_H
#define NETLOG_LANE_H

#include "atomic.h"
#include "meter.h"

NETLOG_INLINE void lane_enter(struct netlog_lane *lane)
{
	/* Looked up before the store, which holds back every load that comes after it. */
	const uint64_t *live_epoch = &lane->meter->region->epoch;

	/* seq_cst, and the load after it: the writer's half of the handshake; pairs with
	 * netlog_meter_swap(). */
	store_seq_cst(&lane->header->bracket, ++lane->bracket);
	uint64_t epoch = load_seq_cst(live_epoch);

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
	/* release: pairs with the load_acquire in is_quiesced(). Without it the poller could see
	 * this lane outside and drain records whose counts it does not see yet. */
	store_release(&lane->header->bracket, ++lane->bracket);
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

/* Counts one packet of a known connection, in a bracket of its own. */
NETLOG_INLINE void lane_count_one(struct netlog_lane *lane, int point, const struct netlog_key *key,
				  const struct netlog_increment *increment)
{
	/* Only the owner writes records, and a poller clears none of them: their connections may be
	 * read outside the bracket, and so before the store that all else has to wait for. */
	struct netlog_record *last = lane->last[point];
	bool is_last = last && key_equals(key, &last->connection);

	lane_enter(lane);
	/* Another epoch has forgotten the last one. */
	if (likely(is_last && lane->last[point] == last) && netlog_record_add(last, increment)) {
		lane_leave_as_full(lane);
		return;
	}
	struct netlog_table *table = &lane->live[point];

	lane->last[point] = netlog_table_add(table, key, key_hash(key, table->secret), increment);
	lane_leave(lane);
}

#endif
