/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* pthread_setname_np */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "atomic.h"
#include "relay.h"

#define LINE 64

/* A whole number of lines, and one more than a multiple of 4096, so that the packets' headers fall
 * into different sets of the cache. */
#define SLOT_BYTES (64u * 1025u)

/* A descriptor that is ready and has nothing, time and again (a socket that was shut down, one that
 * another process reads too), must not make the thread spin: after so many wake-ups in a row
 * without a packet it looks every PAUSE_MS only. */
#define FRUITLESS_WAKEUPS 16
#define PAUSE_MS          10

struct pump {
	struct netlog_fates fates;
	struct netlog_relay *relay;
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	struct netlog_lane *lane;
	enum netlog_direction direction;
	uint32_t queue;
	pthread_t thread;
	struct netlog_offload *offload; /* NULL: both devices take a packet at a time */
	struct netlog_batch batch;
	struct netlog_endpoint endpoints[NETLOG_BATCH];
	uint32_t lengths[NETLOG_BATCH];
} __attribute__((aligned(LINE)));

struct netlog_relay {
	const struct netlog_peers *peers;
	int stop_fd; /* readable: end; never read, so all threads see it */
	int done_fd;
	bool stopping;    /* writer: any / reader: pumps / relaxed: stop_fd says it for good */
	uint64_t running; /* pumps that have not ended / acq_rel in end() */
	uint64_t failure; /* writer: the first pump that fails / errno << 32 | index of the pump */
	uint32_t n_pumps;
	struct pump pumps[]; /* by queue, in it by direction */
};

static_assert(SLOT_BYTES >= NETLOG_MAX_PACKET_BYTES, "no packet is cut");
static_assert(SLOT_BYTES % LINE == 0 && SLOT_BYTES % 4096 == LINE, "headers do not collide");

/* What is counted of one batch, decided once: a flag that changes meanwhile waits for the next. */
struct counting {
	struct netlog_lane *tun;
	struct netlog_lane *sock;
};

static struct counting enter(const struct pump *pump)
{
	struct counting counting = {
		.tun = netlog_tun_statistics(pump->tun) ? pump->lane : NULL,
		.sock = netlog_sock_statistics(pump->sock) ? pump->lane : NULL,
	};

	if (counting.tun || counting.sock)
		netlog_lane_enter(pump->lane);
	return counting;
}

static void leave(const struct pump *pump, struct counting counting)
{
	if (counting.tun || counting.sock)
		netlog_lane_leave(pump->lane);
}

/* Moves one batch. Returns the packets that were read, or -errno if a descriptor is gone. */
static int pump_tx(struct pump *pump)
{
	struct netlog_outgoing outgoing[NETLOG_BATCH];
	struct netlog_outcome outcome = {0};
	struct counting counting = enter(pump);
	int rc = 0;
	int n = netlog_tun_read_entered(pump->tun, counting.tun, &pump->batch);

	if (n > 0) {
		uint32_t picked = netlog_forward_tx(pump->relay->peers, &pump->batch, (uint32_t)n,
						    outgoing, &pump->fates);

		rc = netlog_sock_send_entered(pump->sock, counting.sock, outgoing, picked,
					      &outcome);
	}
	leave(pump, counting);
	if (n > 0)
		netlog_fates_add_outcome(&pump->fates, NETLOG_TX, &outcome);
	return rc ? rc : n;
}

static int pump_rx(struct pump *pump)
{
	struct netlog_packet packets[NETLOG_BATCH];
	struct netlog_outcome outcome = {0};
	struct counting counting = enter(pump);
	int rc = 0;
	int n = netlog_sock_recv_entered(pump->sock, counting.sock, &pump->batch);

	if (n > 0) {
		uint32_t picked = netlog_forward_rx(pump->relay->peers, &pump->batch, (uint32_t)n,
						    packets, &pump->fates);

		rc = netlog_tun_write_entered(pump->tun, counting.tun, packets, picked, &outcome);
	}
	leave(pump, counting);
	if (n > 0)
		netlog_fates_add_outcome(&pump->fates, NETLOG_RX, &outcome);
	return rc ? rc : n;
}

