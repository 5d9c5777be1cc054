/* SPDX-License-Identifier: BSD-3-Clause */
/* A poller that attaches to a hostile meter file neither crashes, nor hangs, nor returns more rows
 * than the tables have, whatever another process writes into the file, before or during its calls.
 *
 * The file begins as a good one, with three lanes that have counted in two periods. The input is
 * first what is changed in it, then what the poller does, with further changes in between.
 */
#define _GNU_SOURCE /* memfd_create */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "meter/lane.h"

#define LANES 3u
#define FLOWS 12u
#define CALLS 8

static const struct netlog_meter_options options = {FLOWS, FLOWS, LANES, 1};
static uint8_t *image; /* of the good file */
static size_t image_bytes;

static void count(struct netlog_lane *lane)
{
	uint8_t packet[UDP4_BYTES];

	netlog_lane_enter(lane);
	for (uint32_t i = 0; i < 9; i++) {
		struct netlog_datagram datagram = datagram4(i, (uint16_t)(1000 + i), 60, i & 1);

		make_udp4(packet, 0x64400001, 0x64400000 + i, 1000, 53);
		struct netlog_packet one = packet_of(packet, UDP4_BYTES, i & 1);

		netlog_lane_count_packets(lane, &one, 1);
		netlog_lane_count_datagrams(lane, &datagram, 1);
	}
	netlog_lane_leave(lane);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	int fd = memfd_create("good", MFD_CLOEXEC);
	struct netlog_lane *lanes[LANES];
	struct netlog_meter *meter;

	(void)argc, (void)argv;
	CHECK(netlog_meter_create(fd, &options, &meter) == 0);
	for (uint32_t i = 0; i < LANES; i++) {
		CHECK(netlog_meter_acquire_lane(meter, &lanes[i]) == 0);
		count(lanes[i]);
	}
	CHECK(netlog_meter_swap(meter, 0) == 0);
	for (uint32_t i = 0; i < LANES; i++)
		count(lanes[i]);
	image_bytes = netlog_meter_region_bytes(meter);
	image = room(image_bytes);
	CHECK(pread(fd, image, image_bytes, 0) == (ssize_t)image_bytes);
	netlog_meter_close(meter);
	close(fd);
	return 0;
}

/* Somewhere in the header of the region, in that of a lane, or anywhere. */
static size_t take_offset(struct input *input, uint8_t choice)
{
	size_t at;

	if (choice & 1)
		at = take_16(input) % sizeof(struct netlog_region);
	else if (choice & 2)
		at = region_lane_offset(&options, take_8(input) % LANES) +
		     take_16(input) % sizeof(struct netlog_lane_header);
	else
		at = take_32(input) % image_bytes;
	return at < image_bytes - 8 ? at : image_bytes - 8;
}

static void change(uint8_t *file, struct input *input)
{
	for (uint32_t n = take_8(input) & 7; n; n--) {
		uint8_t choice = take_8(input);
		size_t at = take_offset(input, choice);
		uint64_t word;

		switch (choice >> 2 & 3) {
		case 0:
			file[at] = take_8(input);
			break;
		case 1:
			file[at] ^= (uint8_t)(1 << (take_8(input) & 7));
			break;
		default:
			word = choice & 8 && choice & 4 ? take_8(input) : take_64(input);
			memcpy(file + (at & ~(size_t)7), &word, sizeof(word));
		}
	}
}

/* The rows of all tables: the file may say that they are larger, as long as they fit in it. */
static size_t most_rows(const struct netlog_meter *meter, int point)
{
	const struct netlog_meter_options *found = netlog_meter_options_of(meter);
	uint32_t rows = point == NETLOG_TUN ? found->max_flows : found->max_endpoints;

	return (size_t)rows * found->max_lanes;
}

static void drain_at_once(struct netlog_meter *meter, int point)
{
	size_t most = netlog_meter_retired_rows(meter, point);
	struct netlog_unattributed unattributed;

	CHECK(most <= most_rows(meter, point));
	CHECK(most * sizeof(struct netlog_record) <= image_bytes + NETLOG_PAGE);
	struct netlog_flow *flows = (struct netlog_flow *)room(most * sizeof(*flows));

	CHECK(netlog_meter_drain(meter, point, flows, most, &unattributed) <= (ssize_t)most);
	free(flows);
}

static void drain_in_pieces(struct netlog_meter *meter, int point, uint8_t *file,
			    struct input *input)
{
	struct netlog_unattributed unattributed;
	size_t step = 1 + (take_8(input) & 15), rows = 0;
	ssize_t piece;

	if (netlog_meter_drain_begin(meter, point, &unattributed))
		return;
	struct netlog_flow *flows = (struct netlog_flow *)room(step * sizeof(*flows));

	while ((piece = netlog_meter_drain_next(meter, point, flows, step)) > 0) {
		rows += (size_t)piece;
		CHECK(rows <= most_rows(meter, point));
		change(file, input);
	}
	free(flows);
}

static void call(struct netlog_meter *meter, uint8_t *file, struct input *input)
{
	struct netlog_period period = {.start_ns = 0};
	struct netlog_aside aside;
	uint8_t choice = take_8(input);

	switch (choice & 7) {
	case 0:
		netlog_meter_take_poll(meter);
		break;
	case 1:
		netlog_meter_swap(meter, 1000);
		break;
	case 2:
	case 3:
		drain_at_once(meter, choice & 1);
		break;
	case 4:
	case 5:
		drain_in_pieces(meter, choice & 1, file, input);
		break;
	case 6:
		netlog_meter_clear(meter);
		break;
	default:
		netlog_meter_period(meter, &period);
		netlog_meter_date(meter, &period);
		netlog_meter_read_aside(meter, &aside);
		netlog_meter_retired(meter);
		netlog_file_reclaim(meter);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	int fd = memfd_create("hostile", MFD_CLOEXEC);
	struct netlog_meter *meter;
	uint8_t more = take_8(&input);

	CHECK(ftruncate(fd, (off_t)image_bytes) == 0);
	uint8_t *file = mmap(NULL, image_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(file != MAP_FAILED);
	memcpy(file, image, image_bytes);
	change(file, &input);
	if (more == 1) /* the file of another size: it is refused */
		CHECK(ftruncate(fd, (off_t)image_bytes + NETLOG_PAGE) == 0);
	if (netlog_meter_attach(fd, &meter) == 0) {
		if (!(more & 2))
			netlog_meter_take_poll(meter);
		for (int i = 0; i < CALLS && input.left; i++) {
			change(file, &input);
			call(meter, file, &input);
		}
		netlog_meter_close(meter);
	}
	munmap(file, image_bytes);
	close(fd);
	return 0;
}
