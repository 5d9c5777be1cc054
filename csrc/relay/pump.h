/* SPDX-License-Identifier: BSD-3-Clause */
/* pump: the work of one thread of a relay: it moves packets from one of two devices to the other.
 *
 * The pump reads a batch and sends or writes it within one enter and leave of its lane.
 *
 * Threads: one thread runs it. Meanwhile any thread may read its fates.
 * Ownership: the memory is the caller's.
 * Progress: netlog_pump_run() sleeps in poll(2) when there is nothing to move.
 * Bounds: a stop is seen between two batches, or at once while the pump sleeps.
 */
#ifndef NETLOG_PUMP_H
#define NETLOG_PUMP_H

#include "relay/offload.h"

/* Two pumps share no cache line. */
#define NETLOG_PUMP_LINE 64

struct netlog_pump {
	struct netlog_fates fates;
	/* From here to `stopping`: set by the caller. */
	const struct netlog_peers *peers;
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	struct netlog_lane *lane;
	enum netlog_direction direction;
	int stop_fd; /* the pump ends when it is readable; nobody reads it, so all pumps see it */
	/* writer: netlog_relay_stop(), by any thread / reader: the pump / relaxed: a stale value
	 * only delays the end, as stop_fd stays readable */
	const bool *stopping;
	struct netlog_offload *offload; /* NULL: both devices take one packet at a time */
	struct netlog_batch batch;
	struct netlog_endpoint endpoints[NETLOG_BATCH];
	uint32_t lengths[NETLOG_BATCH];
} __attribute__((aligned(NETLOG_PUMP_LINE)));

/* Allocates the buffers of a pump. The caller has zeroed it and set its fields. Returns 0 or
 * -ENOMEM; the caller closes it in either case. */
int netlog_pump_open(struct netlog_pump *pump);
/* Moves packets until the pump is stopped, then returns 0; or until a descriptor is gone, then
 * returns -errno. */
int netlog_pump_run(struct netlog_pump *pump);
/* Frees the buffers. */
void netlog_pump_close(struct netlog_pump *pump);

#endif
