/* SPDX-License-Identifier: BSD-3-Clause */
/* relay: threads that move packets, TUN -> UDP and UDP -> TUN. They do not encrypt.
 *
 * Each queue has two threads, one for each direction. A queue consists of a descriptor of the TUN
 * and a socket on the relay's port. The kernel keeps the packets of a flow on one queue of an
 * IFF_MULTI_QUEUE TUN, and the datagrams of a peer on one socket of a SO_REUSEPORT group. So both
 * stay in order.
 *
 * All devices share one meter, in which each thread has its own lane. A thread reads a batch and
 * sends or writes it within one enter and leave, so both observation points agree in every epoch. A
 * thread with nothing to do sleeps in poll(2). If a thread ends because its descriptor is gone, all
 * others end, too, and then the done event is signalled.
 *
 * Threads: the owner starts and closes. In between, any thread may call the others.
 * Ownership: devices, peers and lanes are the caller's, and must exist until netlog_relay_close()
 * has returned. While the relay runs, nobody else may use the lanes. Bounds: a stop is seen between
 * two batches, or at once by a sleeping thread.
 */
#ifndef NETLOG_RELAY_H
#define NETLOG_RELAY_H

#include "relay/offload.h"

struct netlog_relay;

/* The most queues that the kernel gives a TUN. */
#define NETLOG_MAX_QUEUES 256u

struct netlog_relay_queue {
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	struct netlog_lane *lanes[2]; /* by direction; all lanes of a relay belong to one meter */
};

struct netlog_relay_options {
	const struct netlog_relay_queue *queues;
	uint32_t n_queues; /* 1 to NETLOG_MAX_QUEUES */
	const struct netlog_peers *peers;
};

/* Starts all threads, with all signals blocked. Returns 0; -EINVAL: n_queues is out of range;
 * -ENOMEM; -EAGAIN; or the errno of eventfd(2). After an error no thread runs. */
int netlog_relay_start(const struct netlog_relay_options *options, struct netlog_relay **relay);
/* Asks all threads to end. Does not wait for them. */
void netlog_relay_stop(struct netlog_relay *relay);
/* Returns an event descriptor that becomes readable, and stays so, when all threads have ended. */
int netlog_relay_done_fd(const struct netlog_relay *relay);
/* Returns the errno with which the relay ended by itself; 0: it did not. *direction and *queue name
 * the thread that failed first. */
int netlog_relay_error(const struct netlog_relay *relay, int *direction, uint32_t *queue);
/* Adds to *sum the fates of one direction's packets since the start, on all queues. */
void netlog_relay_fates(const struct netlog_relay *relay, int direction, struct netlog_fates *sum);
/* Stops, waits for all threads, and frees. NULL is allowed. */
void netlog_relay_close(struct netlog_relay *relay);

#endif
