/* SPDX-License-Identifier: BSD-3-Clause */
/* checksum: the Internet checksum, and what TCP and UDP put before their bytes to be summed.
 *
 * A sum is 64 bits wide and stays in memory order: words are added as they lie, and what is folded
 * of it is stored as it is. The one's complement sum is the same in either byte order (RFC 1071
 * §2 B), so nothing is swapped but the few numbers that are put in by value, checksum_of().
 *
 * Threads: any. Sources: RFC 1071, RFC 793 §3.1, RFC 768, RFC 8200 §8.1.
 */
#ifndef NETLOG_CHECKSUM_H
#define NETLOG_CHECKSUM_H

#include "packet/key.h"

/* Adds bytes to a sum. What comes later goes on at an even byte: only the last call for one
 * checksum may have an odd n. Reads bytes[0..n-1] and nothing else. */
uint64_t netlog_checksum_add(uint64_t sum, const uint8_t *bytes, size_t n);

/* One's complement: the carry comes back in. */
NETLOG_INLINE uint64_t checksum_plus(uint64_t sum, uint64_t word)
{
	sum += word;
	return sum + (sum < word);
}

/* A 16-bit number in host order, as it lies in a packet. */
NETLOG_INLINE uint16_t checksum_of(uint16_t value)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return __builtin_bswap16(value);
#else
	return value;
#endif
}

NETLOG_INLINE uint16_t checksum_load(const uint8_t *bytes)
{
	uint16_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

NETLOG_INLINE void checksum_store(uint8_t *bytes, uint16_t word)
{
	memcpy(bytes, &word, sizeof(word));
}

/* The sum in 16 bits: 0 only if every byte was 0. */
NETLOG_INLINE uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* What stands in the packet. */
NETLOG_INLINE uint16_t checksum_finish(uint64_t sum)
{
	return (uint16_t)~checksum_fold(sum);
}

/* RFC 768: 0 in a UDP header says that there is no checksum, so one that is 0 is sent as its
 * equal, all ones. */
NETLOG_INLINE uint16_t checksum_finish_udp(uint64_t sum)
{
	uint16_t checksum = checksum_finish(sum);

	return checksum ? checksum : 0xffff;
}

/* Of an IPv4 header whose own checksum counts as 0. n: a multiple of 4, at least 20. */
NETLOG_INLINE uint16_t checksum_ip4(const uint8_t *header, uint32_t n)
{
	uint64_t sum = netlog_checksum_add(0, header, n);

	/* Less what stands there: plus its complement. */
	return checksum_finish(checksum_plus(sum, (uint16_t)~checksum_load(header + 10)));
}

/* The pseudo header, by the addresses of an IP header of this version. bytes: of the transport's
 * header and payload. */
NETLOG_INLINE uint64_t checksum_pseudo(const uint8_t *ip, int version, uint8_t proto,
				       uint16_t bytes)
{
	uint64_t sum = version == 4 ? netlog_checksum_add(0, ip + 12, 8)
				    : netlog_checksum_add(0, ip + 8, 32);

	return checksum_plus(checksum_plus(sum, checksum_of(proto)), checksum_of(bytes));
}

#endif
