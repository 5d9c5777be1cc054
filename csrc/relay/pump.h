/* SPDX-License-Identifier: BSD-3-Clause */
/* pump: what one thread of a relay does: it moves packets from one of two devices to the other.
 *
 * A batch that it reads, with all that it sends or writes of it, lies in one enter/leave of its
 * lane.
 *
 * Threads: run by one; fates may be read by any meanwhile. Ownership: the memory is the caller's.
 * Progress: run sleeps in poll(2) when there is nothing to move. Bounds: a stop is seen between two
 * batches, or at once while it sleeps.
 */
#ifndef NETLOG_PUMP_H
#define NETLOG_PUMP_H

#include "relay/offload.h"

/* Pumps of neighbours share no line of the cache. */
#define NETLOG_PUMP_LINE 64

struct netlog_pump {
	struct netlog_fates fates;
	/* The caller's, from here to stopping. */
	const struct netlog_peers *peers;
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	struct netlog_lane *lane;
	enum netlog_direction direction;
	int stop_fd; /* readable: end; never read, so that all pumps see it */
	/* writer: any / reader: the pump / relaxed: stop_fd says it for good */
	const bool *stopping;
	struct netlog_offload *offload; /* NULL: both devices take a packet at a time */
	struct netlog_batch batch;
	struct netlog_endpoint endpoints[NETLOG_BATCH];
	uint32_t lengths[NETLOG_BATCH];
} __attribute__((aligned(NETLOG_PUMP_LINE)));

/* Allocates what a zeroed pump lacks that has its devices. 0 or -ENOMEM; close it in either case.
 */
int netlog_pump_open(struct netlog_pump *pump);
/* Moves packets until told to stop, which is 0, or until a descriptor is gone: -errno. */
int netlog_pump_run(struct netlog_pump *pump);
/* Frees what open has allocated. */
void netlog_pump_close(struct netlog_pump *pump);

#endif
