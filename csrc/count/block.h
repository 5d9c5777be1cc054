/* SPDX-License-Identifier: BSD-3-Clause */
/* block: eight plain packets of one family, decoded and hashed at once, with AVX2 or better.
 *
 * The headers' words are transposed, so that a vector holds the same word of eight packets. Each
 * instruction then does to all eight what packet/packet.h does to one. The result is the same,
 * packet by packet, as that of packet_decode_plain4() or packet_decode_plain6(), key_hash() and
 * index_tag(). A block with both families, or with a packet that is not plain, is left to those.
 *
 * Only bytes of the packet are read: lengths are compared before any header is read. An IPv4 header
 * is read as bytes 0..15 and 8..23; an IPv6 header as 0..15, 8..39 and 40..43.
 *
 * Order: for k below 4, lane k of a vector is packet 2k, and lane k + 4 is packet 2k + 1. A 32-byte
 * load brings two struct netlog_packet, and unpacking leaves them in this order.
 *
 * Threads: the lane's owner. Sources: as packet/packet.h.
 */
#ifndef NETLOG_COUNT_BLOCK_H
#define NETLOG_COUNT_BLOCK_H

#ifdef TARGET_AVX2

#include "packet/packet.h"
#include "table/table.h"

#define BLOCK_PACKETS 8

/* The eight packets of a block, each in its own lane. */
struct block {
	const uint8_t *data[BLOCK_PACKETS];
	__m256i lengths;
	__m256i above;    /* length minus BLOCK_LEAST; 0..BLOCK_MAX_ABOVE */
	__m256i rx;       /* all ones for rx, else 0 */
	__m256i w0, w1;   /* bytes 0..3 and 4..7 of the header, as loaded */
	__m256i w2;       /* bytes 8..11 */
	__m256i src, dst; /* IPv4 only: the addresses from this node's side */
	__m256i ports;    /* lower half of a key's tail */
	__m256i protocol; /* upper half of a key's tail: version, protocol, flags */
};

enum {
	BLOCK_LEAST = PACKET_IP4_HEADER + PACKET_PORTS,
	/* Longer packets are counted one by one, so that the sum of eight lengths fits in 32 bits.
	 */
	BLOCK_MAX_ABOVE = 65535 - BLOCK_LEAST,
};

/* Constant vectors in memory. Otherwise gcc builds them again for every block (measured: 4
 * instructions a packet). */
struct block_constants {
	uint32_t least[8];
	uint32_t max_above[8];
	uint32_t version4[8], first4[8], fragment4[8], proto4[8];
	uint32_t with_ports[8];
	uint32_t version6[8], first6[8], above6[8], payload6[8];
	uint8_t total4[32], payload[32], ports[32], swap[32];
} __attribute__((aligned(32)));

extern const struct block_constants netlog_block_constants;

NETLOG_INLINE __m256i block_constant(const void *words)
{
	return _mm256_load_si256((const __m256i *)words);
}

#define BLOCK_CONSTANT(name) block_constant(netlog_block_constants.name)

/* Returns a vector with the same word in all lanes. */
NETLOG_INLINE __m256i block_word(uint32_t word)
{
	return _mm256_set1_epi32((int)word);
}

NETLOG_INLINE __m256i block_pair(const uint8_t *low, const uint8_t *high)
{
	return _mm256_inserti128_si256(
		_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)low)),
		_mm_loadu_si128((const __m128i *)high), 1);
}

/* Reads the 16 bytes at data + offset of eight packets. words[i] gets word i of all of them. */
NETLOG_INLINE void block_transpose(const uint8_t *const data[], size_t offset, __m256i words[4])
{
	__m256i p01 = block_pair(data[0] + offset, data[4] + offset);
	__m256i p23 = block_pair(data[1] + offset, data[5] + offset);
	__m256i p45 = block_pair(data[2] + offset, data[6] + offset);
	__m256i p67 = block_pair(data[3] + offset, data[7] + offset);
	__m256i low_a = _mm256_unpacklo_epi32(p01, p23), low_b = _mm256_unpacklo_epi32(p45, p67);
	__m256i high_a = _mm256_unpackhi_epi32(p01, p23), high_b = _mm256_unpackhi_epi32(p45, p67);

	words[0] = _mm256_unpacklo_epi64(low_a, low_b);
	words[1] = _mm256_unpackhi_epi64(low_a, low_b);
	words[2] = _mm256_unpacklo_epi64(high_a, high_b);
	words[3] = _mm256_unpackhi_epi64(high_a, high_b);
}

