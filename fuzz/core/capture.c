/* SPDX-License-Identifier: BSD-3-Clause */
/* A capture that is passed piece by piece gives what it gives as a whole, whatever its bytes are.
 *
 * Both readings have the same result, the same fault at the same byte, and the same counts; one
 * counts with the plain loop, the other with the best that the processor has. What the reader says
 * that it counted is what is in the meter. The input begins with two bytes of options; the file
 * follows.
 */
#include "capture/capture.h"
#include "fuzz.h"
#include "meter/lane.h"

/* As many as the inputs can have: a record takes 12 bytes. */
#define MOST_FLOWS 131072u
/* Each call consumes, ends a period, or is given more. */
#define MOST_CALLS 300000u

static struct netlog_meter *meter;
static struct netlog_lane *lane;
static struct netlog_prefixes *locals;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct netlog_prefix prefix = {.version = 4, .length = 8, .clear = UINT32_MAX, .set = 1};

	(void)argc, (void)argv;
	meter = open_meter(MOST_FLOWS, 1, 1);
	CHECK(netlog_meter_acquire_lane(meter, &lane) == 0);
	prefix.address[10] = prefix.address[11] = 0xff;
	prefix.address[12] = 10;
	CHECK(netlog_prefixes_open(&prefix, 1, &locals) == 0);
	return 0;
}

struct reading {
	int result;
	uint32_t fault;
	uint32_t periods;
	size_t at;
	uint64_t packets, bytes; /* in the meter */
	struct netlog_capture_step step;
};

struct options {
	const uint8_t *file;
	size_t bytes;
	size_t piece; /* bytes at a time */
	uint64_t period_ns;
	const struct netlog_prefixes *locals;
};

static void drain(struct reading *reading)
{
	static struct netlog_flow flows[MOST_FLOWS];
	struct netlog_unattributed unattributed;

	CHECK(netlog_meter_swap(meter, 0) == 0);
	ssize_t rows = netlog_meter_drain(meter, NETLOG_TUN, flows, MOST_FLOWS, &unattributed);

	CHECK(rows >= 0);
	reading->packets = unattributed_packets(&unattributed);
	reading->bytes = unattributed_bytes(&unattributed);
	for (ssize_t i = 0; i < rows; i++) {
		reading->packets += flows[i].tx_packets + flows[i].rx_packets;
		reading->bytes += flows[i].tx_bytes + flows[i].rx_bytes;
	}
	CHECK(netlog_meter_clear(meter) == 0);
}

/* Acts on what the last call wants. Returns false at the end of the file. */
static bool go_on(const struct options *options, struct reading *reading, size_t *have)
{
	struct netlog_capture_step *step = &reading->step;

	switch (reading->result) {
	case NETLOG_CAPTURE_MORE:
		CHECK(step->need > *have - reading->at || *have == reading->at);
		if (*have == options->bytes)
			return false;
		*have += options->piece;
		if (*have > options->bytes)
			*have = options->bytes;
		return true;
	case NETLOG_CAPTURE_PERIOD:
		CHECK(step->time_ns >= step->until_ns);
		step->start_ns = step->time_ns / options->period_ns * options->period_ns;
		step->until_ns = step->start_ns + options->period_ns;
		CHECK(step->until_ns > step->time_ns);
		reading->periods++;
		return true;
	case NETLOG_CAPTURE_PAUSE:
		CHECK(step->consumed);
		return true;
	default:
		CHECK(reading->result < 0);
		reading->fault = step->fault;
		return false;
	}
}

static void read_file(const struct options *options, struct reading *reading)
{
	struct netlog_capture *capture = NULL;
	struct netlog_capture_step *step = &reading->step;
	size_t have = options->piece < options->bytes ? options->piece : options->bytes;

	memset(reading, 0, sizeof(*reading));
	step->until_ns = options->period_ns;
	CHECK(netlog_capture_open(options->locals, &capture) == 0);
	for (uint32_t calls = 0;; calls++) {
		CHECK(calls < MOST_CALLS);
		uint8_t *data = copy_of(options->file + reading->at, have - reading->at);

		step->data = data;
		step->bytes = have - reading->at;
		reading->result = netlog_capture_count(capture, lane, step);
		free(data);
		CHECK(step->consumed <= have - reading->at);
		reading->at += step->consumed;
		if (!go_on(options, reading, &have))
			break;
	}
	netlog_capture_close(capture);
	drain(reading);
	CHECK(reading->packets == step->frames[NETLOG_FRAME_PACKET]);
	CHECK(step->snapped_packets[0] + step->snapped_packets[1] ==
	      step->frames[NETLOG_FRAME_SNAPPED]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t choice = take_8(&input);
	struct options options = {
		.period_ns = (1 + (uint64_t)take_8(&input)) * 50000000,
		.locals = choice & 0x80 ? locals : NULL,
	};
	struct reading whole, pieces;
	netlog_count_packets_fn *best = meter->count_packets;

	options.file = input.data;
	options.bytes = options.piece = input.left;
	meter->count_packets = netlog_count_packets_base;
	read_file(&options, &whole);
	meter->count_packets = best;
	options.piece = 1 + choice % 97u;
	read_file(&options, &pieces);

	CHECK(whole.result == pieces.result && whole.fault == pieces.fault);
	CHECK(whole.at == pieces.at && whole.periods == pieces.periods);
	CHECK(whole.packets == pieces.packets && whole.bytes == pieces.bytes);
	/* From `frames` on, the step has sums alone. */
	CHECK(!memcmp(whole.step.frames, pieces.step.frames,
		      sizeof(whole.step) - offsetof(struct netlog_capture_step, frames)));
	return 0;
}
