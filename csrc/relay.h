/* SPDX-License-Identifier: BSD-3-Clause */
/* relay: two threads that move packets, TUN -> UDP and UDP -> TUN. They do not encrypt.
 *
 * Each has a lane of the one meter that TUN and socket share. A batch that it reads, with all that
 * it sends or writes of it, lies in one enter/leave: both observation points of an epoch agree. A
 * thread with nothing to do sleeps in poll(2). When one ends because its descriptor is gone, the
 * other ends too, and the done event says so.
 *
 * Threads: start and close by the owner; stop, error and fates by any thread in between.
 * Ownership: tun, sock, peers and lanes are the caller's and must outlive close(). While the relay
 * runs nobody else may use the lanes.
 * Bounds: a stop is seen between two batches, or at once by a sleeping thread.
 */
#ifndef NETLOG_RELAY_H
#define NETLOG_RELAY_H

#include "offload.h"

struct netlog_relay;

struct netlog_relay_options {
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	const struct netlog_peers *peers;
	struct netlog_lane *lanes[2]; /* by direction; two of one meter */
};

/* Both threads run when this returns 0, with all signals blocked. -ENOMEM, -EAGAIN, or eventfd(2)'s
 * error; then none does. */
int netlog_relay_start(const struct netlog_relay_options *options, struct netlog_relay **relay);
/* Asks both threads to end; does not wait. */
void netlog_relay_stop(struct netlog_relay *relay);
/* An event descriptor that becomes readable, and stays so, when both threads have ended. */
int netlog_relay_done_fd(const struct netlog_relay *relay);
/* Why the relay ended by itself: an errno; *direction says in which thread. 0: it did not. */
int netlog_relay_error(const struct netlog_relay *relay, int *direction);
/* Adds what became of one direction's packets since start. */
void netlog_relay_fates(const struct netlog_relay *relay, int direction, struct netlog_fates *sum);
/* Stops, waits for both threads, frees. NULL is fine. */
void netlog_relay_close(struct netlog_relay *relay);

#endif
