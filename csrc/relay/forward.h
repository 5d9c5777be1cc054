/* SPDX-License-Identifier: BSD-3-Clause */
/* forward: which packets of a batch go on, and where to. Decisions only, no I/O.
 *
 * Out of the TUN, the peer that has the packet's destination gets it. Out of the socket, a datagram
 * goes on if its endpoint is a peer's and the peer has the packet's source address. All else is
 * dropped and counted by reason. Nothing is authenticated beyond that and nothing is encrypted:
 * whoever can send from a peer's address and port is that peer.
 *
 * Threads: the fates of one direction have one writer; anyone reads them.
 */
#ifndef NETLOG_FORWARD_H
#define NETLOG_FORWARD_H

#include "relay/peers.h"
#include "io/sock.h"

/* What became of a packet. */
enum netlog_fate {
	NETLOG_FORWARDED = 0,
	NETLOG_DROP_NO_PEER = 1,            /* tx: no peer has the destination */
	NETLOG_DROP_MALFORMED = 2,          /* shorter than its header or its own length says */
	NETLOG_DROP_NOT_IP = 3,             /* neither version 4 nor 6 */
	NETLOG_DROP_UNKNOWN_ENDPOINT = 4,   /* rx: not from a peer's endpoint */
	NETLOG_DROP_SOURCE_NOT_ALLOWED = 5, /* rx: the peer does not have the source address */
	NETLOG_DROP_TRUNCATED = 6,          /* rx: longer than a slot */
	NETLOG_DROP_SEND_FAILED = 7,        /* tx: the socket refused it */
	NETLOG_DROP_SEND_QUEUE_FULL = 8,    /* tx: the socket's send buffer was full */
	NETLOG_DROP_WRITE_FAILED = 9,       /* rx: the TUN refused it */
	NETLOG_FATES = 10,
};

/* One direction's, by fate. writer: its pump / reader: any / relaxed: each is a statistic of its
 * own */
struct netlog_fates {
	uint64_t packets[NETLOG_FATES];
	uint64_t bytes[NETLOG_FATES];
};

/* Counts packets that met one fate. The writer of fates. */
void netlog_fates_add(struct netlog_fates *fates, enum netlog_fate fate, uint64_t packets,
		      uint64_t bytes);
/* Counts what a write or send made of the packets that were to go on. The writer of fates. */
void netlog_fates_add_outcome(struct netlog_fates *fates, enum netlog_direction direction,
			      const struct netlog_outcome *outcome);

/* What happens to a packet out of the TUN; to *peer, if it is forwarded. */
enum netlog_fate netlog_forward_judge_tx(const struct netlog_peers *peers, const uint8_t *packet,
					 uint32_t length, int *peer);

/* What happens to the packet of a datagram from `peer`, which may be NETLOG_NO_PEER. */
enum netlog_fate netlog_forward_judge_rx(const struct netlog_peers *peers, const uint8_t *packet,
					 uint32_t length, int peer);

/* Picks from batch slots 0..n-1, read from the TUN, n <= NETLOG_BATCH. Returns how many it wrote to
 * outgoing; they point into batch and peers. */
uint32_t netlog_forward_tx(const struct netlog_peers *peers, const struct netlog_batch *batch,
			   uint32_t n, struct netlog_outgoing *outgoing,
			   struct netlog_fates *fates);

/* Picks from batch slots 0..n-1, received from the socket, n <= NETLOG_BATCH. Returns how many it
 * wrote to packets; they point into batch. */
uint32_t netlog_forward_rx(const struct netlog_peers *peers, const struct netlog_batch *batch,
			   uint32_t n, struct netlog_packet *packets, struct netlog_fates *fates);

#endif
