/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of bundle: the datagrams of all bundles, in order, are the segments that were added, and
 * no bundle exceeds the limits of UDP_SEGMENT.
 */
#include "io/bundle.h"
#include "wire.h"

#define ROUNDS    (2000 / SLOWER)
#define SUPERS    40
#define MOST      64000u
#define ENDPOINTS 3

struct added {
	const struct netlog_endpoint *endpoint;
	uint8_t *data;
	uint32_t length;
};

struct world {
	uint64_t random;
	struct netlog_endpoint endpoints[ENDPOINTS];
	struct netlog_bundler bundler;
	struct added added[NETLOG_BUNDLE_VECTORS];
	uint32_t n;
};

static void check_bounds(int row, const struct netlog_bundle *bundle, uint32_t most)
{
	CHECK_ROW(row, bundle->datagrams >= 1 && bundle->datagrams <= most);
	CHECK_ROW(row, bundle->length <= NETLOG_BUNDLE_BYTES || bundle->datagrams == 1);
}

/* Splits the bundles as the kernel does, by datagram_bytes alone. */
static void check_all(struct world *world, int row, uint32_t most)
{
	static uint8_t whole[NETLOG_MAX_PACKET_BYTES];
	uint32_t seen = 0;

	for (uint32_t i = 0; i < world->bundler.n_bundles; i++) {
		const struct netlog_bundle *bundle = &world->bundler.bundles[i];
		uint32_t length = 0, at = 0;

		check_bounds(row, bundle, most);
		for (uint32_t k = 0; k < bundle->n_vectors; k++) {
			const struct iovec *vector = &world->bundler.vectors[bundle->first + k];

			memcpy(whole + length, vector->iov_base, vector->iov_len);
			length += (uint32_t)vector->iov_len;
		}
		CHECK_ROW(row, length == bundle->length);
		for (uint32_t k = 0; k < bundle->datagrams; k++, seen++) {
			const struct added *added = &world->added[seen];
			uint32_t left = length - at;
			uint32_t bytes =
				left < bundle->datagram_bytes ? left : bundle->datagram_bytes;

			CHECK_ROW(row, seen < world->n && bytes == added->length);
			CHECK_ROW(row, bundle->endpoint == added->endpoint);
			CHECK_ROW(row, memcmp(whole + at, added->data, bytes) == 0);
			at += bytes;
		}
		CHECK_ROW(row, at == length);
	}
	CHECK_ROW(row, seen == world->n);
	while (world->n)
		free(world->added[--world->n].data);
}

static void add_all(struct world *world, int row, const struct netlog_segments *plan, uint32_t most)
{
	const struct netlog_endpoint *endpoint =
		&world->endpoints[next_random(&world->random) % 8 ? 0 : row % ENDPOINTS];

	for (uint32_t i = 0; i < plan->count; i++) {
		if (!netlog_bundle_add(&world->bundler, endpoint, plan, i)) {
			CHECK_ROW(row, world->bundler.n_bundles);
			check_all(world, row, most);
			netlog_bundle_begin(&world->bundler, most);
			CHECK_ROW(row, netlog_bundle_add(&world->bundler, endpoint, plan, i));
		}
		struct added *added = &world->added[world->n++];

		added->endpoint = endpoint;
		added->data = malloc(plan->headers + plan->gso_size + MOST);
		CHECK(added->data);
		added->length = netlog_segment_copy(plan, i, added->data);
	}
}

static struct virtio_net_hdr header_of(struct world *world, const struct wire_flow *flow)
{
	return (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = flow->proto == 17    ? 5
			    : flow->version == 4 ? VIRTIO_NET_HDR_GSO_TCPV4
						 : VIRTIO_NET_HDR_GSO_TCPV6,
		.gso_size = (uint16_t)(500 + next_random(&world->random) % 4 * 300),
		.csum_start = (uint16_t)wire_ip(flow),
		.csum_offset = flow->proto == 6 ? 16 : 6,
	};
}

static void test_round(struct world *world, int row, uint32_t most)
{
	static uint8_t payload[MOST], packets[SUPERS][MOST + 120];

	netlog_bundle_begin(&world->bundler, most);
	for (int i = 0; i < SUPERS; i++) {
		struct wire_flow flow = wire_random(&world->random);
		struct virtio_net_hdr header = header_of(world, &flow);
		struct netlog_segments plan;
		uint32_t n = 1 + (uint32_t)(next_random(&world->random) % MOST);

		if (next_random(&world->random) % 2)
			n = n % 300 + 1; /* not a super-packet */
		if (n <= 300)
			header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		payload[n - 1] = (uint8_t)row;
		uint32_t length = wire_make(&flow, payload, n, true, packets[i]);

		CHECK_ROW(row, netlog_segments_plan(&header, packets[i], length, &plan) == 0);
		add_all(world, i, &plan, most);
	}
	check_all(world, row, most);
}

int main(void)
{
	struct world *world = calloc(1, sizeof(*world));

	CHECK(world);
	for (int round = 0; round < ROUNDS / 20; round++)
		test_round(world, round, round % 3 ? NETLOG_BUNDLE_DATAGRAMS : 1);
	free(world);
	puts("bundle: ok");
	return 0;
}
