/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of the lengths in a capture: each length that is too long by 1 to 64 bytes is detected.
 *
 * The last record lies at the end of its memory, so AddressSanitizer sees a read of one byte too
 * many. The checks also work without it: for each length that is too long, there is one right
 * answer.
 */
#include <errno.h>

#include "capture/capture.h"
#include "files.h"

#define MOST_EXCESS 64u
#define FULL_BYTES  600u /* on the wire; more than was captured, with any excess */
#define KEPT_BYTES  64u  /* captured of the packet */
#define OPTION      9u   /* if_tsresol */

enum { INTERFACE = 1, OLD_PACKET = 2, SIMPLE_PACKET = 3, ENHANCED_PACKET = 6 };

struct answer {
	int result;
	uint32_t fault;
	size_t need;
	uint64_t frames[NETLOG_FRAME_FATES];
};

static struct answer read_once(const struct file *file, struct netlog_lane *lane,
			       const struct netlog_prefixes *locals)
{
	uint8_t *data = exact(file->bytes, file->n);
	struct netlog_capture_step step = {.data = data, .bytes = file->n, .until_ns = UINT64_MAX};
	struct netlog_capture *capture = NULL;
	struct answer answer;

	CHECK(netlog_capture_open(locals, &capture) == 0);
	answer.result = netlog_capture_count(capture, lane, &step);
	answer.fault = answer.result == -EBADMSG ? step.fault : 0;
	answer.need = step.need;
	memcpy(answer.frames, step.frames, sizeof(answer.frames));
	netlog_capture_close(capture);
	free(data);
	return answer;
}

/* A link type, with VLAN tags after its header. */
struct link {
	uint32_t type;
	uint32_t header; /* bytes, including the tags */
	uint32_t tags;
};

static const struct link links[] = {{1, 14, 0}, {101, 0, 0}, {113, 16, 0}, {276, 20, 0},
				    {1, 18, 1}, {1, 22, 2},  {113, 20, 1}};

#define N_LINKS (sizeof(links) / sizeof(links[0]))

/* Puts the first bytes of a frame that has header + FULL_BYTES bytes. */
static void put_frame(struct file *file, const struct link *link, int version, uint32_t captured)
{
	uint8_t frame[22 + KEPT_BYTES] = {0};
	uint32_t type = version == 4 ? 0x0800 : 0x86dd;
	uint8_t *packet = frame + link->header;

	if (version == 4) {
		make_udp4(packet, 0x0a000001, 0x0a000002, 1, 2);
		put_16(packet + 2, FULL_BYTES);
	} else {
		make_udp6(packet, 1, 2, 3, 4);
		put_16(packet + 4, FULL_BYTES - 40);
	}
	for (uint32_t tag = 1; tag <= link->tags; tag++)
		put_16(packet - 2 - 4 * tag, 0x8100);
	if (link->type == NETLOG_LINK_SLL2)
		put_16(frame, type);
	else if (link->header)
		put_16(packet - 2, type);
	put(file, frame, captured);
}

/* Puts a packet's record that has `captured` bytes, but claims `excess` more. */
static void put_pcap_packet(struct file *file, const struct link *link, int version,
			    uint32_t captured, uint32_t excess)
{
	put_word(file, 1);
	put_word(file, 2);
	put_word(file, captured + excess);
	put_word(file, link->header + FULL_BYTES);
	put_frame(file, link, version, captured);
}

static void check_pcap(struct netlog_lane *lane, const struct link *link, int version,
		       uint32_t excess)
{
	struct file file = {.n = 0};
	uint32_t whole = link->header + KEPT_BYTES;

	put_pcap_header(&file, 0xa1b2c3d4, link->type);
	put_pcap_packet(&file, link, version, whole, 0);
	put_pcap_packet(&file, link, version, whole, excess);
	struct answer answer = read_once(&file, lane, NULL);

	CHECK_ROW(excess, answer.result == NETLOG_CAPTURE_MORE);
	CHECK_ROW(excess, answer.frames[NETLOG_FRAME_PACKET] == 1 + !excess);
	CHECK_ROW(excess, !excess || answer.need == 16 + whole + excess);
}

/* Whatever part of a packet was captured, the bytes after it do not change how it is counted. */
static void check_cut(struct netlog_lane *lane, const struct link *link, int version,
		      const struct netlog_prefixes *locals)
{
	uint32_t whole = link->header + KEPT_BYTES;

	for (uint32_t row = 0; row <= 2 * whole + 1; row++) {
		struct file file = {.n = 0};
		uint32_t captured = row / 2, ports = version == 4 ? 24 : 44;
		enum netlog_frame_fate fate = captured < link->header ? NETLOG_FRAME_CUT
					      : captured < link->header + ports
						      ? NETLOG_FRAME_SNAPPED
						      : NETLOG_FRAME_PACKET;
		uint64_t expected[NETLOG_FRAME_FATES] = {0};

		put_pcap_header(&file, 0xa1b2c3d4, link->type);
		put_pcap_packet(&file, link, version, captured, 0);
		expected[fate] = 1;
		if (row % 2) {
			put_pcap_packet(&file, link, version, whole, 0);
			expected[NETLOG_FRAME_PACKET]++;
		}
		struct answer answer = read_once(&file, lane, locals);

		CHECK_ROW(row, answer.result == NETLOG_CAPTURE_MORE);
		CHECK_ROW(row, !memcmp(answer.frames, expected, sizeof(expected)));
	}
}

