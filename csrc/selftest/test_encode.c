/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of encode: expected entries; every octet, port and group; and every capacity.
 *
 * The expected text comes from RFC 5952 and from printf. Buffers have exactly their capacity, so
 * that a sanitizer sees a write beyond it.
 */
#include <arpa/inet.h>
#include <inttypes.h>

#include "rows/encode.h"
#include "check.h"

struct row {
	const char *src, *dst; /* NULL: absent */
	uint16_t src_port, dst_port;
	uint8_t version, proto, flags;
	uint64_t counts[4];
	const char *text;
};

#define V6_MAX  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define U64_MAX "18446744073709551615"

/* clang-format off */
static const struct row rows[] = {
	/* 0: an empty entry */
	{NULL, NULL, 0, 0, 0, 0, 3, {0}, "{}"},
	/* 1: IPv4 */
	{"100.64.0.1", "8.8.8.8", 443, 53, 4, 17, 0, {1, 20, 300, 4000},
	 "{\"proto\":17,\"src\":\"100.64.0.1:443\",\"dst\":\"8.8.8.8:53\",\"txPkts\":1,\"txBytes\":20,"
	 "\"rxPkts\":300,\"rxBytes\":4000}"},
	/* 2: members of 0 are omitted, but port 0 is not */
	{"0.0.0.0", "255.255.255.255", 0, 65535, 4, 0, 0, {0, 7, 0, 0},
	 "{\"src\":\"0.0.0.0:0\",\"dst\":\"255.255.255.255:65535\",\"txBytes\":7}"},
	/* 3: no source, whatever its bytes are */
	{"1.2.3.4", "1.2.3.5", 1, 2, 4, 0, 1, {0, 0, 1, 0}, "{\"dst\":\"1.2.3.5:2\",\"rxPkts\":1}"},
	/* 4: no destination */
	{"1.2.3.4", "1.2.3.5", 1, 2, 4, 6, 2, {0}, "{\"proto\":6,\"src\":\"1.2.3.4:1\"}"},
	/* 5: version 4 of zero bytes is absent */
	{NULL, "1.2.3.5", 1, 2, 4, 6, 0, {0}, "{\"proto\":6,\"dst\":\"1.2.3.5:2\"}"},
	/* 6: version 6 of zero bytes is an address */
	{"::", "::1", 1, 2, 6, 6, 0, {0}, "{\"proto\":6,\"src\":\"[::]:1\",\"dst\":\"[::1]:2\"}"},
	/* 7: without a version there are no addresses, whatever the flags say */
	{"1.2.3.4", "1.2.3.5", 1, 2, 0, 6, 12, {0}, "{\"proto\":6}"},
	/* 8: the same with an invalid version */
	{"1.2.3.4", "1.2.3.5", 1, 2, 5, 6, 0, {0}, "{\"proto\":6}"},
	/* 9: an IPv4 source and an IPv6 destination */
	{"100.64.0.2", "2001:db8::77", 0, 4600, 6, 0, 4, {0, 0, 0, 9},
	 "{\"src\":\"100.64.0.2:0\",\"dst\":\"[2001:db8::77]:4600\",\"rxBytes\":9}"},
	/* 10: the same, with the version of the source */
	{"100.64.0.2", "2001:db8::77", 0, 4600, 4, 0, 8, {0}, "{\"src\":\"100.64.0.2:0\","
	 "\"dst\":\"[2001:db8::77]:4600\"}"},
	/* 11: IPv4-mapped IPv6 */
	{"::ffff:1.2.3.4", "::ffff:0.0.0.0", 5, 6, 6, 0, 0, {0},
	 "{\"src\":\"[::ffff:1.2.3.4]:5\",\"dst\":\"[::ffff:0.0.0.0]:6\"}"},
	/* 12: similar addresses that are not mapped */
	{"::fffe:102:304", "::1:ffff:102:304", 5, 6, 6, 0, 0, {0},
	 "{\"src\":\"[::fffe:102:304]:5\",\"dst\":\"[::1:ffff:102:304]:6\"}"},
	/* 13: RFC 5952 section 4.1, no leading zeros; section 4.3, lower case */
	{"2001:0db8:000a:0b00:c000:0d0e:00f0:0001", "ABCD:EF01:2:30:400:5000:6:7", 0, 0, 6, 0, 0, {0},
	 "{\"src\":\"[2001:db8:a:b00:c000:d0e:f0:1]:0\",\"dst\":\"[abcd:ef01:2:30:400:5000:6:7]:0\"}"},
	/* 14: section 4.2.2, one group of zeros is not shortened */
	{"2001:db8:0:1:1:1:1:1", "0:2:3:4:5:6:7:0", 0, 0, 6, 0, 0, {0},
	 "{\"src\":\"[2001:db8:0:1:1:1:1:1]:0\",\"dst\":\"[0:2:3:4:5:6:7:0]:0\"}"},
	/* 15: section 4.2.3, the longest run; of two, the first */
	{"2001:0:0:1:0:0:0:1", "2001:db8:0:0:1:0:0:1", 0, 0, 6, 0, 0, {0},
	 "{\"src\":\"[2001:0:0:1::1]:0\",\"dst\":\"[2001:db8::1:0:0:1]:0\"}"},
	/* 16: a run at either end */
	{"1:2:3:4:5:6:0:0", "0:0:3:4:5:6:7:8", 0, 0, 6, 0, 0, {0},
	 "{\"src\":\"[1:2:3:4:5:6::]:0\",\"dst\":\"[::3:4:5:6:7:8]:0\"}"},
	/* 17: the longest entry */
	{V6_MAX, V6_MAX, 65535, 65535, 6, 255, 0, {~0ull, ~0ull, ~0ull, ~0ull},
	 "{\"proto\":255,\"src\":\"[" V6_MAX "]:65535\",\"dst\":\"[" V6_MAX "]:65535\",\"txPkts\":" U64_MAX
	 ",\"txBytes\":" U64_MAX ",\"rxPkts\":" U64_MAX ",\"rxBytes\":" U64_MAX "}"},
};
/* clang-format on */

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void put_address(const char *text, uint8_t address[16])
{
	memset(address, 0, 16);
	if (!text || inet_pton(AF_INET6, text, address) == 1)
		return;
	address[10] = address[11] = 0xff;
	CHECK(inet_pton(AF_INET, text, address + 12) == 1);
}

