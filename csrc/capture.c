/* SPDX-License-Identifier: BSD-3-Clause */
#include "capture.h"

#include <errno.h>
#include <stdlib.h>

#include "packet.h"

/* Packets that are handed to the lane at once. */
#define BATCH_PACKETS 256

struct netlog_capture {
	const struct netlog_prefixes *locals;
	struct netlog_records records;
};

struct batch {
	struct netlog_packet packets[BATCH_PACKETS];
	size_t n;
};

static bool is_local4(const struct netlog_prefixes *locals, const uint8_t *address)
{
	uint8_t mapped[16] = {[10] = 0xff, [11] = 0xff};

	memcpy(mapped + 12, address, 4);
	return netlog_prefixes_find(locals, mapped, 4) != 0;
}

static bool is_local6(const struct netlog_prefixes *locals, const uint8_t *address)
{
	return netlog_prefixes_find(locals, address, 6) != 0;
}

static uint8_t direction_of(const struct netlog_prefixes *locals, const struct netlog_frame *packet)
{
	const uint8_t *data = packet->data;
	bool rx = packet->incoming;

	if (locals) {
		rx = false;
		if (packet->captured >= PACKET_IP4_HEADER && data[0] >> 4 == 4)
			rx = !is_local4(locals, data + 12) && is_local4(locals, data + 16);
		else if (packet->captured >= PACKET_IP6_HEADER && data[0] >> 4 == 6)
			rx = !is_local6(locals, data + 8) && is_local6(locals, data + 24);
	}
	return rx ? NETLOG_RX : NETLOG_TX;
}

static bool has_headers(const struct netlog_packet *packet, uint32_t captured)
{
	/* Without options, the ports end here. */
	if (likely(captured >= PACKET_IP4_HEADER + PACKET_PORTS && packet->data[0] == 0x45))
		return true;
	return netlog_packet_has_headers(packet, captured);
}

static void flush(struct batch *batch, struct netlog_lane *lane)
{
	netlog_lane_count_packets(lane, batch->packets, batch->n);
	batch->n = 0;
}

/* Puts the packet of a frame into the batch, or counts why there is none. */
static void take(const struct netlog_capture *capture, struct netlog_record_read *record,
		 struct batch *batch, struct netlog_capture_step *step)
{
	struct netlog_frame *frame = &record->frame;
	enum netlog_frame_fate fate = netlog_frame_unwrap(record->link, frame);
	struct netlog_packet *packet = &batch->packets[batch->n];

	step->late += record->time_ns < step->start_ns;
	if (unlikely(fate != NETLOG_FRAME_PACKET)) {
		step->frames[fate]++;
		if (fate == NETLOG_FRAME_LINK)
			step->unknown_link = record->link;
		return;
	}
	*packet = (struct netlog_packet){
		.data = frame->data,
		.length = frame->length,
		.direction = direction_of(capture->locals, frame),
	};
	if (unlikely(!has_headers(packet, frame->captured))) {
		step->frames[NETLOG_FRAME_SNAPPED]++;
		step->snapped_packets[packet->direction]++;
		step->snapped_bytes[packet->direction] += packet->length;
		return;
	}
	step->frames[NETLOG_FRAME_PACKET]++;
	batch->n++;
}

static int count(struct netlog_capture *capture, struct netlog_lane *lane,
		 struct netlog_capture_step *step)
{
	struct netlog_record_read record;
	struct batch batch = {.n = 0};
	int result = NETLOG_CAPTURE_PAUSE;

	for (uint32_t i = 0; i < NETLOG_CAPTURE_MAX_RECORDS; i++) {
		int64_t bytes =
			netlog_records_read(&capture->records, step->data + step->consumed,
					    step->bytes - step->consumed, &step->need, &record);

		if (unlikely(bytes <= 0)) {
			step->fault = (uint32_t)-bytes;
			result = bytes ? -EBADMSG : NETLOG_CAPTURE_MORE;
			break;
		}
		if (record.frame.data) {
			if (unlikely(record.time_ns >= step->until_ns)) {
				step->time_ns = record.time_ns;
				result = NETLOG_CAPTURE_PERIOD;
				break;
			}
			capture->records.time_ns = record.time_ns;
			take(capture, &record, &batch, step);
			if (unlikely(batch.n == BATCH_PACKETS))
				flush(&batch, lane);
		}
		step->consumed += (size_t)bytes;
	}
	flush(&batch, lane);
	return step->fault == NETLOG_FAULT_MEMORY ? -ENOMEM : result;
}

int netlog_capture_open(const struct netlog_prefixes *locals, struct netlog_capture **capture)
{
	*capture = calloc(1, sizeof(**capture));
	if (!*capture)
		return -ENOMEM;
	(*capture)->locals = locals;
	return 0;
}

void netlog_capture_close(struct netlog_capture *capture)
{
	if (!capture)
		return;
	netlog_records_end(&capture->records);
	free(capture);
}

int netlog_capture_count(struct netlog_capture *capture, struct netlog_lane *lane,
			 struct netlog_capture_step *step)
{
	step->consumed = 0;
	step->fault = 0;
	netlog_lane_enter(lane);
	int result = count(capture, lane, step);

	netlog_lane_leave(lane);
	return result;
}
