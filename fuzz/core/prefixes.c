/* SPDX-License-Identifier: BSD-3-Clause */
/* The map of prefixes finds what a search through all of them finds, in particular at the first and
 * the last address of each, and one beyond. */
#include "fuzz.h"
#include "prefixes/prefixes.h"

#define MOST_PREFIXES 40u
#define LOOK_UPS      24u

static uint32_t first_bit(int version)
{
	return version == 4 ? 96 : 0; /* of ::ffff:a.b.c.d */
}

static bool contains(const struct netlog_prefix *prefix, const uint8_t *address)
{
	for (uint32_t i = 0; i < prefix->length; i++) {
		uint32_t bit = first_bit(prefix->version) + i;

		if ((prefix->address[bit / 8] ^ address[bit / 8]) & 0x80 >> bit % 8)
			return false;
	}
	return true;
}

static uint32_t search(const struct netlog_prefix *prefixes, uint32_t n, const uint8_t *address,
		       int version)
{
	uint32_t value = 0;

	for (uint32_t length = 0; length <= 128; length++) {
		for (uint32_t i = 0; i < n; i++) {
			const struct netlog_prefix *prefix = &prefixes[i];

			if (prefix->version == version && prefix->length == length &&
			    contains(prefix, address))
				value = (value & ~prefix->clear) | prefix->set;
		}
	}
	return value;
}

static void take_address(struct input *input, int version, bool sparse, uint8_t *address)
{
	memset(address, 0, 16);
	if (version == 4)
		address[10] = address[11] = 0xff;
	for (uint32_t i = first_bit(version) / 8; i < 16; i++)
		address[i] = sparse ? take_8(input) & 0x81 : take_8(input);
}

static void take_prefix(struct input *input, struct netlog_prefix *prefix)
{
	uint8_t choice = take_8(input);

	*prefix = (struct netlog_prefix){.version = choice & 1 ? 4 : 6};
	prefix->length = take_8(input) % (choice & 1 ? 33 : 129);
	take_address(input, prefix->version, choice & 2, prefix->address);
	prefix->clear = choice & 4 ? UINT32_MAX : take_8(input);
	prefix->set = take_8(input);
}

/* Makes the address the first or the last one of the prefix. */
static void move_to_end(uint8_t *address, const struct netlog_prefix *prefix, bool last)
{
	for (uint32_t bit = first_bit(prefix->version) + prefix->length; bit < 128; bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);

		address[bit / 8] = (uint8_t)((address[bit / 8] & ~mask) | (last ? mask : 0));
	}
}

static void step(uint8_t *address, int version, bool up)
{
	for (uint32_t i = 16; i > first_bit(version) / 8;) {
		i--;
		if (up ? ++address[i] != 0 : address[i]-- != 0)
			return;
	}
}

static int take_look_up(struct input *input, const struct netlog_prefix *prefixes, uint32_t n,
			uint8_t *address)
{
	uint8_t choice = take_8(input);

	if (!n || (choice & 7) == 7) {
		int version = choice & 8 ? 4 : 6;

		take_address(input, version, false, address);
		return version;
	}
	const struct netlog_prefix *prefix = &prefixes[take_8(input) % n];

	memcpy(address, prefix->address, 16);
	if (choice & 1)
		move_to_end(address, prefix, choice & 2);
	if (choice & 4)
		step(address, prefix->version, choice & 8);
	return prefix->version;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct netlog_prefix prefixes[MOST_PREFIXES];
	struct netlog_prefixes *map = NULL;
	struct input input = {data, size};
	uint32_t most = take_8(&input) % MOST_PREFIXES, n = 0;

	for (; n < most && input.left; n++)
		take_prefix(&input, &prefixes[n]);
	CHECK(netlog_prefixes_open(prefixes, n, &map) == 0);
	for (uint32_t i = 0; i < LOOK_UPS; i++) {
		uint8_t address[16];
		int version = take_look_up(&input, prefixes, n, address);

		CHECK_ROW(i, netlog_prefixes_find(map, address, version) ==
				     search(prefixes, n, address, version));
	}
	netlog_prefixes_close(map);
	return 0;
}
