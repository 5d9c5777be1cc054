/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "packet/key.h"
#include "relay/peers.h"

struct netlog_peers {
	struct netlog_endpoint *endpoints; /* by peer */
	uint32_t *slots;                   /* peer + 1; 0: empty; at most half of them are taken */
	uint32_t mask;
	uint32_t longest; /* the most probes that find a peer */
	struct netlog_prefixes *overlay;
	struct netlog_secret secret;
};

static uint32_t first_slot(const struct netlog_peers *peers, const struct netlog_endpoint *endpoint)
{
	const uint64_t *key = peers->secret.words;
	/* The word after the address: port, version, reserved and scope_id. */
	uint64_t tail = load_64(&endpoint->port);
	uint64_t address = hash_fold(load_64(endpoint->address) ^ key[0],
				     load_64(endpoint->address + 8) ^ key[1]);

	return (uint32_t)hash_fold(address ^ key[2], tail ^ key[3]) & peers->mask;
}

static bool is_same(const struct netlog_endpoint *a, const struct netlog_endpoint *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int insert(struct netlog_peers *peers, uint32_t peer)
{
	uint32_t slot = first_slot(peers, &peers->endpoints[peer]);
	uint32_t probes = 1;

	while (peers->slots[slot]) {
		if (is_same(&peers->endpoints[peers->slots[slot] - 1], &peers->endpoints[peer]))
			return -EEXIST;
		slot = (slot + 1) & peers->mask;
		probes++;
	}
	peers->slots[slot] = peer + 1;
	if (probes > peers->longest)
		peers->longest = probes;
	return 0;
}

static int insert_all(struct netlog_peers *peers, const struct netlog_endpoint *endpoints, size_t n)
{
	uint32_t slots = 2;
	int rc = 0;

	while (slots < 2 * n)
		slots *= 2;
	peers->mask = slots - 1;
	peers->slots = calloc(slots, sizeof(*peers->slots));
	peers->endpoints = calloc(n ? n : 1, sizeof(*endpoints));
	if (!peers->slots || !peers->endpoints)
		return -ENOMEM;
	if (getrandom(&peers->secret, sizeof(peers->secret), 0) != (ssize_t)sizeof(peers->secret))
		return -errno;
	if (n)
		memcpy(peers->endpoints, endpoints, n * sizeof(*endpoints));
	for (uint32_t peer = 0; peer < n && !rc; peer++)
		rc = insert(peers, peer);
	return rc;
}

int netlog_peers_open(const struct netlog_endpoint *endpoints, size_t n,
		      const struct netlog_prefix *prefixes, size_t n_prefixes,
		      struct netlog_peers **opened)
{
	struct netlog_peers *peers;
	int rc;

	if (n > NETLOG_MAX_PEERS)
		return -EINVAL;
	peers = calloc(1, sizeof(*peers));
	if (!peers)
		return -ENOMEM;
	rc = insert_all(peers, endpoints, n);
	if (!rc)
		rc = netlog_prefixes_open(prefixes, n_prefixes, &peers->overlay);
	if (rc) {
		netlog_peers_close(peers);
		return rc;
	}
	*opened = peers;
	return 0;
}

void netlog_peers_close(struct netlog_peers *peers)
{
	if (!peers)
		return;
	if (peers->overlay)
		netlog_prefixes_close(peers->overlay);
	free(peers->endpoints);
	free(peers->slots);
	free(peers);
}

int netlog_peers_at(const struct netlog_peers *peers, const struct netlog_endpoint *endpoint)
{
	uint32_t slot = first_slot(peers, endpoint);

	for (uint32_t probe = 0; probe < peers->longest; probe++) {
		uint32_t taken = peers->slots[slot];

		if (!taken)
			return NETLOG_NO_PEER;
		if (is_same(&peers->endpoints[taken - 1], endpoint))
			return (int)taken - 1;
		slot = (slot + 1) & peers->mask;
	}
	return NETLOG_NO_PEER;
}

int netlog_peers_owner(const struct netlog_peers *peers, const uint8_t address[16], int version)
{
	return (int)netlog_prefixes_find(peers->overlay, address, version) - 1;
}

const struct netlog_endpoint *netlog_peers_endpoint(const struct netlog_peers *peers, int peer)
{
	return &peers->endpoints[peer];
}
