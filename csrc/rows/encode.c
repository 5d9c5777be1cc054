/* SPDX-License-Identifier: BSD-3-Clause */
/* encode: writes entries without branches on the number of digits.
 *
 * Digits are made eight at a time in one register and stored whole; then the text advances over
 * those that count. A branch on their number would be mispredicted at almost every counter, which
 * costs more than the digits. So every function here may store up to SLACK_BYTES beyond its text.
 */
#define _GNU_SOURCE
#include "rows/encode.h"

#include <endian.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "prefixes/family.h"

/* How many rows ahead are prefetched: writing an entry takes some 30 ns, and memory some 100 ns to
 * answer. */
#define PREFETCH_ROWS 8

/* [, 8 groups of 4 digits, 7 colons, ], :65535. IPv4 and mapped addresses are shorter. */
#define MAX_ADDRESS_BYTES (1 + 8 * 4 + 7 + 1 + 6)
/* 2^64 - 1 */
#define MAX_DECIMAL_BYTES 20
/* The longest members without addresses and counters, and the comma between entries. */
#define MEMBERS                                                                                    \
	",{\"proto\":255,\"src\":\"\",\"dst\":\"\",\"txPkts\":,\"txBytes\":,\"rxPkts\":,"          \
	"\"rxBytes\":}"
#define MAX_ENTRY_BYTES (sizeof(MEMBERS) - 1 + 2 * MAX_ADDRESS_BYTES + 4 * MAX_DECIMAL_BYTES)
#define SLACK_BYTES     8

static_assert(MAX_ENTRY_BYTES == 74 + 2 * 47 + 4 * 20, "the arithmetic above");

const size_t netlog_encode_max_entry_bytes = MAX_ENTRY_BYTES;

#define TEN(tens, pad)                                                                             \
	tens "0." pad tens "1." pad tens "2." pad tens "3." pad tens "4." pad tens "5." pad tens   \
	     "6." pad tens "7." pad tens "8." pad tens "9." pad

/* Each octet of an IPv4 address with the dot after it, in 4 bytes. */
/* clang-format off */
static const char octets[] =
	TEN("", "  ") TEN("1", " ") TEN("2", " ") TEN("3", " ") TEN("4", " ")
	TEN("5", " ") TEN("6", " ") TEN("7", " ") TEN("8", " ") TEN("9", " ")
	TEN("10", "") TEN("11", "") TEN("12", "") TEN("13", "") TEN("14", "")
	TEN("15", "") TEN("16", "") TEN("17", "") TEN("18", "") TEN("19", "")
	TEN("20", "") TEN("21", "") TEN("22", "") TEN("23", "") TEN("24", "")
	"250.251.252.253.254.255.";
/* clang-format on */

static_assert(sizeof(octets) == 256 * 4 + 1, "one for each octet");

#define TWICE(text)    text text
#define TIMES_5(text)  text text text text text
#define TIMES_10(text) TWICE(TIMES_5(text))

/* How many of the four bytes count. A look-up is faster than comparisons. */
static const char octet_bytes[] =
	TIMES_10("\2") TIMES_10(TIMES_5("\3")) TIMES_10(TWICE(TWICE("\3"))) TIMES_10(TIMES_10("\4"))
		TIMES_10(TIMES_5("\4")) TIMES_5("\4") "\4";

static_assert(sizeof(octet_bytes) == 256 + 1, "one for each octet");

#define DIGIT_1(p) p "0" p "1" p "2" p "3" p "4" p "5" p "6" p "7" p "8" p "9"
/* clang-format off */
#define DIGIT_2(p) \
	DIGIT_1(p "0") DIGIT_1(p "1") DIGIT_1(p "2") DIGIT_1(p "3") DIGIT_1(p "4") \
	DIGIT_1(p "5") DIGIT_1(p "6") DIGIT_1(p "7") DIGIT_1(p "8") DIGIT_1(p "9")
#define DIGIT_3(p) \
	DIGIT_2(p "0") DIGIT_2(p "1") DIGIT_2(p "2") DIGIT_2(p "3") DIGIT_2(p "4") \
	DIGIT_2(p "5") DIGIT_2(p "6") DIGIT_2(p "7") DIGIT_2(p "8") DIGIT_2(p "9")

/* 0000 to 9999 */
static const char digits[] =
	DIGIT_3("0") DIGIT_3("1") DIGIT_3("2") DIGIT_3("3") DIGIT_3("4")
	DIGIT_3("5") DIGIT_3("6") DIGIT_3("7") DIGIT_3("8") DIGIT_3("9");
