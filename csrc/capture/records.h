/* SPDX-License-Identifier: BSD-3-Clause */
/* records: the bytes of a capture file -> its packets, one by one.
 *
 * pcap (both byte orders, micro- and nanoseconds; also as a few Linux distributions modified it,
 * with eight bytes more before each packet) and pcapng (sections of either byte order, many
 * interfaces, enhanced, simple and old packet blocks; other blocks are skipped).
 *
 * The file may be hostile. Every length in it is checked against the bytes that are left before it
 * is used. A record takes at least 12 bytes, and NETLOG_MAX_INTERFACES bounds the memory. A
 * contradiction in the file is a fault, and ends it.
 *
 * Threads: one at a time. Ownership: no pointer into the caller's bytes is kept.
 *
 * Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
 */
#ifndef NETLOG_RECORDS_H
#define NETLOG_RECORDS_H

#include <stddef.h>

#include "packet/frame.h"

/* The longest packet that a capture library writes (MAXIMUM_SNAPLEN of libpcap), and its longest
 * block. A record that claims to be longer is a fault. */
#define NETLOG_MAX_CAPTURED_BYTES (256u * 1024)
#define NETLOG_MAX_BLOCK_BYTES    (16u * 1024 * 1024)

/* 96 KiB in memory. `tcpdump -i any` on a large router describes some hundreds. */
#define NETLOG_MAX_INTERFACES 4096u

/* The fault of a record. */
enum netlog_fault {
	NETLOG_FAULT_FORMAT = 1,     /* neither pcap nor pcapng */
	NETLOG_FAULT_PACKET = 2,     /* longer than NETLOG_MAX_CAPTURED_BYTES */
	NETLOG_FAULT_BLOCK = 3,      /* a block's length is impossible, or its copy differs */
	NETLOG_FAULT_CONTENT = 4,    /* the contents of a block reach beyond it */
	NETLOG_FAULT_INTERFACE = 5,  /* a packet of an interface that was not described */
	NETLOG_FAULT_INTERFACES = 6, /* more than NETLOG_MAX_INTERFACES */
	NETLOG_FAULT_VERSION = 7,    /* pcap or pcapng, of a version that nobody writes */
	NETLOG_FAULT_ORDER = 8,      /* a section whose byte order mark is neither way round */
	NETLOG_FAULT_MEMORY = 9,     /* none left; the file is not to blame */
};

#define RECORDS_PCAP_HEADER     16
#define RECORDS_MODIFIED_HEADER 24
#define RECORDS_NS_PER_S        1000000000u

enum netlog_format { NETLOG_FORMAT_UNKNOWN, NETLOG_FORMAT_PCAP, NETLOG_FORMAT_PCAPNG };

struct netlog_interface {
	uint16_t link;
	uint8_t resolution; /* if_tsresol: the digits of a second's fraction, decimal or binary */
	uint32_t snaplen;   /* 0: no limit */
	int64_t offset_s;
};

/* The state of reading a file. All zero at the beginning of the file. */
struct netlog_records {
	enum netlog_format format;
	bool swapped;
	bool nanoseconds; /* pcap */
	uint16_t link;    /* pcap */
	uint32_t header;  /* pcap: bytes of the header of a record */
	uint64_t time_ns; /* of the last packet: a simple one has no time of its own */
	struct netlog_interface *interfaces;
	uint32_t n_interfaces;
	uint32_t room; /* for interfaces */
};

/* A record that was read. */
struct netlog_record_read {
	struct netlog_frame frame; /* data NULL: the record is not a packet */
	uint64_t time_ns;
	uint16_t link;
	bool untimed; /* its own time is impossible: before 1970, or beyond 63 bits of
		       * nanoseconds; it has that of the packet before */
};

/* As netlog_records_read(), for anything other than a packet of a pcap file. */
int64_t netlog_records_read_any(struct netlog_records *records, const uint8_t *data, size_t left,
				size_t *need, struct netlog_record_read *record);

/* Frees the interfaces. */
void netlog_records_end(struct netlog_records *records);

NETLOG_INLINE uint16_t records_get_16(const struct netlog_records *records, const uint8_t *bytes)
{
	uint16_t value;

	memcpy(&value, bytes, sizeof(value));
	return records->swapped ? __builtin_bswap16(value) : value;
}

NETLOG_INLINE uint32_t records_get_32(const struct netlog_records *records, const uint8_t *bytes)
{
	uint32_t value = load_32(bytes);

	return records->swapped ? __builtin_bswap32(value) : value;
}

NETLOG_INLINE uint64_t records_get_64(const struct netlog_records *records, const uint8_t *bytes)
{
	uint64_t value = load_64(bytes);

	return records->swapped ? __builtin_bswap64(value) : value;
}

NETLOG_INLINE struct netlog_frame records_frame(const uint8_t *data, uint32_t captured,
						uint32_t length)
{
	/* Some writers store a length of 0, or swap the two. The captured bytes did exist, so the
	 * length is at least their number. */
	return (struct netlog_frame){
		.data = data,
		.captured = captured,
		.length = length > captured ? length : captured,
	};
}

NETLOG_INLINE int64_t records_read_pcap(const struct netlog_records *records, const uint8_t *data,
					size_t left, size_t *need,
					struct netlog_record_read *record)
{
	*need = records->header;
	if (left < *need)
		return 0;
	uint32_t captured = records_get_32(records, data + 8);

	if (captured > NETLOG_MAX_CAPTURED_BYTES)
		return -NETLOG_FAULT_PACKET;
	*need = records->header + captured;
	if (left < *need)
		return 0;
	uint64_t fraction = records_get_32(records, data + 4);

	record->frame =
		records_frame(data + records->header, captured, records_get_32(records, data + 12));
	record->link = records->link;
	record->untimed = false;
	record->time_ns = (uint64_t)records_get_32(records, data) * RECORDS_NS_PER_S +
			  (records->nanoseconds ? fraction : fraction * 1000);
	return (int64_t)*need;
}

/* Reads the record at data[0..left-1]. Returns the bytes of the record; 0: *need bytes are needed
 * at data; or a negative enum netlog_fault. A packet may be read again, any other record only once.
 */
NETLOG_INLINE int64_t netlog_records_read(struct netlog_records *records, const uint8_t *data,
					  size_t left, size_t *need,
					  struct netlog_record_read *record)
{
	record->frame.data = NULL;
	if (likely(records->format == NETLOG_FORMAT_PCAP))
		return records_read_pcap(records, data, left, need, record);
	return netlog_records_read_any(records, data, left, need, record);
}

#endif
