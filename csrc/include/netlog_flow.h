/* SPDX-License-Identifier: BSD-3-Clause */
/* flow: a connection and its counts, in the layout that C, numpy and other processes share.
 *
 * A connection is the 5-tuple, always written from this node's side. So for a packet that came out
 * of the tunnel (rx), source and destination are swapped. Addresses are 16 bytes in network order,
 * IPv4 in mapped form (::ffff:a.b.c.d). Ports are in host order.
 *
 * Two structs hold counts:
 *
 *   netlog_record	in a table: one cache line, with 32-bit packet counters. When a counter
 *			would overflow, the table starts a new record for the same connection.
 *   netlog_flow	out of a meter: one row for each connection, with 64-bit counters. It is a
 *			row of netlog.FLOW_DTYPE in Python.
 */
#ifndef NETLOG_FLOW_H
#define NETLOG_FLOW_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* The direction of a packet, and the index of its counters. TX: from this node's stack into the
 * tunnel, or out of the UDP socket. RX: the other way. */
enum netlog_direction { NETLOG_TX = 0, NETLOG_RX = 1 };

/* The observation point where a packet is counted, and the index of its tables in a lane. TUN: IP
 * packets inside the tunnel. SOCK: the UDP datagrams that carry them. */
enum netlog_point { NETLOG_TUN = 0, NETLOG_SOCK = 1, NETLOG_POINTS = 2 };

/* Bits of `flags`. The usual value is 0: both addresses are present and belong to `version`. */
enum {
	NETLOG_NO_SRC = 1,    /* no source: its bytes and its port are 0 */
	NETLOG_NO_DST = 2,    /* no destination, as for the source */
	NETLOG_SRC_OTHER = 4, /* the source is IPv6 where `version` is 4, or IPv4 where it is 6 */
	NETLOG_DST_OTHER = 8, /* the destination, as for the source */
};

/* The 5-tuple. Two connections are equal if their 40 bytes are. */
struct netlog_connection {
	uint8_t src[16];
	uint8_t dst[16];
	uint16_t src_port;
	uint16_t dst_port;
	uint8_t version; /* 4 or 6; 0 if there is neither a source nor a destination */
	uint8_t proto;   /* IANA protocol number; 0 in socket connections */
	uint8_t flags;
	uint8_t reserved; /* always 0, because connections are compared as bytes */
};

/* The counts of a connection in a table. writer: the lane's owner; reader: the poller, after the
 * bank is quiesced. */
struct netlog_record {
	struct netlog_connection connection;
	uint32_t packets[2]; /* by direction */
	uint64_t bytes[2];
};

/* The counts of a connection as drained from a meter, merged over its lanes. Bytes at the TUN are
 * whole IP packets; bytes at the socket are UDP payloads. */
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
