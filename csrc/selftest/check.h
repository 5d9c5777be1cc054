/* SPDX-License-Identifier: BSD-3-Clause */
/* check: for every selftest: an assertion, random numbers and packets.
 *
 * A selftest is a program of its own. At the first check that fails, it prints which one and exits
 * with status 1. Otherwise it prints one line and exits with status 0.
 */
#ifndef NETLOG_SELFTEST_CHECK_H
#define NETLOG_SELFTEST_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "netlog.h"

/* row: identifies the failed case: the number of a table row, a seed, or the like. */
#define CHECK_ROW(row, condition)                                                                  \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: row %lld: %s\n", __FILE__, __LINE__,               \
				(long long)(row), #condition);                                     \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

#define CHECK(condition) CHECK_ROW(0, condition)

/* Says that a test, or a part of it, cannot run on this machine. Where netlog is developed, all
 * run: tests/stress/test_stress_selftest.py fails if one prints this. */
#define LEFT_OUT(test, why) printf("%s: left out: %s\n", test, why)

#define NO_SHARED_METER "processes cannot share 64-bit words on this machine"

/* Sanitizers make everything 5 to 15 times slower: the Makefile asks for fewer rounds then. */
#ifndef SLOWER
#define SLOWER 1
#endif

/* splitmix64. Any seed will do. */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline void put_16(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static inline void put_32(uint8_t *bytes, uint32_t value)
{
	put_16(bytes, value >> 16);
	put_16(bytes + 2, value);
}

/* The bytes of an IPv4 or IPv6 packet with a UDP header and no payload. */
#define UDP4_BYTES 28u
#define UDP6_BYTES 48u

static inline void make_udp4(uint8_t bytes[UDP4_BYTES], uint32_t src, uint32_t dst,
			     uint16_t src_port, uint16_t dst_port)
{
	memset(bytes, 0, UDP4_BYTES);
	bytes[0] = 0x45;
	put_16(bytes + 2, UDP4_BYTES);
	bytes[8] = 64;
	bytes[9] = 17;
	put_32(bytes + 12, src);
	put_32(bytes + 16, dst);
	put_16(bytes + 20, src_port);
	put_16(bytes + 22, dst_port);
	put_16(bytes + 24, 8);
}

static inline void make_udp6(uint8_t bytes[UDP6_BYTES], uint32_t src, uint32_t dst,
			     uint16_t src_port, uint16_t dst_port)
{
	memset(bytes, 0, UDP6_BYTES);
	bytes[0] = 0x60;
	put_16(bytes + 4, 8);
	bytes[6] = 17;
	bytes[7] = 64;
	bytes[8] = bytes[24] = 0xfd;
	put_32(bytes + 20, src);
	put_32(bytes + 36, dst);
	put_16(bytes + 40, src_port);
	put_16(bytes + 42, dst_port);
	put_16(bytes + 44, 8);
}

static inline struct netlog_packet packet_of(const uint8_t *data, uint32_t length, int direction)
{
	return (struct netlog_packet){
		.data = data, .length = length, .direction = (uint8_t)direction};
}

static inline struct netlog_datagram datagram4(uint32_t address, uint16_t port, uint32_t length,
					       int direction)
{
	struct netlog_datagram datagram = {
		.port = port, .version = 4, .length = length, .direction = (uint8_t)direction};

	datagram.address[10] = datagram.address[11] = 0xff;
	put_32(datagram.address + 12, address);
	return datagram;
}

static inline uint64_t unattributed_packets(const struct netlog_unattributed *unattributed)
{
	uint64_t sum = 0;

	for (int reason = 0; reason < NETLOG_REASONS; reason++)
		sum += unattributed->packets[reason][0] + unattributed->packets[reason][1];
	return sum;
}

static inline uint64_t unattributed_bytes(const struct netlog_unattributed *unattributed)
{
	uint64_t sum = 0;

	for (int reason = 0; reason < NETLOG_REASONS; reason++)
		sum += unattributed->bytes[reason][0] + unattributed->bytes[reason][1];
	return sum;
}

static inline struct netlog_meter *open_meter(uint32_t max_flows, uint32_t max_endpoints,
					      uint32_t max_lanes)
{
	struct netlog_meter_options options = {
		.max_flows = max_flows, .max_endpoints = max_endpoints, .max_lanes = max_lanes};
	struct netlog_meter *meter = NULL;

	CHECK(netlog_meter_open(&options, &meter) == 0);
	return meter;
}

#endif
