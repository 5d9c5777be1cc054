/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* pthread_setname_np */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
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
	struct netlog_lane *lane;
	enum netlog_direction direction;
	pthread_t thread;
	struct netlog_offload *offload; /* NULL: both devices take a packet at a time */
	struct netlog_batch batch;
	struct netlog_endpoint endpoints[NETLOG_BATCH];
	uint32_t lengths[NETLOG_BATCH];
} __attribute__((aligned(LINE)));

struct netlog_relay {
	struct pump pumps[2]; /* by direction */
	const struct netlog_tun *tun;
	struct netlog_sock *sock;
	const struct netlog_peers *peers;
	int stop_fd; /* readable: end; never read, so both threads see it */
	int done_fd;
	bool stopping;    /* writer: any / reader: pumps / relaxed: stop_fd says it for good */
	uint64_t running; /* pumps that have not ended / acq_rel in end() */
	uint64_t failure; /* writer: the first pump that fails / errno << 1 | direction */
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
	const struct netlog_relay *relay = pump->relay;
	struct counting counting = {
		.tun = netlog_tun_statistics(relay->tun) ? pump->lane : NULL,
		.sock = netlog_sock_statistics(relay->sock) ? pump->lane : NULL,
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
	const struct netlog_relay *relay = pump->relay;
	struct netlog_outgoing outgoing[NETLOG_BATCH];
	struct netlog_outcome outcome = {0};
	struct counting counting = enter(pump);
	int rc = 0;
	int n = netlog_tun_read_entered(relay->tun, counting.tun, &pump->batch);

	if (n > 0) {
		uint32_t picked = netlog_forward_tx(relay->peers, &pump->batch, (uint32_t)n,
						    outgoing, &pump->fates);

		rc = netlog_sock_send_entered(relay->sock, counting.sock, outgoing, picked,
					      &outcome);
	}
	leave(pump, counting);
	if (n > 0)
		netlog_fates_add_outcome(&pump->fates, NETLOG_TX, &outcome);
	return rc ? rc : n;
}

static int pump_rx(struct pump *pump)
{
	const struct netlog_relay *relay = pump->relay;
	struct netlog_packet packets[NETLOG_BATCH];
	struct netlog_outcome outcome = {0};
	struct counting counting = enter(pump);
	int rc = 0;
	int n = netlog_sock_recv_entered(relay->sock, counting.sock, &pump->batch);

	if (n > 0) {
		uint32_t picked = netlog_forward_rx(relay->peers, &pump->batch, (uint32_t)n,
						    packets, &pump->fates);

		rc = netlog_tun_write_entered(relay->tun, counting.tun, packets, picked, &outcome);
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
	const struct netlog_relay *relay = pump->relay;
	bool tx = pump->direction == NETLOG_TX;
	struct pollfd fds[2] = {
		{.fd = relay->stop_fd, .events = POLLIN},
		{.fd = tx ? relay->tun->fd : relay->sock->fd, .events = POLLIN},
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
		netlog_sock_clear_errors(relay->sock);
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
				       (uint64_t)error << 1 | (uint64_t)pump->direction);
	netlog_relay_stop(relay);
	/* acq_rel: one of the two sees that the other was first, and then all that it did. */
	if (!compare_exchange(&relay->running, 2, 1))
		signal_event(relay->done_fd);
}

static void *run(void *argument)
{
	struct pump *pump = argument;

	end(pump, -pump_all(pump));
	return NULL;
}

static int open_pump(struct netlog_relay *relay, const struct netlog_relay_options *options,
		     enum netlog_direction direction)
{
	struct pump *pump = &relay->pumps[direction];

	pump->relay = relay;
	pump->lane = options->lanes[direction];
	pump->direction = direction;
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
	if (!options->tun->vnet && !options->sock->gro && !netlog_sock_segments(options->sock))
		return 0;
	pump->offload = malloc(sizeof(*pump->offload));
	if (!pump->offload)
		return -ENOMEM;
	pump->offload->tun = options->tun;
	pump->offload->sock = options->sock;
	pump->offload->peers = options->peers;
	pump->offload->fates = &pump->fates;
	return 0;
}

static void free_relay(struct netlog_relay *relay)
{
	if (relay->stop_fd >= 0)
		close(relay->stop_fd);
	if (relay->done_fd >= 0)
		close(relay->done_fd);
	for (int direction = 0; direction < 2; direction++) {
		free(relay->pumps[direction].batch.data);
		free(relay->pumps[direction].offload);
	}
	free(relay);
}

static int open_relay(const struct netlog_relay_options *options, struct netlog_relay **opened)
{
	struct netlog_relay *relay = aligned_alloc(LINE, sizeof(*relay));
	int rc;

	if (!relay)
		return -ENOMEM;
	memset(relay, 0, sizeof(*relay));
	relay->tun = options->tun;
	relay->sock = options->sock;
	relay->peers = options->peers;
	relay->running = 2;
	relay->done_fd = -1;
	relay->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (relay->stop_fd < 0)
		goto err_event;
	relay->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (relay->done_fd < 0)
		goto err_event;
	rc = open_pump(relay, options, NETLOG_TX);
	if (!rc)
		rc = open_pump(relay, options, NETLOG_RX);
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

/* Signals are the main program's business: a pump is born with all of them blocked. */
static int start_pumps(struct netlog_relay *relay)
{
	static const char *const names[2] = {[NETLOG_TX] = "netlog-tx", [NETLOG_RX] = "netlog-rx"};
	sigset_t all, before;
	int rc = 0, started = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (; started < 2; started++) {
		struct pump *pump = &relay->pumps[started];

		rc = pthread_create(&pump->thread, NULL, run, pump);
		if (rc)
			break;
		pthread_setname_np(pump->thread, names[started]);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc && started) {
		netlog_relay_stop(relay);
		pthread_join(relay->pumps[0].thread, NULL);
	}
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

int netlog_relay_error(const struct netlog_relay *relay, int *direction)
{
	/* acquire: pairs with the exchange in end(). */
	uint64_t failure = load_acquire(&relay->failure);

	*direction = (int)(failure & 1);
	return (int)(failure >> 1);
}

void netlog_relay_fates(const struct netlog_relay *relay, int direction, struct netlog_fates *sum)
{
	const struct netlog_fates *fates = &relay->pumps[direction].fates;

	for (int fate = 0; fate < NETLOG_FATES; fate++) {
		/* relaxed: struct netlog_fates */
		sum->packets[fate] += load_relaxed(&fates->packets[fate]);
		sum->bytes[fate] += load_relaxed(&fates->bytes[fate]);
	}
}

void netlog_relay_close(struct netlog_relay *relay)
{
	if (!relay)
		return;
	netlog_relay_stop(relay);
	for (int direction = 0; direction < 2; direction++)
		pthread_join(relay->pumps[direction].thread, NULL);
	free_relay(relay);
}
