/* SPDX-License-Identifier: BSD-3-Clause */
/* All ways to count a batch agree: AVX-512, AVX2, base, batches of one, and one packet at a time.
 *
 * They agree in every row, and in what is unattributed, as long as the table has room for all
 * connections. In a table that is too small they agree in the sums. A drain in pieces gives what a
 * drain at once gives. Half of the inputs raise the packet counters close to 2^32 between two
 * batches, so that they overflow into new records.
 */
#include <errno.h>

#include "base/cpu.h"
#include "count/count.h"
#include "fuzz.h"
#include "meter/lane.h"

#define MOST_PACKETS 512u
#define MOST_ROWS    4096u
#define LARGE_TABLE  2048u
#define SMALL_TABLE  7u

static void count_single(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
			 struct netlog_record **last)
{
	(void)last;
	for (size_t i = 0; i < n; i++)
		netlog_count_packet(table, &packets[i]);
}

static void count_batches_of_one(struct netlog_table *table, const struct netlog_packet *packets,
				 size_t n, struct netlog_record **last)
{
	for (size_t i = 0; i < n; i++)
		netlog_count_packets_base(table, &packets[i], 1, last);
}

struct way {
	struct netlog_meter *meter;
	struct netlog_lane *lane;
	size_t rows;
	uint64_t added;   /* to the packet counters, when they were raised */
	uint64_t sums[4]; /* packets and bytes, by direction */
	struct netlog_unattributed unattributed;
	struct netlog_flow flows[MOST_ROWS];
};

static struct way large[5], small[5];
static size_t n_ways;

struct batch {
	size_t n, step;
	bool raised;
	bool supers;
	uint64_t sums[4];
	struct netlog_packet packets[MOST_PACKETS];
	uint8_t *owned[MOST_PACKETS];
};

static void open_way(struct way *way, uint32_t flows, netlog_count_packets_fn *count)
{
	way->meter = open_meter(flows, 1, 1);
	CHECK(netlog_meter_acquire_lane(way->meter, &way->lane) == 0);
	way->meter->count_packets = count;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	netlog_count_packets_fn *counts[5] = {netlog_count_packets_base, count_single,
					      count_batches_of_one};

	(void)argc, (void)argv;
	n_ways = 3;
#ifdef __x86_64__
	if (cpu_has_avx2())
		counts[n_ways++] = netlog_count_packets_avx2;
	if (cpu_has_avx512())
		counts[n_ways++] = netlog_count_packets_avx512;
#endif
	for (size_t i = 0; i < n_ways; i++) {
		open_way(&large[i], LARGE_TABLE, counts[i]);
		open_way(&small[i], SMALL_TABLE, counts[i]);
	}
	return 0;
}

static void take_packet(struct input *input, struct batch *batch)
{
	struct netlog_packet *packet = &batch->packets[batch->n];
	uint8_t choice = take_8(input);

	batch->owned[batch->n] = NULL;
	if ((choice & 0x30) == 0x30 && batch->n) {
		*packet = batch->packets[batch->n - 1];
		packet->direction = choice & 3;
	} else {
		uint32_t length = make_packet(input, &batch->owned[batch->n]);

		*packet = packet_of(batch->owned[batch->n], length, choice & 3);
		if (choice & 0x40)
			packet->gso_size = choice & 0x80 ? take_16(input) : take_8(input);
		if (choice & 4)
			packet->headers = take_8(input);
		if (!length)
			packet->data = NULL;
	}
	batch->n++;
	for (uint32_t more = choice & 8 ? take_8(input) & 31 : 0; more; more--) {
		if (batch->n == MOST_PACKETS)
			return;
		batch->owned[batch->n] = NULL;
		batch->packets[batch->n] = batch->packets[batch->n - 1];
		batch->n++;
	}
}

static void take_batch(struct input *input, struct batch *batch)
{
	uint8_t mode = take_8(input);

	batch->n = 0;
	batch->supers = false;
	batch->step = mode & 15 ? (mode & 15) * 9u : MOST_PACKETS;
	batch->raised = mode & 0x80;
	memset(batch->sums, 0, sizeof(batch->sums));
	while (input->left && batch->n < MOST_PACKETS)
		take_packet(input, batch);
	for (size_t i = 0; i < batch->n; i++) {
		const struct netlog_packet *packet = &batch->packets[i];

		batch->supers |= packet->gso_size != 0;
		batch->sums[packet->direction & 1]++;
		batch->sums[2 + (packet->direction & 1)] += packet->length;
	}
}

