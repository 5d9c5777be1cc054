/* SPDX-License-Identifier: BSD-3-Clause */
/* Barrier: a writer that counts one packet in each bracket and relies on the poller's barriers,
 * against a poller that swaps as fast as it can. Also the cases in which lane_count_last() refuses.
 *
 * Each observation point has one connection, and packets alternate between the points. So
 * lane_count_last() counts them. At the end the poller must have exactly what the writer counted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/barrier.h"
#include "meter/lane.h"
#include "check.h"

#define WAIT_NS 10000000u

enum { PACKETS = 1000000 / SLOWER, LEAST_SHARE = 2 };

/* Before each packet the writer stores to lines that are in no cache. The store to the bracket
 * waits behind them, and a poller without barriers would look before it arrives. */
enum { STORES = 48, FAR_BYTES = 64 << 20 };

static uint64_t far[FAR_BYTES / sizeof(uint64_t)];

struct writer {
	struct netlog_lane *lane;
	uint64_t bytes, by_last;
	uint64_t done; /* 1: all packets are counted. The writer stores it with release, the poller
			* loads it with acquire: without that, the poller's last swap could miss a
			* count. */
};

static struct netlog_meter *create(int fd)
{
	struct netlog_meter_options options = {
		.max_flows = 16, .max_endpoints = 16, .max_lanes = 2};
	struct netlog_meter *meter = NULL;

	CHECK(netlog_meter_create(fd, &options, &meter) == 0);
	return meter;
}

static struct netlog_key key_of_point(int point)
{
	struct netlog_key key = {.dst = {0, key_mapped(7)},
				 .tail = key_tail(9, 4, 0, point ? NETLOG_NO_SRC : 0)};

	return key;
}

static void *write_all(void *argument)
{
	struct writer *writer = argument;
	uint64_t seed = 1;

	for (uint64_t i = 0; i < PACKETS; i++) {
		int point = i & 1;
		struct netlog_key key = key_of_point(point);
		struct netlog_increment increment = {
			.packets = 1, .direction = (uint32_t)(i >> 1 & 1), .bytes = i % 1000};

		for (int store = 0; store < STORES; store++)
			store_relaxed(&far[next_random(&seed) % (FAR_BYTES / sizeof(*far))], i);
		writer->bytes += increment.bytes;
		if (lane_count_last(writer->lane, point, &key, point ? 0 : 4, increment.direction,
				    increment.bytes)) {
			writer->by_last++;
			continue;
		}
		lane_enter(writer->lane);
		lane_add(writer->lane, point, &key, &increment);
		lane_leave(writer->lane);
	}
	store_release(&writer->done, 1);
	return NULL;
}

struct sum {
	uint64_t packets, bytes, epochs;
};

static void poll_once(struct netlog_meter *meter, struct sum *sum)
{
	struct netlog_unattributed unattributed;
	struct netlog_flow flows[32];

	CHECK(netlog_meter_swap(meter, WAIT_NS) >= 0);
	for (int point = 0; point < NETLOG_POINTS; point++) {
		ssize_t rows = netlog_meter_drain(meter, point, flows, 32, &unattributed);

		CHECK(rows >= 0 && unattributed_packets(&unattributed) == 0);
		for (ssize_t row = 0; row < rows; row++) {
			sum->packets += flows[row].tx_packets + flows[row].rx_packets;
			sum->bytes += flows[row].tx_bytes + flows[row].rx_bytes;
		}
	}
	CHECK(netlog_meter_clear(meter) == 0);
	sum->epochs++;
}

static void check_relying(void)
{
	if (!ATOMIC_ACROSS_PROCESSES) {
		LEFT_OUT("barrier", NO_SHARED_METER);
		return;
	}
	int fd = memfd_create("meter", MFD_CLOEXEC);
	struct netlog_meter *meter = create(fd), *writers = NULL;
	struct writer writer = {.lane = NULL};
	struct sum sum = {0};
	pthread_t thread;

	CHECK(netlog_meter_attach(fd, &writers) == 0);
	netlog_meter_rely(writers);
	CHECK(writers->relies == barrier_can_ask());
	CHECK(netlog_meter_acquire_lane(writers, &writer.lane) == 0);
	CHECK(writer.lane->relies == writers->relies);
	if (!writer.lane->relies) {
		LEFT_OUT("barrier", "no membarrier(2)");
		return;
	}
	CHECK(!pthread_create(&thread, NULL, write_all, &writer));
	while (!load_acquire(&writer.done))
		poll_once(meter, &sum);
	CHECK(!pthread_join(thread, NULL));
	for (int twice = 0; twice < 2; twice++)
		poll_once(meter, &sum);
	CHECK_ROW(PACKETS - (int64_t)sum.packets, sum.packets == PACKETS);
	CHECK(sum.bytes == writer.bytes);
	/* Otherwise the run did not test lane_count_last(). */
	CHECK(writer.by_last > PACKETS / LEAST_SHARE);
	printf("barrier: %d packets in %llu epochs\n", PACKETS, (unsigned long long)sum.epochs);
	netlog_lane_release(writer.lane);
	netlog_meter_close(writers);
	netlog_meter_close(meter);
	close(fd);
}

/* A signal handler that finds the lane marked does not count into it. A packet whose counter would
 * overflow is refused, so that the caller starts a new record. */
static void check_refusals(void)
{
	struct netlog_meter *meter = open_meter(16, 16, 1);
	struct netlog_key key = key_of_point(NETLOG_TUN), other = key_of_point(NETLOG_TUN);
	struct netlog_increment increment = {.packets = 1, .bytes = 10};
	struct netlog_lane *lane;

	other.dst[1] = key_mapped(8);
	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0 && !lane->relies);
	CHECK(!lane_count_last(lane, NETLOG_TUN, &key, 4, NETLOG_TX, 10));
	lane_enter(lane);
	lane_add(lane, NETLOG_TUN, &key, &increment);
	lane_leave(lane);
	CHECK(lane_count_last(lane, NETLOG_TUN, &key, 4, NETLOG_TX, 10));
	CHECK(!lane_count_last(lane, NETLOG_TUN, &other, 4, NETLOG_TX, 10));
	CHECK(lane->bracket == lane->header->bracket && lane->bracket % 2 == 0);
	lane_mark(lane);
	CHECK(!lane_count_last(lane, NETLOG_TUN, &key, 4, NETLOG_TX, 10));
	lane->bracket--;
	lane->last[NETLOG_TUN]->packets[NETLOG_RX] = UINT32_MAX;
	CHECK(!lane_count_last(lane, NETLOG_TUN, &key, 4, NETLOG_RX, 10));
	CHECK(netlog_meter_swap(meter, 0) == 0);
	CHECK(!lane_count_last(lane, NETLOG_TUN, &key, 4, NETLOG_TX, 10));
	CHECK(lane->tables[0][NETLOG_TUN].records[0].packets[NETLOG_TX] == 2);
	netlog_meter_close(meter);
}

int main(void)
{
	check_refusals();
	check_relying();
	return 0;
}
