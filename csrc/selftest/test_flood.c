/* SPDX-License-Identifier: BSD-3-Clause */
/* Flood: random 5-tuples, nearly every packet a connection of its own.
 *
 * The tables are far too small for them, and the poller is often late. Memory must not grow, and
 * every packet must be in a connection or unattributed.
 */
#include <pthread.h>
#include <unistd.h>

#include "base/atomic.h"
#include "check.h"

enum { WRITERS = 2, BATCH = 64, MAX_FLOWS = 32768 };

#define BATCHES_EACH (80000u / SLOWER) /* 64 packets each; 10 M packets in all */
#define WARM_UP_EACH (MAX_FLOWS * 2 / BATCH)
#define POLL_NS      20000000ull

/* Growth that is allowed, for stacks and the C library. A single bank is 36 times as large. */
#define SLACK_KIB 64

struct flood {
	struct netlog_lane *lane;
	uint64_t seed;
	uint32_t batches;
	uint64_t *running; /* writers that are still running */
};

/* Makes 64 packets with random addresses, ports and protocols. Every fourth is IPv6, and a few are
 * not IP packets at all. */
static void make_batch(uint8_t bytes[BATCH][UDP6_BYTES], struct netlog_packet *packets,
		       uint64_t *seed)
{
	for (size_t i = 0; i < BATCH; i++) {
		uint64_t a = next_random(seed), b = next_random(seed);
		uint32_t length = i % 4 ? UDP4_BYTES : UDP6_BYTES;

		if (i % 4)
			make_udp4(bytes[i], (uint32_t)a, (uint32_t)(a >> 32), (uint16_t)b,
				  (uint16_t)(b >> 16));
		else
			make_udp6(bytes[i], (uint32_t)a, (uint32_t)(a >> 32), (uint16_t)b,
				  (uint16_t)(b >> 16));
		if (b >> 58 == 0)
			bytes[i][0] = 0x80 | (uint8_t)(b >> 32); /* no version of IP */
		packets[i] = packet_of(bytes[i], length, (int)(b >> 32 & 1));
	}
}

static void *write_flood(void *argument)
{
	struct flood *flood = argument;
	uint8_t bytes[BATCH][UDP6_BYTES];
	struct netlog_packet packets[BATCH];

	for (uint32_t batch = 0; batch < flood->batches; batch++) {
		make_batch(bytes, packets, &flood->seed);
		netlog_lane_enter(flood->lane);
		netlog_lane_count_packets(flood->lane, packets, BATCH);
		netlog_lane_leave(flood->lane);
	}
	/* acq_rel: pairs with the load in run(). Without it run() could end before the last counts
	 * are visible. */
	(void)decrement(flood->running);
	return NULL;
}

/* Reads the size of anonymous memory from the page tables. statm includes the libraries, and is off
 * by some pages for each processor. */
static long anonymous_kib(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "re");
	char line[256];
	long kib = -1;

	CHECK(file);
	while (kib < 0 && fgets(line, sizeof(line), file))
		(void)sscanf(line, "Anonymous: %ld", &kib);
	fclose(file);
	CHECK(kib > 0);
	return kib;
}

struct sums {
	uint64_t packets, bytes, rows, unattributed, epochs;
};

static void poll_once(struct netlog_meter *meter, struct netlog_flow *flows, struct sums *sums)
{
	struct netlog_unattributed unattributed;

	CHECK(netlog_meter_swap(meter, POLL_NS) >= 0);
	size_t most = netlog_meter_retired_rows(meter, NETLOG_TUN);

	CHECK(most <= WRITERS * MAX_FLOWS);
	ssize_t rows = netlog_meter_drain(meter, NETLOG_TUN, flows, most, &unattributed);

	CHECK(rows >= 0);
	for (ssize_t row = 0; row < rows; row++) {
		sums->packets += flows[row].tx_packets + flows[row].rx_packets;
		sums->bytes += flows[row].tx_bytes + flows[row].rx_bytes;
	}
	sums->packets += unattributed_packets(&unattributed);
	sums->bytes += unattributed_bytes(&unattributed);
	sums->unattributed += unattributed_packets(&unattributed);
	sums->rows += (uint64_t)rows;
	sums->epochs++;
	netlog_meter_clear(meter);
}

/* Lets the writers flood the meter. Polls it meanwhile, or only at the end. */
static void run(struct netlog_meter *meter, struct netlog_flow *flows, uint32_t batches, bool poll,
		struct sums *sums)
{
	struct flood floods[WRITERS];
	pthread_t threads[WRITERS];
	uint64_t running = WRITERS;

	for (uint64_t i = 0; i < WRITERS; i++) {
		floods[i] = (struct flood){NULL, sums->epochs + i, batches, &running};
		/* All lanes are acquired before any is released, so that each writer fills its own
		 * lane. */
		CHECK(netlog_meter_acquire_lane(meter, &floods[i].lane) == 0);
	}
	for (int i = 0; i < WRITERS; i++)
		CHECK(pthread_create(&threads[i], NULL, write_flood, &floods[i]) == 0);
	/* acquire: pairs with the subtraction in write_flood(), which says why. */
	while (poll && load_acquire(&running)) {
		netlog_meter_wait(meter, POLL_NS);
		poll_once(meter, flows, sums);
	}
	for (int i = 0; i < WRITERS; i++) {
		CHECK(pthread_join(threads[i], NULL) == 0);
		netlog_lane_release(floods[i].lane);
	}
	poll_once(meter, flows, sums);
}

int main(void)
{
	struct netlog_meter *meter = open_meter(MAX_FLOWS, 64, WRITERS);
	struct netlog_flow *flows = malloc(WRITERS * MAX_FLOWS * sizeof(*flows));
	struct sums warm = {0}, sums = {0};

	CHECK(flows);
	/* Fills both banks, so that from here on every page is in memory. */
	for (int bank = 0; bank < 2; bank++)
		run(meter, flows, WARM_UP_EACH, false, &warm);
	CHECK(warm.rows == 2 * WRITERS * MAX_FLOWS && warm.unattributed > warm.rows / 2);
	long before = anonymous_kib();

	run(meter, flows, BATCHES_EACH, true, &sums);
	/* The bank of a late lane comes with a later swap. */
	poll_once(meter, flows, &sums);
	long growth = anonymous_kib() - before;

	CHECK(sums.packets == (uint64_t)WRITERS * BATCHES_EACH * BATCH);
	/* Of each 64 packets 48 are IPv4 and 16 IPv6. */
	CHECK(sums.bytes == sums.packets / 4 * (3ull * UDP4_BYTES + UDP6_BYTES));
	CHECK(sums.rows > 0 && sums.epochs > 2);
	/* The memory of a sanitizer, or of an emulator, may grow itself. */
#ifdef EMULATED
	LEFT_OUT("flood", "the growth of its memory: an emulator's own is in it");
#else
	if (SLOWER == 1)
		CHECK_ROW(growth, growth <= SLACK_KIB);
#endif
	printf("flood: %llu packets = %llu rows and %llu unattributed, %llu epochs, %ld KiB "
	       "grown\n",
	       (unsigned long long)sums.packets, (unsigned long long)sums.rows,
	       (unsigned long long)sums.unattributed, (unsigned long long)sums.epochs, growth);
	free(flows);
	netlog_meter_close(meter);
	return 0;
}
