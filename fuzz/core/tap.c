/* SPDX-License-Identifier: BSD-3-Clause */
/* Whatever lies in a block of a tap's ring, nothing beyond it is read, and its books balance.
 *
 * A frame is counted, or left out for one reason. The meter has at least one packet, or datagram,
 * for each counted frame. Inputs are blocks of any bytes, and blocks as the kernel writes them.
 */
#include <linux/if_arp.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>

#include "fuzz.h"
#include "meter/lane.h"
#include "packet/frame.h"
#include "tap/block.h"

#define MOST_ROWS   4096u
#define BLOCK_BYTES (1u << 17)
#define MOST_FRAMES 400u

enum { FIRST_AT = 48, ADDRESS_AT = 48, DATA_AT = 96 };

static struct netlog_meter *meter;
static struct netlog_lane *lane;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	meter = open_meter(MOST_ROWS, MOST_ROWS, 1);
	return netlog_meter_acquire_lane(meter, &lane);
}

/* Writes the packet with an Ethernet header, or without. Returns the bytes written. */
static uint32_t put_frame(uint8_t *at, const uint8_t *packet, uint32_t length, bool ethernet)
{
	uint32_t link = ethernet ? FRAME_ETHERNET_HEADER : 0;

	if (ethernet)
		put_16(at + 12,
		       length && packet[0] >> 4 == 6 ? FRAME_ETHERTYPE_IP6 : FRAME_ETHERTYPE_IP4);
	memcpy(at + link, packet, length);
	return link + length;
}

/* Writes a frame as the kernel does. Returns the bytes up to the next one; 0: there is no room. */
static uint32_t put_tapped(struct input *input, uint8_t *at, uint32_t left)
{
	struct tpacket3_hdr header = {.tp_mac = DATA_AT};
	struct sockaddr_ll address = {.sll_family = 0};
	struct virtio_net_hdr gso = {0};
	uint8_t choice = take_8(input), *packet;
	uint32_t length = make_packet(input, &packet), bytes = 0;
	bool ethernet = choice & 1;

	if (DATA_AT + length + 64 <= left)
		bytes = put_frame(at + DATA_AT, packet, length, ethernet);
	free(packet);
	if (!bytes)
		return 0;
	header.tp_len = header.tp_snaplen = bytes;
	if (choice & 2) {
		uint32_t cut = take_8(input);

		if (cut < bytes)
			header.tp_snaplen -= cut;
	}
	header.tp_net = DATA_AT + (ethernet ? FRAME_ETHERNET_HEADER : 0);
	if (choice & 4)
		header.tp_net = (uint16_t)(DATA_AT + take_8(input));
	address.sll_pkttype = choice >> 3 & 7;
	address.sll_hatype = ethernet ? ARPHRD_ETHER : ARPHRD_NONE;
	if (choice & 0x40) {
		gso.gso_type = take_8(input) & 7;
		gso.gso_size = take_16(input) & 0x3ff;
		gso.flags = take_8(input) & 1;
		gso.csum_start = take_8(input);
	}
	header.tp_next_offset = (DATA_AT + header.tp_snaplen + 15) & ~15u;
	memcpy(at, &header, sizeof(header));
	memcpy(at + ADDRESS_AT, &address, sizeof(address));
	memcpy(at + DATA_AT - sizeof(gso), &gso, sizeof(gso));
	if (choice & 0x80) {
		uint32_t where = take_8(input) % (DATA_AT + 14);

		at[where] ^= take_8(input);
	}
	return header.tp_next_offset;
}

/* Makes a block in an allocation of its own. Returns its bytes. */
static size_t make_block(struct input *input, uint8_t mode, uint8_t **block)
{
	static uint8_t bytes[BLOCK_BYTES];
	struct tpacket_block_desc head = {.version = 0};
	uint32_t at = FIRST_AT, frames = 0;

	if (mode & 1) {
		*block = copy_of(input->data, input->left);
		return input->left;
	}
	memset(bytes, 0, sizeof(bytes));
	while (input->left && frames < MOST_FRAMES) {
		uint32_t step = put_tapped(input, bytes + at, BLOCK_BYTES - at);

		if (!step)
			break;
		at += step;
		frames++;
	}
	head.hdr.bh1.offset_to_first_pkt = FIRST_AT;
	head.hdr.bh1.num_pkts = frames + (mode >> 1 & 1);
	memcpy(bytes, &head, FIRST_AT);
	if (mode & 4)
		at -= mode >> 4;
	*block = copy_of(bytes, at);
	return at;
}

static void check_counts(const struct netlog_tap_reader *reader)
{
	static struct netlog_flow flows[2 * MOST_ROWS];
	struct netlog_unattributed unattributed;
	const uint64_t *counts = reader->counts;

	CHECK(netlog_meter_swap(meter, 0) == 0);
	ssize_t rows =
		netlog_meter_drain(meter, reader->point, flows, 2 * MOST_ROWS, &unattributed);

	CHECK(rows >= 0);
	uint64_t packets = unattributed_packets(&unattributed);

	for (ssize_t i = 0; i < rows; i++)
		packets += flows[i].tx_packets + flows[i].rx_packets;
	CHECK(counts[NETLOG_TAP_FRAMES] == counts[NETLOG_TAP_COUNTED] + counts[NETLOG_TAP_NOT_IP] +
						   counts[NETLOG_TAP_OTHER_HOST] +
						   counts[NETLOG_TAP_MALFORMED]);
	CHECK(counts[NETLOG_TAP_SNAPPED] <= counts[NETLOG_TAP_COUNTED]);
	CHECK(packets >= counts[NETLOG_TAP_COUNTED]);
	CHECK(packets == 0 || counts[NETLOG_TAP_COUNTED]);
	CHECK(netlog_meter_clear(meter) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	uint8_t mode = take_8(&input), *block;
	size_t bytes = make_block(&input, mode, &block);
	struct netlog_tap_reader reader = {
		.lane = lane, .point = mode >> 3 & 1, .port = 1000u + (mode >> 4 & 3)};

	netlog_lane_enter(lane);
	netlog_tap_count_block(&reader, block, bytes);
	netlog_lane_leave(lane);
	check_counts(&reader);
	free(block);
	return 0;
}
