/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of merge and drain: several tables, whose indexes are lent, not lent, or lent and
 * corrupt. */
#include <errno.h>

#include "count/count.h"
#include "table/drain.h"
#include "table/merge.h"
#include "table/table.h"
#include "check.h"

#define NUMBERS     20000u
#define MOST_TABLES (NETLOG_DRAIN_TABLES + 1)

/* So many that two equal tags in one bucket occur several times. */
#define ROUNDS (20 / SLOWER)

enum lending { LENT, KEPT, SPOILT };

static const char *const lendings[] = {"lent", "kept", "spoilt"};

/* Each table counts `each` random connections out of the first `range`. */
static const struct {
	uint32_t tables, range, each;
} cases[] = {
	{1, 1, 1},
	{1, 100, 50},
	{2, 1, 1},
	{2, 10, 10},
	{2, 1000, 3},
	{2, 1000, 5000},
	{2, NUMBERS, 9000},
	{3, NUMBERS, 20000},
	{4, NUMBERS, 700},
	{4, NUMBERS, NUMBERS},
	{4, 33, 4000},
	{NETLOG_DRAIN_TABLES, NUMBERS, 3000},
	{MOST_TABLES, NUMBERS, 900},
};

struct tables {
	struct netlog_secret secret; /* a new one in each round, for other collisions */
	struct netlog_table_header headers[MOST_TABLES];
	struct netlog_table tables[MOST_TABLES];
	uint64_t packets[NUMBERS]; /* in all tables, by connection */
	uint64_t bytes[NUMBERS];
	uint64_t kept_packets[NUMBERS]; /* copies, because compare() changes the others */
	uint64_t kept_bytes[NUMBERS];
};

static void open_table(struct netlog_table *table, struct netlog_table_header *header,
		       const struct netlog_secret *secret)
{
	size_t bytes = netlog_table_index_bytes(NUMBERS);

	*table = (struct netlog_table){.header = header, .capacity = NUMBERS, .secret = secret};
	memset(header, 0, sizeof(*header));
	table->index.bucket_mask = index_buckets(NUMBERS) - 1;
	table->index.position_mask = index_position_mask(NUMBERS);
	table->index.slots = aligned_alloc(64, bytes);
	table->records = aligned_alloc(64, NUMBERS * sizeof(struct netlog_record));
	CHECK(table->index.slots && table->records);
	memset(table->index.slots, 0, bytes);
}

static void count(struct tables *tables, uint32_t table, uint32_t number, uint64_t *random)
{
	struct netlog_connection connection = {.version = number % 2 ? 4 : 6, .proto = 6};
	struct netlog_increment increment = {1, number % 3 == 0, next_random(random) % 1500};

	put_32(connection.src + 12, number);
	struct netlog_key key = key_of(&connection);

	CHECK(netlog_table_add(&tables->tables[table], &key, key_hash(&key, &tables->secret),
			       &increment));
	tables->packets[number]++;
	tables->bytes[number] += increment.bytes;
}

/* Corrupts an index, as a faulty writer could. */
static void spoil(struct netlog_index *index, uint64_t *random)
{
	size_t slots = ((size_t)index->bucket_mask + 1) * NETLOG_BUCKET_SLOTS;

	for (size_t i = 0; i < slots; i++) {
		uint64_t word = next_random(random);

		/* Some slots stay, some point elsewhere or nowhere, and some are overwritten. */
		if (word % 4 == 0)
			index->slots[i] = (uint32_t)(word >> 32);
		else if (word % 4 == 1)
			index->slots[i] ^= (uint32_t)(word >> 32) & index->position_mask;
	}
}

/* Subtracts the rows from what was counted. Nothing may remain, and nothing may become negative. */
static void compare(struct tables *tables, const struct netlog_flow *flows, size_t n, bool once,
		    int row)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *bytes = flows[i].connection.src + 12;
		uint32_t number = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 |
				  (uint32_t)bytes[2] << 8 | bytes[3];

		CHECK_ROW(row, number < NUMBERS);
		uint64_t packets = flows[i].tx_packets + flows[i].rx_packets;

		CHECK_ROW(row, packets <= tables->packets[number]);
		CHECK_ROW(row, !once || packets == tables->packets[number]);
		CHECK_ROW(row, (number % 3 == 0 ? flows[i].tx_packets : flows[i].rx_packets) == 0);
		tables->packets[number] -= packets;
		tables->bytes[number] -= flows[i].tx_bytes + flows[i].rx_bytes;
	}
	for (uint32_t number = 0; number < NUMBERS; number++)
		CHECK_ROW(row, tables->packets[number] == 0 && tables->bytes[number] == 0);
}

/* Reads the remaining rows of a drain, in pieces of random sizes. */
static size_t drain_rest(struct netlog_drain *drain, struct netlog_flow *flows, size_t rows,
			 uint64_t *random)
{
	size_t drained = 0, n;

	do {
		size_t capacity = 1 + (size_t)(next_random(random) % 5000);

		n = netlog_drain_next(drain, flows + drained,
				      capacity < rows - drained ? capacity : rows - drained + 1);
		drained += n;
		CHECK(drained <= rows);
	} while (n);
	return drained;
}

