/* SPDX-License-Identifier: BSD-3-Clause */
/* Entries are the text that printf() makes of them, as many as fit, and never a byte beyond. */
#include <arpa/inet.h>

#include "fuzz.h"
#include "rows/encode.h"

#define MOST_FLOWS  64u
#define ENTRY_BYTES 320u

struct text {
	char *at;
	char separator;
};

#define PRINT(text, ...) ((text)->at += sprintf((text)->at, __VA_ARGS__))

/* RFC 5952, by its words: the first of the longest runs of zeros, of two groups or more. */
static void print_ip6(struct text *text, const uint8_t *address)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	int run_at = -1, run = 1;

	if (!memcmp(address, mapped, sizeof(mapped))) {
		PRINT(text, "::ffff:%u.%u.%u.%u", address[12], address[13], address[14],
		      address[15]);
		return;
	}
	for (int i = 0; i < 8; i++) {
		int end = i;

		while (end < 8 && !load_be16(address + 2 * end))
			end++;
		if (end - i > run) {
			run = end - i;
			run_at = i;
		}
	}
	for (int i = 0; i < 8;) {
		if (i == run_at) {
			PRINT(text, "::");
			i += run;
			continue;
		}
		PRINT(text, "%x", load_be16(address + 2 * i));
		i++;
		if (i < 8 && i != run_at)
			PRINT(text, ":");
	}
}

static void print_end(struct text *text, const char *name, const uint8_t *address, int family,
		      uint16_t port)
{
	if (family == 4 && !load_64(address + 8)) /* no address at all */
		return;
	PRINT(text, "%c\"%s\":\"", text->separator, name);
	if (family == 4) {
		PRINT(text, "%u.%u.%u.%u:%u\"", address[12], address[13], address[14], address[15],
		      port);
	} else {
		PRINT(text, "[");
		print_ip6(text, address);
		PRINT(text, "]:%u\"", port);
	}
	text->separator = ',';
}

static void print_ends(struct text *text, const struct netlog_connection *connection)
{
	int version = connection->version;

	if (version != 4 && version != 6)
		return;
	if (!(connection->flags & NETLOG_NO_SRC))
		print_end(text, "src", connection->src,
			  connection->flags & NETLOG_SRC_OTHER ? 10 - version : version,
			  connection->src_port);
	if (!(connection->flags & NETLOG_NO_DST))
		print_end(text, "dst", connection->dst,
			  connection->flags & NETLOG_DST_OTHER ? 10 - version : version,
			  connection->dst_port);
}

/* Returns the bytes of the entry. */
static size_t print_entry(char *at, const struct netlog_flow *flow)
{
	static const char *names[4] = {"txPkts", "txBytes", "rxPkts", "rxBytes"};
	const uint64_t counts[4] = {flow->tx_packets, flow->tx_bytes, flow->rx_packets,
				    flow->rx_bytes};
	struct text text = {at, '{'};

	if (flow->connection.proto) {
		PRINT(&text, "{\"proto\":%u", flow->connection.proto);
		text.separator = ',';
	}
	print_ends(&text, &flow->connection);
	for (int i = 0; i < 4; i++) {
		if (!counts[i])
			continue;
		PRINT(&text, "%c\"%s\":%llu", text.separator, names[i],
		      (unsigned long long)counts[i]);
		text.separator = ',';
	}
	PRINT(&text, text.separator == '{' ? "{}" : "}");
	return (size_t)(text.at - at);
}

/* Addresses with long runs of zeros, with few, or IPv4. */
static void take_address(struct input *input, uint8_t kind, uint8_t *address)
{
	switch (kind & 3) {
	case 0:
		for (int i = 0; i < 16; i++)
			address[i] = take_8(input);
		return;
	case 1:
		for (uint32_t groups = take_8(input), i = 0; i < 8; i++)
			if (groups >> i & 1)
				put_16(address + 2 * i, take_16(input));
		return;
	default:
		address[10] = address[11] = 0xff;
		put_32(address + 12, take_32(input));
	}
}

static void take_flow(struct input *input, struct netlog_flow *flow)
{
	struct netlog_connection *connection = &flow->connection;
	uint8_t kind = take_8(input);

	memset(flow, 0, sizeof(*flow));
	take_address(input, kind, connection->src);
	take_address(input, kind >> 2, connection->dst);
	connection->version = kind & 0x10 ? 4 : kind & 0x20 ? take_8(input) : 6;
	connection->flags = take_8(input) & 15;
	connection->proto = take_8(input);
	connection->src_port = take_16(input);
	connection->dst_port = take_16(input);
	uint64_t *counts[4] = {&flow->tx_packets, &flow->tx_bytes, &flow->rx_packets,
			       &flow->rx_bytes};

	for (int i = 0; i < 4; i++)
		*counts[i] = kind & 0x80   ? take_64(input)
			     : kind & 0x40 ? take_32(input)
					   : take_8(input);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct netlog_flow flows[MOST_FLOWS];
	static char expected[MOST_FLOWS * ENTRY_BYTES];
	uint64_t ends[MOST_FLOWS], found[MOST_FLOWS];
	struct input input = {data, size};
	size_t capacity = take_16(&input), bytes = 0, n = 0, encoded = 0;

	for (; input.left && n < MOST_FLOWS; n++) {
		take_flow(&input, &flows[n]);
		if (n)
			expected[bytes++] = ',';
		bytes += print_entry(expected + bytes, &flows[n]);
		ends[n] = bytes;
	}
	char *text = (char *)room(capacity);
	size_t written = netlog_encode_flows(flows, NULL, n, text, capacity, &encoded, found);

	CHECK(encoded <= n && written <= capacity);
	CHECK(encoded == n || ends[encoded] > capacity);
	CHECK(written == (encoded ? ends[encoded - 1] : 0));
	CHECK(!memcmp(text, expected, written));
	CHECK(!memcmp(found, ends, encoded * sizeof(ends[0])));
	free(text);
	return 0;
}
