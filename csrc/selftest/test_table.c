/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of table and merge: compares them with a list that is searched from end to end.
 *
 * The test chooses the hashes, so that connections collide in bucket and tag, buckets overflow, and
 * the bound on probes is reached. With a keyed hash this does not happen by chance.
 */
#include <sys/mman.h>

#include "base/cpu.h"
#include "count/count.h"
#include "table/merge.h"
#include "table/table.c"
#include "check.h"

#define MOST_FLOWS 4096u

/* Random, like a meter's secret, but the same in every run. */
static const struct netlog_secret secret = {.words = {0x9c1fd1b6aef0a3d5u, 0x27c5b8a0e7f34d19u,
						      0x6b0e5a49d2c8f731u, 0xd4a63f1802be97c5u,
						      0x3e9175dc4b60a8f3u, 0x8f52c0e6197d3ba9u}};

/* A table in memory of its own, and the list that it must agree with. */
struct bench {
	struct netlog_table_header header;
	struct netlog_table table;
	struct netlog_flow expected[MOST_FLOWS];
	size_t count;
	bool foreign_hash;
	struct netlog_unattributed unattributed;
};

static void open_bench(struct bench *bench, uint32_t capacity)
{
	memset(bench, 0, sizeof(*bench));
	bench->table.header = &bench->header;
	bench->table.capacity = capacity;
	bench->table.secret = &secret;
	bench->table.index.bucket_mask = index_buckets(capacity) - 1;
	bench->table.index.position_mask = index_position_mask(capacity);
	bench->table.index.slots = aligned_alloc(64, netlog_table_index_bytes(capacity));
	bench->table.records = aligned_alloc(64, capacity * sizeof(struct netlog_record));
	CHECK(bench->table.index.slots && bench->table.records);
	memset(bench->table.index.slots, 0, netlog_table_index_bytes(capacity));
	/* Garbage, because append must write the whole record. */
	memset(bench->table.records, 0xa5, capacity * sizeof(struct netlog_record));
}

static void close_bench(struct bench *bench)
{
	free(bench->table.index.slots);
	free(bench->table.records);
}

static struct netlog_connection connection_of(uint64_t number)
{
	struct netlog_connection connection = {.version = number % 3 ? 4 : 6, .proto = 17};

	if (connection.version == 4)
		memset(connection.src + 10, 0xff, 2), memset(connection.dst + 10, 0xff, 2);
	put_32(connection.dst + 12, (uint32_t)(number >> 16));
	connection.src_port = (uint16_t)number;
	return connection;
}

static struct netlog_flow *expected_flow(struct bench *bench,
					 const struct netlog_connection *connection)
{
	for (size_t i = 0; i < bench->count; i++) {
		if (!memcmp(&bench->expected[i].connection, connection, sizeof(*connection)))
			return &bench->expected[i];
	}
	return NULL;
}

static void expect(struct bench *bench, const struct netlog_connection *connection,
		   const struct netlog_increment *increment)
{
	struct netlog_flow *flow = expected_flow(bench, connection);

	if (!flow) {
		CHECK(bench->count < MOST_FLOWS);
		flow = &bench->expected[bench->count++];
		flow->connection = *connection;
	}
	*(increment->direction ? &flow->rx_packets : &flow->tx_packets) += increment->packets;
	*(increment->direction ? &flow->rx_bytes : &flow->tx_bytes) += increment->bytes;
}

/* Adds to both. Returns whether the table had room. */
static bool add(struct bench *bench, uint64_t number, uint64_t hash, uint32_t packets,
		uint32_t direction)
{
	struct netlog_connection connection = connection_of(number);
	struct netlog_increment increment = {packets, direction, packets * 100ull + number % 7};
	struct netlog_key key = key_of(&connection);

	bench->foreign_hash |= hash != key_hash(&key, &secret);
	if (netlog_table_add(&bench->table, &key, hash, &increment)) {
		expect(bench, &connection, &increment);
		return true;
	}
	bench->unattributed.packets[NETLOG_TABLE_FULL][direction] += increment.packets;
	bench->unattributed.bytes[NETLOG_TABLE_FULL][direction] += increment.bytes;
	return false;
}

