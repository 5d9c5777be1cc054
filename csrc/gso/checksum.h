/* SPDX-License-Identifier: BSD-3-Clause */
/* checksum: the Internet checksum, and the pseudo header that TCP and UDP add to it.
 *
 * A sum has 64 bits and stays in memory order: words are added as they lie in the packet, and the
 * folded sum is stored as it is. The one's complement sum is the same in either byte order (RFC
 * 1071 §2 B). So only the few numbers that are added by value are swapped, by checksum_of().
 *
 * Threads: any. Sources: RFC 1071, RFC 793 §3.1, RFC 768, RFC 8200 §8.1.
 */
#ifndef NETLOG_CHECKSUM_H
#define NETLOG_CHECKSUM_H

#include "packet/key.h"

/* Adds bytes[0..n-1] to a sum, and returns the new sum. Only the last call for one checksum may
 * have an odd n, because each call begins at an even byte. */
uint64_t netlog_checksum_add(uint64_t sum, const uint8_t *bytes, size_t n);

/* Adds in one's complement: the carry is added again. */
NETLOG_INLINE uint64_t checksum_plus(uint64_t sum, uint64_t word)
{
	sum += word;
	return sum + (sum < word);
}

/* Converts a 16-bit number from host order to the order in which it lies in a packet. */
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

/* Folds a sum to 16 bits. The result is 0 only if every byte was 0. */
NETLOG_INLINE uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Returns the checksum as it is stored in a packet. */
NETLOG_INLINE uint16_t checksum_finish(uint64_t sum)
{
	return (uint16_t)~checksum_fold(sum);
}

/* As checksum_finish(), for UDP. In a UDP header 0 means that there is no checksum, so a checksum
 * of 0 is sent as all ones, which is equal to it (RFC 768). */
NETLOG_INLINE uint16_t checksum_finish_udp(uint64_t sum)
{
	uint16_t checksum = checksum_finish(sum);

	return checksum ? checksum : 0xffff;
}

/* Returns the checksum of an IPv4 header of n bytes, with its checksum field taken as 0. n: a
 * multiple of 4, at least 20. */
NETLOG_INLINE uint16_t checksum_ip4(const uint8_t *header, uint32_t n)
{
	uint64_t sum = netlog_checksum_add(0, header, n);

	/* Subtracts the checksum field, by adding its complement. */
	return checksum_finish(checksum_plus(sum, (uint16_t)~checksum_load(header + 10)));
}

/* Returns the sum of the pseudo header. ip: the IP header, of this version. bytes: the length of
 * the transport header and the payload. */
NETLOG_INLINE uint64_t checksum_pseudo(const uint8_t *ip, int version, uint8_t proto,
				       uint16_t bytes)
{
	uint64_t sum = version == 4 ? netlog_checksum_add(0, ip + 12, 8)
				    : netlog_checksum_add(0, ip + 8, 32);

	return checksum_plus(checksum_plus(sum, checksum_of(proto)), checksum_of(bytes));
}

#endif
