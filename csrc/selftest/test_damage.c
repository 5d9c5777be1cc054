/* SPDX-License-Identifier: BSD-3-Clause */
/* Damage: what a poller finds in a file that another process wrote, and what a fork may do.
 *
 * Each word of the region's header is damaged, one after the other. A successor refuses the file,
 * or it finds a period that is whole, or it is told that the last one is damaged.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "meter/meter.h"
#include "check.h"

static const struct netlog_period first = {1000, 1999, 5}, second = {2000, 2999, 6},
				  none = {0, 0, 0};

static int new_file(void)
{
	int file = memfd_create("meter", MFD_CLOEXEC);

	CHECK(file >= 0);
	return file;
}

static struct netlog_meter *create(int file)
{
	struct netlog_meter_options options = {
		.max_flows = 16, .max_endpoints = 16, .max_lanes = 2};
	struct netlog_meter *meter = NULL;

	CHECK(netlog_meter_create(file, &options, &meter) == 0);
	return meter;
}

static struct netlog_meter *attach(int file)
{
	struct netlog_meter *meter = NULL;

	CHECK(netlog_meter_attach(file, &meter) == 0);
	return meter;
}

static bool same(const struct netlog_period *a, const struct netlog_period *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void count(struct netlog_meter *meter, uint8_t version)
{
	struct netlog_datagram datagram = {.version = version, .length = 9, .port = 53};
	struct netlog_lane *lane = NULL;

	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0);
	for (int i = 0; i < 3; i++) {
		netlog_lane_enter(lane);
		netlog_lane_count_datagrams(lane, &datagram, 1);
		netlog_lane_leave(lane);
	}
	netlog_lane_release(lane);
}

/* A file with two dated periods, the second of which is retired. */
static int dated_file(void)
{
	int file = new_file();
	struct netlog_meter *meter = create(file);

	CHECK(netlog_meter_swap(meter, 0) == 0);
	netlog_meter_date(meter, &first);
	CHECK(netlog_meter_clear(meter) == 0);
	count(meter, 4);
	CHECK(netlog_meter_swap(meter, 0) == 0);
	netlog_meter_date(meter, &second);
	netlog_meter_close(meter);
	return file;
}

/* A change of each bit of each word before the lanes. */
static void check_header(void)
{
	int refused = 0, told = 0, whole = 0;
	int file = dated_file();
	struct netlog_region good;

	CHECK(pread(file, &good, sizeof(good), 0) == sizeof(good));
	for (size_t bit = 0; bit < 8 * sizeof(good); bit++) {
		struct netlog_region bad = good;
		struct netlog_meter *meter = NULL;
		struct netlog_period period;

		((uint8_t *)&bad)[bit / 8] ^= (uint8_t)(1u << bit % 8);
		CHECK(pwrite(file, &bad, sizeof(bad), 0) == sizeof(bad));
		int rc = netlog_meter_attach(file, &meter);

		if (!rc)
			rc = netlog_meter_take_poll(meter);
		if (rc) {
			CHECK_ROW(bit, rc == -EBADMSG);
			refused++;
		} else {
			rc = netlog_meter_period(meter, &period);
			CHECK_ROW(bit, rc == -EBADMSG || rc == 0 || rc == 1);
			CHECK_ROW(bit, same(&period, &second) == (rc >= 0));
			CHECK_ROW(bit, rc >= 0 || same(&period, &first) || same(&period, &none));
			told += rc < 0;
			whole += rc >= 0;
		}
		netlog_meter_close(meter);
	}
	/* The three words of the period and its check word; `dated` may be too great, or another.
	 */
	CHECK(told >= 4 * 64);
	CHECK(refused >= 8 * (int)offsetof(struct netlog_region, asks_barriers));
	CHECK(whole > 0);
	close(file);
}

/* A poll that cannot be taken leaves the poller's lock to others. */
static void check_refused_poll(void)
{
	int file = dated_file();
	uint64_t epoch, bad = ~0ull;
	off_t at = offsetof(struct netlog_region, epoch);
	struct netlog_meter *unlucky = attach(file), *other = attach(file);

	CHECK(pread(file, &epoch, sizeof(epoch), at) == sizeof(epoch));
	CHECK(pwrite(file, &bad, sizeof(bad), at) == sizeof(bad));
	CHECK(netlog_meter_take_poll(unlucky) == -EBADMSG);
	CHECK(netlog_meter_swap(unlucky, 0) == -EPERM);
	CHECK(pwrite(file, &epoch, sizeof(epoch), at) == sizeof(epoch));
	CHECK(netlog_meter_take_poll(other) == 0);
	CHECK(netlog_meter_take_poll(unlucky) == -EBUSY);
	netlog_meter_close(other);
	CHECK(netlog_meter_take_poll(unlucky) == 0);
	netlog_meter_close(unlucky);
	close(file);
}