/* clang-format on */

static_assert(sizeof(digits) == 4 * 10000 + 1, "four digits each");

#define APPEND(at, literal) append((at), (literal), sizeof(literal) - 1)

static inline char *append(char *at, const char *text, size_t length)
{
	memcpy(at, text, length);
	return at + length;
}

static inline void store_text(char *at, uint64_t text)
{
	text = htole64(text);
	memcpy(at, &text, sizeof(text));
}

/* Returns the text of a value < 10^8 in eight digits, the most significant in the lowest byte. */
static inline uint64_t eight_digits(uint32_t value)
{
	uint32_t high, low;

	memcpy(&high, digits + 4 * (value / 10000), 4);
	memcpy(&low, digits + 4 * (value % 10000), 4);
	return le32toh(high) | (uint64_t)le32toh(low) << 32;
}

#define ASCII_ZEROS 0x3030303030303030ull

static inline char *append_below_1e8(char *at, uint32_t value)
{
	uint64_t text = eight_digits(value);
	/* The last digit stays, even of 0. */
	unsigned zeros = (unsigned)__builtin_ctzll((text ^ ASCII_ZEROS) | 1ull << 56) / 8;

	store_text(at, text >> 8 * zeros);
	return at + 8 - zeros;
}

static inline char *append_decimal(char *at, uint64_t value)
{
	if (value < 100000000)
		return append_below_1e8(at, (uint32_t)value);
	/* At most 12 digits are left, so the recursion is at most two deep. */
	at = append_decimal(at, value / 100000000);
	store_text(at, eight_digits((uint32_t)(value % 100000000)));
	return at + 8;
}

static inline char *append_octet(char *at, unsigned octet)
{
	memcpy(at, octets + 4 * octet, 4);
	return at + octet_bytes[octet];
}

/* Appends the text of an IPv4 address, with `end` in place of the last dot. */
static inline char *append_ipv4(char *at, uint32_t address, char end)
{
	at = append_octet(at, address >> 24);
	at = append_octet(at, address >> 16 & 255);
	at = append_octet(at, address >> 8 & 255);
	at = append_octet(at, address & 255);
	at[-1] = end;
	return at;
}

/* The last digits of the groups. They stay, even those of 0. */
#define LAST_DIGITS 0x88888888u

/* The digits of an IPv6 address, four for each group. append_group() reads 4 bytes even where fewer
 * are left, hence 3 more. */
struct hex {
	char digits[32 + 3];
	uint32_t nonzero; /* bit i: digit i is not 0 */
};

static inline void read_hex(struct wide value, struct hex *hex)
{
#ifdef __SSE2__
	__m128i bytes =
		_mm_set_epi64x((long long)htobe64(value.low), (long long)htobe64(value.high));
	__m128i upper = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
	__m128i lower = _mm_and_si128(bytes, _mm_set1_epi8(15));
	__m128i nibbles[2] = {_mm_unpacklo_epi8(upper, lower), _mm_unpackhi_epi8(upper, lower)};
	uint32_t zeros = 0;

	for (int i = 0; i < 2; i++) {
		__m128i letters = _mm_and_si128(_mm_cmpgt_epi8(nibbles[i], _mm_set1_epi8(9)),
						_mm_set1_epi8('a' - 10 - '0'));
		__m128i text = _mm_add_epi8(_mm_add_epi8(nibbles[i], _mm_set1_epi8('0')), letters);

		_mm_storeu_si128((__m128i *)hex->digits + i, text);
		zeros |=
			(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(nibbles[i], _mm_setzero_si128()))
			<< 16 * i;
	}
	hex->nonzero = ~zeros;
#else
	hex->nonzero = 0;
	for (unsigned i = 0; i < 32; i++) {
		uint64_t word = i < 16 ? value.high : value.low;
		unsigned digit = word >> (60 - 4 * (i & 15)) & 15;

		hex->digits[i] = "0123456789abcdef"[digit];
		hex->nonzero |= (uint32_t)(digit != 0) << i;
	}
#endif
}

/* Appends group i without leading zeros, and a colon. */
static inline char *append_group(char *at, const struct hex *hex, unsigned i)
{
	unsigned zeros = (unsigned)__builtin_ctz((hex->nonzero | LAST_DIGITS) >> 4 * i);

	memcpy(at, hex->digits + 4 * i + zeros, 4);
	at -= zeros;
	at[4] = ':';
	return at + 5;
}