/* Raises each packet counter to a value that follows from its connection, a few below 2^32. */
static void raise_counters(struct way *way)
{
	struct netlog_table *table = &way->lane->live[NETLOG_TUN];

	for (uint64_t i = 0; i < table->header->count; i++) {
		const uint8_t *bytes = (const uint8_t *)&table->records[i].connection;
		uint32_t mix = 0;

		for (size_t at = 0; at < sizeof(struct netlog_connection); at++)
			mix = mix * 31 + bytes[at];
		for (int direction = 0; direction < 2; direction++) {
			uint32_t *packets = &table->records[i].packets[direction];
			uint32_t raised = UINT32_MAX - (mix >> direction * 4 & 15);

			if (raised < *packets)
				continue;
			way->added += raised - *packets;
			*packets = raised;
		}
	}
}

static int compare(const void *left, const void *right)
{
	return memcmp(left, right, sizeof(struct netlog_connection));
}

static void add_up(struct way *way)
{
	memset(way->sums, 0, sizeof(way->sums));
	for (size_t i = 0; i < way->rows; i++) {
		const struct netlog_flow *flow = &way->flows[i];

		way->sums[0] += flow->tx_packets;
		way->sums[1] += flow->rx_packets;
		way->sums[2] += flow->tx_bytes;
		way->sums[3] += flow->rx_bytes;
	}
	for (int reason = 0; reason < NETLOG_REASONS; reason++) {
		for (int direction = 0; direction < 2; direction++) {
			way->sums[direction] += way->unattributed.packets[reason][direction];
			way->sums[2 + direction] += way->unattributed.bytes[reason][direction];
		}
	}
}

/* Drains in pieces of `step` rows, and compares with the rows that are there. */
static void check_pieces(struct way *way, size_t step)
{
	static struct netlog_flow flows[MOST_ROWS];
	struct netlog_unattributed unattributed;
	int begun = netlog_meter_drain_begin(way->meter, NETLOG_TUN, &unattributed);
	ssize_t piece = 0;
	size_t rows = 0;

	if (begun == -ENOTSUP)
		return; /* records that overflowed */
	CHECK(begun == 0);
	while ((piece = netlog_meter_drain_next(way->meter, NETLOG_TUN, flows + rows, step)) > 0)
		rows += (size_t)piece;
	CHECK(piece == 0 && rows == way->rows);
	CHECK(!memcmp(flows, way->flows, rows * sizeof(*flows)));
	CHECK(!memcmp(&unattributed, &way->unattributed, sizeof(unattributed)));
}

static void count(struct way *way, const struct batch *batch)
{
	size_t first = batch->raised ? batch->n / 3 : 0;

	way->added = 0;
	netlog_lane_enter(way->lane);
	netlog_lane_count_packets(way->lane, batch->packets, first);
	if (batch->raised)
		raise_counters(way);
	for (size_t at = first; at < batch->n; at += batch->step) {
		size_t left = batch->n - at;

		netlog_lane_count_packets(way->lane, batch->packets + at,
					  left < batch->step ? left : batch->step);
	}
	netlog_lane_leave(way->lane);
	CHECK(netlog_meter_swap(way->meter, 0) == 0);
	size_t most = netlog_meter_retired_rows(way->meter, NETLOG_TUN);
	ssize_t rows = netlog_meter_drain(way->meter, NETLOG_TUN, way->flows, MOST_ROWS,
					  &way->unattributed);

	CHECK(rows >= 0 && (size_t)rows <= most && most <= MOST_ROWS);
	way->rows = (size_t)rows;
	check_pieces(way, 1 + batch->step / 8);
	CHECK(netlog_meter_clear(way->meter) == 0);
	add_up(way);
	qsort(way->flows, way->rows, sizeof(way->flows[0]), compare);
	for (size_t i = 1; i < way->rows; i++)
		CHECK(compare(&way->flows[i - 1], &way->flows[i]));
}

/* What was raised has no direction here: a table that is too small raises other connections. */
static void check_sums(const struct way *way, const struct batch *batch)
{
	CHECK(way->sums[0] + way->sums[1] == batch->sums[0] + batch->sums[1] + way->added);
	CHECK(way->sums[2] == batch->sums[2] && way->sums[3] == batch->sums[3]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	static struct batch batch;

	take_batch(&input, &batch);
	for (size_t i = 0; i < n_ways; i++) {
		count(&large[i], &batch);
		count(&small[i], &batch);
		if (!batch.supers) {
			check_sums(&large[i], &batch);
			check_sums(&small[i], &batch);
		}
		CHECK(large[i].rows == large[0].rows);
		CHECK(!memcmp(large[i].flows, large[0].flows,
			      large[0].rows * sizeof(struct netlog_flow)));
		CHECK(!memcmp(&large[i].unattributed, &large[0].unattributed,
			      sizeof(large[0].unattributed)));
		CHECK(large[i].added == large[0].added);
		/* Without overflows, where a connection has room does not change what it is. */
		CHECK(batch.raised || !memcmp(small[i].sums, large[0].sums, sizeof(large[0].sums)));
	}
	for (size_t i = 0; i < batch.n; i++)
		free(batch.owned[i]);
	return 0;
}
