/* SPDX-License-Identifier: BSD-3-Clause */
/* A frame of any link type: the short way and the long way find the same packet, and it lies in the
 * frame. A packet that is cut is decoded as the whole one is, or not at all.
 *
 * The input begins with the link type and the bytes that were not captured; the frame follows.
 */
#include "fuzz.h"
#include "packet/frame.h"

static const uint16_t links[] = {
	NETLOG_LINK_NULL,
	NETLOG_LINK_ETHERNET,
	NETLOG_LINK_PPP,
	NETLOG_LINK_RAW_BSD,
	NETLOG_LINK_RAW_OPENBSD,
	NETLOG_LINK_PPP_HDLC,
	NETLOG_LINK_PPP_ETHERNET,
	NETLOG_LINK_RAW,
	NETLOG_LINK_CISCO_HDLC,
	NETLOG_LINK_80211,
	NETLOG_LINK_FRAME_RELAY,
	NETLOG_LINK_LOOP,
	NETLOG_LINK_SLL,
	NETLOG_LINK_80211_RADIOTAP,
	NETLOG_LINK_USER0,
	NETLOG_LINK_PKTAP_DARWIN,
	NETLOG_LINK_MPLS,
	NETLOG_LINK_IPV4,
	NETLOG_LINK_IPV6,
	NETLOG_LINK_NFLOG,
	NETLOG_LINK_PKTAP,
	NETLOG_LINK_SLL2,
	65535,
};

/* The packet as netlog_capture_count() decodes it, from no more than the bytes that are there. */
static void check_packet(const struct netlog_frame *frame)
{
	uint8_t *data = copy_of(frame->data, frame->captured);
	struct netlog_packet packet = packet_of(data, frame->length, 0);
	struct netlog_key key = {.tail = 0}, plain = {.tail = 0};
	struct netlog_increment increment;

	if (netlog_packet_has_headers(&packet, frame->captured)) {
		int reason = netlog_packet_decode(&packet, &key, &increment);

		CHECK(increment.packets == 1 && increment.bytes == frame->length);
		if (packet_decode_plain4(&packet, &plain) || packet_decode_plain6(&packet, &plain))
			CHECK(!reason && !memcmp(&key, &plain, sizeof(key)));
	}
	free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint16_t link = links[take_8(&input) % (sizeof(links) / sizeof(links[0]))];
	uint8_t missing = take_8(&input);
	uint32_t captured = (uint32_t)input.left;
	uint8_t *bytes = copy_of(input.data, captured);
	struct netlog_frame frame = {
		.data = bytes, .captured = captured, .length = captured + missing};
	struct netlog_frame other = frame;
	enum netlog_frame_fate fate = netlog_frame_unwrap(link, &frame);

	CHECK(fate < NETLOG_FRAME_FATES);
	CHECK(netlog_frame_unwrap_any(link, &other) == fate);
	CHECK(frame.data == other.data && frame.captured == other.captured);
	CHECK(frame.length == other.length && frame.incoming == other.incoming);
	CHECK(frame.space == other.space && frame.number == other.number);
	CHECK(frame.captured <= frame.length);
	CHECK(frame.data >= bytes && frame.data + frame.captured <= bytes + captured);
	if (fate == NETLOG_FRAME_PACKET)
		check_packet(&frame);
	free(bytes);
	return 0;
}