/* Checks that merge turns the table into the list, row by row. Then both begin anew. */
static void compare(struct bench *bench, uint64_t row)
{
	struct netlog_merge_source source = {bench->table.records, (size_t)bench->header.count,
					     bench->header.split != 0, NULL};
	struct netlog_flow *flows = calloc((size_t)bench->header.count + 1, sizeof(*flows));
	ssize_t rows = netlog_merge(&source, 1, &secret, flows);

	CHECK_ROW(row, rows == (ssize_t)bench->count);
	for (ssize_t i = 0; i < rows; i++) {
		struct netlog_flow *flow = expected_flow(bench, &flows[i].connection);

		CHECK_ROW(row, flow && !memcmp(flow, &flows[i], sizeof(*flow)));
	}
	CHECK_ROW(row, !memcmp(&bench->header.unattributed, &bench->unattributed,
			       sizeof(bench->unattributed)));
	free(flows);
	/* A sparse table is cleared by the keyed hash of its records, which is not the test's hash.
	 */
	if (bench->foreign_hash)
		bench->header.overflowed = 1;
	netlog_table_clear(&bench->table);
	CHECK_ROW(row, bench->header.count == 0 && !bench->header.split);
	for (size_t i = 0; i < netlog_table_index_bytes(bench->table.capacity) / 4; i++)
		CHECK_ROW(row, bench->table.index.slots[i] == 0);
	memset(bench->expected, 0, sizeof(bench->expected));
	memset(&bench->unattributed, 0, sizeof(bench->unattributed));
	bench->count = 0;
	bench->foreign_hash = false;
}

/* How the hash of a connection's number is made: well, or badly in every way that matters. */
enum { GOOD, SAME_BUCKET, SAME_TAG, ALL_SAME, KINDS };

static uint64_t hash_of(uint64_t number, int kind)
{
	struct netlog_connection connection = connection_of(number);
	struct netlog_key key = key_of(&connection);
	static const uint64_t keep[KINDS] = {~0ull, ~0ull << 32, 0xffffffffu, 0};

	return key_hash(&key, &secret) & keep[kind];
}

static void check_random(struct bench *bench, uint32_t capacity, int kind)
{
	uint64_t state = capacity * 4u + (uint64_t)kind;

	open_bench(bench, capacity);
	for (int epoch = 0; epoch < 6; epoch++) {
		/* Fewer flows than the table has room for, or more; few packets, or many. */
		uint64_t flows =
			1 + next_random(&state) % (capacity * 2 < 500 ? capacity * 2 : 500);
		uint64_t rounds = epoch % 2 ? 2000 / SLOWER : 3;

		for (uint64_t i = 0; i < rounds; i++) {
			uint64_t random = next_random(&state), number = random % flows;

			add(bench, number, hash_of(number, kind), (uint32_t)(random >> 40) % 9 + 1,
			    (uint32_t)(random >> 63));
		}
		compare(bench, (uint64_t)epoch);
	}
	close_bench(bench);
}

/* Every table has room for exactly as many connections as it was made for. */
static void check_capacity(struct bench *bench, uint32_t capacity)
{
	open_bench(bench, capacity);
	for (uint64_t number = 0; number < capacity; number++)
		CHECK_ROW(capacity, add(bench, number, hash_of(number, GOOD), 1, NETLOG_TX));
	CHECK_ROW(capacity, !add(bench, capacity, hash_of(capacity, GOOD), 1, NETLOG_RX));
	CHECK_ROW(capacity, add(bench, 0, hash_of(0, GOOD), 1, NETLOG_RX));
	compare(bench, capacity);
	close_bench(bench);
}

/* The eight buckets of one hash take 128 connections. One more would need a search beyond the
 * bound. */