NETLOG_INLINE __m256i shuffle_words(__m256i a, __m256i b, int odd)
{
	__m256 x = _mm256_castsi256_ps(a), y = _mm256_castsi256_ps(b);

	return _mm256_castps_si256(odd ? _mm256_shuffle_ps(x, y, 0xdd)
				       : _mm256_shuffle_ps(x, y, 0x88));
}

/* Loads lengths and directions. Returns false if one of the packets cannot be plain: too short for
 * the ports of an IPv4 packet, too long, or a super-packet. */
NETLOG_INLINE bool block_load(struct block *block, const struct netlog_packet *packets)
{
	const __m256i *pairs = (const __m256i *)packets;
	__m256i a = _mm256_unpackhi_epi64(_mm256_loadu_si256(pairs), _mm256_loadu_si256(pairs + 1));
	__m256i b =
		_mm256_unpackhi_epi64(_mm256_loadu_si256(pairs + 2), _mm256_loadu_si256(pairs + 3));
	__m256i others = shuffle_words(a, b, 1);

	block->lengths = shuffle_words(a, b, 0);
	/* A length below the least wraps around, so it is beyond the most. */
	block->above = _mm256_sub_epi32(block->lengths, BLOCK_CONSTANT(least));
	__m256i fits = _mm256_cmpeq_epi32(
		block->above, _mm256_min_epu32(block->above, BLOCK_CONSTANT(max_above)));
	/* gso_size is the lower half of the word. The shift drops the upper half. */
	__m256i gso = _mm256_slli_epi32(others, 16);
	__m256i single = _mm256_cmpeq_epi32(gso, _mm256_setzero_si256());

	block->rx = _mm256_srai_epi32(_mm256_slli_epi32(others, 15), 31);
	return _mm256_movemask_epi8(_mm256_and_si256(fits, single)) == -1;
}

/* Reads the first 16 bytes of the packets. Only after block_load() has returned true. */
NETLOG_INLINE void block_read(struct block *block, const struct netlog_packet *packets)
{
	__m256i words[4];

	for (int i = 0; i < BLOCK_PACKETS / 2; i++) {
		block->data[i] = packets[2 * i].data;
		block->data[i + 4] = packets[2 * i + 1].data;
	}
	block_transpose(block->data, 0, words);
	block->w0 = words[0];
	block->w1 = words[1];
	block->w2 = words[2];
}

/* Sets the sign bit of each lane whose protocol is TCP or UDP. DCCP is plain too, but so rare that
 * it is decoded one by one. */
NETLOG_INLINE __m256i block_has_ports(__m256i protos)
{
	return _mm256_sllv_epi32(BLOCK_CONSTANT(with_ports), protos);
}

/* Returns source and destination port in host order, from this node's side. words: the four bytes
 * of each header that hold the ports. */
NETLOG_INLINE __m256i block_ports(__m256i words, __m256i rx)
{
	__m256i swap = _mm256_and_si256(rx, BLOCK_CONSTANT(swap));

	return _mm256_shuffle_epi8(words, _mm256_xor_si256(BLOCK_CONSTANT(ports), swap));
}

/* Whether a <= b as unsigned numbers, lane by lane. */
NETLOG_INLINE __m256i block_at_most(__m256i a, __m256i b)
{
	return _mm256_cmpeq_epi32(a, _mm256_min_epu32(a, b));
}

/* Decodes a block of plain IPv4 packets. Returns false if one is not; then the block is undefined
 * but for what block_load() and block_read() have set. */
