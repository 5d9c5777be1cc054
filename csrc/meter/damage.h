/* SPDX-License-Identifier: BSD-3-Clause */
/* damage: check words of what a poller leaves in a file for its successor. */
#ifndef NETLOG_DAMAGE_H
#define NETLOG_DAMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Returns a check word of n words. Every step is a bijection, so a change of one word, or of the
 * seed, always changes the result. Not a defence against people: who can write to the file can
 * write the check word, too. */
NETLOG_INLINE uint64_t damage_check(const uint64_t *words, size_t n, uint64_t seed)
{
	uint64_t check = ~seed;

	for (size_t i = 0; i < n; i++) {
		check = (check ^ words[i]) * 0x9e3779b97f4a7c15u;
		check ^= check >> 29;
	}
	return check;
}

#endif
