/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of prefixes: the values of addresses, at the edges of prefixes and elsewhere. */
#include <arpa/inet.h>
#include <errno.h>

#include "prefixes/prefixes.h"
#include "check.h"

#define SET(bits)   0, (bits)
#define CLEAR(bits) (bits), 0
#define BE(value)   ~0u, (value)

struct text_prefix {
	const char *address;
	int length;
	uint32_t clear, set;
};

/* clang-format off */
static const struct text_prefix table[] = {
	{"0.0.0.0", 0, SET(1)},
	{"10.0.0.0", 8, SET(2)},
	{"10.1.0.0", 16, CLEAR(2)},
	{"10.1.2.0", 24, SET(4)},
	{"10.1.2.77", 24, SET(8)},	/* host bits are ignored: the same prefix again */
	{"192.168.0.0", 16, BE(5)},
	{"192.168.0.0", 16, BE(6)},	/* of equal prefixes the last one counts */
	{"255.255.255.255", 32, SET(2)},
	{"::", 0, SET(16)},
	{"fd00::", 8, SET(32)},
	{"fd00::", 128, BE(7)},
	{"2001:db8:0:0:8000::", 65, SET(64)},
	{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128, BE(9)},
};

static const struct {
	const char *address;
	uint32_t value;
} rows[] = {
	/* 0 */ {"0.0.0.0", 1},			/* 1 */ {"9.255.255.255", 1},
	/* 2 */ {"10.0.0.0", 3},		/* 3 */ {"10.0.255.255", 3},
	/* 4 */ {"10.1.0.0", 1},		/* 5 */ {"10.1.1.255", 1},
	/* 6 */ {"10.1.2.0", 13},		/* 7 */ {"10.1.2.255", 13},
	/* 8 */ {"10.1.3.0", 1},		/* 9 */ {"10.2.0.0", 3},
	/* 10 */ {"10.255.255.255", 3},		/* 11 */ {"11.0.0.0", 1},
	/* 12 */ {"192.168.0.0", 6},		/* 13 */ {"192.168.255.255", 6},
	/* 14 */ {"192.169.0.0", 1},		/* 15 */ {"255.255.255.254", 1},
	/* 16 */ {"255.255.255.255", 3},	/* 17 */ {"::", 16},
	/* 18: mapped is IPv6 */ {"::ffff:10.0.0.1", 16},
	/* 19 */ {"fcff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 16},
	/* 20 */ {"fd00::", 7},			/* 21 */ {"fd00::1", 48},
	/* 22 */ {"fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 48},
	/* 23 */ {"fe00::", 16},		/* 24 */ {"2001:db8::7fff:ffff:ffff:ffff", 16},
	/* 25 */ {"2001:db8::8000:0:0:0", 80},	/* 26 */ {"2001:db8::ffff:ffff:ffff:ffff", 80},
	/* 27 */ {"2001:db8:0:1::", 16},
	/* 28 */ {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", 16},
	/* 29 */ {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 9},
};
/* clang-format on */

#define ROWS  (sizeof(rows) / sizeof(rows[0]))
#define TABLE (sizeof(table) / sizeof(table[0]))

/* Returns the version. */
static int put_address(const char *text, uint8_t address[16])
{
	memset(address, 0, 16);
	if (inet_pton(AF_INET6, text, address) == 1)
		return 6;
	address[10] = address[11] = 0xff;
	CHECK(inet_pton(AF_INET, text, address + 12) == 1);
	return 4;
}

static struct netlog_prefixes *open_map(const struct netlog_prefix *prefixes, size_t n)
{
	struct netlog_prefixes *map = NULL;

	CHECK(netlog_prefixes_open(prefixes, n, &map) == 0);
	CHECK(map);
	return map;
}

/* The order of the table must not matter, except among equal prefixes. */
static void check_table(bool backwards)
{
	struct netlog_prefix prefixes[TABLE];
	uint8_t address[16];

	for (size_t i = 0; i < TABLE; i++) {
		const struct text_prefix *from = &table[backwards ? TABLE - 1 - i : i];
		uint32_t set = from->set;

		if (backwards && from->clear == ~0u && from->length == 16)
			set = set == 5 ? 6 : 5;
		prefixes[i] = (struct netlog_prefix){
			.length = (uint8_t)from->length, .clear = from->clear, .set = set};
		prefixes[i].version = (uint8_t)put_address(from->address, prefixes[i].address);
	}
	struct netlog_prefixes *map = open_map(prefixes, TABLE);

	for (size_t i = 0; i < ROWS; i++) {
		int version = put_address(rows[i].address, address);

		CHECK_ROW(i, netlog_prefixes_find(map, address, version) == rows[i].value);
	}
	netlog_prefixes_close(map);
}

static void check_bad(void)
{
	static const uint8_t bad[][2] = {{4, 33}, {6, 129}, {0, 0}, {5, 1}, {4, 255}};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct netlog_prefix prefixes[2] = {{.version = 4, .length = 8},
						    {.version = bad[i][0], .length = bad[i][1]}};
		struct netlog_prefixes *map = NULL;

		CHECK_ROW(i, netlog_prefixes_open(prefixes, 2, &map) == -EINVAL);
		CHECK_ROW(i, !map);
	}
	netlog_prefixes_close(NULL);
}

static bool covers(const struct netlog_prefix *prefix, const uint8_t *address, int version)
{
	unsigned skip = version == 4 ? 96 : 0;

	if (prefix->version != version)
		return false;
	for (unsigned bit = skip; bit < skip + prefix->length; bit++) {
		if ((prefix->address[bit / 8] ^ address[bit / 8]) >> (7 - bit % 8) & 1)
			return false;
	}
	return true;
}

/* The rule of the header, applied directly: from the shortest prefix to the longest, equal ones in
 * the given order. */
static uint32_t slow_find(const struct netlog_prefix *prefixes, size_t n, const uint8_t *address,
			  int version)
{
	uint32_t value = 0;

	for (unsigned length = 0; length <= 128; length++) {
		for (size_t i = 0; i < n; i++) {
			if (prefixes[i].length == length && covers(&prefixes[i], address, version))
				value = (value & ~prefixes[i].clear) | prefixes[i].set;
		}
	}
	return value;
}

/* Makes an address of which few bits vary, so that prefixes nest, repeat and touch. */
static void random_address(uint8_t address[16], int version, uint64_t *seed)
{
	memset(address, 0, 16);
	if (version == 4)
		address[10] = address[11] = 0xff;
	for (int i = version == 4 ? 12 : 6; i < 16; i++)
		address[i] = (uint8_t)(next_random(seed) % 3 * 127);
}

static struct netlog_flow random_flow(int kind, uint64_t *seed)
{
	uint64_t random = next_random(seed);
	struct netlog_flow flow = {0};

	flow.connection.version = kind == 3 ? (uint8_t)(random % 8) : kind == 1 ? 4 : 6;
	flow.connection.flags = kind == 3 ? random >> 8 & 15 : 0;
	random_address(flow.connection.src, random >> 16 & 1 ? 4 : 6, seed);
	random_address(flow.connection.dst, random >> 17 & 1 ? 4 : 6, seed);
	if (kind == 3 && (random >> 18 & 7) == 0)
		memset(flow.connection.src, 0, 16);
	return flow;
}

static uint32_t value_of(const struct netlog_prefixes *map, const struct netlog_connection *of,
			 bool is_src)
{
	static const uint8_t zeros[16];
	const uint8_t *address = is_src ? of->src : of->dst;
	bool absent = of->flags & (is_src ? NETLOG_NO_SRC : NETLOG_NO_DST);
	bool other = of->flags & (is_src ? NETLOG_SRC_OTHER : NETLOG_DST_OTHER);
	int version = other ? 10 - of->version : of->version;

	if (absent || (of->version != 4 && of->version != 6))
		return 0;
	if (version == 4 && memcmp(address + 8, zeros, 8) == 0)
		return 0;
	return netlog_prefixes_find(map, address, version);
}

static void check_classify(long long number, const struct netlog_prefixes *map, uint64_t *seed)
{
	enum { MOST = 200 };
	struct netlog_flow flows[MOST];
	uint8_t rule[256], classes[MOST + 1];
	uint32_t values[2 * MOST + 1];
	size_t n = (size_t)(next_random(seed) % (MOST + 1));
	int kind = (int)(next_random(seed) % 3) + 1;

	for (size_t i = 0; i < 256; i++)
		rule[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < n; i++)
		flows[i] = random_flow(kind, seed);
	classes[n] = 77;
	netlog_prefixes_classify(map, flows, n, rule, classes);
	CHECK_ROW(number, classes[n] == 77);
	values[2 * n] = 77;
	netlog_prefixes_find_ends(map, flows, n, values);
	CHECK_ROW(number, values[2 * n] == 77);
	for (size_t i = 0; i < n; i++) {
		uint32_t src = value_of(map, &flows[i].connection, true);
		uint32_t dst = value_of(map, &flows[i].connection, false);

		CHECK_ROW(number, classes[i] == rule[(src & 15) | (dst & 15) << 4]);
		CHECK_ROW(number, values[2 * i] == src && values[2 * i + 1] == dst);
	}
}

static void check_random(void)
{
	enum { MOST = 40 };
	uint64_t seed = 1;

	for (long long round = 0; round < 3000 / SLOWER; round++) {
		struct netlog_prefix prefixes[MOST];
		size_t n = (size_t)(next_random(&seed) % (MOST + 1));
		uint8_t address[16];

		for (size_t i = 0; i < n; i++) {
			uint64_t random = next_random(&seed);
			int version = random & 1 ? 4 : 6;

			prefixes[i] = (struct netlog_prefix){
				.version = (uint8_t)version,
				.length = (uint8_t)(random / 2 % (version == 4 ? 33 : 129)),
				.clear = random >> 32 & 255 & random >> 40,
				.set = random >> 48 & 255 & random >> 56};
			random_address(prefixes[i].address, version, &seed);
		}
		struct netlog_prefixes *map = open_map(prefixes, n);

		for (int i = 0; i < 50; i++) {
			int version = i & 1 ? 4 : 6;

			random_address(address, version, &seed);
			CHECK_ROW(round, netlog_prefixes_find(map, address, version) ==
						 slow_find(prefixes, n, address, version));
		}
		check_classify(round, map, &seed);
		netlog_prefixes_close(map);
	}
}

/* A hundred thousand prefixes: nested as deeply as possible, and all disjoint. */
static void check_many(void)
{
	enum { MANY = 100000 };
	struct netlog_prefix *prefixes = calloc(MANY, sizeof(*prefixes));
	uint8_t address[16] = {[0] = 0xfd};

	CHECK(prefixes);
	for (uint32_t i = 0; i < MANY; i++)
		prefixes[i] = (struct netlog_prefix){
			.address = {0xfd}, .version = 6, .length = 8, .clear = ~0u, .set = i};
	struct netlog_prefixes *map = open_map(prefixes, MANY);

	CHECK(netlog_prefixes_find(map, address, 6) == MANY - 1);
	netlog_prefixes_close(map);
	for (uint32_t i = 0; i < MANY; i++) {
		put_32(prefixes[i].address + 4, i * 40503u);
		prefixes[i].length = 64;
	}
	map = open_map(prefixes, MANY);
	for (uint32_t i = 0; i < MANY; i++) {
		put_32(address + 4, i * 40503u);
		CHECK_ROW(i, netlog_prefixes_find(map, address, 6) == i);
	}
	netlog_prefixes_close(map);
	free(prefixes);
}

int main(void)
{
	check_table(false);
	check_table(true);
	check_bad();
	check_random();
	check_many();
	printf("prefixes: %zu rows, random ones, a hundred thousand\n", ROWS);
	return 0;
}
