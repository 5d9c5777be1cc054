/* SPDX-License-Identifier: BSD-3-Clause */
/* peers: finds the peer with an endpoint, and the peer that has an overlay address.
 *
 * Two maps lead to a peer's number: one from the UDP endpoint of its datagrams, the other from the
 * overlay addresses that it may use (the longest prefix wins). Both are built once and never
 * change.
 *
 * The endpoint map uses open addressing and a hash with a secret of its own. So an attacker, who
 * can choose source addresses and ports, cannot aim at one bucket. A look-up takes at most as many
 * probes as the longest run that netlog_peers_open() met.
 *
 * Threads: the owner opens and closes. In between, any thread may call the others.
 */
#ifndef NETLOG_PEERS_H
#define NETLOG_PEERS_H

#include "io/batch.h"
#include "prefixes/prefixes.h"

/* The most peers of a gateway. Far more than any known gateway has, and the tables are still small.
 */
#define NETLOG_MAX_PEERS 65536u

/* In place of a peer's number: there is no such peer. */
#define NETLOG_NO_PEER (-1)

struct netlog_peers;

/* Builds the maps. Peer i has endpoints[i]. A prefix of peer i has set = i + 1 and clear = ~0. Both
 * arrays are copied. Returns 0; -EEXIST: two peers have the same endpoint; -EINVAL: more than
 * NETLOG_MAX_PEERS, or a prefix out of range; -ENOMEM; or the errno of getrandom(2). */
int netlog_peers_open(const struct netlog_endpoint *endpoints, size_t n,
		      const struct netlog_prefix *prefixes, size_t n_prefixes,
		      struct netlog_peers **peers);
/* NULL is allowed. */
void netlog_peers_close(struct netlog_peers *peers);

/* Returns the number of the peer with this endpoint, or NETLOG_NO_PEER. */
int netlog_peers_at(const struct netlog_peers *peers, const struct netlog_endpoint *endpoint);
/* Returns the number of the peer that has this overlay address, or NETLOG_NO_PEER. version: 4 or 6.
 */
int netlog_peers_owner(const struct netlog_peers *peers, const uint8_t address[16], int version);
/* Returns a peer's endpoint. peer: a number that one of the two calls above returned. */
const struct netlog_endpoint *netlog_peers_endpoint(const struct netlog_peers *peers, int peer);

#endif
