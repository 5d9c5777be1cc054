/* SPDX-License-Identifier: BSD-3-Clause */
#include "relay/forward.h"

#include "base/atomic.h"
#include "packet/packet.h"

/* RFC 791 section 3.1, RFC 8200 section 3. */
#define IPV4_HEADER_BYTES 20u
#define IPV4_SRC          12u
#define IPV4_DST          16u
#define IPV6_HEADER_BYTES 40u
#define IPV6_SRC          8u
#define IPV6_DST          24u

/* The addresses of a packet. */
struct inner {
	uint8_t src[16];
	uint8_t dst[16];
	int version;
};

static void map_ipv4(const uint8_t *ipv4, uint8_t address[16])
{
	memset(address, 0, 10);
	memset(address + 10, 0xff, 2);
	memcpy(address + 12, ipv4, 4);
}

/* Reads the addresses of a packet. Returns NETLOG_FORWARDED, or the reason why it is dropped. Bytes
 * after the packet's own end are allowed: the stack that receives them cuts them off. */
static enum netlog_fate read_inner(const uint8_t *packet, uint32_t length, struct inner *inner)
{
	inner->version = length ? packet[0] >> 4 : 0;
	if (inner->version == 4) {
		if (length < IPV4_HEADER_BYTES || length < load_be16(packet + 2))
			return NETLOG_DROP_MALFORMED;
		map_ipv4(packet + IPV4_SRC, inner->src);
		map_ipv4(packet + IPV4_DST, inner->dst);
		return NETLOG_FORWARDED;
	}
	if (inner->version == 6) {
		if (length < IPV6_HEADER_BYTES ||
		    length - IPV6_HEADER_BYTES < load_be16(packet + 4))
			return NETLOG_DROP_MALFORMED;
		memcpy(inner->src, packet + IPV6_SRC, sizeof(inner->src));
		memcpy(inner->dst, packet + IPV6_DST, sizeof(inner->dst));
		return NETLOG_FORWARDED;
	}
	return length ? NETLOG_DROP_NOT_IP : NETLOG_DROP_MALFORMED;
}

static void add(uint64_t *counter, uint64_t value)
{
	/* relaxed: only this thread writes it; pairs with load_relaxed() in netlog_relay_fates(),
	 * whose value may be a moment old. */
	store_relaxed(counter, load_relaxed(counter) + value);
}

void netlog_fates_add(struct netlog_fates *fates, enum netlog_fate fate, uint64_t packets,
		      uint64_t bytes)
{
	add(&fates->packets[fate], packets);
	add(&fates->bytes[fate], bytes);
}

void netlog_fates_add_outcome(struct netlog_fates *fates, enum netlog_direction direction,
			      const struct netlog_outcome *outcome)
{
	enum netlog_fate refused =
		direction == NETLOG_TX ? NETLOG_DROP_SEND_FAILED : NETLOG_DROP_WRITE_FAILED;

	netlog_fates_add(fates, NETLOG_FORWARDED, outcome->done_packets, outcome->done_bytes);
	netlog_fates_add(fates, refused, outcome->refused_packets, outcome->refused_bytes);
	netlog_fates_add(fates, NETLOG_DROP_SEND_QUEUE_FULL, outcome->full_packets,
			 outcome->full_bytes);
}

enum netlog_fate netlog_forward_judge_tx(const struct netlog_peers *peers, const uint8_t *packet,
					 uint32_t length, int *peer)
{
	struct inner inner;
	enum netlog_fate fate = read_inner(packet, length, &inner);

	if (fate != NETLOG_FORWARDED)
		return fate;
	*peer = netlog_peers_owner(peers, inner.dst, inner.version);
	return *peer == NETLOG_NO_PEER ? NETLOG_DROP_NO_PEER : NETLOG_FORWARDED;
}

uint32_t netlog_forward_tx(const struct netlog_peers *peers, const struct netlog_batch *batch,
			   uint32_t n, struct netlog_outgoing *outgoing, struct netlog_fates *fates)
{
	uint32_t picked = 0;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *packet = batch_slot(batch, i);
		uint32_t length = batch->lengths[i];
		int peer;
		enum netlog_fate fate = netlog_forward_judge_tx(peers, packet, length, &peer);

		if (fate == NETLOG_FORWARDED)
			outgoing[picked++] = (struct netlog_outgoing){
				.data = packet,
				.endpoint = netlog_peers_endpoint(peers, peer),
				.length = length,
			};
		else
			netlog_fates_add(fates, fate, 1, length);
	}
	return picked;
}

enum netlog_fate netlog_forward_judge_rx(const struct netlog_peers *peers, const uint8_t *packet,
					 uint32_t length, int peer)
{
	struct inner inner;

	if (peer == NETLOG_NO_PEER)
		return NETLOG_DROP_UNKNOWN_ENDPOINT;
	enum netlog_fate fate = read_inner(packet, length, &inner);

	if (fate != NETLOG_FORWARDED)
		return fate;
	return netlog_peers_owner(peers, inner.src, inner.version) == peer
		       ? NETLOG_FORWARDED
		       : NETLOG_DROP_SOURCE_NOT_ALLOWED;
}

/* Returns the fate of a datagram from the socket. */
static enum netlog_fate judge_slot(const struct netlog_peers *peers,
				   const struct netlog_batch *batch, uint32_t i)
{
	int peer = netlog_peers_at(peers, &batch->endpoints[i]);

	if (peer != NETLOG_NO_PEER && batch->lengths[i] > batch->capacity)
		return NETLOG_DROP_TRUNCATED;
	return netlog_forward_judge_rx(peers, batch_slot(batch, i), batch->lengths[i], peer);
}

uint32_t netlog_forward_rx(const struct netlog_peers *peers, const struct netlog_batch *batch,
			   uint32_t n, struct netlog_packet *packets, struct netlog_fates *fates)
{
	uint32_t picked = 0;

	for (uint32_t i = 0; i < n; i++) {
		enum netlog_fate fate = judge_slot(peers, batch, i);

		if (fate == NETLOG_FORWARDED)
			packets[picked++] = (struct netlog_packet){.data = batch_slot(batch, i),
								   .length = batch->lengths[i]};
		else
			netlog_fates_add(fates, fate, 1, batch->lengths[i]);
	}
	return picked;
}
