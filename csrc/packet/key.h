/* SPDX-License-Identifier: BSD-3-Clause */
/* key: a connection as five words. In this form the hot path builds, hashes and compares it.
 *
 * The words are the bytes of struct netlog_connection. They are built in registers and stored
 * whole. If a connection is written byte by byte and read back as words, the processor cannot
 * forward the stores, once for each word (measured: 27 ns a packet instead of 8 ns, one
 * connection).
 */
#ifndef NETLOG_KEY_H
#define NETLOG_KEY_H

#include <stdbool.h>
#include <string.h>

#include "base/compiler.h"
#include "base/wide.h"
#include "netlog_flow.h"

struct netlog_key {
	uint64_t src[2];
	uint64_t dst[2];
	uint64_t tail; /* ports, version, proto, flags */
};

static_assert(sizeof(struct netlog_key) == sizeof(struct netlog_connection), "the same bytes");

/* The secret of the keyed hash, which is NH (of UMAC, RFC 4418 §5.2): a secret half is added to
 * each half of a word, the two sums are multiplied, and the products are added up. If an attacker
 * picks two connections without knowing the secret, their 64-bit sums are equal with a probability
 * of at most 2^-32, which is proven. One more such product reduces the sum to 32 bits. All
 * arithmetic is in 32-bit lanes, so eight packets are hashed at once (count/block.h), in the
 * instructions that three packets took one by one. */
struct netlog_secret {
	uint64_t words[6];
};

NETLOG_INLINE uint64_t load_64(const void *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

NETLOG_INLINE uint32_t load_32(const void *bytes)
{
	uint32_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

/* Returns the tail of a key. ports: the source port in the upper half, the destination port in the
 * lower half. */
NETLOG_INLINE uint64_t key_tail(uint32_t ports, uint8_t version, uint8_t proto, uint8_t flags)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (uint64_t)flags << 48 | (uint64_t)proto << 40 | (uint64_t)version << 32 |
	       (uint32_t)(ports << 16 | ports >> 16);
#else
	return (uint64_t)ports << 32 | (uint32_t)version << 24 | (uint32_t)proto << 16 |
	       (uint32_t)flags << 8;
#endif
}

NETLOG_INLINE uint8_t key_tail_version(uint64_t tail)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (uint8_t)(tail >> 32);
#else
	return (uint8_t)(tail >> 24);
#endif
}

NETLOG_INLINE uint8_t key_version(const struct netlog_key *key)
{
	return key_tail_version(key->tail);
}

/* Returns the lower word of ::ffff:a.b.c.d. address: as load_32() loads it. */
NETLOG_INLINE uint64_t key_mapped(uint32_t address)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (uint64_t)address << 32 | 0xffff0000u;
#else
	return 0xffffull << 32 | address;
#endif
}

/* Returns both addresses of an IPv4 connection as load_32() loads them, the destination in the
 * upper half. */
NETLOG_INLINE uint64_t key_pair4(const struct netlog_key *key)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return key->src[1] >> 32 | key->dst[1] >> 32 << 32;
#else
	return key->dst[1] << 32 | (uint32_t)key->src[1];
#endif
}

NETLOG_INLINE struct netlog_key key_of(const struct netlog_connection *connection)
{
	struct netlog_key key;

	memcpy(&key, connection, sizeof(key));
	return key;
}

NETLOG_INLINE bool key_equals(const struct netlog_key *key,
			      const struct netlog_connection *connection)
{
	const uint8_t *bytes = (const uint8_t *)connection;

	return ((key->src[0] ^ load_64(bytes)) | (key->src[1] ^ load_64(bytes + 8)) |
		(key->dst[0] ^ load_64(bytes + 16)) | (key->dst[1] ^ load_64(bytes + 24)) |
		(key->tail ^ load_64(bytes + 32))) == 0;
}

/* As key_equals(), for a key that is known to be IPv4. Its other words are constants, so they are
 * not compared. */
NETLOG_INLINE bool key_equals4(const struct netlog_key *key,
			       const struct netlog_connection *connection)
{
	const uint8_t *bytes = (const uint8_t *)connection;

	return ((key->src[1] ^ load_64(bytes + 8)) | (key->dst[1] ^ load_64(bytes + 24)) |
		(key->tail ^ load_64(bytes + 32))) == 0;
}

/* As key_equals(), for a guess that is mostly wrong: it compares first the word that mostly
 * differs. version: 4 or 6 of the key; 0: both are socket connections, which have no source. */
NETLOG_INLINE bool last_equals(const struct netlog_key *key, int version,
			       const struct netlog_connection *connection)
{
	if (likely(key->tail != load_64((const uint8_t *)connection + 32)))
		return false;
	if (version == 0)
		return ((key->dst[0] ^ load_64(connection->dst)) |
			(key->dst[1] ^ load_64(connection->dst + 8))) == 0;
	return version == 4 ? key_equals4(key, connection) : key_equals(key, connection);
}

/* Another keyed mix of two words: their product, folded to 64 bits. */
NETLOG_INLINE uint64_t hash_fold(uint64_t a, uint64_t b)
{
	struct wide product = wide_multiply(a, b);

	return product.low ^ product.high;
}

NETLOG_INLINE uint64_t hash_word(uint64_t word, uint64_t secret)
{
	uint32_t low = (uint32_t)word + (uint32_t)secret;
	uint32_t high = (uint32_t)(word >> 32) + (uint32_t)(secret >> 32);

	return (uint64_t)low * high;
}

/* Returns the 32 bits of the hash in both halves of the word. The lower bits choose the bucket and
 * the upper bits are the tag; together they never have more than 32 bits. */
NETLOG_INLINE uint64_t hash_finish(uint64_t sum, const struct netlog_secret *secret)
{
	uint64_t product = hash_word(sum, secret->words[5]);
	uint32_t hash = (uint32_t)(product ^ product >> 32);

	return (uint64_t)hash << 32 | hash;
}

/* Hashes an IPv4 connection by the words that vary in it. key_hash6() hashes all five words. */
NETLOG_INLINE uint64_t key_hash4(const struct netlog_key *key, const struct netlog_secret *secret)
{
	const uint64_t *s = secret->words;

	return hash_finish(hash_word(key_pair4(key), s[0]) + hash_word(key->tail, s[1]), secret);
}

NETLOG_INLINE uint64_t key_hash6(const struct netlog_key *key, const struct netlog_secret *secret)
{
	const uint64_t *s = secret->words;
	uint64_t sum = hash_word(key->src[0], s[0]) + hash_word(key->src[1], s[1]) +
		       hash_word(key->dst[0], s[2]) + hash_word(key->dst[1], s[3]);

	return hash_finish(sum + hash_word(key->tail, s[4]), secret);
}

NETLOG_INLINE uint64_t key_hash(const struct netlog_key *key, const struct netlog_secret *secret)
{
	return key_version(key) == 4 ? key_hash4(key, secret) : key_hash6(key, secret);
}

#endif
