/* SPDX-License-Identifier: BSD-3-Clause */
/* peers: who may be behind an endpoint, and where an overlay address is.
 *
 * Two maps to a peer's number: from the UDP endpoint that its datagrams come from, and from the
 * overlay addresses that it may use (the longest prefix wins). Both are built once and never
 * change. The endpoint map is open addressing under a hash with a secret of its own: an attacker
 * picks source addresses and ports, but can not aim at one bucket. A look-up takes at most as many
 * probes as the longest run that open() met.
 *
 * Threads: open and close by the owner, the rest from any thread in between.
 */
#ifndef NETLOG_PEERS_H
#define NETLOG_PEERS_H

#include "io/batch.h"
#include "prefixes/prefixes.h"

/* A gateway's own peers, read from a file: far above any that was heard of, and small tables. */
#define NETLOG_MAX_PEERS 65536u

/* "There is no such peer". */
#define NETLOG_NO_PEER (-1)

struct netlog_peers;

/* Peer i has endpoints[i]; a prefix of peer i is given with set = i + 1 and clear = ~0. Both are
 * copied. -EEXIST if two peers have one endpoint, -EINVAL for more than NETLOG_MAX_PEERS or a
 * prefix out of range, -ENOMEM, or getrandom(2)'s error. */
int netlog_peers_open(const struct netlog_endpoint *endpoints, size_t n,
		      const struct netlog_prefix *prefixes, size_t n_prefixes,
		      struct netlog_peers **peers);
/* NULL is fine. */
void netlog_peers_close(struct netlog_peers *peers);

/* The number of the peer with this endpoint, or NETLOG_NO_PEER. */
int netlog_peers_at(const struct netlog_peers *peers, const struct netlog_endpoint *endpoint);
/* The number of the peer that has this overlay address, or NETLOG_NO_PEER. */
int netlog_peers_owner(const struct netlog_peers *peers, const uint8_t address[16], int version);
/* peer: a number that one of the two above returned. */
const struct netlog_endpoint *netlog_peers_endpoint(const struct netlog_peers *peers, int peer);

#endif
