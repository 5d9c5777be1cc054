/* SPDX-License-Identifier: BSD-3-Clause */
#include "offload.h"

static void begin_bundles(struct netlog_offload *offload)
{
	bool segments = netlog_sock_segments(offload->sock);

	netlog_bundle_begin(&offload->tx.bundler, segments ? NETLOG_BUNDLE_DATAGRAMS : 1);
}

/* Sends what is in the bundler, and empties it. 0 or -errno. */
static int send_out(struct netlog_offload *offload, struct netlog_lane *lane,
		    struct netlog_outcome *outcome)
{
	int rc = netlog_sock_send_bundles_entered(offload->sock, lane, &offload->tx.bundler,
						  outcome);

	begin_bundles(offload);
	return rc;
}

/* Counts a packet that does not go on as what it would have been on the wire. */
static void drop(struct netlog_offload *offload, const struct netlog_segments *plan,
		 uint32_t length, enum netlog_fate fate)
{
	uint64_t repeated = plan->count > 1 ? (uint64_t)(plan->count - 1) * plan->headers : 0;

	netlog_fates_add(offload->fates, fate, plan->count ? plan->count : 1, length + repeated);
}

static int forward_plan(struct netlog_offload *offload, struct netlog_lane *lane,
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
		return 0;
	}
	const struct netlog_endpoint *endpoint = netlog_peers_endpoint(offload->peers, peer);

	for (uint32_t i = 0; i < plan->count; i++) {
		while (!netlog_bundle_add(bundler, endpoint, plan, i)) {
			int rc = send_out(offload, lane, outcome);

			if (rc)
				return rc;
		}
	}
	return 0;
}

int netlog_offload_tx(struct netlog_offload *offload, struct netlog_offload_lanes lanes,
		      const struct netlog_batch *batch, struct netlog_outcome *outcome, bool *more)
{
	struct netlog_segments *plans = offload->tx.plans;
	int n = netlog_tun_read_plans_entered(offload->tun, lanes.tun, batch, plans, more);
	int rc = 0;

	if (n <= 0)
		return n;
	begin_bundles(offload);
	for (int i = 0; i < n && !rc; i++)
		rc = forward_plan(offload, lanes.sock, &plans[i], batch->lengths[i], outcome);
	if (!rc)
		rc = send_out(offload, lanes.sock, outcome);
	return rc ? rc : n;
}

/* Writes what is in the coalescer, and empties it. 0 or -errno. */
static int write_out(struct netlog_offload *offload, struct netlog_lane *lane,
		     struct netlog_outcome *outcome)
{
	struct netlog_coalescer *coalescer = &offload->rx.coalescer;

	netlog_coalesce_finish(coalescer);
	int rc = netlog_tun_write_supers_entered(offload->tun, lane, coalescer, outcome);

	netlog_coalesce_begin(coalescer, offload->tun->vnet ? offload->tun->kinds : 0);
	return rc;
}

/* Takes the datagrams of one slot. */
static int forward_slot(struct netlog_offload *offload, struct netlog_lane *lane,
			const struct netlog_batch *batch, uint32_t slot,
			struct netlog_outcome *outcome)
{
	uint8_t *data = batch_slot(batch, slot);
	uint32_t left = batch->lengths[slot];
	uint32_t step = offload->sock->gro ? offload->rx.datagram_bytes[slot] : 0;
	int peer = netlog_peers_at(offload->peers, &batch->endpoints[slot]);

	if (peer != NETLOG_NO_PEER && left > batch->capacity) {
		netlog_fates_add(offload->fates, NETLOG_DROP_TRUNCATED, 1, left);
		return 0;
	}
	/* One of no bytes is a datagram too. */
	do {
		uint32_t length = step && step < left ? step : left;
		enum netlog_fate fate = netlog_forward_judge_rx(offload->peers, data, length, peer);

		if (fate != NETLOG_FORWARDED)
			netlog_fates_add(offload->fates, fate, 1, length);
		while (fate == NETLOG_FORWARDED &&
		       !netlog_coalesce_add(&offload->rx.coalescer, data, length)) {
			int rc = write_out(offload, lane, outcome);

			if (rc)
				return rc;
		}
		data += length;
		left -= length;
	} while (left);
	return 0;
}

int netlog_offload_rx(struct netlog_offload *offload, struct netlog_offload_lanes lanes,
		      const struct netlog_batch *batch, struct netlog_outcome *outcome, bool *more)
{
	struct netlog_batch part = *batch;
	int rc = 0;

	if (offload->sock->gro) {
		part.n = NETLOG_OFFLOAD_RECEIVES;
		part.datagram_bytes = offload->rx.datagram_bytes;
	}
	int n = netlog_sock_recv_entered(offload->sock, lanes.sock, &part);

	*more = n == (int)part.n;
	if (n <= 0)
		return n;
	netlog_coalesce_begin(&offload->rx.coalescer, offload->tun->vnet ? offload->tun->kinds : 0);
	for (uint32_t i = 0; i < (uint32_t)n && !rc; i++)
		rc = forward_slot(offload, lanes.tun, &part, i, outcome);
	if (!rc)
		rc = write_out(offload, lanes.tun, outcome);
	return rc ? rc : n;
}
