// SPDX-License-Identifier: BSD-3-Clause
/* stall: how long a writer's batches take while the poller swaps, drains and clears beside it. */
#define _GNU_SOURCE /* RUSAGE_THREAD, pthread_setaffinity_np */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"

#define QUIESCE_NS 100000000u

struct poller {
	struct bench_stall *stall;
	bool stop;
};

static void *poll_periods(void *argument)
{
	struct poller *poller = argument;
	struct bench_stall *stall = poller->stall;
	struct timespec period = {.tv_nsec = (long)stall->period_ns};
	struct netlog_unattributed unattributed;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET((size_t)stall->poller_cpu, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	while (!__atomic_load_n(&poller->stop, __ATOMIC_ACQUIRE)) {
		nanosleep(&period, NULL);
		if (!stall->flows)
			continue;
		if (netlog_meter_swap(stall->meter, QUIESCE_NS) ||
		    netlog_meter_drain(stall->meter, NETLOG_TUN, stall->flows, stall->capacity,
				       &unattributed) < 0)
			stall->failed = true;
		netlog_meter_clear(stall->meter);
	}
	return NULL;
}

static struct rusage usage(void)
{
	struct rusage now;

	getrusage(RUSAGE_THREAD, &now);
	return now;
}

/* Counts one batch and returns its time. */
static uint32_t time_batch(struct bench_pass *pass, size_t first)
{
	struct netlog_packet batch[BENCH_BATCH];
	size_t mask = pass->slots - 1;

	for (size_t i = 0; i < BENCH_BATCH; i++) {
		batch[i] = (struct netlog_packet){
			.data = pass->ring + ((first + i) & mask) * BENCH_SLOT_BYTES,
			.length = BENCH_SLOT_BYTES,
			.direction = NETLOG_TX,
		};
	}
	uint64_t start = bench_wall_ns();

	netlog_lane_enter(pass->lane);
	netlog_lane_count_packets(pass->lane, batch, BENCH_BATCH);
	netlog_lane_leave(pass->lane);
	return (uint32_t)(bench_wall_ns() - start);
}

static void write_batches(struct bench_stall *stall)
{
	struct rusage before = usage(), first = before;
	uint64_t epoch = netlog_meter_epoch(stall->meter);

	for (size_t i = 0; i < stall->batches; i++) {
		/* Read the epoch before the batch. A swap is more likely to come during a batch
		 * that is long for other reasons, and such a batch must not be taken for one that
		 * a swap made long. */
		uint64_t seen = netlog_meter_epoch(stall->meter);

		stall->batch_ns[i] = time_batch(stall->pass, i * BENCH_BATCH);
		struct rusage after = usage();

		stall->marks[i] = (uint8_t)(seen != epoch ? BENCH_FIRST_OF_EPOCH : 0);
		if (after.ru_nivcsw != before.ru_nivcsw)
			stall->marks[i] |= BENCH_PREEMPTED;
		epoch = seen;
		before = after;
	}
	stall->page_faults = (uint64_t)(before.ru_minflt - first.ru_minflt);
	stall->sleeps = (uint64_t)(before.ru_nvcsw - first.ru_nvcsw);
}

int bench_stall(struct bench_stall *stall)
{
	struct poller poller = {.stall = stall};
	pthread_t thread;
	int error = pthread_create(&thread, NULL, poll_periods, &poller);

	if (error)
		return -error;
	write_batches(stall);
	__atomic_store_n(&poller.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	return stall->failed ? -EIO : 0;
}

void bench_refill(struct bench_stall *stall, const void *memory, size_t bytes)
{
	for (size_t i = 0; i < stall->batches; i++) {
		struct rusage before = usage();

		bench_chill(memory, bytes);
		stall->batch_ns[i] = time_batch(stall->pass, i * BENCH_BATCH);
		stall->marks[i] = usage().ru_nivcsw != before.ru_nivcsw ? BENCH_PREEMPTED : 0;
	}
}