/* If tables can be drained in pieces, that gives the same rows as merging, even if it begins anew.
 */
static void run_drain(struct tables *tables, const struct netlog_merge_source *sources, uint32_t n,
		      struct netlog_flow *flows, size_t records, int row, uint64_t *random)
{
	bool lent = sources[0].index;
	struct netlog_drain drain = {0};
	int rc = netlog_drain_begin(&drain, sources, n, &tables->secret);

	CHECK_ROW(row, rc == (n > NETLOG_DRAIN_TABLES || (n > 1 && !lent) ? -ENOTSUP : 0));
	if (rc)
		return;
	(void)netlog_drain_next(&drain, flows, records / 3 + 1);
	netlog_drain_end(&drain);
	CHECK_ROW(row, !netlog_drain_begin(&drain, sources, n, &tables->secret));
	size_t rows = drain_rest(&drain, flows, records, random);

	netlog_drain_end(&drain);
	netlog_drain_end(&drain);
	memcpy(tables->packets, tables->kept_packets, sizeof(tables->packets));
	memcpy(tables->bytes, tables->kept_bytes, sizeof(tables->bytes));
	compare(tables, flows, rows, row % 10 != SPOILT, row);
}

/* A table has one connection twice. If `split` says so, the drain refuses, and merge is for it. If
 * not, the other table's record is still added only once. */
static void run_twice(struct tables *tables, struct netlog_merge_source *sources)
{
	struct netlog_record *both = (struct netlog_record *)sources[0].records;
	struct netlog_drain drain;
	struct netlog_flow flows[4];
	uint64_t packets = 0;

	sources[0].count = sources[1].count = 2;
	both[1] = both[0];
	for (size_t i = 0; i < 2; i++)
		packets += 2 * both[0].packets[i] + sources[1].records[0].packets[i] +
			   sources[1].records[1].packets[i];
	CHECK(!netlog_drain_begin(&drain, sources, 2, &tables->secret));
	size_t n = netlog_drain_next(&drain, flows, 4);

	for (size_t i = 0; i < n; i++)
		packets -= flows[i].tx_packets + flows[i].rx_packets;
	CHECK(packets == 0);
	netlog_drain_end(&drain);
	sources[1].split = true;
	CHECK(netlog_drain_begin(&drain, sources, 2, &tables->secret) == -ENOTSUP);
}

static void run(struct tables *tables, size_t which, enum lending lending, uint64_t *random)
{
	struct netlog_merge_source sources[MOST_TABLES];
	int row = (int)which * 10 + (int)lending;
	uint32_t n = cases[which].tables;
	size_t records = 0;

	for (size_t i = 0; i < sizeof(tables->secret.words) / sizeof(uint64_t); i++)
		tables->secret.words[i] = next_random(random);
	for (uint32_t i = 0; i < n; i++) {
		open_table(&tables->tables[i], &tables->headers[i], &tables->secret);
		for (uint32_t j = 0; j < cases[which].each; j++)
			count(tables, i, (uint32_t)(next_random(random) % cases[which].range),
			      random);
		if (lending == SPOILT)
			spoil(&tables->tables[i].index, random);
		sources[i] = (struct netlog_merge_source){
			.records = tables->tables[i].records,
			.count = (size_t)tables->headers[i].count,
			.index = lending == KEPT ? NULL : &tables->tables[i].index,
		};
		records += sources[i].count;
	}
	struct netlog_flow *flows = calloc(records + 1, sizeof(*flows));

	CHECK_ROW(row, flows != NULL);
	memcpy(tables->kept_packets, tables->packets, sizeof(tables->packets));
	memcpy(tables->kept_bytes, tables->bytes, sizeof(tables->bytes));
	ssize_t rows = netlog_merge(sources, n, &tables->secret, flows);

	CHECK_ROW(row, rows >= 0 && (size_t)rows <= records);
	compare(tables, flows, (size_t)rows, lending != SPOILT, row);
	run_drain(tables, sources, n, flows, records, row, random);
	if (n == 2 && lending == LENT && cases[which].range == 10)
		run_twice(tables, sources);
	free(flows);
	for (uint32_t i = 0; i < n; i++) {
		free(tables->tables[i].index.slots);
		free(tables->tables[i].records);
	}
}

int main(void)
{
	struct tables *tables = calloc(1, sizeof(*tables));
	uint64_t random = 7;

	CHECK(tables != NULL);
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t which = 0; which < sizeof(cases) / sizeof(cases[0]); which++) {
			for (enum lending lending = LENT; lending <= SPOILT; lending++)
				run(tables, which, lending, &random);
		}
	}
	free(tables);
	printf("merge: %zu cases, indexes %s, %s and %s\n", sizeof(cases) / sizeof(cases[0]),
	       lendings[LENT], lendings[KEPT], lendings[SPOILT]);
	return 0;
}
