/* SPDX-License-Identifier: BSD-3-Clause */
/* Stress: writer threads against a poller that swaps as fast as it can.
 *
 * In one bracket each writer counts some packets at the TUN and, for each of them, one datagram at
 * the socket that is 32 bytes longer. So in each epoch both observation points must agree, even if
 * writers are late: that is the meaning of "one store swaps everything". At the end every
 * connection must have exactly what the writers counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include "base/atomic.h"
#include "check.h"

#define MOST_WRITERS 6
#define FLOWS        300u
#define ENDPOINTS    16u
#define BATCH        40u
#define OVERHEAD     32u
#define MOST_BYTES   (UDP4_BYTES + 50u)
#define POLL_WAIT_NS 100000u

struct config {
	const char *name;
	uint32_t max_flows, lanes;
	int writers, batches;
	bool suspend; /* writers sleep inside a bracket, for longer than the poller waits */
	bool churn;   /* writers release their lane after each batch and take any that is free */
};

static const struct config configs[] = {
	{"two writers", FLOWS, 2, 2, 100000, false, false},
	{"six writers", FLOWS, 6, 6, 30000, false, false},
	{"full tables", FLOWS / 3, 3, 3, 50000, false, false},
	{"suspended writers", FLOWS, 3, 3, 1000, true, false},
	{"suspended, full tables", FLOWS / 3, 3, 3, 1000, true, false},
	{"lanes handed over", FLOWS, 3, 5, 20000, false, true},
	{"lanes handed over, suspended", FLOWS / 3, 2, 4, 500, true, true},
};

struct counts {
	uint64_t packets[2], bytes[2];
};

struct writer {
	const struct config *config;
	struct netlog_meter *meter;
	pthread_t thread;
	uint64_t seed;
	struct counts flows[FLOWS];
	struct counts total;
};

/* What the poller has read so far. */
struct seen {
	struct counts flows[FLOWS];
	struct counts total[NETLOG_POINTS];
	uint64_t unattributed, epochs, late;
};

static uint32_t length_of(uint32_t flow)
{
	return UDP4_BYTES + flow % 50;
}

/* Makes packet number `flow`, as it crosses the tunnel in this direction. This node's port is 7,
 * the remote's is the flow. */
static void fill_packet(uint8_t bytes[MOST_BYTES], uint32_t flow, int direction)
{
	memset(bytes + UDP4_BYTES, 0, MOST_BYTES - UDP4_BYTES);
	if (direction == NETLOG_TX)
		make_udp4(bytes, 0x64400001, 0xc0000200, 7, (uint16_t)flow);
	else
		make_udp4(bytes, 0xc0000200, 0x64400001, (uint16_t)flow, 7);
	put_16(bytes + 2, length_of(flow));
}

static void add(struct counts *counts, int direction, uint64_t packets, uint64_t bytes)
{
	counts->packets[direction] += packets;
	counts->bytes[direction] += bytes;
}

static void count_batch(struct writer *writer, struct netlog_lane *lane)
{
	uint8_t bytes[BATCH][MOST_BYTES];
	struct netlog_packet packets[BATCH];
	struct netlog_datagram datagrams[BATCH];
	size_t n = 1 + (size_t)(next_random(&writer->seed) % BATCH);

	for (size_t i = 0; i < n; i++) {
		uint64_t random = next_random(&writer->seed);
		uint32_t flow = (uint32_t)random % FLOWS, length = length_of(flow);
		int direction = (int)(random >> 63);

		fill_packet(bytes[i], flow, direction);
		packets[i] = packet_of(bytes[i], length, direction);
		datagrams[i] =
			datagram4(0x0a000000 + flow % ENDPOINTS, 1, length + OVERHEAD, direction);
		add(&writer->flows[flow], direction, 1, length);
		add(&writer->total, direction, 1, length);
	}
	netlog_lane_enter(lane);
	netlog_lane_count_packets(lane, packets, n / 2);
	if (writer->config->suspend && next_random(&writer->seed) % 16 == 0)
		usleep(POLL_WAIT_NS / 1000 * 3);
	netlog_lane_count_datagrams(lane, datagrams, n);
	netlog_lane_count_packets(lane, packets + n / 2, n - n / 2);
	netlog_lane_leave(lane);
}

static struct netlog_lane *take_lane(struct netlog_meter *meter)
{
	struct netlog_lane *lane;
	int rc;

	while ((rc = netlog_meter_acquire_lane(meter, &lane)) == -EAGAIN)
		sched_yield();
	CHECK(rc == 0);
	return lane;
}

static void *write_all(void *argument)
{
	struct writer *writer = argument;
	struct netlog_lane *lane = take_lane(writer->meter);

	for (int batch = 0; batch < writer->config->batches / SLOWER; batch++) {
		count_batch(writer, lane);
		if (writer->config->churn) {
			netlog_lane_release(lane);
			lane = take_lane(writer->meter);
		}
	}
	netlog_lane_release(lane);
	return NULL;
}

