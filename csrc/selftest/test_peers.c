/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of peers: the endpoint map against a list, and the bound on its probes. */
#include "relay/peers.c"
#include "check.h"

#define MOST 5000

static struct netlog_endpoint endpoint4(uint32_t address, uint16_t port)
{
	struct netlog_endpoint endpoint = {.port = port, .version = 4};

	endpoint.address[10] = endpoint.address[11] = 0xff;
	put_32(endpoint.address + 12, address);
	return endpoint;
}

static struct netlog_endpoint endpoint6(uint32_t address, uint16_t port, uint32_t scope_id)
{
	struct netlog_endpoint endpoint = {.port = port, .version = 6, .scope_id = scope_id};

	endpoint.address[0] = 0xfe;
	endpoint.address[1] = 0x80;
	put_32(endpoint.address + 12, address);
	return endpoint;
}

/* Makes endpoints that are neighbours in address, port, scope and family, which a weak hash would
 * put into the same slots. */
static struct netlog_endpoint numbered(uint32_t number)
{
	uint16_t port = (uint16_t)(1 + number % 7);
	uint32_t address = 0xc0000200u + number / 14;

	return number / 7 % 2 ? endpoint6(address, port, number % 3) : endpoint4(address, port);
}

static struct netlog_peers *opened(const struct netlog_endpoint *endpoints, uint32_t n)
{
	struct netlog_peers *peers = NULL;

	CHECK(netlog_peers_open(endpoints, n, NULL, 0, &peers) == 0);
	return peers;
}

/* Every peer is found under its number, and no other endpoint is found. */
static void test_endpoints(uint32_t n)
{
	static struct netlog_endpoint endpoints[MOST];

	for (uint32_t peer = 0; peer < n; peer++)
		endpoints[peer] = numbered(peer);
	struct netlog_peers *peers = opened(endpoints, n);

	CHECK_ROW(n, peers->mask + 1 >= 2 * n);
	/* In a map that is half full and hashed well, a run of 100 has a probability below 2^-60.
	 */
	CHECK_ROW(n, peers->longest < 100);
	for (uint32_t peer = 0; peer < n; peer++) {
		CHECK_ROW(peer, netlog_peers_at(peers, &endpoints[peer]) == (int)peer);
		CHECK_ROW(peer, memcmp(netlog_peers_endpoint(peers, (int)peer), &endpoints[peer],
				       sizeof(endpoints[peer])) == 0);
	}
	for (uint32_t number = n; number < n + 1000; number++) {
		struct netlog_endpoint stranger = numbered(number);

		CHECK_ROW(number, netlog_peers_at(peers, &stranger) == NETLOG_NO_PEER);
	}
	netlog_peers_close(peers);
}

/* An endpoint that differs in one byte is another endpoint. */
static void test_each_byte_matters(void)
{
	struct netlog_endpoint endpoint = endpoint6(1, 2, 3);
	struct netlog_peers *peers = opened(&endpoint, 1);

	for (size_t i = 0; i < sizeof(endpoint); i++) {
		struct netlog_endpoint other = endpoint;

		((uint8_t *)&other)[i] ^= 1;
		CHECK_ROW(i, netlog_peers_at(peers, &other) == NETLOG_NO_PEER);
	}
	netlog_peers_close(peers);
}

static void test_refused(void)
{
	struct netlog_endpoint twice[3] = {endpoint4(1, 1), endpoint4(1, 2), endpoint4(1, 1)};
	struct netlog_prefix wrong = {.version = 4, .length = 33};
	struct netlog_peers *peers = NULL;

	CHECK(netlog_peers_open(twice, 3, NULL, 0, &peers) == -EEXIST);
	CHECK(netlog_peers_open(twice, 1, &wrong, 1, &peers) == -EINVAL);
	CHECK(netlog_peers_open(twice, NETLOG_MAX_PEERS + 1, NULL, 0, &peers) == -EINVAL);
	CHECK(!peers);
	netlog_peers_close(NULL);
}

static void test_owner(void)
{
	struct netlog_endpoint endpoints[2] = {endpoint4(1, 1), endpoint4(2, 1)};
	struct netlog_prefix prefixes[2] = {
		{.version = 4, .length = 8, .clear = UINT32_MAX, .set = 1},
		{.version = 4, .length = 32, .clear = UINT32_MAX, .set = 2},
	};
	struct netlog_endpoint inside = endpoint4(0x0a000001, 0), wide = endpoint4(0x0a000002, 0),
			       outside = endpoint4(0x0b000001, 0);
	struct netlog_peers *peers = NULL;

	memcpy(prefixes[0].address, inside.address, sizeof(inside.address));
	memcpy(prefixes[1].address, inside.address, sizeof(inside.address));
	CHECK(netlog_peers_open(endpoints, 2, prefixes, 2, &peers) == 0);
	CHECK(netlog_peers_owner(peers, inside.address, 4) == 1);
	CHECK(netlog_peers_owner(peers, wide.address, 4) == 0);
	CHECK(netlog_peers_owner(peers, outside.address, 4) == NETLOG_NO_PEER);
	/* An IPv4-mapped IPv6 address is an IPv6 address. */
	CHECK(netlog_peers_owner(peers, inside.address, 6) == NETLOG_NO_PEER);
	netlog_peers_close(peers);
}

int main(void)
{
	for (uint32_t n = 0; n < 40; n++)
		test_endpoints(n);
	test_endpoints(1024);
	test_endpoints(MOST);
	test_each_byte_matters();
	test_refused();
	test_owner();
	puts("peers: ok");
	return 0;
}
