/* SPDX-License-Identifier: BSD-3-Clause */
/* bundle: consecutive segments to one endpoint -> datagrams that one message with UDP_SEGMENT
 * sends.
 *
 * All datagrams of a bundle have the same length, but the last one may be shorter. Only consecutive
 * segments are bundled, so the order is kept. Only headers are copied: a bundle is an array of
 * iovec, with one or two for each datagram.
 *
 * Threads: a bundler belongs to one thread.
 * Ownership: payloads and endpoints are the caller's, who keeps them until the bundles are sent.
 * Progress: no call waits or allocates. netlog_bundle_add() takes time in proportion to the bytes
 * of a segment.
 *
 * Sources: udp(7); Linux net/ipv4/udp.c, udp_send_skb().
 */
#ifndef NETLOG_BUNDLE_H
#define NETLOG_BUNDLE_H

#include <sys/uio.h>

#include "io/batch.h"
#include "gso/segment.h"

/* The most datagrams of one bundle: UDP_MAX_SEGMENTS of kernels before 6.9. Newer ones take twice
 * as many. */
#define NETLOG_BUNDLE_DATAGRAMS 64u

/* The most bytes of one bundle: 64 KiB less the IPv4 and UDP headers. */
#define NETLOG_BUNDLE_BYTES 65507u

/* The room of a bundler: about twelve super-packets, with two vectors for each segment. */
#define NETLOG_BUNDLE_VECTORS      1024u
#define NETLOG_BUNDLE_HEADER_BYTES (32u * 1024u)

struct netlog_bundle {
	const struct netlog_endpoint *endpoint;
	uint32_t first; /* its first vector */
	uint32_t n_vectors;
	uint32_t length;         /* bytes of all datagrams */
	uint32_t datagrams;      /* 1..NETLOG_BUNDLE_DATAGRAMS */
	uint32_t datagram_bytes; /* of each datagram except the last */
	bool ended;              /* the last one is shorter, so none may follow */
};

struct netlog_bundler {
	uint32_t most; /* datagrams of a bundle; 1: without UDP_SEGMENT */
	uint32_t n_bundles;
	uint32_t n_vectors;
	uint32_t header_bytes;
	struct netlog_bundle bundles[NETLOG_BATCH];
	struct iovec vectors[NETLOG_BUNDLE_VECTORS];
	uint8_t headers[NETLOG_BUNDLE_HEADER_BYTES];
};

/* Empties the bundler. most: datagrams of a bundle, 1..NETLOG_BUNDLE_DATAGRAMS. */
void netlog_bundle_begin(struct netlog_bundler *bundler, uint32_t most);

/* Adds segment i of a plan as a datagram to endpoint. Returns false, and adds nothing, if there is
 * no room. An empty bundler always has room. */
bool netlog_bundle_add(struct netlog_bundler *bundler, const struct netlog_endpoint *endpoint,
		       const struct netlog_segments *plan, uint32_t i);

#endif
