/* SPDX-License-Identifier: BSD-3-Clause */
/* records: the bytes of a capture file -> its packets, one by one.
 *
 * pcap (both byte orders, micro- and nanoseconds) and pcapng (sections of either byte order, many
 * interfaces, enhanced, simple and old packet blocks; other blocks are skipped).
 *
 * The file is hostile: every length in it is checked against what is left before it is used, a
 * record takes at least 12 bytes, and memory is bounded by NETLOG_MAX_INTERFACES. What contradicts
 * itself is a fault, which ends the file.
 *
 * Threads: one at a time. Ownership: nothing of the caller's bytes is kept.
 *
 * Sources: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
 */
#ifndef NETLOG_RECORDS_H
#define NETLOG_RECORDS_H

#include <stddef.h>

#include "frame.h"

/* The longest packet that a capture library writes (MAXIMUM_SNAPLEN of libpcap), and its longest
 * block. A record that claims to be longer is none. */
#define NETLOG_MAX_CAPTURED_BYTES (256u * 1024)
#define NETLOG_MAX_BLOCK_BYTES    (16u * 1024 * 1024)

/* 96 KiB of them; `tcpdump -i any` on a large router has some hundreds. */
#define NETLOG_MAX_INTERFACES 4096u

/* What is wrong with a record. */
enum netlog_fault {
	NETLOG_FAULT_FORMAT = 1,     /* neither pcap nor pcapng, or a version nobody writes */
	NETLOG_FAULT_PACKET = 2,     /* longer than NETLOG_MAX_CAPTURED_BYTES */
	NETLOG_FAULT_BLOCK = 3,      /* a block's length is impossible, or its copy differs */
	NETLOG_FAULT_CONTENT = 4,    /* what is in a block reaches beyond it */
	NETLOG_FAULT_INTERFACE = 5,  /* a packet of an interface that was not described */
	NETLOG_FAULT_INTERFACES = 6, /* more than NETLOG_MAX_INTERFACES */
	NETLOG_FAULT_TIME = 7,       /* before 1970, or beyond what 63 bits of nanoseconds hold */
	NETLOG_FAULT_MEMORY = 8,     /* none left; the file is not to blame */
};

enum netlog_format { NETLOG_FORMAT_UNKNOWN, NETLOG_FORMAT_PCAP, NETLOG_FORMAT_PCAPNG };

struct netlog_interface {
	uint16_t link;
	uint8_t resolution; /* if_tsresol: decimal digits of a second's fraction, or bits */
	uint32_t snaplen;   /* 0: no limit */
	int64_t offset_s;
};

/* A file that is being read. All zero at its beginning. */
struct netlog_records {
	enum netlog_format format;
	bool swapped;
	bool nanoseconds; /* pcap */
	uint16_t link;    /* pcap */
	uint64_t time_ns; /* of the last packet: a simple one has no time of its own */
	struct netlog_interface *interfaces;
	uint32_t n_interfaces;
	uint32_t room;
};

/* A record: a packet, or something that was dealt with. */
struct netlog_record_read {
	struct netlog_frame frame; /* no packet if its data is NULL */
	uint64_t time_ns;
	uint16_t link;
};

/* Reads the record at data, of which `left` bytes are there. Returns its bytes; or 0 if *need bytes
 * are needed to read on; or a negative enum netlog_fault. A record that is a packet may be read
 * again, any other just once. */
int64_t netlog_records_read(struct netlog_records *records, const uint8_t *data, size_t left,
			    size_t *need, struct netlog_record_read *record);

/* Frees what was allocated. */
void netlog_records_end(struct netlog_records *records);

#endif
