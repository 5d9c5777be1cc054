/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of capture: corrupt files and cut packets, in memory that ends where they end.
 *
 * Python tests compare the results of correct files with a slow twin. This program checks that no
 * file makes the reader read beyond the file (AddressSanitizer sees it), loop forever, or count
 * more than the file has.
 */
#include <errno.h>

#include "capture/capture.h"
#include "packet/packet.h"
#include "files.h"

#define ROUNDS     (200000 / SLOWER)
#define LAST_BYTES 100u

/* Makes an IPv4 or IPv6 packet, the latter with random extension headers. */
static uint32_t make_packet(uint8_t *bytes, uint64_t *random)
{
	static const uint8_t extensions[] = {0, 43, 44, 51, 60, 135, 17, 6, 59};
	uint64_t choice = next_random(random);

	memset(bytes, 0, 256);
	if (choice & 1) {
		uint32_t words = 5 + (uint32_t)((choice >> 8) % 3);

		make_udp4(bytes, 0x0a000001, 0x0a000002, 1, 2);
		bytes[0] = (uint8_t)(0x40 | words);
		bytes[9] = (choice & 2) ? 17 : (uint8_t)(choice >> 16);
		put_16(bytes + 2, words * 4 + 8);
		if (choice & 4) { /* AH, and UDP behind it */
			bytes[9] = 51;
			bytes[words * 4] = 17;
			bytes[words * 4 + 1] = (uint8_t)(choice >> 24 & 3);
			put_16(bytes + 2, words * 4 + 24);
		}
		uint32_t total = load_be16(bytes + 2);

		if (choice & 8)
			put_16(bytes + 2, 0);
		return total;
	}
	uint32_t at = 40;
	uint8_t *next = bytes + 6;

	make_udp6(bytes, 1, 2, 3, 4);
	for (uint32_t i = 0; i < (choice >> 4) % 4; i++) {
		*next = extensions[next_random(random) % sizeof(extensions)];
		next = bytes + at;
		at += 8;
	}
	*next = 17;
	at += 8;
	put_16(bytes + 4, choice & 0x100 ? at - 40 : 0);
	if (!(choice & 0x200)) /* UDP that says so itself */
		put_16(bytes + at - 4, 8);
	return at;
}

/* If netlog_packet_has_headers() says that a cut packet has its headers, all decoders return the
 * same result as for the whole packet. */
static void check_snapped(uint64_t seed)
{
	uint64_t random = seed;
	uint8_t whole[256];
	uint32_t length = make_packet(whole, &random);

	if (next_random(&random) % 4 == 0)
		whole[next_random(&random) % length] = (uint8_t)next_random(&random);
	struct netlog_packet full = packet_of(whole, length, 0);
	struct netlog_key key = {.tail = 0}, plain = {.tail = 0}, expected = {.tail = 0};
	struct netlog_increment increment, expected_increment;
	int reason = netlog_packet_decode(&full, &expected, &expected_increment);

	for (uint32_t captured = 0; captured <= length; captured++) {
		uint8_t *data = exact(whole, captured);
		struct netlog_packet cut = packet_of(data, length, 0);
		bool there = netlog_packet_has_headers(&cut, captured);

		CHECK_ROW(seed, there || captured < length);
		if (there) {
			CHECK_ROW(seed, netlog_packet_decode(&cut, &key, &increment) == reason);
			CHECK_ROW(seed, increment.bytes == expected_increment.bytes);
			CHECK_ROW(seed, reason || !memcmp(&key, &expected, sizeof(key)));
			if (packet_decode_plain4(&cut, &plain) ||
			    packet_decode_plain6(&cut, &plain))
				CHECK_ROW(seed, !memcmp(&plain, &expected, sizeof(plain)));
		}
		free(data);
	}
}

static void put_frame(struct file *file, uint32_t link, uint32_t *captured, uint32_t *length)
{
	static const uint32_t headers[] = {[1] = 14, [101] = 0, [113] = 16, [276] = 20};
	uint8_t frame[300] = {0};
	uint32_t header = headers[link];
	uint32_t bytes = make_packet(frame + header, file->random);
	uint32_t type = frame[header] >> 4 == 4 ? 0x0800 : 0x86dd;

	if (link == NETLOG_LINK_SLL2)
		put_16(frame, type);
	else if (header)
		put_16(frame + header - 2, type);
	*length = header + bytes;
	*captured = next_random(file->random) % 2 ? *length
						  : (uint32_t)(next_random(file->random) % *length);
	*captured &= ~3u; /* pcapng pads to 32-bit words */
	put(file, frame, *captured);
}

