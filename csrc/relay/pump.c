/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/pump.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/atomic.h"

/* A whole number of cache lines, and one line more than a multiple of 4096 bytes, so that the
 * packets' headers fall into different sets of the cache. */
#define SLOT_BYTES (64u * 1025u)

/* A descriptor may be ready again and again but have no packet: a socket that was shut down, or one
 * that another process reads too. The thread must not spin then. After this many wake-ups in a row
 * without a packet, it looks only every PAUSE_MS. */
#define FRUITLESS_WAKEUPS 16
#define PAUSE_MS          10

static_assert(SLOT_BYTES >= NETLOG_MAX_PACKET_BYTES, "no packet is cut");
static_assert(SLOT_BYTES % NETLOG_PUMP_LINE == 0 && SLOT_BYTES % 4096 == NETLOG_PUMP_LINE,
	      "headers do not collide");

/* Decides once for a batch what is counted, and enters the lane. A flag that changes during the
 * batch takes effect with the next one. */
static struct netlog_relay_lanes enter(const struct netlog_pump *pump)
{
	struct netlog_relay_lanes counting = {
		.tun = netlog_tun_statistics(pump->tun) ? pump->lane : NULL,
		.sock = netlog_sock_statistics(pump->sock) ? pump->lane : NULL,
	};

	if (counting.tun || counting.sock)
		netlog_lane_enter(pump->lane);
	return counting;
}

static void leave(const struct netlog_pump *pump, struct netlog_relay_lanes counting)
{
	if (counting.tun || counting.sock)
		netlog_lane_leave(pump->lane);
}

/* Moves one batch. Returns the number of packets read, or -errno if a descriptor is gone. */
static int pump_tx(struct netlog_pump *pump)
{
	struct netlog_outgoing outgoing[NETLOG_BATCH];
	struct netlog_outcome outcome = {0};
	struct netlog_relay_lanes counting = enter(pump);
	int rc = 0;
	int n = netlog_tun_read_entered(pump->tun, counting.tun, &pump->batch);

	if (n > 0) {
		uint32_t picked = netlog_forward_tx(pump->peers, &pump->batch, (uint32_t)n,
						    outgoing, &pump->fates);

		rc = netlog_sock_send_entered(pump->sock, counting.sock, outgoing, picked,
					      &outcome);
	}
	leave(pump, counting);
	if (n > 0)
		netlog_fates_add_outcome(&pump->fates, NETLOG_TX, &outcome);
	return rc ? rc : n;
}

static int pump_rx(struct netlog_pump *pump)
{
	struct netlog_packet packets[NETLOG_BATCH];
	struct netlog_outcome outcome = {0};
	struct netlog_relay_lanes counting = enter(pump);
	int rc = 0;
	int n = netlog_sock_recv_entered(pump->sock, counting.sock, &pump->batch);

	if (n > 0) {
		uint32_t picked = netlog_forward_rx(pump->peers, &pump->batch, (uint32_t)n, packets,
						    &pump->fates);

		rc = netlog_tun_write_entered(pump->tun, counting.tun, packets, picked, &outcome);
	}
	leave(pump, counting);
	if (n > 0)
		netlog_fates_add_outcome(&pump->fates, NETLOG_RX, &outcome);
	return rc ? rc : n;
}

/* The same with super-packets and bundles, in both directions. */
static int pump_offload(struct netlog_pump *pump, bool *more)
{
	struct netlog_outcome outcome = {0};
	struct netlog_relay_lanes counting = enter(pump);
	int n = pump->direction == NETLOG_TX
			? netlog_offload_tx(pump->offload, counting, &pump->batch, &outcome, more)
			: netlog_offload_rx(pump->offload, counting, &pump->batch, &outcome, more);

	leave(pump, counting);
	if (n)
		netlog_fates_add_outcome(&pump->fates, pump->direction, &outcome);
	return n;
}

/* Moves one batch. *more: set if there may be more to read at once. Returns the number of reads, or
 * -errno. */
static int pump_once(struct netlog_pump *pump, bool *more)
{
	if (pump->offload)
		return pump_offload(pump, more);
	int n = pump->direction == NETLOG_TX ? pump_tx(pump) : pump_rx(pump);

	*more = n == NETLOG_BATCH;
	return n;
}

/* Sleeps until there may be something to read, and returns 1; or until the relay is stopped, and
 * returns 0. */
static int wait_ready(const struct netlog_pump *pump, unsigned fruitless)
{
	bool tx = pump->direction == NETLOG_TX;
	struct pollfd fds[2] = {
		{.fd = pump->stop_fd, .events = POLLIN},
		{.fd = tx ? pump->tun->fd : pump->sock->fd, .events = POLLIN},
	};

	if (fruitless >= FRUITLESS_WAKEUPS) {
		/* poll() says again and again that the descriptor is ready, so it is not asked. */
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

int netlog_pump_run(struct netlog_pump *pump)
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
		} while (more && !flag_relaxed(pump->stopping));
		fruitless = moved ? 0 : fruitless + 1;
	}
	return 0;
}

static int open_offload(struct netlog_pump *pump)
{
	pump->offload = malloc(sizeof(*pump->offload));
	if (!pump->offload)
		return -ENOMEM;
	pump->offload->tun = pump->tun;
	pump->offload->sock = pump->sock;
	pump->offload->peers = pump->peers;
	pump->offload->fates = &pump->fates;
	return 0;
}

int netlog_pump_open(struct netlog_pump *pump)
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

void netlog_pump_close(struct netlog_pump *pump)
{
	free(pump->batch.data);
	free(pump->offload);
}
