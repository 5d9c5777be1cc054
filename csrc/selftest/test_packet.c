/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of packet: golden packets, and bytes that end where the readable memory ends.
 *
 * The packets are written manually, header by header. The decoders do not check checksums.
 * tests/oracle compares the decoders with a slow twin, on scapy's packets of every kind, cut at
 * every length. This program checks what Python cannot see: reads beyond the buffer, and the unused
 * bytes of a connection.
 */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "packet/packet.c"
#include "check.h"

#define IP4_TCP   "450000280001000040063a2e64400001c000024d"
#define TCP_HEAD  "01bbc7380000000000000000" /* 443 -> 51000 */
#define TCP_REST  "5002200000000000"         /* data offset 5 */
#define IP6_HEAD  "fd7a115ca1e0000000000000000000012001 0db800000000000000000000004d"
#define UDP_HEAD  "003514e90008 0000" /* 53 -> 5353 */
#define NO_REASON (-1)

struct row {
	const char *hex;
	int gso_size, reason, version, proto, src_port, dst_port;
	uint32_t packets;
	uint64_t bytes;
};

/* clang-format off */
static const struct row rows[] = {
	/* 0: no bytes */
	{"", 0, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 0},
	/* 1: IPv4 | TCP */
	{IP4_TCP TCP_HEAD TCP_REST, 0, NO_REASON, 4, 6, 443, 51000, 1, 40},
	/* 2: IPv4, cut in its TCP header, but the length field says otherwise */
	{IP4_TCP TCP_HEAD, 0, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 32},
	/* 3: IPv4 of 24 bytes: four bytes of TCP are enough for the ports */
	{"450000180001000040063a3e64400001c000024d" "01bbc738", 0, NO_REASON, 4, 6, 443, 51000, 1, 24},
	/* 4: IPv4 of 23 bytes: three bytes are not */
	{"450000170001000040063a3f64400001c000024d" "01bbc7", 0, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 23},
	/* 5: IPv4 with 4 bytes of options | UDP */
	{"4600002000010000401137eb64400001c000024d" "01010100" UDP_HEAD, 0, NO_REASON, 4, 17, 53, 5353, 1, 32},
	/* 6: IPv4, header length of 16 bytes */
	{"440000280001000040063a2e64400001c000024d" TCP_HEAD TCP_REST, 0, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 40},
	/* 7: IPv4, the first fragment (RFC 791: more fragments) */
	{"4500001c0001200040111a2f64400001c000024d" UDP_HEAD, 0, NO_REASON, 4, 17, 53, 5353, 1, 28},
	/* 8: IPv4, a later fragment: no ports, whatever its bytes are */
	{"4500001c000100b9401139 7664400001c000024d" UDP_HEAD, 0, NO_REASON, 4, 17, 0, 0, 1, 28},
	/* 9: IPv4 | AH of 24 bytes (4 + 2 words) | UDP, as in IPv6 */
	{"450000340001000040330000 64400001c000024d" "110400000000abcd00000001000000000000000000000000" UDP_HEAD,
	 0, NO_REASON, 4, 17, 53, 5353, 1, 52},
	/* 10: IPv6 | UDP */
	{"6000000000081140" IP6_HEAD UDP_HEAD, 0, NO_REASON, 6, 17, 53, 5353, 1, 48},
	/* 11: IPv6 | hop-by-hop (router alert) | UDP */
	{"6000000000100040" IP6_HEAD "1100050200000100" UDP_HEAD, 0, NO_REASON, 6, 17, 53, 5353, 1, 56},
	/* 12: IPv6 | AH of 24 bytes (4 + 2 words) | UDP */
	{"6000000000203340" IP6_HEAD "110400000000abcd00000001000000000000000000000000" UDP_HEAD,
	 0, NO_REASON, 6, 17, 53, 5353, 1, 72},
	/* 13: IPv6 | fragment, offset 90 * 8, the last one | the rest of a UDP datagram */
	{"6000000000102c40" IP6_HEAD "110002d000000009" UDP_HEAD, 0, NO_REASON, 6, 17, 0, 0, 1, 56},
	/* 14: IPv6 | fragment, offset 0, more fragments | UDP */
	{"6000000000102c40" IP6_HEAD "1100000100000009" UDP_HEAD, 0, NO_REASON, 6, 17, 53, 5353, 1, 56},
	/* 15: IPv6 | destination options that reach beyond the packet */
	{"6000000000083c40" IP6_HEAD "1101010400000000", 0, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 48},
	/* 16: IPv6 | no next header */
	{"6000000000003b40" IP6_HEAD, 0, NO_REASON, 6, 59, 0, 0, 1, 40},
	/* 17: version 5 (RFC 1819), which is not IP */
	{"5500002800010000", 0, NETLOG_NOT_IP, 0, 0, 0, 0, 1, 8},
	/* 18: IPv4 | TCP with 8 bytes in segments of 3: 3 packets, 2 more headers of 40 */
	{"450000300001000040063a2664400001c000024d" TCP_HEAD TCP_REST "0001020304050607",
	 3, NO_REASON, 4, 6, 443, 51000, 3, 48 + 2 * 40},
	/* 19: the same in one segment of exactly its size */
	{"450000300001000040063a2664400001c000024d" TCP_HEAD TCP_REST "0001020304050607",
	 8, NO_REASON, 4, 6, 443, 51000, 1, 48},
	/* 20: the same with a data offset of 16 bytes, which is too short for a TCP header */
	{"450000300001000040063a2664400001c000024d" TCP_HEAD "4002200000000000" "0001020304050607",
	 3, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 48},
	/* 21: IPv6 | hop-by-hop | UDP with 4 bytes in segments of 1 */
	{"6000000000140040" IP6_HEAD "1100050200000100" "003514e9000c0000" "00010203",
	 1, NO_REASON, 6, 17, 53, 5353, 4, 60 + 3 * 56},
	/* 22: ICMP is never segmented */
	{"4500001c0001000040013a3f64400001c000024d" "0800f7ff00000000", 1, NO_REASON, 4, 1, 0, 0, 1, 28},
	/* 23: a first fragment is never segmented */
	{"450000200001200040111a2b64400001c000024d" UDP_HEAD "00010203", 1, NO_REASON, 4, 17, 53, 5353, 1, 32},
	/* 24: bytes beyond the packet are not segmented: 8 bytes of payload, 4 bytes of padding */
	{"450000300001000040063a2664400001c000024d" TCP_HEAD TCP_REST "0001020304050607" "ffffffff",
	 4, NO_REASON, 4, 6, 443, 51000, 2, 52 + 40},
	/* 25: IPv4 | AH that reaches beyond the packet */
	{"4500001c00010000403339 0d64400001c000024d" "1104000000000000", 0, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 28},
	/* 26: IPv4, a later fragment of AH: nothing to walk */
	{"4500001c000100b9403339 0d64400001c000024d" UDP_HEAD, 0, NO_REASON, 4, 51, 0, 0, 1, 28},
	/* 27: row 18 with a total length of 0: all that came */
	{"450000000001000040063a2664400001c000024d" TCP_HEAD TCP_REST "0001020304050607",
	 3, NO_REASON, 4, 6, 443, 51000, 3, 48 + 2 * 40},
	/* 28: IPv6 without a payload length | TCP with 8 bytes in segments of 3 */
	{"6000000000000640" IP6_HEAD TCP_HEAD TCP_REST "0001020304050607",
	 3, NO_REASON, 6, 6, 443, 51000, 3, 68 + 2 * 60},
	/* 29: the same with a jumbo option, which is in none of the segments */
	{"6000000000000040" IP6_HEAD "0600c20400000024" TCP_HEAD TCP_REST "0001020304050607",
	 3, NO_REASON, 6, 6, 443, 51000, 3, 68 + 2 * 60},
	/* 30: a jumbo option that announces a byte too many */
	{"6000000000000040" IP6_HEAD "0600c20400000025" TCP_HEAD TCP_REST "0001020304050607",
	 3, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 76},
	/* 31: IPv6 without a payload length | UDP, which says its own */
	{"6000000000001140" IP6_HEAD UDP_HEAD, 0, NO_REASON, 6, 17, 53, 5353, 1, 48},
	/* 32: the same when it says another: the packet has no byte of it */
	{"6000000000001140" IP6_HEAD "003514e9000a0000", 0, NETLOG_MALFORMED, 0, 0, 0, 0, 1, 48},
	/* 33: IPv6, no next header, and padding */
	{"6000000000003b40" IP6_HEAD "000000000000", 0, NO_REASON, 6, 59, 0, 0, 1, 46},
};
/* clang-format on */

