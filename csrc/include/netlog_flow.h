/* SPDX-License-Identifier: BSD-3-Clause */
/* flow: a connection and its counts, the layout that C, numpy and other processes share.
 *
 * A connection is the 5-tuple, always written from this node's side: for a packet that came out of
 * the tunnel (rx) source and destination are swapped. Addresses are 16 bytes in network order, IPv4
 * in mapped form (::ffff:a.b.c.d); ports are in host order.
 *
 * Two records hold counts. A table keeps `netlog_record`: one cache line, with 32-bit packet
 * counters; a counter that runs out makes the table start a fresh record for the connection. What
 * leaves a meter is `netlog_flow`: one row a connection, 64-bit throughout, the rows of
 * `netlog.FLOW_DTYPE`.
 */
#ifndef NETLOG_FLOW_H
#define NETLOG_FLOW_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* Directions, and the index of a counter. */
enum netlog_direction { NETLOG_TX = 0, NETLOG_RX = 1 };

/* Observation points, and the index of a lane's tables. */
enum netlog_point { NETLOG_TUN = 0, NETLOG_SOCK = 1, NETLOG_POINTS = 2 };

/* Bits of `flags`. 0, the usual value, says that both addresses are there and of `version`. */
enum {
	NETLOG_NO_SRC = 1,    /* there is no source; its bytes and port are 0 */
	NETLOG_NO_DST = 2,    /* there is no destination */
	NETLOG_SRC_OTHER = 4, /* the source's family is not that of `version`: IPv4 <-> IPv6 */
	NETLOG_DST_OTHER = 8,
};

struct netlog_connection {
	uint8_t src[16];
	uint8_t dst[16];
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t version; /* 4 or 6; 0 when there are no addresses at all */
	uint8_t proto;   /* IANA protocol number; 0 in sock connections */
	uint8_t flags;
	uint8_t reserved; /* 0: connections are compared as bytes */
};

/* As kept in a table. writer: the lane's owner; reader: the poller once the bank is quiesced. */
struct netlog_record {
	struct netlog_connection connection;
	uint32_t packets[2]; /* by direction */
	uint64_t bytes[2];
};

/* As drained from a meter, merged over its lanes. */
struct netlog_flow {
	struct netlog_connection connection;
	uint64_t tx_packets;
	uint64_t tx_bytes;
	uint64_t rx_packets;
	uint64_t rx_bytes;
};

static_assert(sizeof(struct netlog_connection) == 40, "five words, compared and hashed as such");
static_assert(sizeof(struct netlog_record) == 64, "a record is one cache line");
static_assert(sizeof(struct netlog_flow) == 72, "netlog.FLOW_DTYPE has the same layout");
static_assert(offsetof(struct netlog_connection, version) == 36, "netlog.FLOW_DTYPE");

#endif
