/* SPDX-License-Identifier: BSD-3-Clause */
/* Stop: a poller that is stopped (SIGSTOP) in the middle of a swap does not delay any writer.
 *
 * The poller is another process on the same tables. Sometimes it stops itself in the middle of a
 * swap: after the one store, while it waits for a writer to leave. Sometimes it is stopped wherever
 * it happens to be. Meanwhile each writer must count a number of batches; the test waits for
 * progress, and does not measure time. In the end all sums must be exact.
 *
 *	stop [SECONDS]		how long to stay stopped, beyond the batches; default 0
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* The fault point: the poller calls nanosleep() only in a swap, and only while a writer is inside.
 */
#include <time.h>
static int sleep_in_swap(const struct timespec *duration, struct timespec *left);
#define nanosleep sleep_in_swap
#include "meter/poll.c"
#undef nanosleep

#include "check.h"

enum { WRITERS = 3, FLOWS = 200, BATCH = 16, ROUNDS = 4, BATCHES_WHILE_STOPPED = 20000 / SLOWER };

#define SWAP_NS    1000000u
#define INSIDE_NS  2000000
#define HANG_S     300 /* only so that a test that hangs ends */
#define EACH_BYTES UDP4_BYTES

/* Lies in shared memory. Words are written by one process and read by the other. */
struct shared {
	uint64_t stop_in_swap; /* parent -> child: stop in the next swap */
	uint64_t finish;       /* parent -> child: the writers are done */
	uint64_t packets[NETLOG_POINTS], bytes[NETLOG_POINTS], epochs,
		late; /* child -> parent, when it ends */
};

struct writer {
	struct netlog_lane *lane;
	pthread_t thread;
	const uint64_t *done;
	uint64_t batches; /* writer: its thread; reader: main. relaxed: only progress matters */
};

static struct shared *shared;

static int sleep_in_swap(const struct timespec *duration, struct timespec *left)
{
	/* acquire: pairs with store_release() in check_stopped(). No order is needed: only that
	 * word matters. */
	if (load_acquire(&shared->stop_in_swap)) {
		store_release(&shared->stop_in_swap, 0);
		raise(SIGSTOP);
	}
	return nanosleep(duration, left);
}

static void poll_once(struct netlog_meter *meter)
{
	static struct netlog_flow flows[FLOWS * WRITERS];
	struct netlog_unattributed unattributed;
	int late = netlog_meter_swap(meter, SWAP_NS);

	CHECK(late >= 0);
	shared->late += (uint64_t)late;
	shared->epochs++;
	for (int point = 0; point < NETLOG_POINTS; point++) {
		size_t most = netlog_meter_retired_rows(meter, point);

		CHECK(most <= FLOWS * WRITERS);
		ssize_t rows = netlog_meter_drain(meter, point, flows, most, &unattributed);

		CHECK(rows >= 0 && unattributed_packets(&unattributed) == 0);
		for (ssize_t row = 0; row < rows; row++) {
			shared->packets[point] += flows[row].tx_packets + flows[row].rx_packets;
			shared->bytes[point] += flows[row].tx_bytes + flows[row].rx_bytes;
		}
	}
	netlog_meter_clear(meter);
}

static void be_the_poller(struct netlog_meter *meter)
{
	/* If a check fails in the parent, this process must end, too. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	/* acquire: pairs with the store in main(). Without it the last swap could miss counts. */
	while (!load_acquire(&shared->finish))
		poll_once(meter);
	for (int n = 0; n < 2; n++)
		poll_once(meter);
	_exit(0);
}

/* Counts until it is told to end. Sometimes it stays inside for a while, so that a swap must wait.
 */
static void *write_all(void *argument)
{
	struct writer *writer = argument;
	uint8_t bytes[BATCH][UDP4_BYTES];
	struct netlog_packet packets[BATCH];
	struct netlog_datagram datagrams[BATCH];

	for (uint64_t batch = 0; !load_relaxed(writer->done); batch++) {
		for (uint32_t i = 0; i < BATCH; i++) {
			uint32_t flow = (uint32_t)(batch * BATCH + i) % FLOWS;

			make_udp4(bytes[i], 1, 2, 3, (uint16_t)flow);
			packets[i] = packet_of(bytes[i], UDP4_BYTES, (int)(flow % 2));
			datagrams[i] = datagram4(flow, 1, EACH_BYTES, (int)(flow % 2));
		}
		netlog_lane_enter(writer->lane);
		netlog_lane_count_packets(writer->lane, packets, BATCH);
		if (batch % 1024 == 0)
			nanosleep(&(struct timespec){.tv_nsec = INSIDE_NS}, NULL);
		netlog_lane_count_datagrams(writer->lane, datagrams, BATCH);
		netlog_lane_leave(writer->lane);
		store_relaxed(&writer->batches, batch + 1);
	}
	return NULL;
}