/* The same with super-packets and bundles, in either direction. */
static int pump_offload(struct pump *pump, bool *more)
{
	struct netlog_outcome outcome = {0};
	struct counting counting = enter(pump);
	struct netlog_offload_lanes lanes = {.tun = counting.tun, .sock = counting.sock};
	int n = pump->direction == NETLOG_TX
			? netlog_offload_tx(pump->offload, lanes, &pump->batch, &outcome, more)
			: netlog_offload_rx(pump->offload, lanes, &pump->batch, &outcome, more);

	leave(pump, counting);
	if (n)
		netlog_fates_add_outcome(&pump->fates, pump->direction, &outcome);
	return n;
}

/* Moves one batch. *more: there may be more at once. Returns what was read, or -errno. */
static int pump_once(struct pump *pump, bool *more)
{
	if (pump->offload)
		return pump_offload(pump, more);
	int n = pump->direction == NETLOG_TX ? pump_tx(pump) : pump_rx(pump);

	*more = n == NETLOG_BATCH;
	return n;
}

/* Sleeps until there may be something to read. 1: there may be; 0: the relay is to end. */
static int wait_ready(const struct pump *pump, unsigned fruitless)
{
	bool tx = pump->direction == NETLOG_TX;
	struct pollfd fds[2] = {
		{.fd = pump->relay->stop_fd, .events = POLLIN},
		{.fd = tx ? pump->tun->fd : pump->sock->fd, .events = POLLIN},
	};

	if (fruitless >= FRUITLESS_WAKEUPS) {
		/* Whatever poll says of the descriptor, it has said so before. */
		while (poll(fds, 1, PAUSE_MS) < 0 && errno == EINTR)
			;
	} else {
		while (poll(fds, 2, -1) < 0 && errno == EINTR)
			;
	}
	if (fds[0].revents)
		return 0;
	if (!tx && fds[1].revents & POLLERR)
		netlog_sock_clear_errors(pump->sock);
	return 1;
}

/* Moves packets until told to stop, which is 0, or until a descriptor is gone: -errno. */
static int pump_all(struct pump *pump)
{
	unsigned fruitless = 0;

	while (wait_ready(pump, fruitless)) {
		unsigned moved = 0;
		bool more;

		do {
			int n = pump_once(pump, &more);

			if (n < 0)
				return n;
			moved += (unsigned)n;
		} while (more && !flag_relaxed(&pump->relay->stopping));
		fruitless = moved ? 0 : fruitless + 1;
	}
	return 0;
}

