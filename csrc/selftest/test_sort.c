/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of sort: a list of rows in order, and random rows of every shape compared with the rule.
 */
#include <stdbool.h>

#include "rows/sort.h"
#include "check.h"

struct row {
	uint8_t class, version, flags, src_byte, dst_byte, proto;
	uint16_t src_port, dst_port;
};

/* Each row comes before the next one. An address is given by its last byte. */
/* clang-format off */
static const struct row ladder[] = {
	/*  0: class, no addresses */	{0, 0, 0, 9, 9, 0, 9, 9},
	/*  1: proto */			{0, 0, 3, 0, 0, 1, 0, 0},
	/*  2: no source, IPv4 */	{0, 4, 1, 9, 1, 0, 9, 1},
	/*  3: dst */			{0, 4, 1, 0, 2, 0, 0, 0},
	/*  4: no source, IPv6 */	{0, 6, 1, 0, 0, 0, 0, 0},
	/*  5: IPv4, no destination */	{0, 4, 2, 1, 9, 0, 1, 9},
	/*  6: IPv4, IPv4 */		{0, 4, 0, 1, 0, 7, 1, 5},
	/*  7: proto */			{0, 4, 0, 1, 0, 8, 1, 5},
	/*  8: dst_port */		{0, 4, 0, 1, 0, 0, 1, 6},
	/*  9: dst */			{0, 4, 0, 1, 1, 0, 1, 0},
	/* 10: IPv4, IPv6 */		{0, 4, 8, 1, 0, 0, 1, 0},
	/* 11: the same, version 6 */	{0, 6, 4, 1, 1, 0, 1, 0},
	/* 12: src_port */		{0, 4, 0, 1, 0, 0, 2, 0},
	/* 13: src */			{0, 4, 0, 2, 0, 0, 0, 0},
	/* 14: IPv6, no destination */	{0, 6, 2, 0, 9, 0, 0, 9},
	/* 15: IPv6, IPv4 */		{0, 6, 8, 0, 9, 0, 0, 0},
	/* 16: IPv6, IPv6 */		{0, 6, 0, 0, 0, 0, 0, 0},
	/* 17: src_port */		{0, 6, 0, 0, 0, 0, 65535, 0},
	/* 18: src */			{0, 6, 0, 1, 0, 0, 0, 0},
	/* 19: class */			{1, 0, 0, 0, 0, 0, 0, 0},
	/* 20: class */			{254, 0, 0, 0, 0, 0, 0, 0},
	/* 21: left out, last */	{255, 4, 0, 0, 0, 0, 0, 0},
};
/* clang-format on */

#define ROWS (sizeof(ladder) / sizeof(ladder[0]))
#define MOST 30000

static int family_of(uint8_t version, bool other, bool absent)
{
	if (absent || (version != 4 && version != 6))
		return 0;
	return (version == 6) != other ? 2 : 1;
}

static void put_address(uint8_t address[16], int family, uint64_t high, uint64_t low)
{
	memset(address, 0, 16);
	if (family == 1)
		address[10] = address[11] = 0xff;
	for (int i = 0; family == 2 && i < 12; i++)
		address[i] = (uint8_t)(i < 8 ? high >> (56 - 8 * i) : low >> (56 - 8 * (i - 8)));
	for (int i = 12; family && i < 16; i++)
		address[i] = (uint8_t)(low >> (24 - 8 * (i - 12)));
}

static struct netlog_flow make_flow(const struct row *row)
{
	struct netlog_flow flow = {.connection = {.src_port = row->src_port,
						  .dst_port = row->dst_port,
						  .version = row->version,
						  .proto = row->proto,
						  .flags = row->flags}};

