/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of wide: known values, and the portable form against the compiler's own 128 bits. */
#include "base/wide.h"
#include "check.h"

#define ROUNDS (1000000 / SLOWER)

static const struct {
	uint64_t a, b;
	struct wide product;
} PRODUCTS[] = {
	{0, UINT64_MAX, {0, 0}},
	{1, UINT64_MAX, {0, UINT64_MAX}},
	{UINT64_MAX, UINT64_MAX, {UINT64_MAX - 1, 1}},
	{1ull << 32, 1ull << 32, {1, 0}},
	{UINT32_MAX, UINT32_MAX, {0, 0xfffffffe00000001u}},
	{0xffffffff00000000u, 0xffffffff00000001u, {0xfffffffe00000001u, 0xffffffff00000000u}},
	{0x0123456789abcdefu, 0xfedcba9876543210u, {0x0121fa00ad77d742u, 0x2236d88fe5618cf0u}},
};

/* In ascending order. */
static const struct wide ORDERED[] = {
	{0, 0},          {0, 1},          {0, UINT64_MAX},          {1, 0},
	{1, UINT64_MAX}, {UINT64_MAX, 0}, {UINT64_MAX, UINT64_MAX},
};

static void check_known(void)
{
	for (size_t row = 0; row < sizeof(PRODUCTS) / sizeof(*PRODUCTS); row++) {
		uint64_t a = PRODUCTS[row].a, b = PRODUCTS[row].b;

		CHECK_ROW(row, wide_equal(wide_multiply_halves(a, b), PRODUCTS[row].product));
		CHECK_ROW(row, wide_equal(wide_multiply_halves(b, a), PRODUCTS[row].product));
		CHECK_ROW(row, wide_equal(wide_multiply(a, b), PRODUCTS[row].product));
	}
	for (size_t i = 0; i < sizeof(ORDERED) / sizeof(*ORDERED); i++) {
		for (size_t j = 0; j < sizeof(ORDERED) / sizeof(*ORDERED); j++) {
			CHECK_ROW(i, wide_at_most_halves(ORDERED[i], ORDERED[j]) == (i <= j));
			CHECK_ROW(i, wide_at_most(ORDERED[i], ORDERED[j]) == (i <= j));
			CHECK_ROW(i, wide_equal(ORDERED[i], ORDERED[j]) == (i == j));
		}
		CHECK_ROW(i, wide_is_zero(ORDERED[i]) == (i == 0));
	}
	CHECK(wide_equal(wide_next(ORDERED[2]), ORDERED[3]));
	CHECK(wide_is_zero(wide_next(ORDERED[6])));
}

/* Ones and shifts, bit by bit. */
static void check_bits(void)
{
	const struct wide number = {0x8000000000000001u, 0xc000000000000003u};

	for (unsigned n = 0; n <= 128; n++) {
		struct wide ones = wide_ones(n);

		for (unsigned bit = 0; bit < 128; bit++) {
			uint64_t word = bit < 64 ? ones.low : ones.high;

			CHECK_ROW(n, (word >> bit % 64 & 1) == (bit < n));
		}
		for (unsigned bit = 0; n < 128 && bit < 64; bit++) {
			unsigned from = bit + n;
			uint64_t word = from < 64 ? number.low : number.high;
			uint64_t expected = from < 128 ? word >> from % 64 & 1 : 0;

			CHECK_ROW(n, (wide_shifted(number, n) >> bit & 1) == expected);
		}
	}
}

int main(void)
{
	uint64_t seed = 1;

	check_known();
	check_bits();
	for (int i = 0; i < ROUNDS; i++) {
		struct wide a = {next_random(&seed), next_random(&seed)};
		struct wide b = {i % 3 ? a.high : next_random(&seed), next_random(&seed)};

		CHECK_ROW(i, wide_equal(wide_multiply_halves(a.low, b.low),
					wide_multiply(a.low, b.low)));
		CHECK_ROW(i, wide_at_most_halves(a, b) == wide_at_most(a, b));
	}
	printf("wide: known products, order and bits; %d random pairs in both forms\n", ROUNDS);
	return 0;
}