static void check_probes(struct bench *bench)
{
	uint64_t most = NETLOG_MAX_PROBES * NETLOG_BUCKET_SLOTS;

	open_bench(bench, 2048);
	for (uint64_t number = 0; number < most; number++)
		CHECK_ROW(number, add(bench, number, 77, 1, NETLOG_TX));
	CHECK(!add(bench, most, 77, 1, NETLOG_TX));
	CHECK(add(bench, most - 1, 77, 1, NETLOG_TX));
	CHECK(add(bench, most + 1, 78 + NETLOG_MAX_PROBES, 1, NETLOG_TX));
	compare(bench, 0);
	close_bench(bench);
}

/* A table with few records is cleared bucket by bucket, unless a bucket has overflowed into the
 * next one: then the hash of an entry does not give its bucket. */
static void check_overflowed(struct bench *bench)
{
	uint64_t found = 0;

	open_bench(bench, 4000);
	for (uint64_t number = 0; found < NETLOG_BUCKET_SLOTS + 4; number++) {
		uint64_t hash = hash_of(number, GOOD);

		if ((hash & bench->table.index.bucket_mask) != 3)
			continue;
		CHECK_ROW(number, add(bench, number, hash, 1, NETLOG_TX));
		found++;
	}
	CHECK(found < (bench->table.index.bucket_mask + 1) / 4 && !bench->foreign_hash);
	compare(bench, 0);
	close_bench(bench);
}

/* If a 32-bit packet counter overflows, there is a new record, still one row, and no packet is
 * lost. */
static void check_split(struct bench *bench)
{
	open_bench(bench, 64);
	for (int round = 0; round < 5; round++) {
		CHECK(add(bench, 1, 5, 3000000000u, NETLOG_TX));
		CHECK(add(bench, 1, 5, 1, NETLOG_RX));
		CHECK(add(bench, 2, 5, 7, NETLOG_TX));
	}
	CHECK(bench->header.split && bench->header.count == 6);
	compare(bench, 0);
	/* Exactly to the limit, and one packet more. */
	CHECK(add(bench, 1, 5, UINT32_MAX, NETLOG_RX) && bench->header.count == 1);
	CHECK(add(bench, 1, 5, 1, NETLOG_RX) && bench->header.count == 2);
	CHECK(add(bench, 1, 5, UINT32_MAX, NETLOG_TX) && bench->header.count == 2);
	compare(bench, 1);
	close_bench(bench);
	/* If there is no room for the new record, the packet is counted as unattributed. */
	open_bench(bench, 1);
	CHECK(add(bench, 1, 5, UINT32_MAX, NETLOG_TX));
	CHECK(!add(bench, 1, 5, 1, NETLOG_TX));
	compare(bench, 2);
	close_bench(bench);
}

/* The same with the call that devices use. Each of the five datagrams stands for 2^31 packets. */
static void check_split_by_datagrams(struct bench *bench)
{
	struct netlog_datagram datagram = datagram4(0x01020304, 5, UINT32_MAX, NETLOG_TX);
	struct netlog_record *last = NULL;

	datagram.gso_size = 2;
	open_bench(bench, 64);
	for (int round = 0; round < 5; round++)
		netlog_count_datagrams(&bench->table, &datagram, 1, &last);
	struct netlog_flow flow;
	struct netlog_merge_source source = {bench->table.records, (size_t)bench->header.count,
					     true, NULL};

	CHECK(netlog_merge(&source, 1, &secret, &flow) == 1);
	CHECK(flow.tx_packets == 5ull << 31 && flow.tx_bytes == 5ull * UINT32_MAX);
	CHECK(flow.rx_packets == 0 && flow.connection.flags == NETLOG_NO_SRC);
	close_bench(bench);
}

/* Makes a packet of connection `number`. Connections of a family differ in one place only: the
 * source address, the destination address or the port. */
static uint32_t make_packet(uint8_t bytes[UDP6_BYTES], uint32_t number)
{
	uint32_t src = number % 3 == 0 ? number : 0, dst = number % 3 == 1 ? number : 0;
	uint16_t port = number % 3 == 2 ? (uint16_t)number : 0;

	if (number % 2) {
		make_udp6(bytes, src, dst, 1, port);
		return UDP6_BYTES;
	}
	make_udp4(bytes, src, dst, 1, port);
	return UDP4_BYTES;
}

