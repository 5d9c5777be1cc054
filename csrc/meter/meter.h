/* SPDX-License-Identifier: BSD-3-Clause */
/* meter: what one process keeps of a meter: the mapped region, and a writer's view of each lane.
 *
 * Used by meter.c (lanes and writers), poll.c and retired.c (the poller), file.c and locks.c (a
 * region in a file). These structs are private to the process. What several processes share lies in
 * the region; see region.h.
 */
#ifndef NETLOG_METER_H
#define NETLOG_METER_H

#include <sys/types.h>

#include "base/atomic.h"
#include "count/count.h"
#include "table/drain.h"
#include "meter/region.h"

/* A writer's view of its lane. It shares no cache line with anything else. Its first line is all
 * that a packet of the same connection as the last one needs. */
struct netlog_lane {
	struct netlog_lane_header *header;
	uint64_t bracket; /* the owner's copy of header->bracket, see lane.h; writer: the owner */
	uint64_t epoch;   /* in which the owner entered last; UINT64_MAX: not yet */
	const uint64_t *live_epoch;                /* in the region */
	struct netlog_record *last[NETLOG_POINTS]; /* the record hit last; NULL: none */
	struct netlog_meter *meter;
	struct netlog_table *live; /* the tables of the live bank, by point */
	bool relies;               /* on barriers that the poller asks for; see lane_count_last() */
	bool woken;                /* the poller was woken in this epoch */
	/* 1 while a thread of this process has the lane, or tries to get it. acq_rel: pairs with
	 * the release of the last claim, so the next owner sees the view as that one left it. */
	ATOMIC_WORD uint64_t claimed;
	struct netlog_table tables[NETLOG_BANKS][NETLOG_POINTS];
} __attribute__((aligned(NETLOG_LINE)));

struct netlog_meter {
	struct netlog_region *region;
	size_t region_bytes;
	struct netlog_meter_options options; /* a checked copy: in the region they could change */
	struct netlog_secret secret;         /* also checked */
	uint32_t lane_count;
	int fd;             /* of the region's file, with this process's locks; -1: not in a file */
	pid_t attached;     /* the process that opened it and owns the locks; a fork does not */
	bool polls;         /* may swap, drain and clear */
	bool asks_barriers; /* a checked copy, too */
	bool relies;        /* lanes that are acquired from now on rely on barriers */
	uint32_t wakes_seen; /* the poller's: `wakes` of the region when it woke last */
	netlog_count_packets_fn *count_packets;
	struct netlog_lane *lanes;
	struct netlog_drain drains[NETLOG_POINTS]; /* the poller's, of epoch drained_epoch */
	uint64_t drained_epoch[NETLOG_POINTS];
};

/* Lets the lanes that this process acquires from now on rely on the poller's barriers, if the
 * poller asks for them. Call it before a lane is acquired, and again in each fork. */
void netlog_meter_rely(struct netlog_meter *meter);

/* Whether the poller has determined which lanes of the retired bank are quiet. */
bool netlog_meter_settled(const struct netlog_meter *meter);

/* Returns the retired table of a lane, or NULL if the poller must not touch it. */
struct netlog_table *netlog_meter_retired_table(const struct netlog_meter *meter, uint32_t number,
						int point);

/* Whether this process may use the meter: it opened or adopted it, or it is a fork of the process
 * that opened it, and shares it. */
bool netlog_meter_is_ours(const struct netlog_meter *meter);

/* Returns 0; -EINVAL: an option is out of range; -EOVERFLOW: the meter is larger than what this
 * process can map; -ENOTSUP: it would be shared, and processes cannot share words of 64 bits here.
 */
int netlog_meter_check_options(const struct netlog_meter_options *options);

/* Allocates a meter with options but without a region. NULL: out of memory. */
struct netlog_meter *netlog_meter_allocate(const struct netlog_meter_options *options);
/* Fills the mapped region, which is empty. Returns 0 or -errno. */
int netlog_meter_init_region(struct netlog_meter *meter);
/* Points every lane into the region. */
void netlog_meter_place(struct netlog_meter *meter);

/* Takes the poller's lock. Returns 0; -EBUSY: another process polls; or -errno. */
int netlog_file_lock_poller(const struct netlog_meter *meter);
void netlog_file_unlock_poller(const struct netlog_meter *meter);
/* Releases the locks and closes the descriptor. */
void netlog_file_close(struct netlog_meter *meter);
/* Takes the lock of a lane that the caller has claimed, and repairs what a dead owner left. Returns
 * false if another process has the lane. */
bool netlog_file_lock_lane(struct netlog_meter *meter, struct netlog_lane *lane);
void netlog_file_unlock_lane(struct netlog_meter *meter, const struct netlog_lane *lane);
/* Allocates the lane's pages in the file, so that no write to them can fail. Returns 0 or -errno; 0
 * for a region that is not in a file. */
int netlog_file_back_lane(const struct netlog_meter *meter, const struct netlog_lane *lane);
/* Repairs and frees the lanes whose owners are dead. */
void netlog_file_reclaim(struct netlog_meter *meter);
/* Checks that the file is as large as the region, and has room for as many records as its tables
 * claim. Returns 0; -EIO; -EBADMSG; or -errno. 0 for a region that is not in a file. */
int netlog_file_check(const struct netlog_meter *meter);

#endif
