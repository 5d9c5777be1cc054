/* SPDX-License-Identifier: BSD-3-Clause */
#include "capture/capture.h"

#include <errno.h>
#include <stdlib.h>

#include "packet/packet.h"

/* Packets that are counted in one call. */
#define BATCH_PACKETS 256

struct netlog_capture {
	const struct netlog_prefixes *locals;
	struct netlog_records records;
};

/* The captured bytes of a plain packet: at least up to the ports of IPv4 without options. */
#define PLAIN_LEAST (PACKET_IP4_HEADER + PACKET_PORTS)
#define PLAIN_MOST  (NETLOG_MAX_CAPTURED_BYTES - 2 * PLAIN_LEAST)

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

/* The direction of a packet whose addresses were captured. */
static uint8_t direction_by(const struct netlog_prefixes *locals, const uint8_t *data)
{
	bool rx = data[0] >> 4 == 4 ? !is_local4(locals, data + 12) && is_local4(locals, data + 16)
				    : !is_local6(locals, data + 8) && is_local6(locals, data + 24);

	return rx ? NETLOG_RX : NETLOG_TX;
}

static uint8_t direction_of(const struct netlog_prefixes *locals, const struct netlog_frame *packet)
{
	const uint8_t *data = packet->data;

	if (!locals)
		return packet->incoming ? NETLOG_RX : NETLOG_TX;
	if (packet->captured >= PACKET_IP4_HEADER && data[0] >> 4 == 4)
		return direction_by(locals, data);
	if (packet->captured >= PACKET_IP6_HEADER && data[0] >> 4 == 6)
		return direction_by(locals, data);
	return NETLOG_TX;
}

static bool has_headers(const struct netlog_packet *packet, uint32_t captured)
{
	/* Without options, the ports end here. */
	if (likely(packet_has_headers4(packet->data, captured)))
		return true;
	return netlog_packet_has_headers(packet, captured);
}

static void flush(struct batch *batch, struct netlog_lane *lane)
{
	netlog_lane_count_packets(lane, batch->packets, batch->n);
	batch->n = 0;
}

/* Returns the offset of the packet in a record, or 0 if take_plain() cannot read this capture. */
static uint32_t plain_offset(const struct netlog_records *records)
{
	if (records->format != NETLOG_FORMAT_PCAP || records->swapped ||
	    records->header != RECORDS_PCAP_HEADER)
		return 0;
	if (records->link == NETLOG_LINK_ETHERNET)
		return RECORDS_PCAP_HEADER + FRAME_ETHERNET_HEADER;
	return records->link == NETLOG_LINK_RAW ? RECORDS_PCAP_HEADER : 0;
}

/* Whether a packet fills its frame exactly, and its ports were captured. At least PACKET_IP4_HEADER
 * + PACKET_PORTS bytes were captured. */
NETLOG_INLINE bool is_plain(const uint8_t *data, uint32_t captured, uint32_t length)
{
	if (likely(data[0] == 0x45))
		return load_be16(data + 2) == length && data[9] != PROTO_AH;
	return data[0] >> 4 == 6 && captured >= PACKET_IP6_HEADER + PACKET_PORTS &&
	       packet_is_plain_proto(data[6]) &&
	       load_be16(data + 4) + (uint32_t)PACKET_IP6_HEADER == length;
}

NETLOG_INLINE bool is_plain_type(const uint8_t *data, uint32_t offset)
{
	return offset == RECORDS_PCAP_HEADER ||
	       load_be16(data - 2) ==
		       (data[0] >> 4 == 4 ? FRAME_ETHERTYPE_IP4 : FRAME_ETHERTYPE_IP6);
}

/* Puts records into the batch as long as they are what most captures consist of: plain packets of
 * the period. Stops at the first other record, or when the batch is full. For these packets
 * everything that take() checks is known. Returns their number. */
static uint32_t take_plain(const struct netlog_capture *capture, struct batch *batch,
			   struct netlog_capture_step *step)
{
	/* Copies, because the compiler cannot know that the stores below do not change the
	 * originals.
	 */
	const struct netlog_prefixes *locals = capture->locals;
	const uint32_t offset = plain_offset(&capture->records);
	const uint64_t scale = capture->records.nanoseconds ? 1 : 1000;
	const uint64_t start_ns = step->start_ns, period_ns = step->until_ns - start_ns;
	const uint8_t *at = step->data + step->consumed, *end = step->data + step->bytes;
	struct netlog_packet *first = batch->packets + batch->n, *packet = first;
	uint64_t large = 0;

