/* SPDX-License-Identifier: BSD-3-Clause */
/* meter: how a process holds a meter: the mapped region, and a writer's view of each lane.
 *
 * Shared by meter.c (lanes and writers), poll.c and retired.c (the poller), file.c and
 * locks.c (a region in a file). What stands here is private to the process; what several processes
 * share lies in the region.
 */
#ifndef NETLOG_METER_H
#define NETLOG_METER_H

#include <sys/types.h>

#include "count/count.h"
#include "table/drain.h"
#include "meter/region.h"

/* A writer's view of its lane. One cache line or more to itself; what a packet of the connection
 * that came last needs is the first line. */
struct netlog_lane {
	struct netlog_lane_header *header;
	uint64_t bracket; /* what header->bracket holds, but see lane.h: only the owner writes it */
	uint64_t epoch;
	const uint64_t *live_epoch; /* the region's */
	struct netlog_record *last[NETLOG_POINTS];
	struct netlog_meter *meter;
	struct netlog_table *live; /* the tables of the live bank, by point */
	bool relies;               /* on barriers that the poller asks for; see lane_count_last() */
	bool woken;                /* the poller was woken in this epoch */
	/* 1 while a thread of this process has the lane, or looks whether it may. acq_rel. */
	uint64_t claimed;
	struct netlog_table tables[NETLOG_BANKS][NETLOG_POINTS];
} __attribute__((aligned(NETLOG_LINE)));

struct netlog_meter {
	struct netlog_region *region;
	size_t region_bytes;
	struct netlog_meter_options options; /* as checked: those in the region may change */
	struct netlog_secret secret;         /* likewise */
	uint32_t lane_count;
	int fd; /* of the region's file, whose locks are ours; -1: the region is in no file */
	pid_t attached;     /* a fork has our locks without being us */
	bool polls;         /* may swap, drain and clear */
	bool asks_barriers; /* as checked, likewise */
	bool relies;        /* lanes that are acquired from now on rely on barriers */
	uint32_t wakes_seen;
	netlog_count_packets_fn *count_packets;
	struct netlog_lane *lanes;
	struct netlog_drain drains[NETLOG_POINTS]; /* the poller's, in epoch drained_epoch */
	uint64_t drained_epoch[NETLOG_POINTS];
};

/* What this process counts from now on may rely on the poller's barriers, where it asks for them.
 * To be called before a lane is acquired, and again in each fork. */
void netlog_meter_rely(struct netlog_meter *meter);

/* Whether it is known which lanes of the retired bank are quiet. */
bool netlog_meter_settled(const struct netlog_meter *meter);

/* The retired table of a lane, if the poller may touch it; else NULL. */
struct netlog_table *netlog_meter_retired_table(const struct netlog_meter *meter, uint32_t number,
						int point);

bool netlog_meter_valid_options(const struct netlog_meter_options *options);

/* A meter without a region, its options set; NULL: out of memory. */
struct netlog_meter *netlog_meter_allocate(const struct netlog_meter_options *options);
/* Fills an empty region that is mapped. 0 or -errno. */
int netlog_meter_init_region(struct netlog_meter *meter);
/* Lays every lane over the region. */
void netlog_meter_place(struct netlog_meter *meter);

/* Takes the poller's lock. 0; -EBUSY: somebody polls; or -errno. */
int netlog_file_lock_poller(const struct netlog_meter *meter);
/* Gives up the locks and the descriptor. */
void netlog_file_close(struct netlog_meter *meter);
/* Whether this process may have the lane, which it has claimed. Takes the lane's lock, and makes
 * good what a dead owner left. */
bool netlog_file_lock_lane(struct netlog_meter *meter, struct netlog_lane *lane);
void netlog_file_unlock_lane(struct netlog_meter *meter, const struct netlog_lane *lane);
/* Gives the lane's pages room in the file, so that no write to them can fail. 0 or -errno; 0 for a
 * region that is in no file. */
int netlog_file_back_lane(const struct netlog_meter *meter, const struct netlog_lane *lane);
/* Frees the lanes whose owners are dead. */
void netlog_file_reclaim(struct netlog_meter *meter);
/* Whether the region can be as large, and its tables as full, as it says: 0, -EIO, -EBADMSG. */
int netlog_file_check(const struct netlog_meter *meter);

#endif
