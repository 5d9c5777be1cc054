/* SPDX-License-Identifier: BSD-3-Clause */
/* Adopt: every user of a meter's file has its own opening of the file.
 *
 * Three meters are attached through one descriptor, and their locks must keep them apart. Then
 * forks use the meter that they inherited, each in its own way. Afterwards the parent checks its
 * own lanes and locks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "meter/meter.h"
#include "check.h"

/* How often to look until the kernel has released the locks of a process that has ended. */
enum { TRIES = 5000 };

static int file;

/* Opens the file again: locks belong to the open file description. */
static int open_again(void)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	return open(path, O_RDWR | O_CLOEXEC);
}

static struct netlog_lane *acquire(struct netlog_meter *meter)
{
	struct netlog_lane *lane = NULL;

	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0);
	return lane;
}

static void count(struct netlog_lane *lane, uint16_t port)
{
	uint8_t bytes[UDP4_BYTES];

	make_udp4(bytes, 1, 2, port, 9);
	struct netlog_packet packet = packet_of(bytes, UDP4_BYTES, NETLOG_TX);

	netlog_lane_enter(lane);
	netlog_lane_count_packets(lane, &packet, 1);
	netlog_lane_leave(lane);
}

/* Before a fork has adopted the meter, it has no lanes and cannot count into its parent's. */
static void without(struct netlog_meter *meter)
{
	struct netlog_lane *lane = NULL;

	CHECK(netlog_meter_acquire_lane(meter, &lane) == -EPERM && !lane);
	/* If the descriptor cannot be mapped for writing, nothing changes. */
	int useless = open("/dev/null", O_RDONLY | O_CLOEXEC);

	CHECK(netlog_meter_adopt(meter, useless) < 0);
	CHECK(fcntl(meter->fd, F_GETFD) >= 0 && meter->fd != useless);
	CHECK(netlog_meter_acquire_lane(meter, &lane) == -EPERM);
}

static void adopts(struct netlog_meter *meter)
{
	int own = open_again();

	CHECK(own >= 0 && netlog_meter_adopt(meter, own) == 0 && meter->fd == own);
	CHECK(netlog_meter_adopt(meter, own) == -EPERM);
	struct netlog_lane *lane = acquire(meter);

	/* One of the two lanes is the parent's. */
	CHECK(lane == &meter->lanes[1]);
	CHECK(netlog_meter_acquire_lane(meter, &lane) == -EAGAIN);
	count(&meter->lanes[1], 7);
	netlog_lane_release(&meter->lanes[1]);
}

/* The fork dies in a bracket. The next process that wants a lane repairs it. */
static void dies_inside(struct netlog_meter *meter)
{
	CHECK(netlog_meter_adopt(meter, open_again()) == 0);
	struct netlog_lane *lane = acquire(meter);

	count(lane, 8);
	netlog_lane_enter(lane);
	_exit(0);
}

/* A daemon: the fork of a dead fork gets the lane of that fork, which is marked as taken in this
 * memory. */