static void see_point(struct seen *seen, int point, const struct netlog_flow *flows, ssize_t rows,
		      const struct netlog_unattributed *unattributed)
{
	struct counts *total = &seen->total[point];

	for (ssize_t row = 0; row < rows; row++) {
		const struct netlog_flow *flow = &flows[row];

		if (point == NETLOG_TUN) {
			struct counts *counts = &seen->flows[flow->connection.dst_port];

			CHECK(flow->connection.dst_port < FLOWS && flow->connection.src_port == 7);
			add(counts, NETLOG_TX, flow->tx_packets, flow->tx_bytes);
			add(counts, NETLOG_RX, flow->rx_packets, flow->rx_bytes);
		}
		add(total, NETLOG_TX, flow->tx_packets, flow->tx_bytes);
		add(total, NETLOG_RX, flow->rx_packets, flow->rx_bytes);
	}
	for (int direction = 0; direction < 2; direction++) {
		uint64_t packets = unattributed->packets[NETLOG_TABLE_FULL][direction];

		add(total, direction, packets, unattributed->bytes[NETLOG_TABLE_FULL][direction]);
		seen->unattributed += packets;
		CHECK(unattributed->packets[NETLOG_MALFORMED][direction] == 0);
		CHECK(unattributed->packets[NETLOG_NOT_IP][direction] == 0);
	}
}

static void poll_once(struct netlog_meter *meter, struct seen *seen, const struct config *config)
{
	struct netlog_flow flows[FLOWS * MOST_WRITERS];
	struct netlog_unattributed unattributed;
	int late = netlog_meter_swap(meter, POLL_WAIT_NS);

	CHECK(late >= 0);
	seen->late += (uint64_t)late;
	seen->epochs++;
	for (int point = 0; point < NETLOG_POINTS; point++) {
		size_t most = netlog_meter_retired_rows(meter, point);

		CHECK(most <= config->lanes * FLOWS);
		ssize_t rows = netlog_meter_drain(meter, point, flows, most, &unattributed);

		CHECK(rows >= 0 && rows <= (ssize_t)most);
		see_point(seen, point, flows, rows, &unattributed);
	}
	netlog_meter_clear(meter);
	for (int direction = 0; direction < 2; direction++) {
		const struct counts *tun = &seen->total[NETLOG_TUN];
		const struct counts *sock = &seen->total[NETLOG_SOCK];

		/* If all sums up to here agree, each epoch agrees. */
		CHECK_ROW(seen->epochs, tun->packets[direction] == sock->packets[direction]);
		CHECK_ROW(seen->epochs,
			  tun->bytes[direction] + OVERHEAD * tun->packets[direction] ==
				  sock->bytes[direction]);
	}
}

struct poller {
	struct netlog_meter *meter;
	const struct config *config;
	struct seen *seen;
	uint64_t stop;
};

static void *poll_all(void *argument)
{
	struct poller *poller = argument;

	/* acquire: pairs with the store in run(). Without it the last swap could miss counts. */
	while (!load_acquire(&poller->stop))
		poll_once(poller->meter, poller->seen, poller->config);
	return NULL;
}

static void check_sums(const struct writer *writers, int n, const struct seen *seen, bool full)
{
	struct counts total = {{0}, {0}};

	for (int i = 0; i < n; i++) {
		for (int direction = 0; direction < 2; direction++)
			add(&total, direction, writers[i].total.packets[direction],
			    writers[i].total.bytes[direction]);
	}
	CHECK(!memcmp(&total, &seen->total[NETLOG_TUN], sizeof(total)));
	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		struct counts counts = {{0}, {0}};

		for (int i = 0; i < n; i++) {
			for (int direction = 0; direction < 2; direction++)
				add(&counts, direction, writers[i].flows[flow].packets[direction],
				    writers[i].flows[flow].bytes[direction]);
		}
		if (!full)
			CHECK_ROW(flow, !memcmp(&counts, &seen->flows[flow], sizeof(counts)));
		for (int direction = 0; direction < 2; direction++)
			CHECK_ROW(flow, seen->flows[flow].packets[direction] <=
						counts.packets[direction]);
	}
	CHECK(full || seen->unattributed == 0);
}

static void run(const struct config *config)
{
	struct netlog_meter *meter = open_meter(config->max_flows, ENDPOINTS, config->lanes);
	struct writer *writers = calloc(MOST_WRITERS, sizeof(*writers));
	struct seen *seen = calloc(1, sizeof(*seen));
	struct poller poller = {.meter = meter, .config = config, .seen = seen};
	pthread_t poll_thread;

	CHECK(writers && seen);
	CHECK(pthread_create(&poll_thread, NULL, poll_all, &poller) == 0);
	for (int i = 0; i < config->writers; i++) {
		writers[i].config = config;
		writers[i].meter = meter;
		writers[i].seed = (uint64_t)i;
		CHECK(pthread_create(&writers[i].thread, NULL, write_all, &writers[i]) == 0);
	}
	for (int i = 0; i < config->writers; i++)
		CHECK(pthread_join(writers[i].thread, NULL) == 0);
	/* release: pairs with the load in poll_all(), which says why. */
	store_release(&poller.stop, 1);
	CHECK(pthread_join(poll_thread, NULL) == 0);
	/* The bank of a late lane comes with the second swap from here. */
	for (int n = 0; n < 2; n++)
		poll_once(meter, seen, config);
	check_sums(writers, config->writers, seen, config->max_flows < FLOWS);
	printf("stress: %s: %llu packets in %llu epochs, %llu late, %llu unattributed\n",
	       config->name,
	       (unsigned long long)(seen->total[0].packets[0] + seen->total[0].packets[1]),
	       (unsigned long long)seen->epochs, (unsigned long long)seen->late,
	       (unsigned long long)seen->unattributed);
	netlog_meter_close(meter);
	free(writers);
	free(seen);
}

int main(void)
{
	for (size_t row = 0; row < sizeof(configs) / sizeof(configs[0]); row++)
		run(&configs[row]);
	return 0;
}