/* Counts one packet of each of n connections, out of order. */
static void count_all(struct bench *bench, netlog_count_packets_fn *count_packets, uint32_t n,
		      struct netlog_record **last)
{
	uint8_t (*bytes)[UDP6_BYTES] = malloc(n * sizeof(*bytes));
	struct netlog_packet *packets = malloc(n * sizeof(*packets));

	CHECK(bytes && packets);
	for (uint32_t i = 0; i < n; i++)
		packets[i] = packet_of(bytes[i], make_packet(bytes[i], i * 7919 % n), NETLOG_TX);
	count_packets(&bench->table, packets, n, last);
	free(packets);
	free(bytes);
}

/* A batch is counted in passes. Every counter may overflow there, too. */
static void check_passes(struct bench *bench, netlog_count_packets_fn *count_packets)
{
	enum { FLOWS = 20000, ROUNDS = 3 };
	struct netlog_record *last = NULL;
	struct netlog_merge_source source;
	struct netlog_flow *flows = malloc(FLOWS * 2 * sizeof(*flows));

	CHECK(flows);
	open_bench(bench, FLOWS * 2);
	/* Tags have a single bit, which is the same for all. So every entry of the bucket is a
	 * candidate, and only the key decides. */
	bench->table.index.position_mask = UINT32_MAX >> 1;
	for (int round = 0; round < ROUNDS; round++)
		count_all(bench, count_packets, FLOWS, &last);
	CHECK(bench->header.count == FLOWS);
	for (uint32_t i = 0; i < FLOWS; i++) {
		CHECK_ROW(i, bench->table.records[i].packets[NETLOG_TX] == ROUNDS);
		bench->table.records[i].packets[NETLOG_TX] = UINT32_MAX - 1;
	}
	for (int round = 0; round < ROUNDS; round++)
		count_all(bench, count_packets, FLOWS, &last);
	CHECK(bench->header.count == FLOWS * 2 && bench->header.split);
	source = (struct netlog_merge_source){bench->table.records, FLOWS * 2, true, NULL};
	CHECK(netlog_merge(&source, 1, &secret, flows) == FLOWS);
	for (uint32_t i = 0; i < FLOWS; i++) {
		CHECK_ROW(i, flows[i].tx_packets == UINT32_MAX - 1ull + ROUNDS);
		CHECK_ROW(i, flows[i].tx_bytes == 2ull * ROUNDS *
							  (flows[i].connection.version == 4
								   ? UDP4_BYTES
								   : UDP6_BYTES));
	}
	CHECK(unattributed_packets(&bench->header.unattributed) == 0);
	netlog_table_clear(&bench->table);
	free(flows);
	close_bench(bench);
}

int main(void)
{
	static const uint32_t capacities[] = {1, 2, 7, 8, 9, 16, 17, 64, 100, 1000, MOST_FLOWS};
	struct bench *bench = malloc(sizeof(*bench));

	CHECK(bench);
	for (size_t i = 0; i < sizeof(capacities) / sizeof(capacities[0]); i++) {
		check_capacity(bench, capacities[i] == MOST_FLOWS ? 3000 : capacities[i]);
		for (int kind = 0; kind < KINDS; kind++)
			check_random(bench, capacities[i], kind);
	}
	check_probes(bench);
	check_overflowed(bench);
	check_split(bench);
	check_split_by_datagrams(bench);
	check_passes(bench, netlog_count_packets_base);
#ifdef __x86_64__
	if (cpu_has_avx2())
		check_passes(bench, netlog_count_packets_avx2);
	if (cpu_has_avx512())
		check_passes(bench, netlog_count_packets_avx512);
#endif
	free(bench);
	printf("table: %zu capacities x %d kinds of hash, probes, split records\n",
	       sizeof(capacities) / sizeof(capacities[0]), KINDS);
	return 0;
}
