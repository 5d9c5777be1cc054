/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of meter: every call, in every order that matters, in one thread. test_stress.c has
 * threads. */
#define _GNU_SOURCE
#include <sys/prctl.h>

#include "meter/meter.c"
#include "check.h"

#define MS 1000000ull

/* The result of one poll. */
struct poll {
	struct netlog_flow flows[NETLOG_POINTS][64];
	ssize_t rows[NETLOG_POINTS];
	struct netlog_unattributed unattributed[NETLOG_POINTS];
	int late;
};

static void count(struct netlog_lane *lane, uint32_t flow, int n)
{
	uint8_t bytes[UDP4_BYTES];
	struct netlog_packet packet = packet_of(bytes, UDP4_BYTES, (int)(flow & 1));
	struct netlog_datagram datagram = datagram4(0x0a000000 + flow, 9, 100, (int)(flow & 1));

	make_udp4(bytes, 0x0a000000, flow, 1, 2);
	if (flow & 1) /* rx: the remote is the source */
		make_udp4(bytes, flow, 0x0a000000, 2, 1);
	while (n--) {
		netlog_lane_count_packets(lane, &packet, 1);
		netlog_lane_count_datagrams(lane, &datagram, 1);
	}
}

static void count_bracketed(struct netlog_lane *lane, uint32_t flow, int n)
{
	netlog_lane_enter(lane);
	count(lane, flow, n);
	netlog_lane_leave(lane);
}

static struct poll poll_meter(struct netlog_meter *meter)
{
	struct poll poll = {.late = netlog_meter_swap(meter, 0)};

	CHECK(poll.late >= 0);
	for (int point = 0; point < NETLOG_POINTS; point++) {
		size_t most = netlog_meter_retired_rows(meter, point);

		CHECK(most <= 64);
		poll.rows[point] = netlog_meter_drain(meter, point, poll.flows[point], most,
						      &poll.unattributed[point]);
		CHECK(poll.rows[point] >= 0 && (size_t)poll.rows[point] <= most);
	}
	netlog_meter_clear(meter);
	return poll;
}

static uint64_t packets_of(const struct poll *poll, int point)
{
	uint64_t sum = unattributed_packets(&poll->unattributed[point]);

	for (ssize_t row = 0; row < poll->rows[point]; row++)
		sum += poll->flows[point][row].tx_packets + poll->flows[point][row].rx_packets;
	return sum;
}

static struct netlog_lane *acquire(struct netlog_meter *meter)
{
	struct netlog_lane *lane = NULL;

	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0 && lane);
	return lane;
}

