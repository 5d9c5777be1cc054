/* SPDX-License-Identifier: BSD-3-Clause */
/* region: how a meter lies in memory: one contiguous piece without pointers.
 *
 *	region header | lane 0 | lane 1 | ...
 *	lane: lane header | bank 0: tun index, tun records, sock index, sock records | bank 1: ...
 *
 * All offsets follow from the options, so whoever maps a region computes them anew and compares the
 * size, and trusts no offset that is stored in it. Every part begins on a page.
 */
#ifndef NETLOG_REGION_H
#define NETLOG_REGION_H

#include "table/table.h"

#define NETLOG_LINE 64
#define NETLOG_PAGE 4096u

#define NETLOG_BANKS 2

#define NETLOG_REGION_MAGIC   0x3130676f6c74656eu /* "netlog01" on a little-endian machine */
#define NETLOG_REGION_VERSION 4u

/* What crossed on threads that had no lane, since the meter was made: by point and direction. */
struct netlog_laneless {
	uint64_t packets[NETLOG_POINTS][2];
	uint64_t bytes[NETLOG_POINTS][2];
};

/* How far the poller has come; a successor goes on from there. Each word is the number of epochs
 * that have taken the step. writer: the poller; reader: its successor, after it is dead.
 *
 *	cleared <= stored <= settled <= epoch, and epoch - cleared is 1 while a bank is retired
 *
 * A word is stored after all that it speaks of, so a poller that dies between two stores has done
 * the step or has not; every step may be done again until its word says that it is done. (A dead
 * process has executed all instructions before a point and none after it, so the compiler's order
 * is all that counts.) */
struct netlog_progress {
	uint64_t settled; /* `quiesced` holds the lanes of the retired bank that may be drained */
	uint64_t stored;  /* its messages are durable: it is not drained again */
	uint64_t cleared;
	uint64_t dated;            /* periods[(dated - 1) % 2] is that of the retired bank */
	uint8_t quiesced[256 / 8]; /* a bit a lane */
	struct netlog_period periods[NETLOG_BANKS]; /* by epoch, so that one stays whole */
	/* By epoch: what had crossed without a lane when it was settled. So what a retired bank has
	 * of it is the difference to the one before, however often it is drained. */
	struct netlog_laneless laneless_until[NETLOG_BANKS];
};

struct netlog_region {
	uint64_t magic;
	uint32_t version;
	uint32_t header_bytes;
	uint64_t region_bytes;
	uint8_t meter_id[16];
	struct netlog_meter_options options;
	struct netlog_secret secret;
	/* 1: whoever polls asks for barriers after each store to the epoch (barrier.h), and writers
	 * may rely on it. Set once, before anybody else sees the region. */
	uint64_t asks_barriers;

	/* writer: the poller; readers: every writer's enter. seq_cst both sides. Poll periods. */
	_Alignas(NETLOG_LINE) uint64_t epoch;

	/* writers: any lane's leave, netlog_meter_wake(); reader: netlog_meter_wait(). A futex. */
	_Alignas(NETLOG_LINE) uint32_t wakes;

	_Alignas(NETLOG_LINE) struct netlog_progress progress;

	/* writers: any thread of any process; reader: the poller, for a report. Plain counters,
	 * added to with relaxed order. */
	_Alignas(NETLOG_LINE) struct netlog_aside aside;

	/* writers: any thread of any process; reader: the poller. Added to with relaxed order: it
	 * is of the period in which the poller sees it. */
	_Alignas(NETLOG_LINE) struct netlog_laneless laneless;
};

struct netlog_lane_header {
	/* 1 while a thread owns the lane. acq_rel, so the next owner sees what the last one left.
	 */
	_Alignas(NETLOG_LINE) uint64_t owned;

	/* writer: the owner; reader: the poller. Odd inside enter/leave, grows by one at each. */
	_Alignas(NETLOG_LINE) uint64_t bracket;

	/* writer: the owner inside a bracket; reader: the poller, once the bank is quiesced. */
	_Alignas(NETLOG_LINE) struct netlog_table_header tables[NETLOG_BANKS][NETLOG_POINTS];
};

static_assert(sizeof(struct netlog_region) <= NETLOG_PAGE, "the header is the first page");
static_assert(sizeof(struct netlog_lane_header) <= NETLOG_PAGE, "one page a lane header");

static inline size_t region_round(size_t bytes)
{
	return (bytes + NETLOG_PAGE - 1) & ~(size_t)(NETLOG_PAGE - 1);
}

static inline uint32_t region_capacity(const struct netlog_meter_options *options, int point)
{
	return point == NETLOG_TUN ? options->max_flows : options->max_endpoints;
}

static inline size_t region_table_bytes(uint32_t capacity)
{
	return region_round(netlog_table_index_bytes(capacity)) +
	       region_round((size_t)capacity * sizeof(struct netlog_record));
}

static inline size_t region_bank_bytes(const struct netlog_meter_options *options)
{
	return region_table_bytes(options->max_flows) + region_table_bytes(options->max_endpoints);
}

static inline size_t region_lane_bytes(const struct netlog_meter_options *options)
{
	return NETLOG_PAGE + NETLOG_BANKS * region_bank_bytes(options);
}

static inline size_t region_lane_offset(const struct netlog_meter_options *options, uint32_t number)
{
	return NETLOG_PAGE + number * region_lane_bytes(options);
}

static inline size_t region_bytes(const struct netlog_meter_options *options)
{
	return region_lane_offset(options, options->max_lanes);
}

#endif
