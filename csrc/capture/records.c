/* SPDX-License-Identifier: BSD-3-Clause */
#include "capture/records.h"

#include <stdlib.h>

#include "packet/packet.h"

enum {
	PCAP_MICROSECONDS = 0xa1b2c3d4u,
	PCAP_NANOSECONDS = 0xa1b23c4du,
	PCAP_MODIFIED = 0xa1b2cd34u, /* microseconds */
	PCAP_HEADER = 24,
	PCAP_MAJOR = 2,
};

enum {
	BLOCK_SECTION = 0x0a0d0d0au, /* the same in both byte orders */
	BLOCK_INTERFACE = 1,
	BLOCK_OLD_PACKET = 2,
	BLOCK_SIMPLE_PACKET = 3,
	BLOCK_ENHANCED_PACKET = 6,
	BYTE_ORDER_MAGIC = 0x1a2b3c4du,
	PCAPNG_MAJOR = 1,
	BLOCK_HEADER = 8,
	BLOCK_TRAILER = 4,
	BLOCK_MIN = BLOCK_HEADER + BLOCK_TRAILER,
	OPTION_END = 0,
	OPTION_RESOLUTION = 9, /* if_tsresol */
	OPTION_OFFSET = 14,    /* if_tsoffset */
	RESOLUTION_BINARY = 0x80,
	RESOLUTION_DEFAULT = 6, /* microseconds */
};

/* The functions of this file return what netlog_records_read() returns, or 1 if the caller knows
 * the bytes of the record. */
#define FAULT(name) (-(int64_t)(name))

/* -- pcap ------------------------------------------------------------------------------------- */

static int64_t read_pcap_header(struct netlog_records *records, const uint8_t *data, size_t left,
				size_t *need)
{
	*need = PCAP_HEADER;
	if (left < PCAP_HEADER)
		return 0;
	if (records_get_16(records, data + 4) != PCAP_MAJOR)
		return FAULT(NETLOG_FAULT_VERSION);
	/* The upper half tells the length of a frame checksum, if there is one. */
	records->link = (uint16_t)records_get_32(records, data + 20);
	records->format = NETLOG_FORMAT_PCAP;
	return PCAP_HEADER;
}

/* -- pcapng ----------------------------------------------------------------------------------- */

/* The body of a block: the bytes between its header and the copy of its length. */
struct body {
	const uint8_t *data;
	uint32_t bytes;
};

static int64_t begin_section(struct netlog_records *records, struct body body)
{
	if (body.bytes < 16)
		return FAULT(NETLOG_FAULT_CONTENT);
	if (records_get_16(records, body.data + 4) != PCAPNG_MAJOR)
		return FAULT(NETLOG_FAULT_VERSION);
	records->n_interfaces = 0;
	return 1;
}

static int64_t read_options(const struct netlog_records *records, struct body options,
			    struct netlog_interface *interface)
{
	while (options.bytes >= 4) {
		uint32_t code = records_get_16(records, options.data);
		uint32_t length = records_get_16(records, options.data + 2);
		uint32_t padded = 4 + ((length + 3) & ~3u);

		if (code == OPTION_END)
			break;
		if (padded > options.bytes)
			return FAULT(NETLOG_FAULT_CONTENT);
		if (code == OPTION_RESOLUTION && length >= 1)
			interface->resolution = options.data[4];
		if (code == OPTION_OFFSET && length >= 8)
			interface->offset_s = (int64_t)records_get_64(records, options.data + 4);
		options.data += padded;
		options.bytes -= padded;
	}
	return 1;
}