/* Returns a word in which bit 4 * i is set if group i is 0. */
static inline uint32_t zero_groups(const struct hex *hex)
{
	uint32_t nonzero = hex->nonzero | hex->nonzero >> 1;

	return ~(nonzero | nonzero >> 2) & 0x11111111;
}

/* Appends an address in which the longest run of zero groups becomes "::" (RFC 5952 section 4.2).
 * Of several runs of equal length the first is taken. There is a run of at least two groups. */
static char *append_shortened(char *at, const struct hex *hex, uint32_t zeros)
{
	uint32_t runs = zeros & zeros >> 4;
	unsigned length = 2, start, i;

	for (; runs & runs >> 4; length++)
		runs &= runs >> 4;
	start = (unsigned)__builtin_ctz(runs) / 4;
	for (i = 0; i < start; i++)
		at = append_group(at, hex, i);
	at = start ? APPEND(at, ":") : APPEND(at, "::");
	if (start + length == 8)
		return at;
	for (i = start + length; i < 8; i++)
		at = append_group(at, hex, i);
	return at - 1;
}

static inline char *append_ipv6(char *at, struct wide value)
{
	struct hex hex;
	uint32_t zeros;

	if (value.high == 0 && value.low >> 32 == 0xffff) {
		at = APPEND(at, "::ffff:");
		return append_ipv4(at, (uint32_t)value.low, ']') - 1;
	}
	read_hex(value, &hex);
	zeros = zero_groups(&hex);
	if (zeros & zeros >> 4)
		return append_shortened(at, &hex, zeros);
	for (unsigned i = 0; i < 8; i++)
		at = append_group(at, &hex, i);
	return at - 1;
}

static inline char *append_address(char *at, enum netlog_family family, struct wide value,
				   uint16_t port)
{
	if (family == NETLOG_IPV4) {
		at = append_ipv4(at, (uint32_t)value.low, ':');
	} else {
		at = append_ipv6(APPEND(at, "["), value);
		at = APPEND(at, "]:");
	}
	at = append_below_1e8(at, port);
	return APPEND(at, "\"");
}

/* Appends the member of a counter unless it is 0. */
#define APPEND_COUNTER(at, name, value)                                                            \
	((value) ? append_decimal(APPEND((at), ",\"" name "\":"), (value)) : (at))

/* Appends an entry. Every member begins with a comma; that of the first member becomes the brace.
 */
static inline char *append_entry(char *start, const struct netlog_flow *flow)
{
	const struct netlog_connection *connection = &flow->connection;
	struct wide value;
	enum netlog_family family;
	char *at = start;

	if (connection->proto) {
		at = APPEND(at, ",\"proto\":");
		at = append_octet(at, connection->proto) - 1;
	}
	family = family_src(connection, &value);
	if (family)
		at = append_address(APPEND(at, ",\"src\":\""), family, value, connection->src_port);
	family = family_dst(connection, &value);
	if (family)
		at = append_address(APPEND(at, ",\"dst\":\""), family, value, connection->dst_port);
	at = APPEND_COUNTER(at, "txPkts", flow->tx_packets);
	at = APPEND_COUNTER(at, "txBytes", flow->tx_bytes);
	at = APPEND_COUNTER(at, "rxPkts", flow->rx_packets);
	at = APPEND_COUNTER(at, "rxBytes", flow->rx_bytes);
	if (at == start)
		at++;
	*start = '{';
	return APPEND(at, "}");
}

size_t netlog_encode_flows(const struct netlog_flow *flows, const uint32_t *order, size_t n,
			   char *text, size_t capacity, size_t *encoded, uint64_t *ends)
{
	size_t used = 0, i;

	for (i = 0; i < n; i++) {
		const struct netlog_flow *flow = &flows[order ? order[i] : i];
		size_t comma = i > 0;

		if (order && i + PREFETCH_ROWS < n) {
			const struct netlog_flow *ahead = &flows[order[i + PREFETCH_ROWS]];

			__builtin_prefetch(ahead);
			__builtin_prefetch(&ahead->rx_bytes);
		}
		if (capacity - used >= MAX_ENTRY_BYTES + SLACK_BYTES) {
			text[used] = ',';
			used = (size_t)(append_entry(text + used + comma, flow) - text);
			if (ends)
				ends[i] = used;
			continue;
		}
		char entry[MAX_ENTRY_BYTES + SLACK_BYTES];
		size_t length = (size_t)(append_entry(entry, flow) - entry);

		if (comma + length > capacity - used)
			break;
		if (comma)
			text[used++] = ',';
		memcpy(text + used, entry, length);
		used += length;
		if (ends)
			ends[i] = used;
	}
	*encoded = i;
	return used;
}