static void check_options(void)
{
	static const struct netlog_meter_options wrong[] = {
		{0, 1, 1, 0},
		{1, 0, 1, 0},
		{1, 1, 0, 0},
		{NETLOG_MAX_FLOWS + 1, 1, 1, 0},
		{1, NETLOG_MAX_FLOWS + 1, 1, 0},
		{1, 1, NETLOG_MAX_LANES + 1, 0},
		{1, 1, 1, 2},
		{UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
	};
	struct netlog_meter *meter = (void *)1;

	for (size_t row = 0; row < sizeof(wrong) / sizeof(wrong[0]); row++) {
		CHECK_ROW(row, netlog_meter_open(&wrong[row], &meter) == -EINVAL);
		CHECK_ROW(row, meter == (void *)1);
	}
	netlog_meter_close(NULL);
	netlog_lane_release(NULL);
}

/* A meter that processes share is refused where they cannot share its words. */
static void check_sharing(void)
{
	struct netlog_meter_options options = {1, 1, 1, .shared = 1};
	int file = memfd_create("meter", MFD_CLOEXEC), expected = 0;
	struct netlog_meter *meter = NULL;

	if (!ATOMIC_ACROSS_PROCESSES)
		expected = -ENOTSUP;
	CHECK(netlog_meter_open(&options, &meter) == expected);
	netlog_meter_close(meter);
	meter = NULL;
	CHECK(netlog_meter_create(file, &options, &meter) == expected);
	netlog_meter_close(meter);
	close(file);
}

/* The memory budget: 96 bytes for each connection and bank, so one lane of 4 096 connections fits
 * into 1 MiB. */
static void check_memory(void)
{
	struct netlog_meter *meter = open_meter(4096, 1024, 1);

	CHECK(netlog_meter_region_bytes(meter) <= 1 << 20);
	netlog_meter_close(meter);
	meter = open_meter(1 << 20, 1, 1);
	CHECK(netlog_meter_region_bytes(meter) <= 2ull * 96 << 20);
	netlog_meter_close(meter);
	/* Not a power of two: the size of the index is rounded up, that of the records is not. */
	meter = open_meter((1 << 20) + 1, 1, 1);
	CHECK(netlog_meter_region_bytes(meter) <= 2ull * 96 << 20);
	netlog_meter_close(meter);
}

/* A process of 32 bits maps at most 2 GiB. A sum that wrapped there would lay lanes beyond the
 * region. */
static void check_address_space(void)
{
	static const struct {
		struct netlog_meter_options options;
		bool fits;
	} rows[] = {
		{{.max_flows = 1u << 23, .max_endpoints = 1, .max_lanes = 1}, true},
		{{.max_flows = 1u << 24, .max_endpoints = 1, .max_lanes = 1}, false},
		{{.max_flows = 1u << 25, .max_endpoints = 1, .max_lanes = 1}, false},
		{{.max_flows = 1, .max_endpoints = 1u << 25, .max_lanes = 1}, false},
		{{.max_flows = 1u << 25, .max_endpoints = 1u << 25, .max_lanes = 1}, false},
		{{.max_flows = NETLOG_MAX_FLOWS, .max_endpoints = 1, .max_lanes = 1}, false},
		{{.max_flows = 1u << 20, .max_endpoints = 1, .max_lanes = 11}, true},
		{{.max_flows = 1u << 20, .max_endpoints = 1, .max_lanes = 16}, false},
		{{.max_flows = 1u << 20, .max_endpoints = 1, .max_lanes = 32}, false},
		{{NETLOG_MAX_FLOWS, NETLOG_MAX_FLOWS, NETLOG_MAX_LANES, 0}, false},
	};

	for (size_t row = 0; row < sizeof(rows) / sizeof(*rows); row++) {
		const struct netlog_meter_options *options = &rows[row].options;
		struct netlog_meter *meter;

		CHECK_ROW(row, region_fits(options, INT32_MAX) == rows[row].fits);
		if (PTRDIFF_MAX > INT32_MAX)
			CHECK_ROW(row, netlog_meter_check_options(options) == 0);
		else if (!rows[row].fits)
			CHECK_ROW(row, netlog_meter_open(options, &meter) == -EOVERFLOW);
	}
	/* The sum of all parts, in numbers that do not wrap. */
	const struct netlog_meter_options *largest = &rows[9].options;
	uint64_t table = 64ull * NETLOG_MAX_FLOWS + 64ull * NETLOG_MAX_FLOWS / 8;

	CHECK(region_bytes(largest) ==
	      NETLOG_PAGE + NETLOG_MAX_LANES * (NETLOG_PAGE + NETLOG_BANKS * 2 * table));
}

static size_t resident_pages(const struct netlog_meter *meter)
{
	size_t pages = meter->region_bytes / NETLOG_PAGE, resident = 0;
	unsigned char *present = malloc(pages);

	CHECK(present && mincore(meter->region, meter->region_bytes, present) == 0);
	for (size_t page = 0; page < pages; page++)
		resident += present[page] & 1;
	free(present);
	return resident;
}

/* A meter that sees few flows touches few pages, however often it is swapped and cleared. */
static void check_touched(void)
{
	struct netlog_meter *meter = open_meter(1 << 18, 1 << 18, 4);
	struct netlog_lane *lane = acquire(meter);

	for (uint32_t epoch = 0; epoch < 50; epoch++) {
		for (uint32_t flow = 0; flow < 20; flow++)
			count_bracketed(lane, flow, 3);
		struct poll poll = poll_meter(meter);

		CHECK(packets_of(&poll, NETLOG_TUN) == 60 && poll.rows[NETLOG_TUN] == 20);
	}
	/* A page for each connection's bucket, by bank and point; the headers; and the first pages
	 * of records. */
	CHECK(resident_pages(meter) <= 20 * 4 + 4 * 3 + 16);
	netlog_lane_release(lane);
	netlog_meter_close(meter);
}

static void check_lanes(void)
{
	struct netlog_meter *meter = open_meter(64, 64, 3);
	struct netlog_lane *lanes[3], *more = NULL;

	for (int n = 0; n < 3; n++)
		lanes[n] = acquire(meter);
	CHECK(lanes[0] != lanes[1] && lanes[1] != lanes[2] && lanes[0] != lanes[2]);
	CHECK(netlog_meter_acquire_lane(meter, &more) == -EAGAIN && !more);
	for (int n = 0; n < 3; n++)
		count_bracketed(lanes[n], 6, n + 1);
	/* After a release the counts of a lane stay, and its next owner adds to them. */
	netlog_lane_release(lanes[1]);
	CHECK(acquire(meter) == lanes[1]);
	count_bracketed(lanes[1], 6, 10);
	struct poll poll = poll_meter(meter);

	for (int point = 0; point < NETLOG_POINTS; point++) {
		CHECK(poll.rows[point] == 1 && packets_of(&poll, point) == 16);
		CHECK(poll.flows[point][0].tx_packets == 16);
	}
	CHECK(poll.flows[NETLOG_TUN][0].tx_bytes == 16 * UDP4_BYTES);
	CHECK(poll.flows[NETLOG_SOCK][0].tx_bytes == 16 * 100);
	poll = poll_meter(meter);
	CHECK(poll.rows[NETLOG_TUN] == 0 && poll.rows[NETLOG_SOCK] == 0);
	netlog_meter_close(meter);
}

/* tx on one lane and rx on another are one connection, so one row. */
static void check_merge(void)
{
	struct netlog_meter *meter = open_meter(64, 64, 2);
	struct netlog_lane *out = acquire(meter), *in = acquire(meter);
	uint8_t bytes[UDP4_BYTES];
	struct netlog_packet packet = packet_of(bytes, UDP4_BYTES, NETLOG_TX);

	make_udp4(bytes, 1, 2, 3, 4);
	netlog_lane_enter(out);
	netlog_lane_count_packets(out, &packet, 1);
	netlog_lane_leave(out);
	make_udp4(bytes, 2, 1, 4, 3);
	packet.direction = NETLOG_RX;
	netlog_lane_enter(in);
	netlog_lane_count_packets(in, &packet, 1);
	netlog_lane_count_packets(in, &packet, 1);
	netlog_lane_leave(in);
	struct poll poll = poll_meter(meter);
	const struct netlog_flow *flow = &poll.flows[NETLOG_TUN][0];

	CHECK(poll.rows[NETLOG_TUN] == 1 && flow->tx_packets == 1 && flow->rx_packets == 2);
	CHECK(flow->connection.src_port == 3 && flow->connection.dst_port == 4);
	CHECK(flow->connection.src[15] == 1 && flow->connection.dst[15] == 2);
	netlog_meter_close(meter);
}

static void check_errors(void)
{
	struct netlog_meter *meter = open_meter(64, 64, 1);
	struct netlog_lane *lane = acquire(meter);
	struct netlog_unattributed unattributed;
	struct netlog_flow flows[3];

	for (uint32_t flow = 0; flow < 3; flow++)
		count_bracketed(lane, flow, 1);
	CHECK(netlog_meter_epoch(meter) == 0);
	/* Before a swap no bank is retired, so there is nothing to drain or to clear. */
	netlog_meter_clear(meter);
	CHECK(netlog_meter_retired_rows(meter, NETLOG_TUN) == 0);
	CHECK(netlog_meter_drain(meter, NETLOG_TUN, flows, 3, &unattributed) == 0);
	CHECK(netlog_meter_swap(meter, 0) == 0 && netlog_meter_epoch(meter) == 1);
	CHECK(netlog_meter_swap(meter, 0) == -EBUSY && netlog_meter_epoch(meter) == 1);
	memset(flows, 0xa5, sizeof(flows));
	CHECK(netlog_meter_drain(meter, NETLOG_TUN, flows, 2, &unattributed) == -ENOSPC);
	CHECK(flows[0].tx_bytes == 0xa5a5a5a5a5a5a5a5u);
	/* A drain changes nothing, so it can be repeated until the bank is cleared. */
	for (int again = 0; again < 3; again++)
		CHECK(netlog_meter_drain(meter, NETLOG_TUN, flows, 3, &unattributed) == 3);
	CHECK(netlog_meter_drain(meter, NETLOG_SOCK, flows, 3, &unattributed) == 3);
	netlog_meter_clear(meter);
	CHECK(netlog_meter_retired_rows(meter, NETLOG_TUN) == 0);
	/* Another process might have corrupted a count. It is limited to the room in the table. */
	lane->tables[1][NETLOG_TUN].header->count = UINT64_MAX;
	CHECK(netlog_meter_swap(meter, 0) == 0);
	CHECK(netlog_meter_retired_rows(meter, NETLOG_TUN) == 64);
	CHECK(netlog_meter_drain(meter, NETLOG_TUN, flows, 3, &unattributed) == -ENOSPC);
	netlog_meter_close(meter);
}

/* A writer that stays in its bracket over one swap, over two, or over many loses nothing. */
static void check_late(uint32_t swaps_inside)
{
	struct netlog_meter *meter = open_meter(64, 64, 2);
	struct netlog_lane *slow = acquire(meter), *quick = acquire(meter);
	struct poll poll;

	count_bracketed(slow, 2, 5);
	count_bracketed(quick, 4, 1);
	netlog_lane_enter(slow);
	count(slow, 2, 1);
	for (uint32_t n = 0; n < swaps_inside; n++) {
		poll = poll_meter(meter);
		CHECK_ROW(swaps_inside, poll.late == 1 && poll.rows[NETLOG_TUN] == 1);
		CHECK_ROW(swaps_inside, packets_of(&poll, NETLOG_SOCK) == 1);
		count(slow, 2, 10);
		count_bracketed(quick, 4, 1);
	}
	netlog_lane_leave(slow);
	count_bracketed(slow, 6, 3);
	uint64_t packets[NETLOG_POINTS] = {0};

	/* Its bank may have just become live again, so it comes after at most two more swaps. */
	for (int n = 0; n < 2; n++) {
		poll = poll_meter(meter);
		CHECK_ROW(swaps_inside, poll.late == 0);
		for (int point = 0; point < NETLOG_POINTS; point++)
			packets[point] += packets_of(&poll, point);
	}
	for (int point = 0; point < NETLOG_POINTS; point++)
		CHECK_ROW(swaps_inside,
			  packets[point] == 5 + 1 + swaps_inside * UINT64_C(10) + 3 + 1);
	netlog_meter_close(meter);
}

static void check_wake(void)
{
	struct netlog_meter *meter = open_meter(16, 16, 1);
	struct netlog_lane *lane = acquire(meter);

	CHECK(netlog_meter_wait(meter, 0) == 0);
	CHECK(netlog_meter_wait(meter, MS) == 0);
	netlog_meter_wake(meter);
	netlog_meter_wake(meter);
	CHECK(netlog_meter_wait(meter, 60000 * MS) == 1);
	CHECK(netlog_meter_wait(meter, 0) == 0);
	for (uint32_t flow = 0; flow < 11; flow++)
		count_bracketed(lane, flow, 1);
	CHECK(netlog_meter_wait(meter, 0) == 0);
	count_bracketed(lane, 11, 1);
	CHECK(netlog_meter_wait(meter, 60000 * MS) == 1);
	/* The poller is woken once in an epoch. */
	for (uint32_t flow = 12; flow < 20; flow++)
		count_bracketed(lane, flow, 1);
	CHECK(netlog_meter_wait(meter, 0) == 0);
	struct poll poll = poll_meter(meter);

	CHECK(poll.rows[NETLOG_TUN] == 16 && packets_of(&poll, NETLOG_TUN) == 20);
	CHECK(poll.rows[NETLOG_SOCK] == 16 && packets_of(&poll, NETLOG_SOCK) == 20);
	CHECK(poll.unattributed[NETLOG_SOCK].bytes[NETLOG_TABLE_FULL][NETLOG_TX] == 200);
	for (uint32_t flow = 0; flow < 12; flow++)
		count_bracketed(lane, flow, 1);
	CHECK(netlog_meter_wait(meter, 60000 * MS) == 1);
	netlog_meter_close(meter);
}

/* 2^32 packets of one connection in one epoch, in super-packets: one row, exact. */
static void check_overflow(void)
{
	enum { PACKETS = 70000, BYTES = 65535, SEGMENTS = BYTES - UDP4_BYTES };
	struct netlog_meter *meter = open_meter(64, 64, 2);
	struct netlog_lane *lanes[2] = {acquire(meter), acquire(meter)};
	uint8_t *bytes = calloc(1, BYTES);

	CHECK(bytes);
	make_udp4(bytes, 1, 2, 3, 4);
	put_16(bytes + 2, BYTES);
	struct netlog_packet packet = packet_of(bytes, BYTES, NETLOG_TX);

	packet.gso_size = 1;
	for (int n = 0; n < PACKETS; n++) {
		netlog_lane_enter(lanes[n % 2]);
		netlog_lane_count_packets(lanes[n % 2], &packet, 1);
		netlog_lane_count_packets(lanes[0], &packet, n % 2 == 0);
		netlog_lane_leave(lanes[n % 2]);
	}
	struct poll poll = poll_meter(meter);
	uint64_t all = PACKETS + PACKETS / 2;

	CHECK(poll.rows[NETLOG_TUN] == 1);
	CHECK(poll.flows[NETLOG_TUN][0].tx_packets == all * SEGMENTS);
	CHECK(poll.flows[NETLOG_TUN][0].tx_bytes == all * SEGMENTS * (UDP4_BYTES + 1));
	free(bytes);
	netlog_meter_close(meter);
}

int main(void)
{
	/* This test counts pages, so they must not be huge. */
	(void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	check_options();
	check_sharing();
	check_memory();
	check_address_space();
	check_touched();
	check_lanes();
	check_merge();
	check_errors();
	for (uint32_t swaps = 1; swaps < 6; swaps++)
		check_late(swaps);
	check_wake();
	check_overflow();
	printf("meter: options, memory, lanes, merge, late writers, wake, 2^32 packets\n");
	return 0;
}
