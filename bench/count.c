// SPDX-License-Identifier: BSD-3-Clause
/* count: a data plane that counts a ring through the public C API, alone or with a second one. */
#include <errno.h>
#include <pthread.h>

#include "bench.h"

void bench_count(struct bench_pass *pass)
{
	/* Fields that are the same for all packets are set once, as in a data plane that reuses its
	 * descriptors. */
	struct netlog_packet batch[BENCH_BATCH] = {{.direction = NETLOG_TX}};
	struct netlog_lane *lane = pass->lane;
	size_t mask = pass->slots - 1;
	uint64_t wall = bench_wall_ns();
	uint64_t cpu = bench_cpu_ns();

	for (size_t i = 0; i < pass->packets; i += BENCH_BATCH) {
		for (size_t j = 0; j < BENCH_BATCH; j++) {
			const uint8_t *slot = pass->ring + ((i + j) & mask) * BENCH_SLOT_BYTES;

			batch[j].data = slot;
			batch[j].length = BENCH_SLOT_BYTES;
		}
		netlog_lane_enter(lane);
		netlog_lane_count_packets(lane, batch, BENCH_BATCH);
		netlog_lane_leave(lane);
	}
	pass->cpu_ns = bench_cpu_ns() - cpu;
	pass->wall_ns = bench_wall_ns() - wall;
}

struct runner {
	struct bench_pass *pass;
	pthread_barrier_t *start;
};

static void *run(void *argument)
{
	struct runner *runner = argument;

	pthread_barrier_wait(runner->start);
	if (runner->pass->lane)
		bench_count(runner->pass);
	else
		bench_floor(runner->pass);
	return NULL;
}

int64_t bench_pair(struct bench_pass *first, struct bench_pass *second)
{
	pthread_barrier_t start;
	struct runner runners[2] = {{first, &start}, {second, &start}};
	pthread_t thread;
	int error = pthread_barrier_init(&start, NULL, 2);

	if (error)
		return -error;
	error = pthread_create(&thread, NULL, run, &runners[1]);
	if (error)
		goto err_barrier;
	uint64_t wall = bench_wall_ns();

	run(&runners[0]);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&start);
	return (int64_t)(bench_wall_ns() - wall);

err_barrier:
	pthread_barrier_destroy(&start);
	return -error;
}
