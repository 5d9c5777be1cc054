/* SPDX-License-Identifier: BSD-3-Clause */
/* bundle: segments that go to one endpoint, one behind the other -> datagrams that one message with
 * UDP_SEGMENT sends.
 *
 * The datagrams of a bundle are equally long but the last, which may be shorter. Only what comes in
 * a row is bundled, so the order is kept. Nothing is copied but headers: a bundle is an array of
 * iovec, of which each datagram has one or two.
 *
 * Threads: a bundler belongs to one. Ownership: payloads and endpoints are the caller's, and stay
 * until the bundles are sent. Progress: no call waits or allocates; add() takes time by the bytes
 * of a segment.
 *
 * Sources: udp(7); Linux net/ipv4/udp.c, udp_send_skb().
 */
#ifndef NETLOG_BUNDLE_H
#define NETLOG_BUNDLE_H

#include <sys/uio.h>

#include "io/batch.h"
#include "gso/segment.h"

/* Datagrams of one bundle: UDP_MAX_SEGMENTS of kernels before 6.9; newer ones take twice that. */
#define NETLOG_BUNDLE_DATAGRAMS 64u

/* Bytes of one bundle: what IPv4 and UDP headers leave of 64 KiB. */
#define NETLOG_BUNDLE_BYTES 65507u

/* Of a bundler: twelve super-packets, at two vectors a segment. */
#define NETLOG_BUNDLE_VECTORS      1024u
#define NETLOG_BUNDLE_HEADER_BYTES (32u * 1024u)

struct netlog_bundle {
	const struct netlog_endpoint *endpoint;
	uint32_t first; /* vector */
	uint32_t n_vectors;
	uint32_t length;    /* bytes of all datagrams */
	uint32_t datagrams; /* 1..NETLOG_BUNDLE_DATAGRAMS */
	uint32_t datagram_bytes;
	bool ended; /* by a shorter one */
};

struct netlog_bundler {
	uint32_t most; /* datagrams of a bundle; 1: there is no UDP_SEGMENT */
	uint32_t n_bundles;
	uint32_t n_vectors;
	uint32_t header_bytes;
	struct netlog_bundle bundles[NETLOG_BATCH];
	struct iovec vectors[NETLOG_BUNDLE_VECTORS];
	uint8_t headers[NETLOG_BUNDLE_HEADER_BYTES];
};

/* Empties it. most: 1..NETLOG_BUNDLE_DATAGRAMS. */
void netlog_bundle_begin(struct netlog_bundler *bundler, uint32_t most);

/* Takes segment i of a plan as a datagram to endpoint. False if there is no room: then it was not
 * taken. An empty bundler always has room. */
bool netlog_bundle_add(struct netlog_bundler *bundler, const struct netlog_endpoint *endpoint,
		       const struct netlog_segments *plan, uint32_t i);

#endif
