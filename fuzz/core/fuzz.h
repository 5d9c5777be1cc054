/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz: for every harness of the core: the input as a stream of numbers, and packets made from it.
 *
 * A harness is one file with one claim. libFuzzer gives it bytes. It makes valid and nearly valid
 * arguments from them, calls the core, and checks the result. CHECK() of the selftests ends the
 * program, which libFuzzer takes for a fault and keeps the input. Each buffer is an allocation of
 * exactly its length, so AddressSanitizer sees the first byte that is read beyond it.
 */
#ifndef NETLOG_FUZZ_H
#define NETLOG_FUZZ_H

#include "packet/packet.h"
#include "selftest/check.h"

/* libFuzzer calls both. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input. At its end every number is 0. */
struct input {
	const uint8_t *data;
	size_t left;
};

static inline uint8_t take_8(struct input *input)
{
	if (!input->left)
		return 0;
	input->left--;
	return *input->data++;
}

static inline uint16_t take_16(struct input *input)
{
	uint32_t high = take_8(input);

	return (uint16_t)(high << 8 | take_8(input));
}

static inline uint32_t take_32(struct input *input)
{
	uint32_t high = take_16(input);

	return high << 16 | take_16(input);
}

static inline uint64_t take_64(struct input *input)
{
	uint64_t high = take_32(input);

	return high << 32 | take_32(input);
}

/* Returns zeroed room for n bytes, which the caller frees. */
static inline uint8_t *room(size_t n)
{
	uint8_t *bytes = calloc(1, n ? n : 1);

	CHECK(bytes);
	return bytes;
}

/* Returns a copy, which the caller frees. */
static inline uint8_t *copy_of(const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	CHECK(copy);
	if (n)
		memcpy(copy, bytes, n);
	return copy;
}

/* Ports, a TCP header length, and the lengths of UDP, at `at` of a packet that ends at `end`. The
 * bits of `who` choose one of few connections, so that packets meet. */
static inline void put_transport(uint8_t *packet, uint32_t at, uint32_t end, uint8_t proto,
				 uint8_t who)
{
	if (at + 20 > end)
		return;
	put_16(packet + at, 1000u + (who & 3));
	put_16(packet + at + 2, 80u + (who >> 2 & 3));
	if (proto == PROTO_TCP)
		packet[at + 12] = 0x50;
	else
		put_16(packet + at + 4, end - at);
}

static inline uint32_t make_ip4(struct input *input, uint8_t kind, uint8_t proto, uint8_t who,
				uint32_t payload, uint8_t **packet)
{
	uint32_t words = kind & 2 ? 5u + take_8(input) % 11 : 5;
	uint32_t length = words * 4 + payload;

	if (length > UINT16_MAX)
		length = UINT16_MAX;
	uint8_t *bytes = *packet = room(length);

	bytes[0] = (uint8_t)(0x40 | words);
	put_16(bytes + 2, length);
	bytes[8] = 64;
	bytes[9] = proto;
	put_32(bytes + 12, 0x64400000u | (who >> 3 & 3));
	put_32(bytes + 16, 0x64000000u | (who >> 5 & 3));
	if (kind & 4) /* a fragment, perhaps */
		put_16(bytes + 6, take_16(input));
	put_transport(bytes, words * 4, length, proto, who);
	return length;
}

/* Up to 9 extension headers, one more than are walked. */
static inline uint32_t put_extensions(struct input *input, uint8_t *packet, uint32_t end,
				      uint8_t proto)
{
	static const uint8_t kinds[] = {0, 43, 44, 51, 60, 135, 139, 140};
	uint32_t n = take_8(input) % 10, at = PACKET_IP6_HEADER;
	uint8_t *next = packet + 6;

	for (uint32_t i = 0; i < n && at + 24 <= end; i++) {
		uint8_t choice = take_8(input);
		uint8_t words = choice >> 3 & 1;

		*next = kinds[choice & 7];
		if (*next == 44) {
			put_16(packet + at + 2, take_8(input) & 9u);
			words = 0;
		} else {
			packet[at + 1] = words;
		}
		uint32_t bytes = *next == PROTO_AH ? (words + 2u) * 4 : (words + 1u) * 8;

		next = packet + at;
		at += bytes;
	}
	*next = proto;
	return at;
}

static inline uint32_t make_ip6(struct input *input, uint8_t kind, uint8_t proto, uint8_t who,
				uint32_t payload, uint8_t **packet)
{
	uint32_t length = PACKET_IP6_HEADER + payload, at = PACKET_IP6_HEADER;
	uint8_t *bytes = *packet = room(length);

	bytes[0] = 0x60;
	put_16(bytes + 4, payload);
	bytes[7] = 64;
	bytes[8] = bytes[24] = 0xfd;
	bytes[23] = who >> 3 & 3;
	bytes[39] = who >> 5 & 3;
	if (kind & 2)
		at = put_extensions(input, bytes, length, proto);
	else
		bytes[6] = proto;
	put_transport(bytes, at, length, proto, who);
	return length;
}

/* Makes a packet that is mostly valid, which the caller frees. Returns its length, 0 to 65575. */
static inline uint32_t make_packet(struct input *input, uint8_t **packet)
{
	static const uint8_t protos[] = {6, 17, 33, 132, 136, 1, 58, 51};
	uint8_t kind = take_8(input), who = take_8(input);
	uint8_t proto = protos[who & 7];

	if ((kind & 7) == 7) { /* any bytes */
		uint32_t length = take_8(input);

		*packet = room(length);
		for (uint32_t i = 0; i < length && input->left; i++)
			(*packet)[i] = take_8(input);
		return length;
	}
	uint32_t payload = kind & 0x40 ? take_16(input) : take_8(input);
	uint32_t length = kind & 1 ? make_ip6(input, kind, proto, who, payload, packet)
				   : make_ip4(input, kind, proto, who, payload, packet);

	if (kind & 8) /* a length of 0: what came is the length */
		put_16(*packet + (kind & 1 ? 4 : 2), 0);
	if (kind & 0x10) {
		uint32_t at = take_8(input);
		uint8_t change = take_8(input);

		if (at < length)
			(*packet)[at] ^= change;
	}
	if (kind & 0x20) {
		uint32_t less = take_8(input), left = length > less ? length - less : 0;
		uint8_t *cut = copy_of(*packet, left);

		free(*packet);
		*packet = cut;
		length = left;
	}
	return length;
}

#endif
