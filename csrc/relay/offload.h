/* SPDX-License-Identifier: BSD-3-Clause */
/* offload: moves one batch of a relay whose devices take several packets at a time.
 *
 *	TUN super-packet -> segments -> datagrams in bundles (UDP_SEGMENT) -> socket
 *	socket (UDP_GRO) -> datagrams -> super-packets -> TUN
 *
 * The datagrams on the wire are those that a relay without offloads sends: one packet in each.
 * Either device may be without its offload.
 *
 * Threads: a struct netlog_offload belongs to one pump. Ownership: the caller's.
 * Progress: no call waits.
 * Bounds: a batch has at most NETLOG_TUN_READ_BYTES and one packet, or NETLOG_OFFLOAD_RECEIVES
 * times 64 KiB.
 */
#ifndef NETLOG_OFFLOAD_H
#define NETLOG_OFFLOAD_H

#include "relay/forward.h"
#include "io/tun.h"

/* The most receives of one batch, each of up to 64 KiB. So few that the packets are still in the
 * cache when they are written. */
#define NETLOG_OFFLOAD_RECEIVES 8u

struct netlog_offload {
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	const struct netlog_peers *peers;
	struct netlog_fates *fates; /* counts the drops that are decided here */
	int gone; /* -errno once a descriptor is gone: the rest of the batch counts as refused */
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

/* The lane that counts a batch at each observation point, which the caller has entered. NULL: the
 * batch is not counted there. */
struct netlog_relay_lanes {
	struct netlog_lane *tun;
	struct netlog_lane *sock;
};

/* Moves one batch, through the slots of `batch`. Adds to outcome, in packets on the wire, the
 * result for the packets that were to be forwarded. Every packet that was read is in outcome or in
 * the fates, even if a descriptor goes away during the batch. *more: set if there may be more to
 * read at once. Returns the number of reads, or -errno if a descriptor is gone. */
int netlog_offload_tx(struct netlog_offload *offload, struct netlog_relay_lanes lanes,
		      const struct netlog_batch *batch, struct netlog_outcome *outcome, bool *more);
int netlog_offload_rx(struct netlog_offload *offload, struct netlog_relay_lanes lanes,
		      const struct netlog_batch *batch, struct netlog_outcome *outcome, bool *more);

#endif
