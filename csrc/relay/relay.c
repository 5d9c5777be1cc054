/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* pthread_setname_np */
#include "relay/relay.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/atomic.h"
#include "relay/pump.h"

/* A pump's thread. */
struct worker {
	struct netlog_pump pump;
	struct netlog_relay *relay;
	uint32_t queue;
	pthread_t thread;
};

struct netlog_relay {
	int stop_fd;   /* the workers end when it is readable */
	int done_fd;   /* readable: all workers have ended */
	bool stopping; /* writer: any / reader: pumps / relaxed: see struct netlog_pump */
	ATOMIC_WORD uint64_t running; /* workers that have not ended / acq_rel in end() */
	ATOMIC_WORD uint64_t
		failure; /* writer: the first worker that fails / errno << 32 | its index */
	uint32_t n_workers;
	struct worker workers[]; /* by queue, then by direction */
};

static void signal_event(int fd)
{
	uint64_t one = 1;

	/* The write fails only if the counter would overflow. Then the event is readable already.
	 */
	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void netlog_relay_stop(struct netlog_relay *relay)
{
	set_flag_relaxed(&relay->stopping, true);
	signal_event(relay->stop_fd);
}

/* The last act of a worker. */
static void end(struct worker *worker, int error)
{
	struct netlog_relay *relay = worker->relay;

	/* acq_rel: pairs with load_acquire() in netlog_relay_error(). Nothing else depends on the
	 * order: the word is whole, and the worker's queue and direction are set before it starts.
	 */
	if (error)
		(void)compare_exchange(&relay->failure, 0,
				       (uint64_t)error << 32 | (uint64_t)(worker - relay->workers));
	netlog_relay_stop(relay);
	/* acq_rel: pairs with the same call of the other workers. Without it the last worker could
	 * signal the end before what the others did is visible. */
	if (!decrement(&relay->running))
		signal_event(relay->done_fd);
}

static void *run(void *argument)
{
	struct worker *worker = argument;

	end(worker, -netlog_pump_run(&worker->pump));
	return NULL;
}

static int open_pumps(struct netlog_relay *relay, const struct netlog_relay_options *options)
{
	int rc = 0;

	for (uint32_t i = 0; i < relay->n_workers && !rc; i++) {
		const struct netlog_relay_queue *queue = &options->queues[i / 2];
		struct worker *worker = &relay->workers[i];

		worker->relay = relay;
		worker->queue = i / 2;
		worker->pump.peers = options->peers;
		worker->pump.tun = queue->tun;
		worker->pump.sock = queue->sock;
		worker->pump.lane = queue->lanes[i % 2];
		worker->pump.direction = i % 2 == NETLOG_TX ? NETLOG_TX : NETLOG_RX;
		worker->pump.stop_fd = relay->stop_fd;
		worker->pump.stopping = &relay->stopping;
		rc = netlog_pump_open(&worker->pump);
	}
	return rc;
}

static void free_relay(struct netlog_relay *relay)
{
	if (relay->stop_fd >= 0)
		close(relay->stop_fd);
	if (relay->done_fd >= 0)
		close(relay->done_fd);
	for (uint32_t i = 0; i < relay->n_workers; i++)
		netlog_pump_close(&relay->workers[i].pump);
	free(relay);
}

static int open_relay(const struct netlog_relay_options *options, struct netlog_relay **opened)
{
	uint32_t n_workers = 2 * options->n_queues;
	size_t bytes = sizeof(struct netlog_relay) + n_workers * sizeof(struct worker);
	struct netlog_relay *relay;
	int rc;

	if (!options->n_queues || options->n_queues > NETLOG_MAX_QUEUES)
		return -EINVAL;
	relay = aligned_alloc(NETLOG_PUMP_LINE, bytes);
	if (!relay)
		return -ENOMEM;
	memset(relay, 0, bytes);
	relay->n_workers = n_workers;
	relay->running = n_workers;
	relay->done_fd = -1;
	relay->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (relay->stop_fd < 0)
		goto err_event;
	relay->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (relay->done_fd < 0)
		goto err_event;
	rc = open_pumps(relay, options);
	if (rc)
		goto err_pump;
	*opened = relay;
	return 0;

err_event:
	rc = -errno;
err_pump:
	free_relay(relay);
	return rc;
}

/* Sets the name that tools show for a thread. The first queue has the same name with one queue and
 * with many. */
static void name_thread(const struct worker *worker)
{
	const char *direction = worker->pump.direction == NETLOG_TX ? "tx" : "rx";
	char name[16]; /* pthread_setname_np(3) */

	static_assert(NETLOG_MAX_QUEUES - 1 <= UINT8_MAX, "the number has three digits");

	if (worker->queue)
		(void)snprintf(name, sizeof(name), "netlog-%s%hhu", direction,
			       (uint8_t)worker->queue);
	else
		(void)snprintf(name, sizeof(name), "netlog-%s", direction);
	pthread_setname_np(worker->thread, name);
}

static void join_workers(struct netlog_relay *relay, uint32_t n)
{
	netlog_relay_stop(relay);
	for (uint32_t i = 0; i < n; i++)
		pthread_join(relay->workers[i].thread, NULL);
}

/* Starts the workers with all signals blocked, because the main program handles signals. */
static int start_workers(struct netlog_relay *relay)
{
	sigset_t all, before;
	uint32_t started = 0;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; started < relay->n_workers; started++) {
		struct worker *worker = &relay->workers[started];

		rc = pthread_create(&worker->thread, NULL, run, worker);
		if (rc)
			break;
		name_thread(worker);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		join_workers(relay, started);
	return -rc;
}

int netlog_relay_start(const struct netlog_relay_options *options, struct netlog_relay **started)
{
	struct netlog_relay *relay = NULL;
	int rc = open_relay(options, &relay);

	if (rc)
		return rc;
	rc = start_workers(relay);
	if (rc) {
		free_relay(relay);
		return rc;
	}
	*started = relay;
	return 0;
}

int netlog_relay_done_fd(const struct netlog_relay *relay)
{
	return relay->done_fd;
}

int netlog_relay_error(const struct netlog_relay *relay, int *direction, uint32_t *queue)
{
	/* acquire: pairs with compare_exchange() in end(), which says why. */
	uint64_t failure = load_acquire(&relay->failure);
	const struct worker *worker = &relay->workers[(uint32_t)failure];

	*direction = (int)worker->pump.direction;
	*queue = worker->queue;
	return (int)(failure >> 32);
}

void netlog_relay_fates(const struct netlog_relay *relay, int direction, struct netlog_fates *sum)
{
	for (uint32_t i = (uint32_t)direction; i < relay->n_workers; i += 2) {
		const struct netlog_fates *fates = &relay->workers[i].pump.fates;

		for (int fate = 0; fate < NETLOG_FATES; fate++) {
			/* relaxed: pairs with store_relaxed() in forward.c; see struct
			 * netlog_fates. */
			sum->packets[fate] += load_relaxed(&fates->packets[fate]);
			sum->bytes[fate] += load_relaxed(&fates->bytes[fate]);
		}
	}
}

void netlog_relay_close(struct netlog_relay *relay)
{
	if (!relay)
		return;
	join_workers(relay, relay->n_workers);
	free_relay(relay);
}