	put_address(flow.connection.src, family_of(row->version, row->flags & 4, row->flags & 1), 0,
		    row->src_byte);
	put_address(flow.connection.dst, family_of(row->version, row->flags & 8, row->flags & 2), 0,
		    row->dst_byte);
	return flow;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_address(int a, const uint8_t *a_bytes, uint16_t a_port, int b,
			   const uint8_t *b_bytes, uint16_t b_port)
{
	if (a != b || a == 0)
		return compare((uint64_t)a, (uint64_t)b);
	int order = memcmp(a_bytes, b_bytes, 16);

	return order ? order : compare(a_port, b_port);
}

/* The rule of the header, applied directly. */
static int compare_flows(const struct netlog_flow *flows, const uint8_t *classes, uint32_t a,
			 uint32_t b)
{
	const struct netlog_connection *x = &flows[a].connection, *y = &flows[b].connection;
	int order = classes ? compare(classes[a], classes[b]) : 0;

	if (!order && !(classes && classes[a] == NETLOG_LEFT_OUT))
		order = compare_address(
			family_of(x->version, x->flags & 4, x->flags & 1), x->src, x->src_port,
			family_of(y->version, y->flags & 4, y->flags & 1), y->src, y->src_port);
	if (!order && !(classes && classes[a] == NETLOG_LEFT_OUT))
		order = compare_address(
			family_of(x->version, x->flags & 8, x->flags & 2), x->dst, x->dst_port,
			family_of(y->version, y->flags & 8, y->flags & 2), y->dst, y->dst_port);
	if (!order && !(classes && classes[a] == NETLOG_LEFT_OUT))
		order = compare(x->proto, y->proto);
	return order;
}

/* Checks that order is a sorted permutation, in which equal rows keep their order. */
static void check_sorted(long long number, const struct netlog_flow *flows, const uint8_t *classes,
			 size_t n)
{
	uint32_t *order = malloc((n + 1) * sizeof(*order));
	bool *seen = calloc(n + 1, sizeof(*seen));

	CHECK(order && seen);
	order[n] = 12345;
	CHECK_ROW(number, netlog_sort_flows(flows, classes, n, order) == 0);
	CHECK_ROW(number, order[n] == 12345);
	for (size_t i = 0; i < n; i++) {
		CHECK_ROW(number, order[i] < n && !seen[order[i]]);
		seen[order[i]] = true;
		if (i == 0)
			continue;
		int step = compare_flows(flows, classes, order[i - 1], order[i]);
		bool left_out = classes && classes[order[i]] == NETLOG_LEFT_OUT;

		CHECK_ROW(number, step < 0 || (step == 0 && (left_out || order[i - 1] < order[i])));
	}
	free(order);
	free(seen);
}

static void check_ladder(void)
{
	struct netlog_flow flows[ROWS];
	uint8_t classes[ROWS];
	uint32_t order[ROWS];

	/* in reverse order */
	for (size_t i = 0; i < ROWS; i++) {
		flows[i] = make_flow(&ladder[ROWS - 1 - i]);
		classes[i] = ladder[ROWS - 1 - i].class;
	}
	CHECK(netlog_sort_flows(flows, classes, ROWS, order) == 0);
	for (size_t i = 0; i < ROWS; i++)
		CHECK_ROW(i, order[i] == ROWS - 1 - i);
	check_sorted(-1, flows, classes, ROWS);
	check_sorted(-2, flows, NULL, ROWS);
}

enum shape { DENSE, FEW, ALTERNATING, ONE, SHAPES };

static uint64_t pick(enum shape shape, uint64_t *seed)
{
	uint64_t random = next_random(seed);

	switch (shape) {
	case DENSE:
		return random;
	case FEW: /* four values, far apart: long runs in every round */
		return (random & 3) * 0x5555555555555555u;
	case ALTERNATING: /* the most pieces that a packing can have */
		return random & 0x5555555555555555u;
	default:
		return 1;
	}
}

static void make_random(struct netlog_flow *flow, enum shape shape, int families, uint64_t *seed)
{
	uint64_t random = next_random(seed);
	struct netlog_connection *connection = &flow->connection;

	*flow = (struct netlog_flow){0};
	connection->version = families == 10 ? (random & 1 ? 4 : 6) : (uint8_t)families;
	connection->flags = families == 10 && random >> 1 & 1 ? random >> 2 & 15 : 0;
	connection->proto = (uint8_t)pick(shape, seed);
	connection->src_port = (uint16_t)pick(shape, seed);
	connection->dst_port = (uint16_t)pick(shape, seed);
	put_address(connection->src,
		    family_of(connection->version, connection->flags & 4, connection->flags & 1),
		    pick(shape, seed), pick(shape, seed));
	put_address(connection->dst,
		    family_of(connection->version, connection->flags & 8, connection->flags & 2),
		    pick(shape, seed), pick(shape, seed));
}

static void check_random(void)
{
	static const size_t sizes[] = {0, 1, 2, 3, 12, 13, 64, 65, 1000, 9000, MOST / SLOWER};
	static const int families[] = {4, 6, 10};
	struct netlog_flow *flows = malloc(MOST * sizeof(*flows));
	uint8_t *classes = malloc(MOST);
	uint64_t seed = 1;
	long long number = 1000;

	CHECK(flows && classes);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (int f = 0; f < 3; f++) {
			for (enum shape shape = 0; shape < SHAPES; shape++, number++) {
				for (size_t i = 0; i < sizes[s]; i++) {
					make_random(&flows[i], shape, families[f], &seed);
					classes[i] = (uint8_t)(next_random(&seed) % 4 * 85);
				}
				check_sorted(number, flows, NULL, sizes[s]);
				check_sorted(number, flows, classes, sizes[s]);
			}
		}
	}
	free(flows);
	free(classes);
}

int main(void)
{
	check_ladder();
	check_random();
	printf("sort: a ladder of %zu rows, random ones up to %d\n", ROWS, MOST / SLOWER);
	return 0;
}
