/* SPDX-License-Identifier: BSD-3-Clause */
/* Crash: if a poller or a writer is killed (SIGKILL) at any instruction, nothing is lost or counted
 * twice.
 *
 * The meter is in a memfd. Each victim is a process that attaches to it, is single-stepped (ptrace)
 * for a number of instructions, and is then killed. Each round has another number. Packets are
 * counted between two steps of a poller. A poller stores what it has drained as a sink should: one
 * store makes a sum valid, together with the number of its epoch.
 *
 *	crash [ROUNDS]
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "check.h"

enum { FLOWS = 64, ROUNDS = 40 / SLOWER, STEPS_A_PACKET = 97, POLLS = 2, PACKETS = 30 };

#define SWAP_NS 50000000u

struct sum {
	uint64_t packets[NETLOG_POINTS], bytes[NETLOG_POINTS];
};

/* Lies in shared memory, and outlives its writers. */
struct store {
	/* The number of epochs stored; sums[epochs % 2] is valid. writer: the poller / reader: the
	 * next poller / release and acquire: who sees the number sees the sum */
	uint64_t epochs;
	struct sum sums[2];
	/* The packets of the brackets that a victim has left. writer: the victim / reader: this
	 * program, after the victim is dead / release, for the order that the compiler keeps */
	uint64_t counted;
};

static struct store *store;
static bool is_victim;

/* From here on the victim is single-stepped. */
static void wait_for_tracer(void)
{
	if (is_victim)
		raise(SIGSTOP);
}

static struct netlog_meter *attach(int fd)
{
	struct netlog_meter *meter = NULL;
	char path[64];

	/* Opens the file again: locks belong to the open file description. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int own = open(path, O_RDWR | O_CLOEXEC);

	CHECK(own >= 0 && netlog_meter_attach(own, &meter) == 0);
	close(own);
	return meter;
}

static void poll_once(struct netlog_meter *meter)
{
	static struct netlog_flow flows[NETLOG_MAX_LANES * FLOWS];
	struct netlog_unattributed unattributed;
	int late = netlog_meter_swap(meter, SWAP_NS);

	CHECK(late >= 0 || late == -EBUSY);
	uint64_t epochs = netlog_meter_epoch(meter), stored = load_acquire(&store->epochs);

	if (stored < epochs) {
		struct sum sum = store->sums[stored % 2];

		CHECK(stored + 1 == epochs);
		for (int point = 0; point < NETLOG_POINTS; point++) {
			size_t most = netlog_meter_retired_rows(meter, point);

			CHECK(most <= sizeof(flows) / sizeof(flows[0]));
			ssize_t rows = netlog_meter_drain(meter, point, flows, most, &unattributed);

			CHECK(rows >= 0 && unattributed_packets(&unattributed) == 0);
			for (ssize_t row = 0; row < rows; row++) {
				sum.packets[point] += flows[row].tx_packets + flows[row].rx_packets;
				sum.bytes[point] += flows[row].tx_bytes + flows[row].rx_bytes;
			}
		}
		store->sums[epochs % 2] = sum;
		store_release(&store->epochs, epochs);
	}
	CHECK(netlog_meter_clear(meter) == 0);
}

static void be_poller(int fd)
{
	struct netlog_meter *meter = attach(fd);

	wait_for_tracer();
	CHECK(netlog_meter_take_poll(meter) == 0);
	for (int i = 0; i < POLLS; i++)
		poll_once(meter);
	netlog_meter_close(meter);
}

static void count_one(struct netlog_lane *lane, uint64_t number)
{
	uint8_t bytes[UDP4_BYTES];

	make_udp4(bytes, 1, 2, (uint16_t)(number % FLOWS), 9);
	struct netlog_packet packet = packet_of(bytes, UDP4_BYTES, (int)(number & 1));
	struct netlog_datagram datagram =
		datagram4((uint32_t)(number % 5), 9, UDP4_BYTES, (int)(number & 1));

	netlog_lane_enter(lane);
	netlog_lane_count_packets(lane, &packet, 1);
	netlog_lane_count_datagrams(lane, &datagram, 1);
	netlog_lane_leave(lane);
}

static void be_writer(int fd)
{
	struct netlog_meter *meter = attach(fd);
	struct netlog_lane *lane;

	wait_for_tracer();
	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0);
	for (uint64_t i = 0; i < PACKETS; i++) {
		count_one(lane, i);
		store_release(&store->counted, store->counted + 1);
	}
	netlog_lane_release(lane);
	netlog_meter_close(meter);
}

/* Starts a victim that waits before its first instruction. */
static pid_t start(void (*be)(int), int fd)
{
	int status;
	pid_t victim = fork();

	CHECK(victim >= 0);
	if (!victim) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			_exit(2);
		is_victim = true;
		be(fd);
		_exit(0);
	}
	CHECK(waitpid(victim, &status, 0) == victim && WIFSTOPPED(status));
	return victim;
}

/* Lets the victim execute at most `steps` instructions, then kills it. Returns how many it
 * executed. */