static int64_t add_interface(struct netlog_records *records, struct body body)
{
	struct netlog_interface interface = {.resolution = RESOLUTION_DEFAULT};

	if (body.bytes < 8)
		return FAULT(NETLOG_FAULT_CONTENT);
	if (records->n_interfaces == NETLOG_MAX_INTERFACES)
		return FAULT(NETLOG_FAULT_INTERFACES);
	interface.link = records_get_16(records, body.data);
	interface.snaplen = records_get_32(records, body.data + 4);
	if (read_options(records, (struct body){body.data + 8, body.bytes - 8}, &interface) < 0)
		return FAULT(NETLOG_FAULT_CONTENT);
	if (records->n_interfaces == records->room) {
		uint32_t room = records->room ? 2 * records->room : 8;
		struct netlog_interface *grown =
			realloc(records->interfaces, room * sizeof(*records->interfaces));

		if (!grown)
			return FAULT(NETLOG_FAULT_MEMORY);
		records->interfaces = grown;
		records->room = room;
	}
	records->interfaces[records->n_interfaces++] = interface;
	return 1;
}

/* Returns 10^n, or 0 if that is beyond 64 bits. */
static uint64_t power_of_10(uint32_t n)
{
	uint64_t power = 1;

	for (; n && power; n--)
		power = power <= UINT64_MAX / 10 ? power * 10 : 0;
	return power;
}

/* Splits ticks of a clock into seconds, which it returns, and nanoseconds. What is finer than a
 * nanosecond is cut off. */
static uint64_t split_ticks(uint32_t resolution, uint64_t ticks, uint64_t *ns)
{
	uint32_t digits = resolution & ~(uint32_t)RESOLUTION_BINARY; /* below 128 */

	if (resolution & RESOLUTION_BINARY) {
		uint64_t seconds = digits < 64 ? ticks >> digits : 0;
		uint64_t rest = digits < 64 ? ticks - (seconds << digits) : ticks;

		*ns = wide_shifted(wide_multiply(rest, RECORDS_NS_PER_S), digits);
		return seconds;
	}
	uint64_t second = power_of_10(digits); /* 0: longer than all ticks */
	uint64_t seconds = second ? ticks / second : 0;
	uint64_t rest = ticks - seconds * second;
	uint64_t scale = power_of_10(digits > 9 ? digits - 9 : 9 - digits);

	if (digits > 9)
		*ns = scale ? rest / scale : 0;
	else
		*ns = rest * scale;
	return seconds;
}

/* Converts ticks of the interface's clock. Returns false if a message cannot have such a time. */
static bool to_ns(const struct netlog_interface *interface, uint64_t ticks, uint64_t *time_ns)
{
	uint64_t ns, seconds = split_ticks(interface->resolution, ticks, &ns);
	int64_t moment_s;

	if (__builtin_add_overflow(seconds, interface->offset_s, &moment_s) || moment_s < 0 ||
	    moment_s > INT64_MAX / RECORDS_NS_PER_S)
		return false;
	*time_ns = (uint64_t)moment_s * RECORDS_NS_PER_S + ns;
	return *time_ns <= INT64_MAX;
}

static int64_t read_packet(const struct netlog_records *records, struct body body, uint32_t number,
			   struct netlog_record_read *record)
{
	if (body.bytes < 20)
		return FAULT(NETLOG_FAULT_CONTENT);
	if (number >= records->n_interfaces)
		return FAULT(NETLOG_FAULT_INTERFACE);
	const struct netlog_interface *interface = &records->interfaces[number];
	uint32_t captured = records_get_32(records, body.data + 12);
	uint64_t ticks = (uint64_t)records_get_32(records, body.data + 4) << 32 |
			 records_get_32(records, body.data + 8);

	if (captured > body.bytes - 20)
		return FAULT(NETLOG_FAULT_CONTENT);
	record->untimed = !to_ns(interface, ticks, &record->time_ns);
	if (record->untimed)
		record->time_ns = records->time_ns;
	record->frame =
		records_frame(body.data + 20, captured, records_get_32(records, body.data + 16));
	record->link = interface->link;
	return 1;
}

/* A simple packet belongs to the first interface, whose snap length may have cut it. */
static int64_t read_simple_packet(const struct netlog_records *records, struct body body,
				  struct netlog_record_read *record)
{
	if (body.bytes < 4)
		return FAULT(NETLOG_FAULT_CONTENT);
	if (!records->n_interfaces)
		return FAULT(NETLOG_FAULT_INTERFACE);
	const struct netlog_interface *interface = &records->interfaces[0];
	uint32_t length = records_get_32(records, body.data);
	uint32_t captured = body.bytes - 4;