static void signal_event(int fd)
{
	uint64_t one = 1;

	/* It fails only if the counter would overflow, and then it is readable already. */
	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void netlog_relay_stop(struct netlog_relay *relay)
{
	set_flag_relaxed(&relay->stopping, true);
	signal_event(relay->stop_fd);
}

/* The last act of a pump. */
static void end(struct pump *pump, int error)
{
	struct netlog_relay *relay = pump->relay;

	/* acq_rel: pairs with netlog_relay_error(). */
	if (error)
		(void)compare_exchange(&relay->failure, 0,
				       (uint64_t)error << 32 | (uint64_t)(pump - relay->pumps));
	netlog_relay_stop(relay);
	/* acq_rel: the last one sees all that the others did before they ended. */
	if (!decrement(&relay->running))
		signal_event(relay->done_fd);
}

static void *run(void *argument)
{
	struct pump *pump = argument;

	end(pump, -pump_all(pump));
	return NULL;
}

static int open_offload(struct pump *pump)
{
	pump->offload = malloc(sizeof(*pump->offload));
	if (!pump->offload)
		return -ENOMEM;
	pump->offload->tun = pump->tun;
	pump->offload->sock = pump->sock;
	pump->offload->peers = pump->relay->peers;
	pump->offload->fates = &pump->fates;
	return 0;
}

static int open_pump(struct pump *pump)
{
	pump->batch = (struct netlog_batch){
		.data = malloc((size_t)NETLOG_BATCH * SLOT_BYTES),
		.lengths = pump->lengths,
		.endpoints = pump->endpoints,
		.stride = SLOT_BYTES,
		.capacity = NETLOG_MAX_PACKET_BYTES,
		.n = NETLOG_BATCH,
	};
	if (!pump->batch.data)
		return -ENOMEM;
	if (!pump->tun->vnet && !pump->sock->gro && !netlog_sock_segments(pump->sock))
		return 0;
	return open_offload(pump);
}

static int open_pumps(struct netlog_relay *relay, const struct netlog_relay_options *options)
{
	int rc = 0;

	for (uint32_t i = 0; i < relay->n_pumps && !rc; i++) {
		const struct netlog_relay_queue *queue = &options->queues[i / 2];
		struct pump *pump = &relay->pumps[i];

		pump->relay = relay;
		pump->tun = queue->tun;
		pump->sock = queue->sock;
		pump->lane = queue->lanes[i % 2];
		pump->direction = i % 2 == NETLOG_TX ? NETLOG_TX : NETLOG_RX;
		pump->queue = i / 2;
		rc = open_pump(pump);
	}
	return rc;
}

static void free_relay(struct netlog_relay *relay)
{
	if (relay->stop_fd >= 0)
		close(relay->stop_fd);
	if (relay->done_fd >= 0)
		close(relay->done_fd);
	for (uint32_t i = 0; i < relay->n_pumps; i++) {
		free(relay->pumps[i].batch.data);
		free(relay->pumps[i].offload);
	}
	free(relay);
}

static int open_relay(const struct netlog_relay_options *options, struct netlog_relay **opened)
{
	uint32_t n_pumps = 2 * options->n_queues;
	size_t bytes = sizeof(struct netlog_relay) + n_pumps * sizeof(struct pump);
	struct netlog_relay *relay;
	int rc;

	if (!options->n_queues || options->n_queues > NETLOG_MAX_QUEUES)
		return -EINVAL;
	relay = aligned_alloc(LINE, bytes);
	if (!relay)
		return -ENOMEM;
	memset(relay, 0, bytes);
	relay->peers = options->peers;
	relay->n_pumps = n_pumps;
	relay->running = n_pumps;
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

/* What tools show a thread as; that of the first queue is the same with one queue and with many. */
static void name_thread(const struct pump *pump)
{
	const char *direction = pump->direction == NETLOG_TX ? "tx" : "rx";
	char name[16]; /* pthread_setname_np(3) */

	static_assert(NETLOG_MAX_QUEUES - 1 <= UINT8_MAX, "the number has three digits");

	if (pump->queue)
		(void)snprintf(name, sizeof(name), "netlog-%s%hhu", direction,
			       (uint8_t)pump->queue);
	else
		(void)snprintf(name, sizeof(name), "netlog-%s", direction);
	pthread_setname_np(pump->thread, name);
}

static void join_pumps(struct netlog_relay *relay, uint32_t n)
{
	netlog_relay_stop(relay);
	for (uint32_t i = 0; i < n; i++)
		pthread_join(relay->pumps[i].thread, NULL);
}

/* Signals are the main program's business: a pump is born with all of them blocked. */
static int start_pumps(struct netlog_relay *relay)
{
	sigset_t all, before;
	uint32_t started = 0;
	int rc = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; started < relay->n_pumps; started++) {
		struct pump *pump = &relay->pumps[started];

		rc = pthread_create(&pump->thread, NULL, run, pump);
		if (rc)
			break;
		name_thread(pump);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		join_pumps(relay, started);
	return -rc;
}

int netlog_relay_start(const struct netlog_relay_options *options, struct netlog_relay **started)
{
	struct netlog_relay *relay = NULL;
	int rc = open_relay(options, &relay);

	if (rc)
		return rc;
	rc = start_pumps(relay);
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
	/* acquire: pairs with the exchange in end(). */
	uint64_t failure = load_acquire(&relay->failure);
	const struct pump *pump = &relay->pumps[(uint32_t)failure];

	*direction = pump->direction;
	*queue = pump->queue;
	return (int)(failure >> 32);
}

void netlog_relay_fates(const struct netlog_relay *relay, int direction, struct netlog_fates *sum)
{
	for (uint32_t i = (uint32_t)direction; i < relay->n_pumps; i += 2) {
		const struct netlog_fates *fates = &relay->pumps[i].fates;

		for (int fate = 0; fate < NETLOG_FATES; fate++) {
			/* relaxed: struct netlog_fates */
			sum->packets[fate] += load_relaxed(&fates->packets[fate]);
			sum->bytes[fate] += load_relaxed(&fates->bytes[fate]);
		}
	}
}

void netlog_relay_close(struct netlog_relay *relay)
{
	if (!relay)
		return;
	join_pumps(relay, relay->n_pumps);
	free_relay(relay);
}