static struct netlog_flow make_flow(const struct row *row)
{
	struct netlog_flow flow = {
		.connection = {.src_port = row->src_port,
			       .dst_port = row->dst_port,
			       .version = row->version,
			       .proto = row->proto,
			       .flags = row->flags},
		.tx_packets = row->counts[0],
		.tx_bytes = row->counts[1],
		.rx_packets = row->counts[2],
		.rx_bytes = row->counts[3],
	};

	put_address(row->src, flow.connection.src);
	put_address(row->dst, flow.connection.dst);
	return flow;
}

static void check_text(long long number, const struct netlog_flow *flow, const char *text)
{
	char room[512] = {0};
	size_t encoded = 0;
	size_t length = netlog_encode_flows(flow, NULL, 1, room, sizeof(room), &encoded, NULL);

	CHECK_ROW(number, encoded == 1);
	CHECK_ROW(number, length == strlen(text));
	CHECK_ROW(number, memcmp(room, text, length) == 0);
	CHECK_ROW(number, length + 1 <= netlog_encode_max_entry_bytes);
}

static void check_octets_and_ports(void)
{
	for (unsigned port = 0; port <= 65535; port++) {
		unsigned octet = port & 255;
		struct netlog_flow flow = {.connection = {.src_port = (uint16_t)port,
							  .version = 4,
							  .proto = (uint8_t)octet,
							  .flags = NETLOG_NO_DST}};
		char text[128], proto[32] = "";

		flow.connection.src[10] = flow.connection.src[11] = 0xff;
		for (int i = 12; i < 16; i++)
			flow.connection.src[i] = (uint8_t)(octet + (unsigned)i - 12);
		if (octet)
			snprintf(proto, sizeof(proto), "\"proto\":%u,", octet);
		snprintf(text, sizeof(text), "{%s\"src\":\"%u.%u.%u.%u:%u\"}", proto, octet,
			 (octet + 1) & 255, (octet + 2) & 255, (octet + 3) & 255, port);
		check_text(port, &flow, text);
	}
}

/* Every value of a group at every place, among other groups. */
static void check_groups(void)
{
	for (unsigned group = 1; group <= 65535; group++) {
		struct netlog_flow flow = {.connection = {.version = 6, .flags = NETLOG_NO_SRC}};
		unsigned groups[8];
		char text[128];

		for (unsigned i = 0; i < 8; i++) {
			groups[i] = (group << i | group >> (16 - i)) & 0xffff;
			put_16(flow.connection.dst + 2 * i, groups[i]);
		}
		snprintf(text, sizeof(text), "{\"dst\":\"[%x:%x:%x:%x:%x:%x:%x:%x]:0\"}", groups[0],
			 groups[1], groups[2], groups[3], groups[4], groups[5], groups[6],
			 groups[7]);
		check_text(group, &flow, text);
	}
}

/* Writes an address by RFC 5952 section 4.2, group by group. zeros: if bit i is set, group i is 0,
 * else 1. */