#define ROWS (sizeof(rows) / sizeof(rows[0]))
#define MOST 4096u

/* Copies bytes to the end of the readable memory. */
static uint8_t *against_the_edge(uint8_t *page, const uint8_t *bytes, size_t length)
{
	return memcpy(page + MOST - length, bytes, length);
}

static size_t from_hex(const char *hex, uint8_t *bytes)
{
	size_t n = 0;

	for (; *hex; hex += *hex == ' ' ? 1 : 2) {
		unsigned int byte = 0;

		if (*hex == ' ')
			continue;
		CHECK(sscanf(hex, "%2x", &byte) == 1);
		bytes[n++] = (uint8_t)byte;
	}
	return n;
}

static void check_row(size_t number, uint8_t *page, int direction)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	static const uint8_t src4[] = {100, 64, 0, 1}, dst4[] = {192, 0, 2, 77};
	const struct row *row = &rows[number];
	struct netlog_connection connection;
	struct netlog_increment increment;
	uint8_t bytes[256];
	size_t length = from_hex(row->hex, bytes);
	struct netlog_packet packet =
		packet_of(against_the_edge(page, bytes, length), (uint32_t)length, direction);

	struct netlog_key key;

	packet.gso_size = (uint16_t)row->gso_size;
	int reason = netlog_packet_decode(&packet, &key, &increment) - 1;

	CHECK_ROW(number, reason == row->reason);
	CHECK_ROW(number, increment.packets == row->packets);
	CHECK_ROW(number, increment.bytes == row->bytes);
	CHECK_ROW(number, increment.direction == (uint32_t)direction);
	if (reason != NO_REASON)
		return;
	memcpy(&connection, &key, sizeof(connection));
	const uint8_t *address[2] = {connection.src, connection.dst};
	uint16_t port[2] = {connection.src_port, connection.dst_port};

	CHECK_ROW(number, connection.version == row->version && connection.proto == row->proto);
	CHECK_ROW(number, connection.flags == 0 && connection.reserved == 0);
	CHECK_ROW(number, port[direction] == row->src_port && port[1 - direction] == row->dst_port);
	if (row->version == 4) {
		CHECK_ROW(number, !memcmp(address[0], mapped, 12));
		CHECK_ROW(number, !memcmp(address[1], mapped, 12));
		CHECK_ROW(number, !memcmp(address[direction] + 12, src4, 4));
		CHECK_ROW(number, !memcmp(address[1 - direction] + 12, dst4, 4));
	} else {
		CHECK_ROW(number, address[direction][0] == 0xfd && address[direction][15] == 1);
		CHECK_ROW(number,
			  address[1 - direction][0] == 0x20 && address[1 - direction][15] == 0x4d);
	}
}