static size_t begin_interface(struct file *file, uint32_t link)
{
	size_t at = begin_block(file, INTERFACE);

	put_pair(file, link, 0);
	put_word(file, 0);
	return at;
}

static void begin_pcapng(struct file *file, const struct link *link)
{
	put_section(file);
	end_block(file, begin_interface(file, link->type));
}

static void check_block(struct netlog_lane *lane, uint32_t type, const struct link *link,
			uint32_t excess)
{
	struct file file = {.n = 0};
	uint32_t whole = link->header + KEPT_BYTES;

	begin_pcapng(&file, link);
	size_t at = begin_block(&file, type);

	put_word(&file, 0); /* the interface */
	put_word(&file, 0);
	put_word(&file, 1);
	put_word(&file, (whole & ~3u) + excess);
	put_word(&file, link->header + FULL_BYTES);
	put_frame(&file, link, 4, whole & ~3u);
	end_block(&file, at);
	struct answer answer = read_once(&file, lane, NULL);

	CHECK_ROW(excess, answer.fault == (excess ? NETLOG_FAULT_CONTENT : 0u));
	CHECK_ROW(excess, answer.frames[NETLOG_FRAME_PACKET] == !excess);
}

static void check_option(struct netlog_lane *lane, uint32_t excess)
{
	struct file file = {.n = 0};

	put_section(&file);
	size_t at = begin_interface(&file, NETLOG_LINK_RAW);

	put_pair(&file, OPTION, 4 + excess);
	put_word(&file, 9);
	end_block(&file, at);
	CHECK_ROW(excess,
		  read_once(&file, lane, NULL).fault == (excess ? NETLOG_FAULT_CONTENT : 0u));
}

/* A block that is too short for its contents. */
static void check_short(struct netlog_lane *lane, uint32_t type, uint32_t least)
{
	for (uint32_t words = 0; words < least / 4; words++) {
		struct file file = {.n = 0};

		begin_pcapng(&file, &links[0]);
		size_t at = begin_block(&file, type);

		for (uint32_t i = 0; i < words; i++)
			put_word(&file, 0);
		end_block(&file, at);
		CHECK_ROW(words, read_once(&file, lane, NULL).fault == NETLOG_FAULT_CONTENT);
	}
}

/* A file that ends within its last record: that record is not counted. */
static void check_end(struct netlog_lane *lane, struct file *file, uint32_t record_bytes)
{
	uint64_t frames = read_once(file, lane, NULL).frames[NETLOG_FRAME_PACKET];
	size_t whole = file->n;

	for (uint32_t missing = 1; missing < record_bytes; missing++) {
		file->n = whole - missing;
		struct answer answer = read_once(file, lane, NULL);

		CHECK_ROW(missing, answer.result == NETLOG_CAPTURE_MORE);
		CHECK_ROW(missing, answer.frames[NETLOG_FRAME_PACKET] == frames - 1);
		CHECK_ROW(missing, answer.need > record_bytes - missing);
	}
}

static void check_ends(struct netlog_lane *lane, const struct link *link)
{
	struct file pcap = {.n = 0}, pcapng = {.n = 0};

	put_pcap_header(&pcap, 0xa1b23c4d, link->type);
	begin_pcapng(&pcapng, link);
	for (int i = 0; i < 2; i++) {
		put_pcap_packet(&pcap, link, 4, link->header + KEPT_BYTES, 0);
		size_t at = begin_block(&pcapng, SIMPLE_PACKET);

		put_word(&pcapng, link->header + FULL_BYTES);
		put_frame(&pcapng, link, 4, (link->header + KEPT_BYTES) & ~3u);
		end_block(&pcapng, at);
	}
	check_end(lane, &pcap, 16 + link->header + KEPT_BYTES);
	check_end(lane, &pcapng, 16 + ((link->header + KEPT_BYTES) & ~3u));
}

int main(void)
{
	static const struct netlog_prefix prefix = {.version = 6, .length = 64, .set = 1};
	struct netlog_meter *meter = open_meter(1024, 1, 1);
	struct netlog_prefixes *locals = NULL;
	struct netlog_lane *lane;

	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0);
	CHECK(netlog_prefixes_open(&prefix, 1, &locals) == 0);
	for (const struct link *link = links; link < links + N_LINKS; link++) {
		for (uint32_t excess = 0; excess <= MOST_EXCESS; excess++) {
			check_pcap(lane, link, 4, excess);
			check_pcap(lane, link, 6, excess);
			check_block(lane, ENHANCED_PACKET, link, excess);
			check_block(lane, OLD_PACKET, link, excess);
		}
		for (int version = 4; version <= 6; version += 2) {
			check_cut(lane, link, version, NULL);
			check_cut(lane, link, version, locals);
		}
		check_ends(lane, link);
	}
	for (uint32_t excess = 0; excess <= MOST_EXCESS; excess++)
		check_option(lane, excess);
	check_short(lane, INTERFACE, 8);
	check_short(lane, OLD_PACKET, 20);
	check_short(lane, SIMPLE_PACKET, 4);
	check_short(lane, ENHANCED_PACKET, 20);
	netlog_prefixes_close(locals);
	netlog_lane_release(lane);
	netlog_meter_close(meter);
	printf("lengths: each, when up to %u bytes too long, is found out\n", MOST_EXCESS);
	return 0;
}
