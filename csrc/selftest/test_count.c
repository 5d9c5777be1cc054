/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of count: every level of the instruction set counts the same as counting one by one.
 *
 * Each packet lies in memory of its exact size, so that AddressSanitizer sees a read beyond it.
 * Most packets are plain, as otherwise a block of eight would never be.
 */
#include "base/cpu.h"
#include "count/count.h"
#include "table/merge.h"
#include "check.h"

#define MOST_PACKETS 200u
/* So large that no table gets full: which connection finds no room would depend on the order. */
#define CAPACITY (1u << 17)
/* So many that the table and its index do not fit into the first-level cache. */
#define MANY_FLOWS 20000u

static const struct netlog_secret secret = {.words = {0x9c1fd1b6aef0a3d5u, 0x27c5b8a0e7f34d19u,
						      0x6b0e5a49d2c8f731u, 0xd4a63f1802be97c5u,
						      0x3e9175dc4b60a8f3u, 0x8f52c0e6197d3ba9u}};

struct counted {
	struct netlog_table_header header;
	struct netlog_table table;
};

static void open_table(struct counted *counted)
{
	struct netlog_table *table = &counted->table;

	memset(counted, 0, sizeof(*counted));
	table->header = &counted->header;
	table->capacity = CAPACITY;
	table->secret = &secret;
	table->index.bucket_mask = index_buckets(CAPACITY) - 1;
	table->index.position_mask = index_position_mask(CAPACITY);
	table->index.slots = aligned_alloc(64, netlog_table_index_bytes(CAPACITY));
	table->records = aligned_alloc(64, CAPACITY * sizeof(struct netlog_record));
	CHECK(table->index.slots && table->records);
	memset(table->index.slots, 0, netlog_table_index_bytes(CAPACITY));
}

static void close_table(struct counted *counted)
{
	free(counted->table.index.slots);
	free(counted->table.records);
}

/* The composition of a batch. */
struct mix {
	uint32_t flows;   /* connections */
	int version;      /* 4, 6, or 0: either */
	uint32_t damaged; /* one packet in this many is damaged; 0: none is */
};

/* Makes a packet of a random connection, in a random direction. */
static uint32_t make(uint8_t bytes[UDP6_BYTES], const struct mix *mix, uint64_t random, bool back)
{
	uint32_t flow = (uint32_t)random % mix->flows;
	bool six = mix->version == 6 || (mix->version == 0 && random >> 40 & 1);
	uint32_t ends[2] = {flow, 9};
	uint16_t ports[2] = {(uint16_t)flow, 53};

	if (six)
		make_udp6(bytes, ends[back], ends[!back], ports[back], ports[!back]);
	else
		make_udp4(bytes, ends[back], ends[!back], ports[back], ports[!back]);
	if (flow & 1)
		bytes[six ? 6 : 9] = 6;
	return six ? UDP6_BYTES : UDP4_BYTES;
}

/* Damages a packet in one way: a byte, a length that is too short or too long, a segment size, or a
 * protocol. */
static void damage(uint8_t *bytes, struct netlog_packet *packet, uint64_t random)
{
	switch (random % 5) {
	case 0:
		bytes[random >> 8 & 31] ^= (uint8_t)(1u << (random >> 16 & 7));
		break;
	case 1:
		packet->length = (uint32_t)(random >> 8) % packet->length;
		break;
	case 2:
		bytes[bytes[0] >> 4 == 6 ? 5 : 3] = (uint8_t)(random >> 8);
		break;
	case 3:
		packet->gso_size = (uint16_t)(random >> 8 & 15);
		break;
	default:
		bytes[bytes[0] >> 4 == 6 ? 6 : 9] = (uint8_t)(random >> 8);
	}
}

static uint8_t *exactly(const uint8_t *bytes, uint32_t length)
{
	uint8_t *copy = malloc(length ? length : 1);

	CHECK(copy);
	return memcpy(copy, bytes, length);
}

/* Makes a packet. Some packets have bytes after the end that their own length gives. */
static struct netlog_packet make_packet(const struct mix *mix, uint64_t *state)
{
	uint8_t bytes[UDP6_BYTES + 8] = {0};
	uint64_t random = next_random(state);
	int direction = random >> 48 & 1;
	uint32_t length = make(bytes, mix, random, direction) + (random >> 44 & 7 ? 0 : 8);
	struct netlog_packet packet = packet_of(bytes, length, direction);

	packet.headers = (uint8_t)random;
	if (mix->damaged && next_random(state) % mix->damaged == 0)
		damage(bytes, &packet, next_random(state));
	packet.data = exactly(bytes, packet.length);
	return packet;
}

static int order(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct netlog_flow));
}

static size_t drain(const struct counted *counted, struct netlog_flow *flows)
{
	struct netlog_merge_source source = {counted->table.records, (size_t)counted->header.count,
					     counted->header.split != 0, NULL};
	ssize_t rows = netlog_merge(&source, 1, &secret, flows);

	CHECK(rows >= 0);
	qsort(flows, (size_t)rows, sizeof(*flows), order);
	return (size_t)rows;
}

