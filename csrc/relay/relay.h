/* SPDX-License-Identifier: BSD-3-Clause */
/* relay: threads that move packets, TUN -> UDP and UDP -> TUN. They do not encrypt.
 *
 * There are two for each queue, one for each direction. A queue is a descriptor of the TUN and a
 * socket on the relay's port; the kernel keeps the packets of a flow on one queue of an
 * IFF_MULTI_QUEUE TUN, and the datagrams of a peer on one socket of a SO_REUSEPORT group, and so in
 * their order.
 *
 * Each thread has a lane of the one meter that all devices share. A batch that it reads, with all
 * that it sends or writes of it, lies in one enter/leave: both observation points of an epoch
 * agree. A thread with nothing to do sleeps in poll(2). When one ends because its descriptor is
 * gone, all others end too, and the done event says so.
 *
 * Threads: start and close by the owner; stop, error and fates by any thread in between.
 * Ownership: devices, peers and lanes are the caller's and must outlive close(). While the relay
 * runs nobody else may use the lanes.
 * Bounds: a stop is seen between two batches, or at once by a sleeping thread.
 */
#ifndef NETLOG_RELAY_H
#define NETLOG_RELAY_H

#include "relay/offload.h"

struct netlog_relay;

/* As many as the kernel gives a TUN. */
#define NETLOG_MAX_QUEUES 256u

struct netlog_relay_queue {
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	struct netlog_lane *lanes[2]; /* by direction; all of a relay are of one meter */
};

struct netlog_relay_options {
	const struct netlog_relay_queue *queues;
	uint32_t n_queues; /* 1 to NETLOG_MAX_QUEUES */
	const struct netlog_peers *peers;
};

/* All threads run when this returns 0, with all signals blocked. -EINVAL, -ENOMEM, -EAGAIN, or
 * eventfd(2)'s error; then none does. */
int netlog_relay_start(const struct netlog_relay_options *options, struct netlog_relay **relay);
/* Asks all threads to end; does not wait. */
void netlog_relay_stop(struct netlog_relay *relay);
/* An event descriptor that becomes readable, and stays so, when all threads have ended. */
int netlog_relay_done_fd(const struct netlog_relay *relay);
/* Why the relay ended by itself: an errno, of the thread that was first. 0: it did not. */
int netlog_relay_error(const struct netlog_relay *relay, int *direction, uint32_t *queue);
/* Adds what became of one direction's packets since start, on all queues. */
void netlog_relay_fates(const struct netlog_relay *relay, int direction, struct netlog_fates *sum);
/* Stops, waits for all threads, frees. NULL is fine. */
void netlog_relay_close(struct netlog_relay *relay);

#endif