	if (captured > length)
		captured = length;
	if (interface->snaplen && captured > interface->snaplen)
		captured = interface->snaplen;
	record->frame = records_frame(body.data + 4, captured, length);
	record->link = interface->link;
	record->time_ns = records->time_ns;
	record->untimed = false;
	return 1;
}

static int64_t read_body(struct netlog_records *records, uint32_t type, struct body body,
			 struct netlog_record_read *record)
{
	switch (type) {
	case BLOCK_SECTION:
		return begin_section(records, body);
	case BLOCK_INTERFACE:
		return add_interface(records, body);
	case BLOCK_ENHANCED_PACKET:
		return read_packet(records, body,
				   body.bytes < 4 ? 0 : records_get_32(records, body.data), record);
	case BLOCK_OLD_PACKET:
		return read_packet(records, body,
				   body.bytes < 4 ? 0 : records_get_16(records, body.data), record);
	case BLOCK_SIMPLE_PACKET:
		return read_simple_packet(records, body, record);
	default:
		return 1;
	}
}

static int64_t read_block(struct netlog_records *records, const uint8_t *data, size_t left,
			  size_t *need, struct netlog_record_read *record)
{
	*need = BLOCK_MIN;
	if (left < BLOCK_MIN)
		return 0;
	uint32_t type = records_get_32(records, data);

	if (type == BLOCK_SECTION) {
		/* A section has its own byte order, which is needed to read the block's length. */
		if (records_get_32(records, data + 8) != BYTE_ORDER_MAGIC)
			records->swapped = !records->swapped;
		if (records_get_32(records, data + 8) != BYTE_ORDER_MAGIC)
			return FAULT(NETLOG_FAULT_ORDER);
		records->format = NETLOG_FORMAT_PCAPNG;
	}
	uint32_t bytes = records_get_32(records, data + 4);

	if (bytes < BLOCK_MIN || bytes % 4 || bytes > NETLOG_MAX_BLOCK_BYTES)
		return FAULT(NETLOG_FAULT_BLOCK);
	*need = bytes;
	if (left < bytes)
		return 0;
	if (records_get_32(records, data + bytes - BLOCK_TRAILER) != bytes)
		return FAULT(NETLOG_FAULT_BLOCK);
	int64_t result = read_body(records, type,
				   (struct body){data + BLOCK_HEADER, bytes - BLOCK_MIN}, record);

	return result < 0 ? result : (int64_t)bytes;
}

/* -- either ----------------------------------------------------------------------------------- */

static bool is_pcap(uint32_t magic)
{
	return magic == PCAP_MICROSECONDS || magic == PCAP_NANOSECONDS || magic == PCAP_MODIFIED;
}

static int64_t read_magic(struct netlog_records *records, const uint8_t *data, size_t left,
			  size_t *need, struct netlog_record_read *record)
{
	*need = 4;
	if (left < 4)
		return 0;
	uint32_t magic = load_32(data), reversed = __builtin_bswap32(magic);

	if (magic == BLOCK_SECTION)
		return read_block(records, data, left, need, record);
	records->swapped = is_pcap(reversed);
	if (records->swapped)
		magic = reversed;
	if (!is_pcap(magic))
		return FAULT(NETLOG_FAULT_FORMAT);
	records->nanoseconds = magic == PCAP_NANOSECONDS;
	records->header = magic == PCAP_MODIFIED ? RECORDS_MODIFIED_HEADER : RECORDS_PCAP_HEADER;
	return read_pcap_header(records, data, left, need);
}

int64_t netlog_records_read_any(struct netlog_records *records, const uint8_t *data, size_t left,
				size_t *need, struct netlog_record_read *record)
{
	record->frame.data = NULL;
	if (records->format == NETLOG_FORMAT_PCAPNG)
		return read_block(records, data, left, need, record);
	return read_magic(records, data, left, need, record);
}

void netlog_records_end(struct netlog_records *records)
{
	free(records->interfaces);
	memset(records, 0, sizeof(*records));
}
