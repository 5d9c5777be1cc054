/* SPDX-License-Identifier: BSD-3-Clause */
/* drive: makes another project's hash table count the packets of the benches, round by round.
 *
 *	PROGRAM VERSION CONNECTIONS SLOTS PASSES
 *
 * counts every connection once and prints {"connections": n}. Then, for each line "SEED" on
 * standard input, it makes a ring of that seed, flushes it from the caches, counts it PASSES times,
 * and prints {"checksum": "hex", "ns": n, "packets": n}, with the thread's CPU time. The twin of
 * this protocol is in goring/.
 *
 * A table does what the meter's table does and no more: it finds the key in the packet and the
 * record by the key, and adds to two of four 64-bit counters. The packets are known to be complete.
 */
#ifndef NETLOG_BENCH_DRIVE_H
#define NETLOG_BENCH_DRIVE_H

#include <string.h>

#include "bench.h"

#ifdef __cplusplus
extern "C" {
#endif

struct table_counts {
	uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes;
};

/* The 5-tuple in network order, without holes: 16 bytes for IPv4 and 40 for IPv6. It is stored in
 * pieces that are at least as large as those it is read in. Otherwise each read would wait until
 * the stores have left the processor, and the cache misses of different packets could not overlap:
 * any table would look three times as slow. */
typedef uint64_t table_pair __attribute__((vector_size(16), aligned(8), may_alias));

struct table_key4 {
	table_pair words;
};

struct table_key6 {
	table_pair source;
	table_pair destination;
	uint64_t rest;
};

static inline uint64_t table_ports_proto(const uint8_t *at, uint8_t proto)
{
	uint32_t ports;

	memcpy(&ports, at, sizeof(ports));
	return (uint64_t)proto << 32 | ports;
}

static inline void table_find_key4(struct table_key4 *key, const uint8_t *packet)
{
	uint64_t addresses;

	memcpy(&addresses, packet + 12, sizeof(addresses));
	key->words = (table_pair){addresses, table_ports_proto(packet + 20, packet[9])};
}

static inline void table_find_key6(struct table_key6 *key, const uint8_t *packet)
{
	memcpy(&key->source, packet + 8, sizeof(key->source));
	memcpy(&key->destination, packet + 24, sizeof(key->destination));
	key->rest = table_ports_proto(packet + 40, packet[6]);
}

static inline void table_add(struct table_counts *counts)
{
	counts->tx_packets += 1;
	counts->tx_bytes += BENCH_SLOT_BYTES;
}

/* Each program defines these three functions.
 * open: makes room for `connections`; returns 0 or an exit status.
 * count: counts the whole ring, at most BENCH_BATCH packets at a time; slots is a multiple of that.
 * total: returns the packets of all records. */
int table_open(int version, size_t connections);
void table_count(const uint8_t *ring, size_t slots);
uint64_t table_total(void);

#ifdef __cplusplus
}
#endif

#endif
