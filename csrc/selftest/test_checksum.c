/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of checksum: published sums; and every length and alignment, compared with a sum of two
 * bytes at a time. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "gso/checksum.h"
#include "wire.h"

#define PAGE 4096u
#define MOST 300u

static uint16_t swapped(uint16_t word)
{
	return checksum_of(word); /* the function is its own inverse */
}

/* The example of RFC 1071 §3, and the IPv4 header of Wikipedia's article on the checksum. */
static void test_golden(void)
{
	static const uint8_t rfc[8] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
	static const uint8_t header[20] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40,
					   0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
					   0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};

	CHECK(swapped(checksum_fold(netlog_checksum_add(0, rfc, 8))) == 0xddf2);
	CHECK(checksum_finish(netlog_checksum_add(0, header, 20)) == 0);
	CHECK(swapped(checksum_ip4(header, 20)) == 0xb861);
	CHECK(checksum_finish_udp(netlog_checksum_add(0, header, 20)) == 0xffff);
	CHECK(checksum_fold(0) == 0 && checksum_fold(UINT64_MAX) == 0xffff);
}

/* All lengths, each at the end of the readable memory, and added to a random sum. */
static void test_twin(uint8_t *end)
{
	uint64_t random = 1;

	for (int round = 0; round < 4; round++) {
		for (uint32_t n = 0; n <= MOST; n++) {
			uint8_t *bytes = end - n;
			uint16_t before = (uint16_t)next_random(&random);

			for (uint32_t i = 0; i < n; i++)
				bytes[i] = round ? (uint8_t)next_random(&random) : 0xff;
			uint64_t sum = netlog_checksum_add(checksum_of(before), bytes, n);

			CHECK_ROW(n, swapped(checksum_fold(sum)) == wire_sum(bytes, n, before));
		}
	}
}

/* The same bytes in parts, of which all except the last have an even length. */
static void test_parts(void)
{
	uint8_t bytes[MOST];
	uint64_t random = 2;

	for (uint32_t i = 0; i < MOST; i++)
		bytes[i] = (uint8_t)next_random(&random);
	for (uint32_t n = 0; n <= MOST; n += 2) {
		uint64_t sum = netlog_checksum_add(0, bytes, n);

		sum = netlog_checksum_add(sum, bytes + n, MOST - n);
		CHECK_ROW(n, swapped(checksum_fold(sum)) == wire_sum(bytes, MOST, 0));
	}
}

int main(void)
{
	uint8_t *pages =
		mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(pages != MAP_FAILED && mprotect(pages + PAGE, PAGE, PROT_NONE) == 0);
	test_golden();
	test_twin(pages + PAGE);
	test_parts();
	puts("checksum: ok");
	return 0;
}
