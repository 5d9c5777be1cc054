/* SPDX-License-Identifier: BSD-3-Clause */
/* offload: one batch of a relay whose devices take more than a packet at a time.
 *
 *	TUN super-packet -> segments -> datagrams in bundles (UDP_SEGMENT) -> socket
 *	socket (UDP_GRO) -> datagrams -> super-packets -> TUN
 *
 * What crosses the wire is what a relay without offloads sends: a packet a datagram. Either device
 * may lack its part.
 *
 * Threads: one of these belongs to one pump. Ownership: the caller's. Progress: no call waits; a
 * batch is bounded by NETLOG_TUN_READ_BYTES, or NETLOG_OFFLOAD_RECEIVES of 64 KiB.
 */
#ifndef NETLOG_OFFLOAD_H
#define NETLOG_OFFLOAD_H

#include "relay/forward.h"
#include "io/tun.h"

/* Receives of one batch, each of up to 64 KiB: what they bring is to be in the cache still when it
 * is written. */
#define NETLOG_OFFLOAD_RECEIVES 8u

struct netlog_offload {
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	const struct netlog_peers *peers;
	struct netlog_fates *fates; /* of drops that are decided here */
	int gone; /* -errno, once a descriptor takes nothing any more: the rest of the batch is
		   * refused
		   */
	union {
		struct {
			struct netlog_segments plans[NETLOG_BATCH];
			struct netlog_bundler bundler;
		} tx;
		struct {
			uint16_t datagram_bytes[NETLOG_BATCH];
			struct netlog_coalescer coalescer;
		} rx;
	};
};

/* What is counted of the batch: the lane, which the caller has entered, or NULL. */
struct netlog_relay_lanes {
	struct netlog_lane *tun;
	struct netlog_lane *sock;
};

/* Moves one batch, with batch's slots as room. Adds to outcome, in packets on the wire, what became
 * of those that were to go on: every packet that was read is in outcome or in the fates, also when
 * a descriptor goes away in mid-batch. *more: there may be more at once. Returns how many reads
 * there were, or -errno if a descriptor is gone. */
int netlog_offload_tx(struct netlog_offload *offload, struct netlog_relay_lanes lanes,
		      const struct netlog_batch *batch, struct netlog_outcome *outcome, bool *more);
int netlog_offload_rx(struct netlog_offload *offload, struct netlog_relay_lanes lanes,
		      const struct netlog_batch *batch, struct netlog_outcome *outcome, bool *more);

#endif
