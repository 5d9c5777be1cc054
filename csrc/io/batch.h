/* SPDX-License-Identifier: BSD-3-Clause */
/* batch: packets in reused slots, and what became of them.
 *
 * The slots are the caller's, all of one size, one every `stride` bytes. A stride that is a
 * multiple of 4096 would put every packet's header into the same few sets of the L1 cache; pick
 * another.
 */
#ifndef NETLOG_BATCH_H
#define NETLOG_BATCH_H

#include <string.h>

#include "netlog.h"

/* Packets moved between an enter and a leave. A swap waits for a batch, so it is bounded; and
 * recvmmsg(2) and sendmmsg(2) gain nothing measurable beyond 64. */
#define NETLOG_BATCH 64u

/* Holds any IP packet and any UDP payload, jumbograms aside: both have a 16-bit length. */
#define NETLOG_MAX_PACKET_BYTES 65535u

/* A remote UDP endpoint. Compared as bytes: reserved is 0, and scope_id too but for link-local
 * addresses. */
struct netlog_endpoint {
	uint8_t address[16]; /* IPv4 in mapped form */
	uint16_t port;       /* host order */
	uint8_t version;     /* 4 or 6 */
	uint8_t reserved;
	uint32_t scope_id;
};

static_assert(sizeof(struct netlog_endpoint) == 24, "netlog.ENDPOINT_DTYPE has the same layout");

struct netlog_batch {
	uint8_t *data;                     /* slot i begins at data + i * stride */
	uint32_t *lengths;                 /* of the packets, by slot, bytes */
	struct netlog_endpoint *endpoints; /* of the datagrams, by slot; a TUN does not use it */
	/* Of the datagrams that UDP_GRO put into one slot, by slot: the length of each but the
	 * last, 0: there is one. NULL: the socket has no UDP_GRO. */
	uint16_t *datagram_bytes;
	uint32_t stride;   /* bytes */
	uint32_t capacity; /* bytes of a slot that may be used, at most stride */
	uint32_t n;        /* slots */
};

/* What became of packets that were to be written or sent. */
struct netlog_outcome {
	uint64_t done_packets; /* the kernel took them; these are counted */
	uint64_t done_bytes;
	uint64_t refused_packets; /* it did not, each for a reason of its own */
	uint64_t refused_bytes;
	uint64_t full_packets; /* there was no room in the queue */
	uint64_t full_bytes;
	int error; /* errno of the last that was not taken, or 0 */
};

static inline uint8_t *batch_slot(const struct netlog_batch *batch, uint32_t slot)
{
	return batch->data + (size_t)slot * batch->stride;
}

/* The slots of batch from first on, at most NETLOG_BATCH of them. */
static inline struct netlog_batch batch_from(const struct netlog_batch *batch, uint32_t first)
{
	struct netlog_batch part = *batch;

	part.data = batch_slot(batch, first);
	part.lengths += first;
	if (part.endpoints)
		part.endpoints += first;
	if (part.datagram_bytes)
		part.datagram_bytes += first;
	part.n = batch->n - first < NETLOG_BATCH ? batch->n - first : NETLOG_BATCH;
	return part;
}

/* What is left of a batch when the descriptor takes nothing any more. */
static inline void batch_refuse(const struct netlog_batch *part, int error,
				struct netlog_outcome *outcome)
{
	for (uint32_t i = 0; i < part->n; i++)
		outcome->refused_bytes += part->lengths[i];
	outcome->refused_packets += part->n;
	outcome->error = error;
}

#endif
