/* SPDX-License-Identifier: BSD-3-Clause */
/* forward: decides which packets of a batch are forwarded, and where to. It does no I/O.
 *
 * A packet from the TUN goes to the peer that has its destination address. A datagram from the
 * socket is forwarded if its endpoint is a peer's and that peer has the packet's source address.
 * All other packets are dropped, and counted by reason. There is no other authentication and no
 * encryption: anyone who can send from a peer's address and port is that peer.
 *
 * Threads: the fates of one direction have one writer. Any thread reads them.
 */
#ifndef NETLOG_FORWARD_H
#define NETLOG_FORWARD_H

#include "base/atomic.h"
#include "relay/peers.h"
#include "io/sock.h"

/* The fate of a packet. */
enum netlog_fate {
	NETLOG_FORWARDED = 0,
	NETLOG_DROP_NO_PEER = 1,            /* tx: no peer has the destination */
	NETLOG_DROP_MALFORMED = 2,          /* shorter than its header or its own length says */
	NETLOG_DROP_NOT_IP = 3,             /* neither version 4 nor version 6 */
	NETLOG_DROP_UNKNOWN_ENDPOINT = 4,   /* rx: not from a peer's endpoint */
	NETLOG_DROP_SOURCE_NOT_ALLOWED = 5, /* rx: the peer does not have the source address */
	NETLOG_DROP_TRUNCATED = 6,          /* rx: longer than a slot */
	NETLOG_DROP_SEND_FAILED = 7,        /* tx: the socket refused it */
	NETLOG_DROP_SEND_QUEUE_FULL = 8,    /* tx: the socket's send buffer was full */
	NETLOG_DROP_WRITE_FAILED = 9,       /* rx: the TUN refused it */
	NETLOG_FATES = 10,
};

/* The packets of one direction, by fate. writer: the pump of this direction / reader: any thread /
 * relaxed: each counter is a statistic of its own, and a value may be a moment old */
struct netlog_fates {
	ATOMIC_WORD uint64_t packets[NETLOG_FATES];
	ATOMIC_WORD uint64_t bytes[NETLOG_FATES];
};

/* Counts packets with one fate. Only the writer of fates calls it. */
void netlog_fates_add(struct netlog_fates *fates, enum netlog_fate fate, uint64_t packets,
		      uint64_t bytes);
/* Counts the outcome of writing or sending the packets that were to be forwarded. Only the writer
 * of fates calls it. */
void netlog_fates_add_outcome(struct netlog_fates *fates, enum netlog_direction direction,
			      const struct netlog_outcome *outcome);

/* Returns the fate of a packet from the TUN. If it is forwarded, *peer is the number of its peer.
 */
enum netlog_fate netlog_forward_judge_tx(const struct netlog_peers *peers, const uint8_t *packet,
					 uint32_t length, int *peer);

/* Returns the fate of the packet in a datagram from `peer`, which may be NETLOG_NO_PEER. */
enum netlog_fate netlog_forward_judge_rx(const struct netlog_peers *peers, const uint8_t *packet,
					 uint32_t length, int peer);

/* Picks the packets to forward from batch slots 0..n-1, which were read from the TUN; n <=
 * NETLOG_BATCH. Writes them to outgoing, which then points into batch and peers. Returns their
 * number. The others are counted in fates. */
uint32_t netlog_forward_tx(const struct netlog_peers *peers, const struct netlog_batch *batch,
			   uint32_t n, struct netlog_outgoing *outgoing,
			   struct netlog_fates *fates);

/* Picks the packets to forward from batch slots 0..n-1, which were received from the socket; n <=
 * NETLOG_BATCH. Writes them to packets, which then points into batch. Returns their number. The
 * others are counted in fates. */
uint32_t netlog_forward_rx(const struct netlog_peers *peers, const struct netlog_batch *batch,
			   uint32_t n, struct netlog_packet *packets, struct netlog_fates *fates);

#endif