/* The packets and unattributed packets of the sock since the last call. */
static void drain(struct netlog_meter *meter, uint64_t *packets, uint64_t *unattributed,
		  int *without_addresses)
{
	struct netlog_unattributed counts;
	struct netlog_flow flows[64];

	CHECK(netlog_meter_swap(meter, 0) == 0);
	ssize_t rows = netlog_meter_drain(meter, NETLOG_SOCK, flows, 64, &counts);

	CHECK(rows >= 0);
	*packets = *unattributed = 0;
	*without_addresses = 0;
	for (ssize_t row = 0; row < rows; row++) {
		*packets += flows[row].tx_packets + flows[row].rx_packets;
		*without_addresses +=
			flows[row].connection.flags == (NETLOG_NO_SRC | NETLOG_NO_DST);
	}
	for (int reason = 0; reason < NETLOG_REASONS; reason++)
		*unattributed += counts.packets[reason][0];
	CHECK(netlog_meter_clear(meter) == 0);
}

/* A datagram of no version is unattributed, and holds up nothing. */
static void check_datagrams(void)
{
	int file = new_file(), without;
	struct netlog_meter *meter = create(file);
	uint64_t packets, unattributed;

	count(meter, 4);
	count(meter, 5);
	count(meter, 0);
	count(meter, 6);
	drain(meter, &packets, &unattributed, &without);
	CHECK(packets == 6 && unattributed == 6 && without == 0);
	netlog_meter_close(meter);
	close(file);
}

/* A record that no meter writes keeps its counts, and holds up nothing. */
static void check_records(void)
{
	int file = new_file(), without;
	struct netlog_meter *meter = create(file);
	uint64_t packets, unattributed;

	count(meter, 4);
	count(meter, 6);
	meter->lanes[0].tables[0][NETLOG_SOCK].records[1].connection.version = 9;
	drain(meter, &packets, &unattributed, &without);
	CHECK(packets == 6 && unattributed == 0 && without == 1);
	/* A bracket that damage has opened, in a lane that nobody owns, is closed again. */
	count(meter, 4);
	meter->lanes[0].header->bracket++;
	drain(meter, &packets, &unattributed, &without);
	CHECK(packets == 3 && without == 0);
	/* Sums beyond 64 bits stay at the greatest number. */
	for (int lane = 0; lane < 2; lane++) {
		meter->lanes[lane].header->tables[0][NETLOG_SOCK].unattributed.packets[0][0] =
			~0ull - 1;
	}
	drain(meter, &packets, &unattributed, &without);
	CHECK(unattributed == ~0ull);
	netlog_meter_close(meter);
	close(file);
}

/* A fork may not count into a meter or poll it, unless that is shared memory. */
static void check_fork(struct netlog_meter *meter, int result)
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (!child) {
		struct netlog_lane *lane = NULL;
		int swapped = netlog_meter_swap(meter, 0);

		CHECK(swapped == result);
		CHECK(netlog_meter_acquire_lane(meter, &lane) == result);
		CHECK(netlog_meter_take_poll(meter) < 0);
		netlog_lane_release(lane);
		netlog_meter_close(meter);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

static void check_forks(void)
{
	struct netlog_meter_options options = {
		.max_flows = 16, .max_endpoints = 16, .max_lanes = 2};
	struct netlog_meter *meter = NULL;
	uint64_t packets, unattributed;
	int file = new_file(), without;

	CHECK(netlog_meter_open(&options, &meter) == 0);
	count(meter, 4);
	check_fork(meter, -EPERM);
	drain(meter, &packets, &unattributed, &without);
	CHECK(packets == 3);
	netlog_meter_close(meter);

	options.shared = 1;
	CHECK(netlog_meter_open(&options, &meter) == 0);
	check_fork(meter, 0);
	netlog_meter_close(meter);

	meter = create(file);
	count(meter, 4);
	check_fork(meter, -EPERM);
	drain(meter, &packets, &unattributed, &without);
	CHECK(packets == 3);
	struct netlog_meter *other = attach(file);

	/* The fork that closed it left the locks to its parent. */
	CHECK(netlog_meter_take_poll(other) == -EBUSY);
	netlog_meter_close(other);
	netlog_meter_close(meter);
	close(file);
}

int main(void)
{
	if (!ATOMIC_ACROSS_PROCESSES) {
		LEFT_OUT("damage", NO_SHARED_METER);
		return 0;
	}
	check_header();
	check_refused_poll();
	check_datagrams();
	check_records();
	check_forks();
	printf("damage: every bit of a header, records, datagrams, three forks\n");
	return 0;
}