/* Whatever the bytes are, the decoder returns a valid answer and counts at least the packet itself,
 * and both decoders agree. */
static void check_any(uint8_t *page, const uint8_t *bytes, size_t length, uint64_t seed)
{
	struct netlog_key key, plain_key;
	struct netlog_increment increment;
	struct netlog_packet packet =
		packet_of(against_the_edge(page, bytes, length), (uint32_t)length, (int)(seed & 1));

	packet.gso_size = seed & 2 ? (uint16_t)(seed >> 8 & 15) : 0;
	int result = netlog_packet_decode(&packet, &key, &increment);
	bool plain = packet_decode_plain4(&packet, &plain_key) ||
		     packet_decode_plain6(&packet, &plain_key);

	CHECK_ROW(seed, result >= 0 && result <= 1 + NETLOG_NOT_IP);
	CHECK_ROW(seed, increment.packets >= 1);
	/* A jumbo option is taken out of segments. */
	CHECK_ROW(seed, increment.bytes >= length - (increment.packets > 1 ? 8 : 0));
	if (result || !packet.gso_size)
		CHECK_ROW(seed, increment.packets == 1 && increment.bytes == length);
	if (!result)
		CHECK_ROW(seed, key_version(&key) == bytes[0] >> 4);
	/* A packet that a plain decoder accepts has the same result, and is one packet. */
	if (plain)
		CHECK_ROW(seed, !result && !memcmp(&key, &plain_key, sizeof(key)) &&
					increment.packets == 1 && increment.bytes == length);
}

static void check_mutations(uint8_t *page, uint64_t rounds)
{
	uint64_t state = 1;

	for (uint64_t round = 0; round < rounds; round++) {
		uint8_t bytes[256];
		size_t length = from_hex(rows[next_random(&state) % ROWS].hex, bytes);

		for (uint64_t flips = next_random(&state) % 5; flips && length; flips--) {
			uint64_t random = next_random(&state);

			bytes[random % length] = (uint8_t)(random >> 32);
		}
		if (length && next_random(&state) % 4 == 0)
			length = (size_t)(next_random(&state) % length);
		check_any(page, bytes, length, next_random(&state));
	}
}

int main(void)
{
	uint8_t *page =
		mmap(NULL, MOST * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED && mprotect(page + MOST, MOST, PROT_NONE) == 0);
	for (size_t number = 0; number < ROWS; number++) {
		uint8_t bytes[256];
		size_t length = from_hex(rows[number].hex, bytes);

		check_row(number, page, NETLOG_TX);
		check_row(number, page, NETLOG_RX);
		for (size_t cut = 0; cut <= length; cut++)
			check_any(page, bytes, cut, number << 8 | 2);
	}
	check_mutations(page, 1000000 / SLOWER);
	printf("packet: %zu rows, each cut at every length; %d mutations\n", ROWS,
	       1000000 / SLOWER);
	return 0;
}