static void compare(const struct counted *one, const struct counted *other, uint64_t row)
{
	struct netlog_flow *a = malloc(CAPACITY * sizeof(*a)), *b = malloc(CAPACITY * sizeof(*b));

	CHECK(a && b);
	size_t rows = drain(one, a);

	CHECK_ROW(row, rows == drain(other, b));
	CHECK_ROW(row, !memcmp(a, b, rows * sizeof(*a)));
	CHECK_ROW(row, !memcmp(&one->header.unattributed, &other->header.unattributed,
			       sizeof(one->header.unattributed)));
	free(a);
	free(b);
}

/* Sets all packet counters of one direction close to overflow, each at another distance. */
static void age(struct counted *counted, uint64_t direction)
{
	for (uint64_t i = 0; i < counted->header.count; i++) {
		struct netlog_record *record = &counted->table.records[i];
		uint32_t left = (record->connection.src[15] + 3u) % 8;

		record->packets[direction] = UINT32_MAX - left;
	}
}

static void check(netlog_count_packets_fn *count_packets, const struct mix *mix, uint32_t rounds,
		  uint64_t seed)
{
	struct counted by_level, one_by_one;
	struct netlog_packet packets[MOST_PACKETS];
	struct netlog_record *last = NULL;
	uint64_t state = seed;

	open_table(&by_level);
	open_table(&one_by_one);
	for (uint32_t round = 0; round < rounds; round++) {
		size_t n = 1 + (size_t)(next_random(&state) % MOST_PACKETS);

		for (size_t i = 0; i < n; i++) {
			packets[i] = make_packet(mix, &state);
			netlog_count_packet(&one_by_one.table, &packets[i]);
		}
		count_packets(&by_level.table, packets, n, &last);
		for (size_t i = 0; i < n; i++)
			free((void *)(uintptr_t)packets[i].data);
		if (round == rounds / 2) {
			compare(&by_level, &one_by_one, seed);
			age(&by_level, seed % 2);
			age(&one_by_one, seed % 2);
		}
	}
	CHECK_ROW(seed, by_level.header.count < CAPACITY);
	compare(&by_level, &one_by_one, seed);
	CHECK_ROW(seed, by_level.header.split);
	close_table(&by_level);
	close_table(&one_by_one);
}

static void check_level(netlog_count_packets_fn *count_packets)
{
	static const struct mix mixes[] = {
		{1, 4, 0},  {1, 6, 0},   {1, 0, 0},   {1, 4, 30}, {2, 4, 0},
		{50, 4, 0}, {50, 4, 20}, {50, 4, 2},  {50, 6, 0}, {50, 6, 20},
		{50, 6, 2}, {50, 0, 0},  {50, 0, 20}, {1, 6, 30},
	};
	static const struct mix many[] = {
		{MANY_FLOWS, 4, 0}, {MANY_FLOWS / 3, 0, 20}, {MANY_FLOWS, 6, 20}};

	for (size_t i = 0; i < sizeof(mixes) / sizeof(mixes[0]); i++)
		for (int direction = 0; direction < 2; direction++)
			check(count_packets, &mixes[i], 400 / SLOWER, 2 * i + (size_t)direction);
	for (size_t i = 0; i < sizeof(many) / sizeof(many[0]); i++)
		check(count_packets, &many[i], 4000 / SLOWER, 100 + i);
}

#ifdef __x86_64__
/* Whether the kernel's list of the processor's features has this word. */
static bool kernel_lists(const char *feature)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	char line[8192];
	bool listed = false;

	CHECK(file);
	while (!listed && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "flags", 5) != 0)
			continue;
		for (char *word = strtok(line, " \t\n"); word; word = strtok(NULL, " \t\n"))
			listed |= strcmp(word, feature) == 0;
	}
	fclose(file);
	return listed;
}

/* The best level that the machine has is chosen: without it all counts are right, and slow. */
static void check_choice(void)
{
	bool avx2 = kernel_lists("avx2") && kernel_lists("bmi1") && kernel_lists("bmi2");
	bool avx512 = avx2 && kernel_lists("avx512f");

	CHECK(cpu_has_avx2() == avx2);
	CHECK(cpu_has_avx512() == avx512);
	CHECK(netlog_count_packets_choose() == (avx512 ? netlog_count_packets_avx512
						: avx2 ? netlog_count_packets_avx2
						       : netlog_count_packets_base));
}
#endif

int main(void)
{
	int levels = 1;

	check_level(netlog_count_packets_base);
#ifdef __x86_64__
	check_choice();
	if (cpu_has_avx2()) {
		check_level(netlog_count_packets_avx2);
		levels++;
	}
	if (cpu_has_avx512()) {
		check_level(netlog_count_packets_avx512);
		levels++;
	}
#endif
	printf("count: %d levels of the instruction set, one by one\n", levels);
	return 0;
}
