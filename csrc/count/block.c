/* SPDX-License-Identifier: BSD-3-Clause */
#ifdef __x86_64__
#include "base/compiler.h"

#define TARGET_AVX2
TARGET_BEGIN("avx2")
#include "count/block.h"

#define EIGHT(word) {word, word, word, word, word, word, word, word}
/* The same indexes for both halves: a byte shuffle works within 16 bytes, which are four words. */
#define TWICE(...) {__VA_ARGS__, __VA_ARGS__}

const struct block_constants netlog_block_constants = {
	.least = EIGHT(BLOCK_LEAST),
	.max_above = EIGHT(BLOCK_MAX_ABOVE),
	.version4 = EIGHT(4),
	.first4 = EIGHT(0xff),
	.fragment4 = EIGHT(0xff1f0000),
	.proto4 = EIGHT(0xff00),
	.with_ports = EIGHT(1u << (31 - PROTO_TCP) | 1u << (31 - PROTO_UDP)),
	.version6 = EIGHT(6),
	.first6 = EIGHT(0xf0),
	.above6 = EIGHT(PACKET_IP6_HEADER - BLOCK_LEAST),
	.payload6 = EIGHT(PACKET_PORTS - 1),
	/* Shuffles for big-endian numbers of 16 bits; 0x80 gives a zero byte. */
	.total4 = TWICE(3, 2, 0x80, 0x80, 7, 6, 0x80, 0x80, 11, 10, 0x80, 0x80, 15, 14, 0x80, 0x80),
	.payload = TWICE(1, 0, 0x80, 0x80, 5, 4, 0x80, 0x80, 9, 8, 0x80, 0x80, 13, 12, 0x80, 0x80),
	.ports = TWICE(1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14),
	/* XORed with the shuffle above, it gives the other port of the same packet. */
	.swap = TWICE(2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2),
};
TARGET_END
#endif
