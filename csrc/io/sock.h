/* SPDX-License-Identifier: BSD-3-Clause */
/* sock: counted receives and sends of datagrams on a UDP socket.
 *
 * The socket is AF_INET or AF_INET6, without UDP_SEGMENT of its own. Nothing here waits, whatever
 * the descriptor's O_NONBLOCK. What is sent is tx, what is received is rx, by remote endpoint; an
 * IPv4-mapped remote on an IPv6 socket is an IPv4 one.
 *
 * With UDP_GRO (`gro`) the kernel may hand over several datagrams of one remote as one, and with
 * UDP_SEGMENT (`segments`) it takes several as one. They count as what they are on the wire. Who
 * can take them calls recv_entered with batch->datagram_bytes; netlog_sock_recv() hands over one by
 * one.
 *
 * An ICMP error that an earlier datagram caused (ECONNREFUSED and its like) makes the next call on
 * the socket fail. Such an error is taken off the socket and the call is made again: it stops
 * nothing and fails no datagram.
 *
 * Threads: receives of one lane by one thread at a time, sends likewise; a receive and a send may
 * go on at once if their lanes differ. The rest by any.
 *
 * Sources: recvmmsg(2), sendmmsg(2), udp(7), ip(7).
 */
#ifndef NETLOG_SOCK_H
#define NETLOG_SOCK_H

#include "io/batch.h"
#include "io/bundle.h"

/* What netlog_sock_recv() has received with others, and not yet handed over. */
struct netlog_sock_rest {
	struct netlog_endpoint endpoint;
	uint32_t length;
	uint32_t next; /* where in data; length: there is nothing left */
	uint16_t datagram_bytes;
	uint8_t data[NETLOG_MAX_PACKET_BYTES];
};

struct netlog_sock {
	int fd;
	int family;      /* AF_INET or AF_INET6 */
	bool statistics; /* writer: any / reader: any / relaxed: one batch more or less */
	bool gro;        /* UDP_GRO is set */
	bool segments; /* UDP_SEGMENT may be tried / writer: any sender that it fails / reader: any
			* / relaxed: a bundle more that is sent one by one */
	struct netlog_sock_rest *rest; /* the caller's; with gro, for netlog_sock_recv() */
};

struct netlog_outgoing {
	const uint8_t *data;
	const struct netlog_endpoint *endpoint;
	uint32_t length; /* bytes; 0 is a datagram too */
};

void netlog_sock_set_statistics(struct netlog_sock *sock, bool enabled);
bool netlog_sock_statistics(const struct netlog_sock *sock);

/* Receives datagrams into the slots of batch, at most NETLOG_BATCH, until there are no more.
 * lane: the caller is between its enter and leave, and what is received is counted there; NULL:
 * nothing is counted. lengths[] and the counts are the datagrams' own lengths: one over
 * batch->capacity says that the slot holds only its beginning. Returns how many, or -errno if the
 * descriptor is no socket any more.
 * With gro, batch->datagram_bytes is there, and a slot may hold several. */
int netlog_sock_recv_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			     const struct netlog_batch *batch);

/* Sends outgoing[0..n-1], n <= NETLOG_BATCH, and adds to outcome what became of them; one that the
 * kernel refuses does not stop the rest, but a full send queue does. Lane as above. Returns 0, or
 * -errno if the descriptor is no socket any more; then what is left is refused. */
int netlog_sock_send_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			     const struct netlog_outgoing *outgoing, uint32_t n,
			     struct netlog_outcome *outcome);

/* Sends the bundles of a bundler likewise. Where the kernel does not take one as a whole, its
 * datagrams are sent one by one, and from then on all of them if that is how it is (EIO, EINVAL:
 * no UDP_SEGMENT here); EMSGSIZE means this one only. */
int netlog_sock_send_bundles_entered(struct netlog_sock *sock, struct netlog_lane *lane,
				     struct netlog_bundler *bundler,
				     struct netlog_outcome *outcome);

/* Whether UDP_SEGMENT may still be tried. */
bool netlog_sock_segments(const struct netlog_sock *sock);

/* The same with enter and leave around each NETLOG_BATCH datagrams, if statistics are enabled. What
 * is left when the descriptor is gone is refused. */
int netlog_sock_recv(const struct netlog_sock *sock, struct netlog_lane *lane,
		     const struct netlog_batch *batch);
int netlog_sock_send(const struct netlog_sock *sock, struct netlog_lane *lane,
		     const struct netlog_batch *batch, struct netlog_outcome *outcome);

/* Takes pending errors off the socket, so that poll(2) no longer says POLLERR. */
void netlog_sock_clear_errors(const struct netlog_sock *sock);

#endif