NETLOG_INLINE bool block_decode4(struct block *block)
{
	__m256i rest[4];
	/* Version, header length and fragment bits. */
	__m256i first = _mm256_and_si256(block->w0, BLOCK_CONSTANT(first4));
	__m256i fragment = _mm256_and_si256(block->w1, BLOCK_CONSTANT(fragment4));
	__m256i plain = _mm256_cmpeq_epi32(_mm256_or_si256(first, fragment), block_word(0x45));
	/* The packet's own length. One below the least wraps around, so it is above all others. */
	__m256i total = _mm256_shuffle_epi8(block->w0, BLOCK_CONSTANT(total4));
	__m256i whole = block_at_most(_mm256_sub_epi32(total, BLOCK_CONSTANT(least)), block->above);

	block->protocol = _mm256_or_si256(_mm256_and_si256(block->w2, BLOCK_CONSTANT(proto4)),
					  BLOCK_CONSTANT(version4));
	__m256i ports = block_has_ports(_mm256_srli_epi32(block->protocol, 8));

	plain = _mm256_and_si256(_mm256_and_si256(plain, whole), ports);
	if (unlikely(_mm256_movemask_ps(_mm256_castsi256_ps(plain)) != 0xff))
		return false;
	block_transpose(block->data, 8, rest);
	__m256i swap = _mm256_and_si256(_mm256_xor_si256(rest[1], rest[2]), block->rx);

	block->src = _mm256_xor_si256(rest[1], swap);
	block->dst = _mm256_xor_si256(rest[2], swap);
	block->ports = block_ports(rest[3], block->rx);
	return true;
}

/* Reads the ports of eight IPv6 packets. */
NETLOG_INLINE __m256i block_ports6(const uint8_t *const data[])
{
	uint32_t words[BLOCK_PACKETS];

	for (int i = 0; i < BLOCK_PACKETS; i++)
		words[i] = load_32(data[i] + PACKET_IP6_HEADER);
	return _mm256_setr_epi32((int)words[0], (int)words[1], (int)words[2], (int)words[3],
				 (int)words[4], (int)words[5], (int)words[6], (int)words[7]);
}

/* The same for IPv6, but the addresses are not decoded yet. */
NETLOG_INLINE bool block_decode6(struct block *block)
{
	__m256i version = _mm256_cmpeq_epi32(_mm256_and_si256(block->w0, BLOCK_CONSTANT(first6)),
					     block_word(0x60));
	__m256i payload = _mm256_shuffle_epi8(block->w1, BLOCK_CONSTANT(payload));
	__m256i whole = _mm256_and_si256(
		_mm256_cmpgt_epi32(payload, BLOCK_CONSTANT(payload6)),
		block_at_most(_mm256_add_epi32(payload, BLOCK_CONSTANT(above6)), block->above));
	__m256i proto = _mm256_srli_epi32(_mm256_slli_epi32(block->w1, 8), 24);
	__m256i plain = _mm256_and_si256(_mm256_and_si256(version, whole), block_has_ports(proto));

	if (unlikely(_mm256_movemask_ps(_mm256_castsi256_ps(plain)) != 0xff))
		return false;
	block->protocol = _mm256_or_si256(_mm256_slli_epi32(proto, 8), BLOCK_CONSTANT(version6));
	block->ports = block_ports(block_ports6(block->data), block->rx);
	return true;
}

/* Returns the addresses of an IPv6 packet as in a key. rx: all ones for rx, else 0. */
NETLOG_INLINE __m256i block_addresses6(const uint8_t *data, __m256i rx)
{
	__m256i there = _mm256_loadu_si256((const __m256i *)(data + 8));

	return _mm256_blendv_epi8(there, _mm256_permute4x64_epi64(there, 0x4e), rx);
}

/* hash_word() of the even lanes, and of the odd lanes. */
struct block_sums {
	__m256i even, odd;
};

NETLOG_INLINE __m256i block_odd(__m256i words)
{
	return _mm256_srli_epi64(words, 32);
}

NETLOG_INLINE struct block_sums block_hash_words(__m256i low, __m256i high, const uint64_t *secret)
{
	const uint8_t *halves = (const uint8_t *)secret;
	__m256i a = _mm256_add_epi32(low, block_word(load_32(halves)));
	__m256i b = _mm256_add_epi32(high, block_word(load_32(halves + 4)));

	return (struct block_sums){_mm256_mul_epu32(a, b),
				   _mm256_mul_epu32(block_odd(a), block_odd(b))};
}