	if (!offset)
		return 0;
	while (packet < batch->packets + BATCH_PACKETS &&
	       (size_t)(end - at) >= offset + PLAIN_LEAST) {
		uint32_t captured = load_32(at + 8), length = load_32(at + 12);
		uint64_t time_ns =
			load_32(at) * (uint64_t)RECORDS_NS_PER_S + load_32(at + 4) * scale;
		const uint8_t *data = at + offset;

		captured += RECORDS_PCAP_HEADER;
		length += RECORDS_PCAP_HEADER;
		if (unlikely(captured - offset - PLAIN_LEAST >= PLAIN_MOST || captured > length ||
			     captured > (size_t)(end - at) || time_ns - start_ns >= period_ns) ||
		    unlikely(!is_plain(data, captured - offset, length - offset)) ||
		    unlikely(!is_plain_type(data, offset)))
			break;
		*packet++ = (struct netlog_packet){
			.data = data,
			.length = length - offset,
			.direction = unlikely(locals) ? direction_by(locals, data) : NETLOG_TX,
		};
		large += length - offset > NETLOG_CAPTURE_LARGE;
		at += captured;
	}
	step->large += large;
	step->consumed = (size_t)(at - step->data);
	step->frames[NETLOG_FRAME_PACKET] += (uint64_t)(packet - first);
	batch->n = (size_t)(packet - batch->packets);
	return (uint32_t)(packet - first);
}

/* Counts a frame that is left out by what it is. */
static void tell_kind(const struct netlog_frame *frame, struct netlog_capture_step *step)
{
	uint32_t i = 0;

	while (i < step->n_kinds &&
	       (step->kinds[i].space != frame->space || step->kinds[i].number != frame->number))
		i++;
	if (i >= NETLOG_CAPTURE_KINDS)
		i = NETLOG_CAPTURE_KINDS;
	else if (i == step->n_kinds)
		step->kinds[step->n_kinds++] = (struct netlog_capture_kind){
			.space = frame->space, .number = frame->number};
	step->kinds[i].frames++;
}

/* Puts the packet of a frame into the batch, or counts why there is none. */
static void take(const struct netlog_capture *capture, struct netlog_record_read *record,
		 struct batch *batch, struct netlog_capture_step *step)
{
	struct netlog_frame *frame = &record->frame;
	enum netlog_frame_fate fate = netlog_frame_unwrap(record->link, frame);
	struct netlog_packet *packet = &batch->packets[batch->n];

	step->late += record->time_ns < step->start_ns && !record->untimed;
	if (unlikely(fate != NETLOG_FRAME_PACKET)) {
		step->frames[fate]++;
		if (fate != NETLOG_FRAME_CUT)
			tell_kind(frame, step);
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
	step->large += packet->length > NETLOG_CAPTURE_LARGE;
	batch->n++;
}

static int count(struct netlog_capture *capture, struct netlog_lane *lane,
		 struct netlog_capture_step *step)
{
	struct netlog_record_read record;
	struct batch batch = {.n = 0};
	int result = NETLOG_CAPTURE_PAUSE;

	for (uint32_t i = 0; i < NETLOG_CAPTURE_MAX_RECORDS; i++) {
		i += take_plain(capture, &batch, step);
		if (batch.n == BATCH_PACKETS)
			flush(&batch, lane);
		int64_t bytes =
			netlog_records_read(&capture->records, step->data + step->consumed,
					    step->bytes - step->consumed, &step->need, &record);

		if (unlikely(bytes <= 0)) {
			step->fault = (uint32_t)-bytes;
			result = bytes ? -EBADMSG : NETLOG_CAPTURE_MORE;
			break;
		}
		if (record.frame.data) {
			/* One without a time is of the period that is being read, or of the
			 * first. */
			if (unlikely(record.time_ns >= step->until_ns && !record.untimed)) {
				step->time_ns = record.time_ns;
				result = NETLOG_CAPTURE_PERIOD;
				break;
			}
			capture->records.time_ns = record.time_ns;
			step->untimed += record.untimed;
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