static uint64_t step(pid_t victim, uint64_t steps, struct netlog_lane *lane, uint64_t *counted)
{
	int status;

	for (uint64_t i = 0; i < steps; i++) {
		CHECK(ptrace(PTRACE_SINGLESTEP, victim, NULL, NULL) == 0);
		CHECK(waitpid(victim, &status, 0) == victim);
		if (WIFEXITED(status)) {
			CHECK(WEXITSTATUS(status) == 0);
			return i;
		}
		CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
		if (lane && i % STEPS_A_PACKET == 0)
			count_one(lane, (*counted)++);
	}
	kill(victim, SIGKILL);
	CHECK(waitpid(victim, &status, 0) == victim && WIFSIGNALED(status));
	return steps;
}

static struct netlog_meter *make(int *fd, uint32_t lanes)
{
	struct netlog_meter_options options = {
		.max_flows = FLOWS, .max_endpoints = FLOWS, .max_lanes = lanes};
	struct netlog_meter *meter = NULL;

	*fd = memfd_create("crash", MFD_CLOEXEC);
	CHECK(*fd >= 0 && netlog_meter_create(*fd, &options, &meter) == 0);
	memset(store, 0, sizeof(*store));
	return meter;
}

/* Polls everything that is left, and returns the sum over the whole run. */
static struct sum finish(int fd)
{
	for (int i = 0; i < 2; i++)
		be_poller(fd);
	return store->sums[store->epochs % 2];
}

static void kill_pollers(uint64_t rounds)
{
	int fd;
	struct netlog_meter *meter = make(&fd, 4);
	struct netlog_lane *lane;
	uint64_t counted = 0, killed = 0, seed = 1;

	/* The maker of a meter is its poller. So it closes the meter, and attaches again to count.
	 */
	netlog_meter_close(meter);
	meter = attach(fd);
	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0);
	uint64_t most = step(start(be_poller, fd), UINT64_MAX, lane, &counted);

	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t steps = next_random(&seed) % most;

		killed += step(start(be_poller, fd), steps, lane, &counted) == steps;
		count_one(lane, counted++);
	}
	struct sum sum = finish(fd);

	for (int point = 0; point < NETLOG_POINTS; point++) {
		CHECK_ROW(point, sum.packets[point] == counted);
		CHECK_ROW(point, sum.bytes[point] == counted * UDP4_BYTES);
	}
	netlog_lane_release(lane);
	netlog_meter_close(meter);
	close(fd);
	printf("crash: %llu pollers killed within %llu instructions, %llu packets\n",
	       (unsigned long long)killed, (unsigned long long)most, (unsigned long long)counted);
}

/* When a writer is killed, the packet that it was counting may be missing or be counted in part. */
static void kill_writers(uint64_t rounds)
{
	int fd;
	uint64_t killed = 0, seed = 2, before[NETLOG_POINTS] = {0, 0}, ended = 0;

	/* There is one lane: each writer must get it from the writer that was killed. */
	netlog_meter_close(make(&fd, 1));
	uint64_t most = step(start(be_writer, fd), UINT64_MAX, NULL, NULL);

	for (uint64_t round = 0; round < rounds; round++) {
		uint64_t steps = next_random(&seed) % most;

		store->counted = 0;
		killed += step(start(be_writer, fd), steps, NULL, NULL) == steps;
		ended += store->counted + (round == 0 ? PACKETS : 0);
		struct sum sum = finish(fd);

		for (int point = 0; point < NETLOG_POINTS; point++) {
			uint64_t got = sum.packets[point] - before[point];
			uint64_t more = got - store->counted - (round == 0 ? PACKETS : 0);

			CHECK_ROW(round, more <= 1);
			before[point] = sum.packets[point];
			CHECK_ROW(round, sum.bytes[point] <= sum.packets[point] * UDP4_BYTES);
			CHECK_ROW(round, sum.bytes[point] + (killed * UDP4_BYTES) >=
						 sum.packets[point] * UDP4_BYTES);
		}
	}
	close(fd);
	printf("crash: %llu writers killed within %llu instructions, %llu packets\n",
	       (unsigned long long)killed, (unsigned long long)most, (unsigned long long)ended);
}

/* Whether a process can be executed in single steps. */
static bool can_step(void)
{
	pid_t child = fork();
	int status;

	CHECK(child >= 0);
	if (!child)
		_exit(ptrace(PTRACE_TRACEME, 0, NULL, NULL) ? 1 : 0);
	CHECK(waitpid(child, &status, 0) == child);
	return status == 0;
}

int main(int argc, char **argv)
{
	uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : ROUNDS;

	if (!ATOMIC_ACROSS_PROCESSES) {
		LEFT_OUT("crash", NO_SHARED_METER);
		return 0;
	}
	if (!can_step()) {
		LEFT_OUT("crash", "no single steps (an emulator)");
		return 0;
	}
	store = mmap(NULL, sizeof(*store), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	CHECK(store != MAP_FAILED);
	kill_pollers(rounds);
	kill_writers(rounds / 2);
	return 0;
}
