/* SPDX-License-Identifier: BSD-3-Clause */
/* poll: the poller's half of the meter: swap, settle, clear. retired.c drains.
 *
 * A bank goes through four steps. It is retired; settled, which determines the lanes that are
 * quiet; drained by copying; and cleared once its messages are stored. The poller notes each step
 * in the region (struct netlog_progress), so that the next poller can continue from there. meter.c
 * explains the handshake with the writers.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/atomic.h"
#include "base/barrier.h"
#include "meter/clock.h"
#include "meter/damage.h"
#include "meter/meter.h"

/* The poller's sleep between two looks at a writer that is inside a batch. */
#define QUIESCE_SLEEP_NS 20000

static bool is_quiesced(const struct netlog_lane *lane, uint64_t inside)
{
	/* acquire: pairs with the stores that end a bracket, in lane_leave_as_full(),
	 * lane_count_last() and repair_lane(). Without it the poller could drain records whose last
	 * counts it does not see yet. */
	return load_acquire(&lane->header->bracket) != inside;
}

/* Waits until the bracket that was open at the swap is closed. Returns false if it is still open at
 * the deadline. */
static bool wait_quiesced(const struct netlog_lane *lane, uint64_t deadline_ns)
{
	/* seq_cst: the second half of the poller's handshake, after its store to the epoch; pairs
	 * with the stores that begin a bracket, in lane_enter() and lane_count_last(). With less, a
	 * writer that counts into the old bank could be seen outside. */
	uint64_t bracket = load_seq_cst(&lane->header->bracket);

	if (bracket % 2 == 0)
		return true;
	while (!is_quiesced(lane, bracket)) {
		if (monotonic_ns() >= deadline_ns)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = QUIESCE_SLEEP_NS}, NULL);
	}
	return true;
}

static struct netlog_progress *progress_of(const struct netlog_meter *meter)
{
	return &meter->region->progress;
}

/* relaxed, here and in the rest of this file: the epoch and the words of the progress have one
 * writer, this poller. What a dead poller wrote is ordered by its lock, which passed to this one.
 */
bool netlog_meter_retired(const struct netlog_meter *meter)
{
	return load_relaxed(&progress_of(meter)->cleared) != load_relaxed(&meter->region->epoch);
}

bool netlog_meter_settled(const struct netlog_meter *meter)
{
	return load_relaxed(&progress_of(meter)->settled) == load_relaxed(&meter->region->epoch);
}

static bool lane_settled(const struct netlog_meter *meter, uint32_t number)
{
	return progress_of(meter)->quiesced[number / 8] & 1u << number % 8;
}

/* Notes how far the laneless counters had come when this epoch was settled. relaxed: see region.h.
 */
static void take_laneless(struct netlog_meter *meter)
{
	const struct netlog_laneless *now = &meter->region->laneless;
	struct netlog_laneless *until =
		&progress_of(meter)->laneless_until[load_relaxed(&meter->region->epoch) % 2];

	for (int point = 0; point < NETLOG_POINTS; point++) {
		for (int direction = 0; direction < 2; direction++) {
			until->packets[point][direction] =
				load_relaxed(&now->packets[point][direction]);
			until->bytes[point][direction] =
				load_relaxed(&now->bytes[point][direction]);
		}
	}
}

/* Determines which lanes of the retired bank are quiet. Returns the number that are not. */
static int settle(struct netlog_meter *meter, uint64_t deadline_ns)
{
	struct netlog_progress *progress = progress_of(meter);
	int late = 0;
	/* The barrier falls between the store to the epoch, which a dead poller may have done, and
	 * the look at the brackets. It does not fail where barrier_can_ask() was true. If it ever
	 * did, no writer could be proven to be outside, so every lane would count as late. */
	bool ordered = !meter->asks_barriers || barrier_ask();

	memset(progress->quiesced, 0, sizeof(progress->quiesced));
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		bool quiet = ordered && wait_quiesced(&meter->lanes[number], deadline_ns);

		if (ordered && !quiet && meter->fd >= 0) {
			/* Its owner may have been killed inside. */
			netlog_file_reclaim(meter);
			quiet = wait_quiesced(&meter->lanes[number], 0);
		}
		progress->quiesced[number / 8] |= (uint8_t)(quiet << number % 8);
		late += !quiet;
	}
	take_laneless(meter);
	/* release: pairs with the lock that passes to a successor (region.h). A successor that sees
	 * this word uses `quiesced` and `laneless_until`, which must be complete. */
	store_release(&progress->settled, load_relaxed(&meter->region->epoch));
	return late;
}

