/* SPDX-License-Identifier: BSD-3-Clause */
/* sort_key: the key by which the rows of one class are sorted, and the packing of its varying bits.
 *
 * A part of sort.c, which would be too long with it. The key does not have the family of the
 * source: rows are grouped by it before their keys are compared.
 */
#ifndef NETLOG_SORT_KEY_H
#define NETLOG_SORT_KEY_H

#include <stdbool.h>

#include "prefixes/family.h"

enum { SRC_HIGH, SRC_LOW, DST_HIGH, DST_LOW, SMALL_FIELDS, KEY_WORDS };

/* The key of a row within its group. The word SMALL_FIELDS has, from bit 0 on: 8 bits of proto, 16
 * of dst_port, 2 of the destination's family, and 16 of src_port. */
struct key {
	uint64_t words[KEY_WORDS];
};

/* The place of a field in the key. `fields` lists them, the most significant first. */
struct field {
	uint8_t word;
	uint8_t low_bit;
	uint8_t bits;
};

#define FIELDS 6
static const struct field fields[FIELDS] = {
	{SRC_HIGH, 0, 64}, {SRC_LOW, 0, 64}, {SMALL_FIELDS, 24, 18},
	{DST_HIGH, 0, 64}, {DST_LOW, 0, 64}, {SMALL_FIELDS, 0, 24},
};

/* Neighbouring bits that vary, and their place in an item: item |= (word >> right & mask) << left.
 */
struct piece {
	uint64_t mask;
	uint8_t word;
	uint8_t right;
	uint8_t left;
};

struct packing {
	struct piece pieces[64];
	unsigned n;
	unsigned bits; /* bits of the packed key */
	bool complete; /* the packed key has all bits that vary */
};

/* Reads the key of a row. Returns the family of the source, which is not in the key. */
static inline enum netlog_family read_key(const struct netlog_connection *connection,
					  struct key *key)
{
	struct wide src, dst;
	enum netlog_family src_family = family_src(connection, &src);
	enum netlog_family dst_family = family_dst(connection, &dst);
	uint64_t src_port = src_family ? connection->src_port : 0;
	uint64_t dst_port = dst_family ? connection->dst_port : 0;

	key->words[SRC_HIGH] = src.high;
	key->words[SRC_LOW] = src.low;
	key->words[DST_HIGH] = dst.high;
	key->words[DST_LOW] = dst.low;
	key->words[SMALL_FIELDS] =
		src_port << 26 | (uint64_t)dst_family << 24 | dst_port << 8 | connection->proto;
	return src_family;
}

static inline uint64_t read_field(const struct key *key, const struct field *field)
{
	return key->words[field->word] >> field->low_bit & ~(uint64_t)0 >> (64 - field->bits);
}

static inline bool key_less(const struct key *a, const struct key *b)
{
	for (int i = 0; i < FIELDS; i++) {
		uint64_t x = read_field(a, &fields[i]), y = read_field(b, &fields[i]);

		if (x != y)
			return x < y;
	}
	return false;
}

static inline void add_varying(struct key *varying, const struct key *first, const struct key *key)
{
	for (int w = 0; w < KEY_WORDS; w++)
		varying->words[w] |= key->words[w] ^ first->words[w];
}

/* Adds to packing the pieces of one field's varying bits, the most significant first. Stops when
 * the packed key has `room` bits. */
static inline void cut_field(struct packing *packing, const struct field *field, uint64_t varying,
			     unsigned room)
{
	while (varying) {
		if (packing->bits == room) {
			packing->complete = false;
			return;
		}
		unsigned top = 63 - (unsigned)__builtin_clzll(varying);
		uint64_t below = ~varying & (((uint64_t)2 << top) - 1);
		unsigned low = below ? 64 - (unsigned)__builtin_clzll(below) : 0;
		unsigned length = top - low + 1;

		if (length > room - packing->bits) {
			length = room - packing->bits;
			low = top - length + 1;
		}
		packing->bits += length;
		packing->pieces[packing->n++] = (struct piece){
			.mask = ~(uint64_t)0 >> (64 - length),
			.word = field->word,
			.right = (uint8_t)(low + field->low_bit),
			.left = (uint8_t)(64 - packing->bits),
		};
		varying &= ((uint64_t)1 << low) - 1;
	}
}

static inline void plan_packing(struct packing *packing, const struct key *varying,
				unsigned row_bits)
{
	packing->n = packing->bits = 0;
	packing->complete = true;
	for (int i = 0; i < FIELDS; i++)
		cut_field(packing, &fields[i], read_field(varying, &fields[i]), 64 - row_bits);
}

static inline uint64_t pack(const struct packing *packing, const struct key *key, uint64_t row)
{
	uint64_t item = row;

	for (unsigned p = 0; p < packing->n; p++) {
		const struct piece *piece = &packing->pieces[p];

		item |= (key->words[piece->word] >> piece->right & piece->mask) << piece->left;
	}
	return item;
}

#endif