static bool is_stopped(pid_t child)
{
	int status = 0;

	CHECK(waitpid(child, &status, WUNTRACED) == child);
	return WIFSTOPPED(status);
}

/* Returns when every writer has counted its batches. Hangs if one is delayed. */
static void wait_for_progress(const struct writer *writers)
{
	for (int i = 0; i < WRITERS; i++) {
		uint64_t goal = load_relaxed(&writers[i].batches) + BATCHES_WHILE_STOPPED;

		while (load_relaxed(&writers[i].batches) < goal)
			nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
}

static void check_stopped(pid_t child, const struct netlog_meter *meter,
			  const struct writer *writers, bool in_swap, unsigned int seconds)
{
	/* release: pairs with load_acquire() in sleep_in_swap(), which says why. */
	if (in_swap)
		store_release(&shared->stop_in_swap, 1);
	else
		CHECK(kill(child, SIGSTOP) == 0);
	CHECK(is_stopped(child));
	/* acquire, here and below: only the number matters, the child is stopped. */
	uint64_t epoch = load_acquire(&meter->region->epoch);

	wait_for_progress(writers);
	if (seconds)
		nanosleep(&(struct timespec){.tv_sec = (time_t)seconds}, NULL);
	/* The poller was really stopped all the time. */
	CHECK(load_acquire(&meter->region->epoch) == epoch);
	CHECK(kill(child, SIGCONT) == 0);
}

static void check_sums(const struct writer *writers, uint64_t stops)
{
	uint64_t packets = 0;

	for (int i = 0; i < WRITERS; i++)
		packets += writers[i].batches * BATCH;
	for (int point = 0; point < NETLOG_POINTS; point++) {
		CHECK_ROW(point, shared->packets[point] == packets);
		CHECK_ROW(point, shared->bytes[point] == packets * EACH_BYTES);
	}
	printf("stop: poller stopped %llu times, %llu packets in %llu epochs, %llu late\n",
	       (unsigned long long)stops, (unsigned long long)packets,
	       (unsigned long long)shared->epochs, (unsigned long long)shared->late);
}

int main(int argc, char **argv)
{
	struct netlog_meter_options options = {FLOWS, FLOWS, WRITERS, .shared = 1};
	unsigned int seconds = argc > 1 ? (unsigned int)atoi(argv[1]) : 0;
	struct writer writers[WRITERS] = {0};
	struct netlog_meter *meter;
	uint64_t done = 0;
	int status = 0;

	if (!ATOMIC_ACROSS_PROCESSES) {
		LEFT_OUT("stop", NO_SHARED_METER);
		return 0;
	}
	alarm(HANG_S);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED && netlog_meter_open(&options, &meter) == 0);
	/* Forks before it starts threads, because the child of a process with threads may do very
	 * little.
	 */
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0)
		be_the_poller(meter);
	for (int i = 0; i < WRITERS; i++) {
		writers[i].done = &done;
		CHECK(netlog_meter_acquire_lane(meter, &writers[i].lane) == 0);
		CHECK(pthread_create(&writers[i].thread, NULL, write_all, &writers[i]) == 0);
	}
	for (int round = 0; round < ROUNDS; round++)
		check_stopped(child, meter, writers, round % 2 == 0, round ? 0 : seconds);
	/* relaxed: pairs with load_relaxed() in write_all(); a writer may count one more batch. */
	store_relaxed(&done, 1);
	for (int i = 0; i < WRITERS; i++)
		CHECK(pthread_join(writers[i].thread, NULL) == 0);
	/* release: pairs with the load in be_the_poller(), which says why. */
	store_release(&shared->finish, 1);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && !WEXITSTATUS(status));
	check_sums(writers, ROUNDS);
	netlog_meter_close(meter);
	return 0;
}
