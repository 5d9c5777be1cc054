/* SPDX-License-Identifier: BSD-3-Clause */
/* region: the layout of a meter in memory: one contiguous piece without pointers.
 *
 *	region header | lane 0 | lane 1 | ...
 *	lane: lane header | bank 0: tun index, tun records, sock index, sock records | bank 1: ...
 *
 * All offsets follow from the options, and none is stored. A process that maps a region computes
 * them itself, and compares the size. Every part begins on a page.
 */
#ifndef NETLOG_REGION_H
#define NETLOG_REGION_H

#include "meter/damage.h"
#include "table/table.h"

#define NETLOG_LINE 64
#define NETLOG_PAGE 4096u

#define NETLOG_BANKS 2

#define NETLOG_REGION_MAGIC   0x3130676f6c74656eu /* "netlog01" on a little-endian machine */
#define NETLOG_REGION_VERSION 5u

/* What threads without a lane have moved since the meter was made, by point and direction. */
struct netlog_laneless {
	uint64_t packets[NETLOG_POINTS][2];
	uint64_t bytes[NETLOG_POINTS][2];
};

/* How far the poller has come, so that a successor can continue from there. Each word is the number
 * of epochs that have completed the step. writer: the poller; reader: its successor, after the
 * poller is dead.
 *
 *	cleared <= stored <= settled <= epoch, and epoch - cleared is 1 while a bank is retired
 *
 * A word is stored after everything that it reports. So a poller that dies between two stores has
 * either completed the step or not, and a step may be repeated until its word reports it. (A dead
 * process has executed all instructions before some point and none after it. So the order that the
 * compiler keeps is enough.) */
struct netlog_progress {
	uint64_t settled; /* `quiesced` has the lanes of the retired bank that may be drained */
	uint64_t stored;  /* the bank's messages are durable: it is not drained again */
	uint64_t cleared; /* the bank is empty: the next swap may come */
	uint64_t dated;   /* the bank has its period: periods[(dated - 1) % 2], noted last */
	uint8_t quiesced[256 / 8];                  /* a bit for each lane */
	struct netlog_period periods[NETLOG_BANKS]; /* two, so that the older one stays whole */
	/* `laneless` of the region when each of the last two epochs was settled. So the laneless
	 * packets of a retired bank are the difference of the two, however often it is drained. */
	struct netlog_laneless laneless_until[NETLOG_BANKS];
	/* The check word of each period; its number is part of it. writer, reader: as `periods`. */
	uint64_t period_checks[NETLOG_BANKS];
};

struct netlog_region {
	uint64_t magic;
	uint32_t version;
	uint32_t header_bytes;
	uint64_t region_bytes;
	uint8_t meter_id[16];
	struct netlog_meter_options options;
	struct netlog_secret secret;
	/* 1: every poller asks for barriers after each store to the epoch (base/barrier.h), and
	 * writers may rely on it. Set once, before any other process sees the region. */
	uint64_t asks_barriers;

	/* The number of the live epoch. writer: the poller; readers: lane_enter() and
	 * lane_count_last(). seq_cst on both sides: the handshake, see meter.c. */
	_Alignas(NETLOG_LINE) uint64_t epoch;

	/* A futex that counts wakes. writer: netlog_meter_wake(), by any thread; reader:
	 * netlog_meter_wait(). release and acquire. */
	_Alignas(NETLOG_LINE) uint32_t wakes;

	_Alignas(NETLOG_LINE) struct netlog_progress progress;

	/* Counters for a report. writers: any thread of any process; reader: any process. relaxed:
	 * a report may be a moment old. laneless_packets and laneless_bytes stay 0 here, as
	 * netlog_meter_read_aside() computes them from `laneless`. */
	_Alignas(NETLOG_LINE) struct netlog_aside aside;

	/* writers: any thread of any process; reader: the poller. relaxed: a packet belongs to the
	 * period in which the poller sees it first, so a late one is only counted later. */
	_Alignas(NETLOG_LINE) struct netlog_laneless laneless;

	/* The check word of everything before `epoch`, which never changes. Written once, as that.
	 */
	uint64_t constants_check;
};

struct netlog_lane_header {
	/* 1 while a thread of any process owns the lane. acq_rel in own(), release in
	 * netlog_lane_release(): the next owner sees the lane as the last one left it. */
	_Alignas(NETLOG_LINE) uint64_t owned;

	/* Odd between enter and leave; each adds one. writer: the owner; reader: the poller. For
	 * the order see lane.h and poll.c. */
	_Alignas(NETLOG_LINE) uint64_t bracket;

	/* writer: the owner, inside a bracket; reader: the poller, once the bank is quiesced. */
	_Alignas(NETLOG_LINE) struct netlog_table_header tables[NETLOG_BANKS][NETLOG_POINTS];
};

static inline uint64_t region_check_constants(const struct netlog_region *region)
{
	static_assert(offsetof(struct netlog_region, epoch) % sizeof(uint64_t) == 0, "words");
	return damage_check((const uint64_t *)region,
			    offsetof(struct netlog_region, epoch) / sizeof(uint64_t), 0);
}

static_assert(sizeof(struct netlog_region) <= NETLOG_PAGE, "the header is the first page");
static_assert(sizeof(struct netlog_lane_header) <= NETLOG_PAGE, "one page a lane header");

/* All sizes are in 64 bits: the largest meter has some 2^42 bytes. */
static inline uint64_t region_round(uint64_t bytes)
{
	return (bytes + NETLOG_PAGE - 1) & ~(uint64_t)(NETLOG_PAGE - 1);
}

static inline uint32_t region_capacity(const struct netlog_meter_options *options, int point)
{
	return point == NETLOG_TUN ? options->max_flows : options->max_endpoints;
}

static inline uint64_t region_records_bytes(uint32_t capacity)
{
	return region_round((uint64_t)capacity * sizeof(struct netlog_record));
}

static inline uint64_t region_table_bytes(uint32_t capacity)
{
	return region_round(netlog_table_index_bytes(capacity)) + region_records_bytes(capacity);
}

static inline uint64_t region_bank_bytes(const struct netlog_meter_options *options)
{
	return region_table_bytes(options->max_flows) + region_table_bytes(options->max_endpoints);
}

static inline uint64_t region_lane_bytes(const struct netlog_meter_options *options)
{
	return NETLOG_PAGE + NETLOG_BANKS * region_bank_bytes(options);
}

static inline uint64_t region_lane_offset(const struct netlog_meter_options *options,
					  uint32_t number)
{
	return NETLOG_PAGE + number * region_lane_bytes(options);
}

static inline uint64_t region_bytes(const struct netlog_meter_options *options)
{
	return region_lane_offset(options, options->max_lanes);
}

/* Whether a process can map the region as one object. most: the size of its largest object, which
 * is PTRDIFF_MAX outside of tests. Where it can, each size and offset above fits into a size_t. */
static inline bool region_fits(const struct netlog_meter_options *options, uint64_t most)
{
	return region_bytes(options) <= most;
}

#endif