/* Whatever bytes a frame of any link has: what is found in it lies in it, and nothing beyond it is
 * read. Half of them begin as a frame of the link would. */
static void check_link(uint64_t seed)
{
	static const uint16_t all[] = {0,   1,   9,   12,  50,  51,  101, 104, 105, 107, 108,
				       113, 127, 147, 149, 163, 219, 228, 239, 258, 276, 65535};
	static const uint8_t common[] = {0,    0,    1,    2,    3,    4,    8,    9,    0x0f, 0x14,
					 0x1e, 0x21, 0x45, 0x47, 0x57, 0x60, 0x64, 0x6c, 0x80, 0x81,
					 0x86, 0x88, 0x8e, 0xa8, 0xaa, 0xcc, 0xdd, 0xff};
	uint64_t random = seed;
	uint16_t link = all[seed % (sizeof(all) / sizeof(all[0]))];
	uint8_t bytes[160];
	uint32_t captured = (uint32_t)(next_random(&random) % (sizeof(bytes) + 1));

	for (uint32_t i = 0; i < captured; i++) {
		uint64_t choice = next_random(&random);

		bytes[i] = choice & 1 ? common[(choice >> 8) % sizeof(common)]
				      : (uint8_t)(choice >> 16);
	}
	if (seed & 1 && captured >= 120) {
		memset(bytes, 0, 24);
		if (link == NETLOG_LINK_PKTAP || link == NETLOG_LINK_PKTAP_DARWIN) {
			bytes[0] = 108;
			bytes[4] = 1;
			memset(bytes + 8, 0, 4);
			bytes[8] = (uint8_t)all[next_random(&random) % 13];
		} else if (link == NETLOG_LINK_NFLOG) {
			bytes[4] = 8;
			bytes[6] = 1;
			bytes[12] = (uint8_t)next_random(&random);
			bytes[14] = 9;
		} else if (link == NETLOG_LINK_80211_RADIOTAP) {
			bytes[2] = (uint8_t)(next_random(&random) % 40);
		}
	}
	uint8_t *data = exact(bytes, captured);
	struct netlog_frame frame = {.data = data,
				     .captured = captured,
				     .length = captured + (uint32_t)(next_random(&random) % 9)};
	struct netlog_frame before = frame;
	enum netlog_frame_fate fate = netlog_frame_unwrap(link, &frame);

	CHECK_ROW(seed, fate < NETLOG_FRAME_FATES && fate != NETLOG_FRAME_SNAPPED);
	CHECK_ROW(seed, frame.captured <= frame.length && frame.length <= before.length);
	CHECK_ROW(seed, frame.data >= data && frame.data + frame.captured <= data + captured);
	if (fate != NETLOG_FRAME_PACKET)
		CHECK_ROW(seed, frame.data == data && frame.captured == captured &&
					frame.length == before.length);
	if (fate == NETLOG_FRAME_NOT_IP || fate == NETLOG_FRAME_LINK)
		CHECK_ROW(seed, frame.space != NETLOG_SPACE_NONE);
	free(data);
}

static const uint32_t links[] = {1, 101, 113, 276};

static void make_pcap(struct file *file)
{
	uint32_t link = links[next_random(file->random) % 4];

	put_pcap_header(file, next_random(file->random) % 2 ? 0xa1b2c3d4 : 0xa1b23c4d, link);
	for (int i = 0; i < 4; i++) {
		size_t at = file->n;
		uint32_t lengths[2];

		put_word(file, 1);
		put_word(file, (uint32_t)i);
		put_word(file, 0);
		put_word(file, 0);
		put_frame(file, link, &lengths[0], &lengths[1]);
		memcpy(file->bytes + at + 8, lengths, sizeof(lengths));
	}
}

