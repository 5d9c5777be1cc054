/* SPDX-License-Identifier: BSD-3-Clause */
/* sock: counted receives and sends of datagrams on a UDP socket.
 *
 * The socket is AF_INET or AF_INET6, and UDP_SEGMENT is not set on it. No call waits, with or
 * without O_NONBLOCK. Sent datagrams are tx, received datagrams are rx. They are counted by remote
 * endpoint; an IPv4-mapped remote on an IPv6 socket counts as IPv4.
 *
 * With UDP_GRO (`gro`) the kernel may deliver several datagrams of one remote as one. With
 * UDP_SEGMENT (`segments`) it takes several as one. They are counted as the datagrams that they are
 * on the wire. A caller that can process several at once calls netlog_sock_recv_entered() with
 * batch->datagram_bytes. netlog_sock_recv() delivers them one by one.
 *
 * An ICMP error that an earlier datagram caused (such as ECONNREFUSED) makes the next call on the
 * socket fail. These functions take such an error off the socket and call again. So it neither
 * stops the batch nor makes a datagram fail.
 *
 * Threads: one thread at a time receives with a lane, and one sends with a lane. A receive and a
 * send may run at the same time if their lanes differ. Any thread may call the others.
 *
 * Sources: recvmmsg(2), sendmmsg(2), udp(7), ip(7).
 */
#ifndef NETLOG_SOCK_H
#define NETLOG_SOCK_H

#include "io/batch.h"
#include "io/bundle.h"

/* Datagrams that netlog_sock_recv() has received together with others, and has not delivered yet.
 */
struct netlog_sock_rest {
	struct netlog_endpoint endpoint;
	uint32_t length;
	uint32_t next; /* offset of the next one in data; length: none is left */
	uint16_t datagram_bytes;
	uint8_t data[NETLOG_MAX_PACKET_BYTES];
};

struct netlog_sock {
	int fd;
	int family;      /* AF_INET or AF_INET6 */
	bool statistics; /* writer: any / reader: any / relaxed: one batch more or less is counted
			  */
	bool gro;        /* UDP_GRO is set */
	bool segments; /* UDP_SEGMENT may be tried / writer: any sender that it fails / reader: any
			* / relaxed: one bundle more is tried in vain */
	struct netlog_sock_rest *rest; /* the caller's; with gro, for netlog_sock_recv() */
};

struct netlog_outgoing {
	const uint8_t *data;
	const struct netlog_endpoint *endpoint;
	uint32_t length; /* bytes; 0 is an empty datagram */
};

void netlog_sock_set_statistics(struct netlog_sock *sock, bool enabled);
bool netlog_sock_statistics(const struct netlog_sock *sock);

/* Receives datagrams into the slots of batch, at most NETLOG_BATCH, until there are no more.
 *
 * lane: counts them; the caller has entered it. NULL: they are not counted. lengths[] and the
 * counts are the datagrams' own lengths; if one exceeds batch->capacity, the slot has only its
 * beginning. With gro, batch->datagram_bytes must not be NULL, and a slot may hold several
 * datagrams.
 *
 * Returns the number of slots that were filled, or -errno if the descriptor is no longer a socket.
 */
int netlog_sock_recv_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			     const struct netlog_batch *batch);

/* Sends outgoing[0..n-1], n <= NETLOG_BATCH, and adds the result to outcome. A datagram that the
 * kernel refuses does not stop the rest, but a full send queue does. lane: as above. Returns 0, or
 * -errno if the descriptor is no longer a socket; then the rest counts as refused. */
int netlog_sock_send_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			     const struct netlog_outgoing *outgoing, uint32_t n,
			     struct netlog_outcome *outcome);

/* Sends the bundles of a bundler in the same way. If the kernel refuses a bundle as a whole, its
 * datagrams are sent one by one. EMSGSIZE concerns this bundle only. Other errors (such as EIO and
 * EINVAL) mean that UDP_SEGMENT does not work here, and it is not tried again. */
int netlog_sock_send_bundles_entered(struct netlog_sock *sock, struct netlog_lane *lane,
				     struct netlog_bundler *bundler,
				     struct netlog_outcome *outcome);

/* Whether UDP_SEGMENT may still be tried. Any thread. */
bool netlog_sock_segments(const struct netlog_sock *sock);

/* The same for a whole batch of any size, with enter and leave around each NETLOG_BATCH datagrams.
 * If statistics are disabled, nothing is counted. If the descriptor is gone, the rest counts as
 * refused.
 */
int netlog_sock_recv(const struct netlog_sock *sock, struct netlog_lane *lane,
		     const struct netlog_batch *batch);
int netlog_sock_send(const struct netlog_sock *sock, struct netlog_lane *lane,
		     const struct netlog_batch *batch, struct netlog_outcome *outcome);

/* Takes pending errors off the socket, so that poll(2) no longer says POLLERR. */
void netlog_sock_clear_errors(const struct netlog_sock *sock);

#endif