int netlog_meter_swap(struct netlog_meter *meter, uint64_t timeout_ns)
{
	uint64_t deadline_ns = monotonic_ns() + timeout_ns;
	int rc = netlog_file_check(meter);

	if (!meter->polls || !netlog_meter_is_ours(meter))
		return -EPERM;
	if (rc)
		return rc;
	if (netlog_meter_retired(meter))
		return netlog_meter_settled(meter) ? -EBUSY : settle(meter, deadline_ns);
	/* seq_cst: the first half of the poller's handshake; pairs with the loads of the epoch in
	 * lane_enter() and lane_count_last(). It also orders the clearing of the bank that becomes
	 * live, by this thread, before the first count into it. */
	store_seq_cst(&meter->region->epoch, load_relaxed(&meter->region->epoch) + 1);
	return settle(meter, deadline_ns);
}

uint64_t netlog_meter_epoch(const struct netlog_meter *meter)
{
	return load_relaxed(&meter->region->epoch);
}

static uint64_t check_period(const struct netlog_period *period, uint64_t number)
{
	uint64_t words[] = {period->start_ns, period->end_ns, period->ended_ns};

	return damage_check(words, sizeof(words) / sizeof(words[0]), number);
}

/* Reads the period of a number. Returns whether it is there and whole; else it is all zero. */
static bool read_period(const struct netlog_progress *progress, uint64_t number,
			struct netlog_period *period)
{
	uint64_t slot = (number + NETLOG_BANKS - 1) % NETLOG_BANKS;

	*period = progress->periods[slot];
	if (progress->period_checks[slot] == check_period(period, number))
		return true;
	*period = (struct netlog_period){0};
	return false;
}

int netlog_meter_period(const struct netlog_meter *meter, struct netlog_period *period)
{
	const struct netlog_progress *progress = progress_of(meter);
	/* acquire: pairs with store_release() in netlog_meter_date(). Without it the period could
	 * be half written. */
	uint64_t dated = load_acquire(&progress->dated);

	if (read_period(progress, dated, period))
		return netlog_meter_retired(meter) && dated == load_relaxed(&meter->region->epoch);
	(void)read_period(progress, dated - 1, period);
	return -EBADMSG;
}

void netlog_meter_date(struct netlog_meter *meter, const struct netlog_period *period)
{
	struct netlog_progress *progress = progress_of(meter);
	uint64_t epoch = load_relaxed(&meter->region->epoch);

	progress->periods[(epoch + NETLOG_BANKS - 1) % NETLOG_BANKS] = *period;
	progress->period_checks[(epoch + NETLOG_BANKS - 1) % NETLOG_BANKS] =
		check_period(period, epoch);
	/* release: pairs with load_acquire() in netlog_meter_period(). A successor that sees this
	 * word sees the whole period; one that does not still has the other period. */
	store_release(&progress->dated, epoch);
}

struct netlog_table *netlog_meter_retired_table(const struct netlog_meter *meter, uint32_t number,
						int point)
{
	uint64_t epoch = load_relaxed(&meter->region->epoch);

	if (!netlog_meter_retired(meter) || !netlog_meter_settled(meter) ||
	    !lane_settled(meter, number))
		return NULL;
	return &meter->lanes[number].tables[(epoch + 1) % NETLOG_BANKS][point];
}

int netlog_meter_clear(struct netlog_meter *meter)
{
	struct netlog_progress *progress = progress_of(meter);
	int rc = netlog_file_check(meter);

	if (rc || !netlog_meter_retired(meter) || !netlog_meter_settled(meter))
		return rc;
	/* From here on the bank is not drained again: a table may be half cleared. A successor
	 * clears again, which does no harm. release: pairs with the lock that passes to a
	 * successor. Without it the successor could drain a bank that is half cleared. */
	store_release(&progress->stored, load_relaxed(&meter->region->epoch));
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		for (int point = 0; point < NETLOG_POINTS; point++) {
			struct netlog_table *table =
				netlog_meter_retired_table(meter, number, point);

			if (table)
				netlog_table_clear(table);
		}
	}
	/* release: pairs with the lock that passes to a successor. Without it the successor could
	 * swap while a table is not cleared yet. */
	store_release(&progress->cleared, load_relaxed(&meter->region->epoch));
	return 0;
}