static void daemonizes(struct netlog_meter *meter)
{
	int ended = 0, status;

	/* From now on this process is the daemon's parent. A child that it has waited for holds no
	 * locks. */
	CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
	pid_t child = fork();

	CHECK(child >= 0);
	if (child) {
		while (wait(&status) > 0)
			ended += status == 0;
		CHECK(ended == 2);
		return;
	}
	CHECK(netlog_meter_adopt(meter, open_again()) == 0);
	(void)acquire(meter);
	if (fork())
		_exit(0); /* It dies and still has the lane. */
	CHECK(netlog_meter_adopt(meter, open_again()) == 0);
	struct netlog_lane *lane = NULL;

	for (int tries = 0; !lane && tries < TRIES; tries++) {
		if (netlog_meter_acquire_lane(meter, &lane))
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	CHECK(lane == &meter->lanes[1]);
	count(lane, 9);
	_exit(0);
}

/* A fork that only exits does not drop its parent's locks, nor does one that closes the meter. */
static void closes(struct netlog_meter *meter)
{
	netlog_meter_close(meter);
}

static void in_fork(void (*act)(struct netlog_meter *meter), struct netlog_meter *meter)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (!child) {
		act(meter);
		_exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* Whether another opening of the file can take a lane of the parent. */
static bool can_steal(void)
{
	struct netlog_meter *other = NULL;
	struct netlog_lane *lanes[2] = {NULL, NULL};
	int fd = open_again();

	CHECK(fd >= 0 && netlog_meter_attach(fd, &other) == 0);
	close(fd);
	bool stolen = netlog_meter_acquire_lane(other, &lanes[0]) == 0 &&
		      netlog_meter_acquire_lane(other, &lanes[1]) == 0;

	netlog_meter_close(other);
	return stolen;
}

/* Ends a period while `late` lanes are inside, and returns its packets. */
static uint64_t counted(struct netlog_meter *poller, int late)
{
	struct netlog_unattributed unattributed;
	struct netlog_flow flows[64];
	uint64_t packets = 0;

	CHECK(netlog_meter_swap(poller, 0) == late);
	ssize_t rows = netlog_meter_drain(poller, NETLOG_TUN, flows, 64, &unattributed);

	CHECK(rows >= 0);
	for (ssize_t row = 0; row < rows; row++)
		packets += flows[row].tx_packets;
	CHECK(netlog_meter_clear(poller) == 0);
	return packets;
}

/* Three meters through one descriptor: none takes another's lane, or believes that a writer that is
 * inside is dead. */
static void check_one_descriptor(struct netlog_meter *poller)
{
	struct netlog_meter *meters[2] = {NULL};
	struct netlog_lane *lanes[2];

	for (int i = 0; i < 2; i++) {
		CHECK(netlog_meter_attach(file, &meters[i]) == 0);
		lanes[i] = acquire(meters[i]);
		CHECK(lanes[i] == &meters[i]->lanes[i]);
		netlog_lane_enter(lanes[i]);
	}
	CHECK(counted(poller, 2) == 0);
	for (int i = 0; i < 2; i++) {
		netlog_lane_leave(lanes[i]);
		count(lanes[i], 1);
	}
	/* One meter closes, and drops only its own locks. */
	netlog_meter_close(meters[0]);
	netlog_lane_enter(lanes[1]);
	CHECK(counted(poller, 1) == 1);
	netlog_lane_leave(lanes[1]);
	CHECK(counted(poller, 0) == 0);
	CHECK(counted(poller, 0) == 1);
	netlog_meter_close(meters[1]);
}

int main(void)
{
	struct netlog_meter_options options = {
		.max_flows = 16, .max_endpoints = 16, .max_lanes = 2};
	struct netlog_meter *poller = NULL, *meter = NULL;

	if (!ATOMIC_ACROSS_PROCESSES) {
		LEFT_OUT("adopt", NO_SHARED_METER);
		return 0;
	}
	file = memfd_create("meter", MFD_CLOEXEC);
	CHECK(netlog_meter_create(file, &options, &poller) == 0);
	check_one_descriptor(poller);
	int own = open_again();

	CHECK(netlog_meter_attach(own, &meter) == 0);
	close(own);
	CHECK(netlog_meter_adopt(meter, own) == -EPERM);
	CHECK(netlog_meter_adopt(poller, own) == -EPERM);
	struct netlog_lane *lane = acquire(meter);

	count(lane, 1);
	in_fork(without, meter);
	CHECK(!can_steal());
	in_fork(closes, meter);
	CHECK(!can_steal());
	in_fork(adopts, meter);
	CHECK(!can_steal());
	count(lane, 2);
	CHECK(counted(poller, 0) == 3);
	in_fork(dies_inside, meter);
	count(lane, 3);
	/* The dead writer's bracket is closed, and its packet is counted. */
	CHECK(counted(poller, 0) == 2);
	if (prctl(PR_SET_CHILD_SUBREAPER, 1)) {
		LEFT_OUT("adopt", "daemons: no PR_SET_CHILD_SUBREAPER (an emulator)");
	} else {
		CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 0));
		in_fork(daemonizes, meter);
		count(lane, 4);
		CHECK(counted(poller, 0) == 2);
	}
	netlog_lane_release(lane);
	CHECK(can_steal());
	netlog_meter_close(meter);
	netlog_meter_close(poller);
	printf("adopt: one descriptor for three, five forks\n");
	return 0;
}
