/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/offload.h"

static void begin_bundles(struct netlog_offload *offload)
{
	bool segments = netlog_sock_segments(offload->sock);

	netlog_bundle_begin(&offload->tx.bundler, segments ? NETLOG_BUNDLE_DATAGRAMS : 1);
}

/* Sends the bundles of the bundler, and empties it. */
static void send_out(struct netlog_offload *offload, struct netlog_lane *lane,
		     struct netlog_outcome *outcome)
{
	offload->gone = netlog_sock_send_bundles_entered(offload->sock, lane, &offload->tx.bundler,
							 outcome);
	begin_bundles(offload);
}

/* Counts packets that were to be forwarded, but whose descriptor is gone. It is not used again: its
 * number may belong to another file by now. */
static void refuse(const struct netlog_offload *offload, uint32_t packets, uint64_t bytes,
		   struct netlog_outcome *outcome)
{
	outcome->refused_packets += packets;
	outcome->refused_bytes += bytes;
	outcome->error = -offload->gone;
}

/* Counts a dropped packet as the packets that it would have been on the wire. */
static void drop(struct netlog_offload *offload, const struct netlog_segments *plan,
		 uint32_t length, enum netlog_fate fate)
{
	uint64_t repeated = plan->count > 1 ? (uint64_t)(plan->count - 1) * plan->headers : 0;

	netlog_fates_add(offload->fates, fate, plan->count ? plan->count : 1, length + repeated);
}

static void forward_plan(struct netlog_offload *offload, struct netlog_lane *lane,
			 const struct netlog_segments *plan, uint32_t length,
			 struct netlog_outcome *outcome)
{
	struct netlog_bundler *bundler = &offload->tx.bundler;
	enum netlog_fate fate = NETLOG_DROP_MALFORMED;
	int peer = NETLOG_NO_PEER;

	if (plan->count)
		fate = netlog_forward_judge_tx(offload->peers, plan->data, length, &peer);
	if (fate != NETLOG_FORWARDED) {
		drop(offload, plan, length, fate);
		return;
	}
	const struct netlog_endpoint *endpoint = netlog_peers_endpoint(offload->peers, peer);

	for (uint32_t i = 0; i < plan->count; i++) {
		while (!offload->gone && !netlog_bundle_add(bundler, endpoint, plan, i))
			send_out(offload, lane, outcome);
		if (offload->gone)
			refuse(offload, 1, plan->headers + segment_payload_bytes(plan, i), outcome);
	}
}

int netlog_offload_tx(struct netlog_offload *offload, struct netlog_relay_lanes lanes,
		      const struct netlog_batch *batch, struct netlog_outcome *outcome, bool *more)
{
	struct netlog_segments *plans = offload->tx.plans;
	int n = netlog_tun_read_plans_entered(offload->tun, lanes.tun, batch, plans, more);

	if (n <= 0)
		return n;
	offload->gone = 0;
	begin_bundles(offload);
	for (int i = 0; i < n; i++)
		forward_plan(offload, lanes.sock, &plans[i], batch->lengths[i], outcome);
	if (!offload->gone)
		send_out(offload, lanes.sock, outcome);
	return offload->gone ? offload->gone : n;
}

/* Writes the super-packets of the coalescer, and empties it. */
static void write_out(struct netlog_offload *offload, struct netlog_lane *lane,
		      struct netlog_outcome *outcome)
{
	struct netlog_coalescer *coalescer = &offload->rx.coalescer;

	netlog_coalesce_finish(coalescer);
	offload->gone = netlog_tun_write_supers_entered(offload->tun, lane, coalescer, outcome);
	netlog_coalesce_begin(coalescer, offload->tun->vnet ? offload->tun->kinds : 0);
}

/* Forwards the datagrams of one slot. */
static void forward_slot(struct netlog_offload *offload, struct netlog_lane *lane,
			 const struct netlog_batch *batch, uint32_t slot,
			 struct netlog_outcome *outcome)
{
	uint8_t *data = batch_slot(batch, slot);
	uint32_t left = batch->lengths[slot];
	uint32_t step = offload->sock->gro ? offload->rx.datagram_bytes[slot] : 0;
	int peer = netlog_peers_at(offload->peers, &batch->endpoints[slot]);

	if (peer != NETLOG_NO_PEER && left > batch->capacity) {
		netlog_fates_add(offload->fates, NETLOG_DROP_TRUNCATED, 1, left);
		return;
	}
	/* An empty datagram is one, too, so this runs at least once. */
	do {
		uint32_t length = step && step < left ? step : left;
		enum netlog_fate fate = netlog_forward_judge_rx(offload->peers, data, length, peer);

		if (fate != NETLOG_FORWARDED)
			netlog_fates_add(offload->fates, fate, 1, length);
		while (fate == NETLOG_FORWARDED && !offload->gone &&
		       !netlog_coalesce_add(&offload->rx.coalescer, data, length))
			write_out(offload, lane, outcome);
		if (fate == NETLOG_FORWARDED && offload->gone)
			refuse(offload, 1, length, outcome);
		data += length;
		left -= length;
	} while (left);
}

int netlog_offload_rx(struct netlog_offload *offload, struct netlog_relay_lanes lanes,
		      const struct netlog_batch *batch, struct netlog_outcome *outcome, bool *more)
{
	struct netlog_batch part = *batch;

	if (offload->sock->gro) {
		part.n = NETLOG_OFFLOAD_RECEIVES;
		part.datagram_bytes = offload->rx.datagram_bytes;
	}
	int n = netlog_sock_recv_entered(offload->sock, lanes.sock, &part);

	*more = n == (int)part.n;
	if (n <= 0)
		return n;
	offload->gone = 0;
	netlog_coalesce_begin(&offload->rx.coalescer, offload->tun->vnet ? offload->tun->kinds : 0);
	for (uint32_t i = 0; i < (uint32_t)n; i++)
		forward_slot(offload, lanes.tun, &part, i, outcome);
	if (!offload->gone)
		write_out(offload, lanes.tun, outcome);
	return offload->gone ? offload->gone : n;
}