NETLOG_INLINE struct block_sums block_add(struct block_sums a, struct block_sums b)
{
	return (struct block_sums){_mm256_add_epi64(a.even, b.even),
				   _mm256_add_epi64(a.odd, b.odd)};
}

/* hash_finish(): returns the 32 bits of each lane's hash. */
NETLOG_INLINE __m256i block_hash_finish(struct block_sums sums, const struct netlog_secret *secret)
{
	const __m256i key = _mm256_set1_epi64x((long long)secret->words[5]);
	__m256i even = _mm256_add_epi32(sums.even, key), odd = _mm256_add_epi32(sums.odd, key);

	even = _mm256_mul_epu32(even, block_odd(even));
	odd = _mm256_mul_epu32(odd, block_odd(odd));
	even = _mm256_xor_si256(even, block_odd(even));
	odd = _mm256_xor_si256(odd, _mm256_slli_epi64(odd, 32));
	return _mm256_blend_epi32(even, odd, 0xaa);
}

NETLOG_INLINE __m256i block_hash4(const struct block *block, const struct netlog_secret *secret)
{
	const uint64_t *s = secret->words;

	return block_hash_finish(block_add(block_hash_words(block->src, block->dst, &s[0]),
					   block_hash_words(block->ports, block->protocol, &s[1])),
				 secret);
}

/* Returns the four products of one packet's addresses. */
NETLOG_INLINE __m256i block_products6(__m256i addresses, const struct netlog_secret *secret)
{
	__m256i sum =
		_mm256_add_epi32(addresses, _mm256_loadu_si256((const __m256i *)secret->words));

	return _mm256_mul_epu32(sum, block_odd(sum));
}

/* Sums up the four products of each of four packets: one word for each packet. */
NETLOG_INLINE __m256i block_sum6(__m256i a, __m256i b, __m256i c, __m256i d)
{
	__m256i low = _mm256_add_epi64(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
	__m256i high = _mm256_add_epi64(_mm256_unpacklo_epi64(c, d), _mm256_unpackhi_epi64(c, d));

	return _mm256_add_epi64(_mm256_permute2x128_si256(low, high, 0x20),
				_mm256_permute2x128_si256(low, high, 0x31));
}

NETLOG_INLINE __m256i block_hash6(const struct block *block, const __m256i products[BLOCK_PACKETS],
				  const struct netlog_secret *secret)
{
	struct block_sums addresses = {
		block_sum6(products[0], products[2], products[4], products[6]),
		block_sum6(products[1], products[3], products[5], products[7])};

	return block_hash_finish(
		block_add(addresses,
			  block_hash_words(block->ports, block->protocol, &secret->words[4])),
		secret);
}

/* Adds all packets of a block to one record. Returns false, and adds nothing, if a packet counter
 * would overflow. */
NETLOG_INLINE bool block_add_all(struct netlog_record *record, const struct block *block)
{
	__m256i sums =
		_mm256_hadd_epi32(block->lengths, _mm256_and_si256(block->lengths, block->rx));
	uint32_t rx = (uint32_t)__builtin_popcount(
		(uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(block->rx)));
	uint32_t tx_packets, rx_packets;

	sums = _mm256_hadd_epi32(sums, sums);
	__m128i both =
		_mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
	uint32_t all_bytes = (uint32_t)_mm_cvtsi128_si32(both);
	uint32_t rx_bytes = (uint32_t)_mm_extract_epi32(both, 1);

	if (unlikely(__builtin_add_overflow(record->packets[NETLOG_TX], BLOCK_PACKETS - rx,
					    &tx_packets)) ||
	    unlikely(__builtin_add_overflow(record->packets[NETLOG_RX], rx, &rx_packets)))
		return false;
	record->packets[NETLOG_TX] = tx_packets;
	record->packets[NETLOG_RX] = rx_packets;
	record->bytes[NETLOG_TX] += all_bytes - rx_bytes;
	record->bytes[NETLOG_RX] += rx_bytes;
	return true;
}

#endif
#endif
