/* SPDX-License-Identifier: BSD-3-Clause */
/* hash: a keyed hash of a connection.
 *
 * Two 64x64->128 multiplies, folded, with secret words mixed into every operand. An attacker picks
 * 5-tuples but not the secret, so he can not aim at one bucket. IPv4 connections are hashed as the
 * two words that vary, IPv6 ones as all five; the version is part of either.
 */
#ifndef NETLOG_HASH_H
#define NETLOG_HASH_H

#include <string.h>

#include "flow.h"

struct netlog_secret {
	uint64_t words[6];
};

static inline uint64_t hash_word(const void *bytes)
{
	uint64_t word;

	memcpy(&word, bytes, sizeof(word));
	return word;
}

static inline uint64_t hash_fold(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t netlog_hash(const struct netlog_secret *secret,
				   const struct netlog_connection *connection)
{
	const uint64_t *key = secret->words;
	/* ports, version, proto, flags: the word behind the addresses */
	uint64_t tail = hash_word(&connection->src_port);

	if (connection->version == 4) {
		uint32_t pair[2];

		memcpy(&pair[0], connection->src + 12, sizeof(pair[0]));
		memcpy(&pair[1], connection->dst + 12, sizeof(pair[1]));
		return hash_fold(hash_fold(hash_word(pair) ^ key[0], tail ^ key[1]) ^ key[2],
				 key[3]);
	}
	uint64_t a = hash_fold(hash_word(connection->src) ^ key[0],
			       hash_word(connection->src + 8) ^ key[1]);
	uint64_t b = hash_fold(hash_word(connection->dst) ^ key[2],
			       hash_word(connection->dst + 8) ^ key[3]);

	return hash_fold(a ^ key[4] ^ (b << 32 | b >> 32), tail ^ key[5]);
}

#endif
