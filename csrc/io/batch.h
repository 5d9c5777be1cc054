/* SPDX-License-Identifier: BSD-3-Clause */
/* batch: packets in slots that are reused, and the outcome of writing or sending them.
 *
 * The slots belong to the caller. They have one size, and begin every `stride` bytes. Do not choose
 * a stride that is a multiple of 4096: it would put the headers of all packets into the same few
 * sets of the first-level cache.
 */
#ifndef NETLOG_BATCH_H
#define NETLOG_BATCH_H

#include <string.h>

#include "netlog.h"

/* The most packets that are moved between an enter and a leave. It is bounded because a swap waits
 * for a batch. recvmmsg(2) and sendmmsg(2) gain nothing measurable beyond 64. */
#define NETLOG_BATCH 64u

/* Room for any IP packet and any UDP payload: both have a 16-bit length. Jumbograms excepted. */
#define NETLOG_MAX_PACKET_BYTES 65535u

/* A remote UDP endpoint. Endpoints are compared as bytes, so reserved is 0, and so is scope_id
 * unless the address is link-local. */
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
	uint32_t *lengths;                 /* by slot: bytes of the packet */
	struct netlog_endpoint *endpoints; /* by slot: of the datagram; a TUN does not use it */
	/* By slot: if UDP_GRO put several datagrams into it, the length of each one except the
	 * last; else 0. NULL: the socket has no UDP_GRO. */
	uint16_t *datagram_bytes;
	uint32_t stride;   /* bytes */
	uint32_t capacity; /* usable bytes of a slot; at most stride */
	uint32_t n;        /* slots */
};

/* The outcome of writing or sending packets. */
struct netlog_outcome {
	uint64_t done_packets; /* the kernel took them; only these are counted */
	uint64_t done_bytes;
	uint64_t refused_packets; /* the kernel refused each of them for a reason of its own */
	uint64_t refused_bytes;
	uint64_t full_packets; /* the kernel's queue had no room for them */
	uint64_t full_bytes;
	int error; /* errno of the last packet that was not taken; 0: all were taken */
};

static inline uint8_t *batch_slot(const struct netlog_batch *batch, uint32_t slot)
{
	return batch->data + (size_t)slot * batch->stride;
}

/* Returns the slots of batch from `first` on, at most NETLOG_BATCH of them. */
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

/* Counts all packets of part as refused, because the descriptor no longer takes any. */
static inline void batch_refuse(const struct netlog_batch *part, int error,
				struct netlog_outcome *outcome)
{
	for (uint32_t i = 0; i < part->n; i++)
		outcome->refused_bytes += part->lengths[i];
	outcome->refused_packets += part->n;
	outcome->error = error;
}

#endif