static void write_groups(unsigned zeros, char *text)
{
	unsigned best = 0, best_length = 1;

	for (unsigned start = 0; start < 8; start++) {
		unsigned length = 0;

		while (start + length < 8 && zeros >> (start + length) & 1)
			length++;
		if (length > best_length) {
			best = start;
			best_length = length;
		}
	}
	for (unsigned i = 0; i < 8; i++) {
		if (best_length > 1 && i == best) {
			text += sprintf(text, "::");
			i += best_length - 1;
		} else {
			bool first = i == 0 || text[-1] == ':';

			text += sprintf(text, "%s%u", first ? "" : ":", !(zeros >> i & 1));
		}
	}
}

static void check_zero_groups(void)
{
	for (unsigned zeros = 0; zeros < 256; zeros++) {
		struct netlog_flow flow = {.connection = {.version = 6, .flags = NETLOG_NO_SRC}};
		char groups[64], text[128];

		for (unsigned i = 0; i < 8; i++)
			put_16(flow.connection.dst + 2 * i, !(zeros >> i & 1));
		groups[0] = '[';
		write_groups(zeros, groups + 1);
		snprintf(text, sizeof(text), "{\"dst\":\"%s]:0\"}", groups);
		check_text(zeros, &flow, text);
	}
}

static void check_counter(uint64_t value)
{
	struct netlog_flow flow = {.tx_bytes = value};
	char text[64];

	snprintf(text, sizeof(text), value ? "{\"txBytes\":%" PRIu64 "}" : "{}", value);
	check_text((long long)value, &flow, text);
}

static void check_counters(void)
{
	uint64_t seed = 7;

	for (uint64_t value = 0; value <= 100000; value++)
		check_counter(value);
	for (uint64_t power = 10, i = 1; i < 20; i++, power *= 10) {
		for (uint64_t d = 0; d < 5; d++)
			check_counter(power + d - 2);
	}
	for (int i = 0; i < 200000; i++) {
		uint64_t random = next_random(&seed);

		check_counter(random >> (random & 63));
	}
}

/* All rows at every capacity: as many whole entries as fit, and not a byte beyond. */
static void check_capacities(void)
{
	struct netlog_flow flows[ROWS];
	uint32_t order[ROWS];
	char whole[8192];
	size_t ends[ROWS + 1] = {0}, encoded, length;

	for (uint32_t i = 0; i < ROWS; i++) {
		flows[i] = make_flow(&rows[i]);
		order[i] = i;
		ends[i + 1] = ends[i] + strlen(rows[i].text) + (i > 0);
	}
	length = netlog_encode_flows(flows, order, ROWS, whole, sizeof(whole), &encoded, NULL);
	CHECK(encoded == ROWS && length == ends[ROWS]);
	for (size_t capacity = 0; capacity <= length + 600; capacity++) {
		char *room = malloc(capacity + 1);
		uint64_t found[ROWS];
		size_t expected = ROWS;

		CHECK(room);
		room[capacity] = '#';
		while (ends[expected] > capacity)
			expected--;
		size_t used =
			netlog_encode_flows(flows, NULL, ROWS, room, capacity, &encoded, found);

		CHECK_ROW(capacity, encoded == expected);
		for (size_t i = 0; i < encoded; i++)
			CHECK_ROW(capacity, found[i] == ends[i + 1]);
		CHECK_ROW(capacity, used == ends[expected]);
		CHECK_ROW(capacity, memcmp(room, whole, used) == 0);
		CHECK_ROW(capacity, room[capacity] == '#');
		free(room);
	}
}

static void check_order(void)
{
	struct netlog_flow flows[3] = {{.tx_packets = 1}, {.tx_packets = 2}, {.tx_packets = 3}};
	const uint32_t order[4] = {2, 0, 2, 1};
	const char *text = "{\"txPkts\":3},{\"txPkts\":1},{\"txPkts\":3},{\"txPkts\":2}";
	char room[64];
	size_t encoded;

	CHECK(netlog_encode_flows(flows, order, 4, room, sizeof(room), &encoded, NULL) ==
	      strlen(text));
	CHECK(encoded == 4 && memcmp(room, text, strlen(text)) == 0);
	CHECK(netlog_encode_flows(flows, order, 0, room, sizeof(room), &encoded, NULL) == 0 &&
	      !encoded);
}

int main(void)
{
	for (size_t i = 0; i < ROWS; i++) {
		struct netlog_flow flow = make_flow(&rows[i]);

		check_text((long long)i, &flow, rows[i].text);
	}
	/* The last row is the longest entry, so the constant is exact. */
	CHECK(strlen(rows[ROWS - 1].text) + 1 == netlog_encode_max_entry_bytes);
	check_octets_and_ports();
	check_groups();
	check_zero_groups();
	check_counters();
	check_capacities();
	check_order();
	printf("encode: %zu rows, every octet, port, group and capacity\n", ROWS);
	return 0;
}