static void make_pcapng(struct file *file)
{
	uint32_t n_links = 1 + (uint32_t)(next_random(file->random) % 4);
	size_t at;

	put_section(file);
	for (uint32_t i = 0; i < n_links; i++) {
		at = begin_block(file, 1);
		put_word(file, links[i]);
		put_word(file, 0);
		put_word(file, 1u << 16 | 9); /* if_tsresol */
		put_word(file, (uint32_t)next_random(file->random) & 0xff);
		put_word(file, 0);
		end_block(file, at);
	}
	for (int i = 0; i < 4; i++) {
		uint32_t link = (uint32_t)(next_random(file->random) % n_links), lengths[2];
		bool simple = next_random(file->random) % 4 == 0;

		at = begin_block(file, simple ? 3 : 6);
		if (simple) {
			put_word(file, 64);
			put_frame(file, links[0], &lengths[0], &lengths[1]);
		} else {
			put_word(file, link);
			put_word(file, 0);
			put_word(file, (uint32_t)i);
			put_word(file, 0);
			put_word(file, 0);
			put_frame(file, links[link], &lengths[0], &lengths[1]);
			memcpy(file->bytes + at + 20, lengths, sizeof(lengths));
		}
		end_block(file, at);
	}
}

/* Reads a file up to its end or its fault, `piece` bytes at a time. Returns the number of frames.
 */
static uint64_t read_all(const struct file *file, struct netlog_lane *lane, size_t piece,
			 uint64_t seed, int *result)
{
	struct netlog_capture_step step = {.until_ns = UINT64_MAX};
	struct netlog_capture *capture = NULL;
	size_t at = 0, end = 0;
	uint64_t frames = 0;

	CHECK(netlog_capture_open(NULL, &capture) == 0);
	do {
		end = file->n - end < piece ? file->n : end + piece;
		uint8_t *data = exact(file->bytes + at, end - at);

		step.data = data;
		step.bytes = end - at;
		*result = netlog_capture_count(capture, lane, &step);
		CHECK_ROW(seed, step.consumed <= step.bytes);
		CHECK_ROW(seed, *result == NETLOG_CAPTURE_MORE || *result == -EBADMSG);
		CHECK_ROW(seed, *result || step.need > step.bytes - step.consumed);
		CHECK_ROW(seed, *result || step.need <= NETLOG_MAX_BLOCK_BYTES);
		at += step.consumed;
		free(data);
	} while (*result == NETLOG_CAPTURE_MORE && end < file->n);
	netlog_capture_close(capture);
	for (int fate = 0; fate < NETLOG_FRAME_FATES; fate++)
		frames += step.frames[fate];
	CHECK_ROW(seed, step.frames[NETLOG_FRAME_SNAPPED] ==
				step.snapped_packets[0] + step.snapped_packets[1]);
	return frames;
}

static void check_file(struct netlog_lane *lane, uint64_t seed)
{
	uint64_t random = seed;
	struct file file = {.random = &random};
	int whole, pieces;

	if (next_random(&random) % 2)
		make_pcap(&file);
	else
		make_pcapng(&file);
	if (seed % 8 == 0)
		CHECK_ROW(seed, read_all(&file, lane, MOST_BYTES, seed, &whole) == 4);
	for (uint64_t n = next_random(&random) % 4; n; n--) {
		static const uint8_t values[] = {0, 1, 4, 0x7f, 0x80, 0xff};
		uint64_t choice = next_random(&random);
		size_t at = (size_t)(choice % file.n);

		/* The last record is often damaged, because it lies at the end of the memory. */
		if (choice & 1ull << 41 && file.n > LAST_BYTES)
			at = file.n - 1 - (size_t)(choice % LAST_BYTES);
		file.bytes[at] = choice & 1ull << 40 ? values[(choice >> 48) % sizeof(values)]
						     : (uint8_t)(choice >> 48);
	}
	if (next_random(&random) % 2)
		file.n = (size_t)(next_random(&random) % file.n);
	uint64_t frames = read_all(&file, lane, MOST_BYTES, seed, &whole);

	/* The size of the pieces makes no difference. */
	CHECK_ROW(seed, read_all(&file, lane, 1 + (size_t)(next_random(&random) % 200), seed,
				 &pieces) == frames);
	CHECK_ROW(seed, pieces == whole);
}

int main(void)
{
	struct netlog_meter *meter = open_meter(1024, 1, 1);
	struct netlog_lane *lane;

	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0);
	for (uint64_t seed = 0; seed < ROUNDS; seed++) {
		check_file(lane, seed);
		check_link(seed);
		if (seed % 16 == 0)
			check_snapped(seed);
	}
	netlog_lane_release(lane);
	netlog_meter_close(meter);
	printf("capture: %d damaged files, no step beyond them\n", ROUNDS);
	return 0;
}
