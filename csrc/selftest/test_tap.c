/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of tap/block: blocks as the kernel writes them, and blocks as it never would.
 *
 * A block lies in memory of its exact size, so that AddressSanitizer sees each read beyond it.
 */
#include <linux/if_arp.h>
#include <linux/if_ether.h>

#include "tap/block.c"
#include "check.h"

#define BLOCK_BYTES  8192u
#define MAX_ROWS     64
#define SWAP_NS      10000000000ull
#define PORT         41641
#define RANDOM_TURNS (200000 / SLOWER)

/* The offset of a frame's bytes, as the kernel chooses it with a virtio header. */
#define MAC_AT 96u

struct sent {
	uint16_t hardware;
	uint8_t type;
	uint32_t length; /* on the wire, with the link header */
	uint8_t gso_type;
	uint16_t gso_size;
	uint16_t csum_start; /* 0: no checksum is left to do */
};

struct block {
	uint8_t *bytes;
	uint32_t end, last, frames;
};

static struct block new_block(void)
{
	struct block block = {.bytes = calloc(1, BLOCK_BYTES),
			      .end = sizeof(struct tpacket_block_desc)};

	CHECK(block.bytes);
	return block;
}

static void put_frame(struct block *block, const struct sent *sent, const uint8_t *data,
		      uint32_t captured)
{
	struct tpacket_block_desc *header = (void *)block->bytes;
	struct tpacket3_hdr frame = {
		.tp_snaplen = captured, .tp_len = sent->length, .tp_mac = MAC_AT, .tp_net = MAC_AT};
	struct sockaddr_ll address = {.sll_hatype = sent->hardware, .sll_pkttype = sent->type};
	struct virtio_net_hdr gso = {.gso_type = sent->gso_type,
				     .gso_size = sent->gso_size,
				     .flags = sent->csum_start ? VIRTIO_NET_HDR_F_NEEDS_CSUM : 0,
				     .csum_start = sent->csum_start};
	uint32_t bytes = (MAC_AT + captured + 15) & ~15u;
	uint8_t *at = block->bytes + block->end;

	CHECK(block->end + bytes <= BLOCK_BYTES);
	if (block->frames) {
		uint32_t next = block->end - block->last;

		memcpy(block->bytes + block->last + offsetof(struct tpacket3_hdr, tp_next_offset),
		       &next, sizeof(next));
	} else {
		header->hdr.bh1.offset_to_first_pkt = block->end;
	}
	if (sent->hardware == ARPHRD_ETHER)
		frame.tp_net += ETH_HLEN;
	memcpy(at, &frame, sizeof(frame));
	memcpy(at + ADDRESS_AT, &address, sizeof(address));
	memcpy(at + MAC_AT - sizeof(gso), &gso, sizeof(gso));
	memcpy(at + MAC_AT, data, captured);
	block->last = block->end;
	block->end += bytes;
	header->hdr.bh1.num_pkts = ++block->frames;
}

struct sums {
	uint64_t rows, tx_packets, tx_bytes, rx_packets, rx_bytes, unattributed;
};

/* Counts a block on a meter of its own. The tap's counters are in reader afterwards. */
static struct sums count_block(struct netlog_tap_reader *reader, const uint8_t *bytes, size_t n)
{
	struct netlog_meter_options options = {
		.max_flows = 64, .max_endpoints = 64, .max_lanes = 1};
	struct netlog_unattributed unattributed;
	struct netlog_flow flows[MAX_ROWS];
	struct netlog_meter *meter;
	struct sums sums = {0};

	CHECK(netlog_meter_open(&options, &meter) == 0);
	CHECK(netlog_meter_acquire_lane(meter, &reader->lane) == 0);
	netlog_lane_enter(reader->lane);
	netlog_tap_count_block(reader, bytes, n);
	netlog_lane_leave(reader->lane);
	CHECK(netlog_meter_swap(meter, SWAP_NS) == 0);
	ssize_t rows = netlog_meter_drain(meter, reader->point, flows, MAX_ROWS, &unattributed);

	CHECK(rows >= 0);
	for (ssize_t i = 0; i < rows; i++) {
		sums.tx_packets += flows[i].tx_packets;
		sums.tx_bytes += flows[i].tx_bytes;
		sums.rx_packets += flows[i].rx_packets;
		sums.rx_bytes += flows[i].rx_bytes;
	}
	sums.rows = (uint64_t)rows;
	for (int reason = 0; reason < NETLOG_REASONS; reason++)
		sums.unattributed +=
			unattributed.packets[reason][0] + unattributed.packets[reason][1];
	netlog_lane_release(reader->lane);
	netlog_meter_close(meter);
	return sums;
}

/* Puts IPv4 and UDP headers for `payload` bytes, between PORT and another port. */
static uint32_t put_udp4(uint8_t *data, bool tx, uint32_t payload)
{
	memset(data, 0, 28);
	data[0] = 0x45;
	put_16(data + 2, 28 + payload);
	data[9] = PROTO_UDP;
	put_32(data + 12, tx ? 0x0a000001 : 0x0a000002);
	put_32(data + 16, tx ? 0x0a000002 : 0x0a000001);
	put_16(data + 20, tx ? PORT : 1000);
	put_16(data + 22, tx ? 1000 : PORT);
	put_16(data + 24, 8 + payload);
	return 28;
}

static void test_tun(void)
{
	struct netlog_tap_reader reader = {.point = NETLOG_TUN};
	struct block block = new_block();
	uint8_t data[128] = {0};
	const uint32_t headers = sizeof(data);

	put_udp4(data, true, 1000);

	put_frame(&block, &(struct sent){ARPHRD_NONE, PACKET_OUTGOING, 1028, 0, 0, 0}, data,
		  headers);
	/* A super-packet of 10 segments and one byte. */
	put_udp4(data, false, 1001);
	put_frame(&block, &(struct sent){ARPHRD_NONE, PACKET_HOST, 1029, GSO_UDP_SEGMENTS, 100, 0},
		  data, headers);
	/* UFO: the kernel makes fragments of one datagram, so it is one packet. */
	put_frame(&block,
		  &(struct sent){ARPHRD_NONE, PACKET_HOST, 1029, VIRTIO_NET_HDR_GSO_UDP, 100, 0},
		  data, headers);
	/* Captured too short to know. */
	put_frame(&block, &(struct sent){ARPHRD_NONE, PACKET_OUTGOING, 1029, 0, 0, 0}, data, 22);
	put_frame(&block,
		  &(struct sent){ARPHRD_NONE, PACKET_OUTGOING, 1029, GSO_UDP_SEGMENTS, 100, 0},
		  data, 14);
	struct sums sums = count_block(&reader, block.bytes, BLOCK_BYTES);

	CHECK(sums.rows == 1);
	CHECK(sums.tx_packets == 1 && sums.tx_bytes == 1028);
	CHECK(sums.rx_packets == 11 + 1 && sums.rx_bytes == 1001 + 11 * 28 + 1029);
	CHECK(sums.unattributed == 2);
	CHECK(reader.counts[NETLOG_TAP_FRAMES] == 5 && reader.counts[NETLOG_TAP_COUNTED] == 5);
	CHECK(reader.counts[NETLOG_TAP_SNAPPED] == 2);
	free(block.bytes);
}

/* A TCP super-packet in a tunnel, of so many bytes before the inner IP header and 2500 of payload.
 * Returns where the checksum is left to do. */
static uint32_t put_tunnel(uint8_t *data, uint8_t proto, uint32_t inner)
{
	const uint32_t tcp = inner + 20;

	memset(data, 0, tcp + 20);
	put_udp4(data, false, tcp + 20 + 2500 - 28);
	if (proto != PROTO_UDP)
		memset(data + 20, 0, 8);
	data[9] = proto;
	data[inner] = 0x45;
	data[tcp + 12] = 0x50;
	return tcp;
}

/* Each segment has the headers of the tunnel and those inside. */
static void test_tunnels(void)
{
	static const struct {
		uint8_t proto;
		uint32_t inner;
	} rows[] = {{47, 24}, {4, 20}, {PROTO_UDP, 28 + 8 + 14}, {PROTO_UDP, 28}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int point = NETLOG_TUN; point <= NETLOG_SOCK; point++) {
			struct netlog_tap_reader reader = {.point = (uint8_t)point, .port = PORT};
			struct block block = new_block();
			uint8_t data[ETH_HLEN + 128] = {[12] = 0x08};
			uint32_t tcp = put_tunnel(data + ETH_HLEN, rows[i].proto, rows[i].inner);
			uint32_t headers = tcp + 20;

			put_frame(&block,
				  &(struct sent){ARPHRD_ETHER, PACKET_HOST,
						 ETH_HLEN + headers + 2500,
						 VIRTIO_NET_HDR_GSO_TCPV4, 1000,
						 (uint16_t)(ETH_HLEN + tcp)},
				  data, ETH_HLEN + headers);
			struct sums sums = count_block(&reader, block.bytes, BLOCK_BYTES);

			if (point == NETLOG_TUN)
				CHECK_ROW(i, sums.rx_packets == 3 &&
						     sums.rx_bytes == 2500 + 3 * headers);
			else if (rows[i].proto == PROTO_UDP)
				CHECK_ROW(i, sums.rx_packets == 3 &&
						     sums.rx_bytes == 2500 + 3 * (headers - 28));
			else
				CHECK_ROW(i, reader.counts[NETLOG_TAP_MALFORMED] == 1);
			free(block.bytes);
		}
	}
}

/* A length of 0: a super-packet that no length field can say. */
static void test_big(void)
{
	struct netlog_tap_reader reader = {.point = NETLOG_TUN};
	struct block block = new_block();
	uint8_t data[64] = {0};

	put_tunnel(data, PROTO_TCP, 0);
	memset(data + 20, 0, 44);
	data[32] = 0x50;
	put_16(data + 2, 0);
	put_frame(&block,
		  &(struct sent){ARPHRD_NONE, PACKET_OUTGOING, 100040, VIRTIO_NET_HDR_GSO_TCPV4,
				 1000, 20},
		  data, sizeof(data));
	struct sums sums = count_block(&reader, block.bytes, BLOCK_BYTES);

	CHECK(sums.unattributed == 0 && sums.tx_packets == 100);
	CHECK(sums.tx_bytes == 100000 + 100 * 40);
	free(block.bytes);
}

/* What the frame of a row becomes at a socket. */
struct sock_row {
	const char *what;
	uint8_t type;
	bool tx;
	uint32_t payload;
	int at; /* the offset of a byte that is changed; -1: none */
	uint8_t value;
	uint16_t gso_size;
	enum netlog_tap_count fate;
	uint64_t packets;
};

static void test_sock(void)
{
	static const struct sock_row rows[] = {
		{"tx", PACKET_OUTGOING, true, 100, -1, 0, 0, NETLOG_TAP_COUNTED, 1},
		{"rx", PACKET_HOST, false, 100, -1, 0, 0, NETLOG_TAP_COUNTED, 1},
		{"empty", PACKET_HOST, false, 0, -1, 0, 0, NETLOG_TAP_COUNTED, 1},
		{"segments", PACKET_OUTGOING, true, 100, -1, 0, 30, NETLOG_TAP_COUNTED, 4},
		{"broadcast", PACKET_BROADCAST, false, 9, -1, 0, 0, NETLOG_TAP_COUNTED, 1},
		{"other host", PACKET_OTHERHOST, false, 9, -1, 0, 0, NETLOG_TAP_OTHER_HOST, 0},
		{"leaves, to the port", PACKET_OUTGOING, false, 9, -1, 0, 0, NETLOG_TAP_MALFORMED,
		 0},
		{"comes, from the port", PACKET_HOST, true, 9, -1, 0, 0, NETLOG_TAP_MALFORMED, 0},
		{"no UDP", PACKET_HOST, false, 9, 9, 6, 0, NETLOG_TAP_MALFORMED, 0},
		{"version 5", PACKET_HOST, false, 9, 0, 0x55, 0, NETLOG_TAP_MALFORMED, 0},
		{"header of 16", PACKET_HOST, false, 9, 0, 0x44, 0, NETLOG_TAP_MALFORMED, 0},
		{"header beyond", PACKET_HOST, false, 9, 0, 0x4f, 0, NETLOG_TAP_MALFORMED, 0},
		{"too long", PACKET_HOST, false, 9, 2, 1, 0, NETLOG_TAP_MALFORMED, 0},
		{"a later fragment", PACKET_HOST, false, 9, 7, 1, 0, NETLOG_TAP_MALFORMED, 0},
		{"longer than its packet", PACKET_HOST, false, 9, 24, 1, 0, NETLOG_TAP_MALFORMED,
		 0},
		{"UDP below its header", PACKET_HOST, false, 0, 25, 7, 0, NETLOG_TAP_MALFORMED, 0},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct sock_row *row = &rows[i];
		struct netlog_tap_reader reader = {.point = NETLOG_SOCK, .port = PORT};
		struct block block = new_block();
		uint8_t data[ETH_HLEN + 28] = {[12] = 0x08};
		uint32_t captured = ETH_HLEN + put_udp4(data + ETH_HLEN, row->tx, row->payload);

		if (row->at >= 0)
			data[ETH_HLEN + row->at] = row->value;
		put_frame(&block,
			  &(struct sent){ARPHRD_ETHER, row->type, captured + row->payload,
					 row->gso_size ? GSO_UDP_SEGMENTS : 0, row->gso_size, 0},
			  data, captured);
		struct sums sums = count_block(&reader, block.bytes, BLOCK_BYTES);

		CHECK_ROW(i, reader.counts[row->fate] == 1);
		CHECK_ROW(i, sums.tx_packets + sums.rx_packets == row->packets);
		if (row->packets) {
			CHECK_ROW(i, sums.tx_bytes + sums.rx_bytes == row->payload);
			CHECK_ROW(i, (sums.tx_packets > 0) == row->tx);
		}
		free(block.bytes);
	}
}

/* The first fragment counts for the whole datagram, whose length is in its UDP header. */
static void test_fragments(void)
{
	struct netlog_tap_reader reader = {.point = NETLOG_SOCK, .port = PORT};
	struct block block = new_block();
	uint8_t data[48 + 8] = {0x60};
	uint8_t data4[28];

	put_udp4(data4, false, 1000);
	put_16(data4 + 6, 0x2000);
	put_16(data4 + 24, 8 + 9000);
	put_frame(&block, &(struct sent){ARPHRD_NONE, PACKET_HOST, 1028, 0, 0, 0}, data4, 28);
	put_16(data + 4, 8 + 8 + 1000);
	data[6] = 44;
	data[40] = PROTO_UDP;
	data[43] = 1; /* offset 0, more fragments */
	put_16(data + 48, 1000);
	put_16(data + 50, PORT);
	put_16(data + 52, 8 + 20000);
	put_frame(&block, &(struct sent){ARPHRD_NONE, PACKET_HOST, 1056, 0, 0, 0}, data, 56);
	data[43] = 9; /* a later one */
	put_frame(&block, &(struct sent){ARPHRD_NONE, PACKET_HOST, 1056, 0, 0, 0}, data, 56);
	struct sums sums = count_block(&reader, block.bytes, BLOCK_BYTES);

	CHECK(sums.rows == 2 && sums.rx_packets == 2 && sums.rx_bytes == 29000);
	CHECK(reader.counts[NETLOG_TAP_MALFORMED] == 1);
	free(block.bytes);
}

/* Whatever a block contains, nothing beyond it is read, and every frame that it announces is either
 * read or counted as unreadable. */
static void test_damage(void)
{
	uint64_t seed = 4;

	for (int turn = 0; turn < RANDOM_TURNS; turn++) {
		struct netlog_tap_reader reader = {.point = turn & 1, .port = PORT};
		struct netlog_meter_options options = {
			.max_flows = 64, .max_endpoints = 64, .max_lanes = 1};
		static struct netlog_meter *meter;
		static struct netlog_lane *lane;
		struct block block = new_block();
		uint8_t data[64];

		if (!meter) {
			CHECK(netlog_meter_open(&options, &meter) == 0);
			CHECK(netlog_meter_acquire_lane(meter, &lane) == 0);
		}
		for (int i = 0; i < 4; i++) {
			uint32_t headers = put_udp4(data, i & 1, 100);

			put_frame(&block,
				  &(struct sent){i & 2 ? ARPHRD_ETHER : ARPHRD_NONE, PACKET_HOST,
						 200, 0, 0, 0},
				  data, headers);
		}
		size_t bytes = block.end;
		uint8_t *exact = malloc(bytes);

		CHECK(exact);
		memcpy(exact, block.bytes, bytes);
		for (uint64_t damage = next_random(&seed) % 4; damage; damage--) {
			uint64_t random = next_random(&seed);
			size_t at = (size_t)(random % bytes);

			/* Mostly damages the headers of the block and its frames. */
			if (random >> 60 < 8)
				at = sizeof(struct tpacket_block_desc) +
				     (uint32_t)(random >> 32) % sizeof(struct tpacket3_hdr);
			exact[at] = (uint8_t)(random >> 24);
		}
		uint32_t announced = ((struct tpacket_block_desc *)(void *)exact)->hdr.bh1.num_pkts;

		reader.lane = lane;
		netlog_lane_enter(lane);
		netlog_tap_count_block(&reader, exact, bytes);
		netlog_lane_leave(lane);
		CHECK_ROW(turn,
			  reader.counts[NETLOG_TAP_FRAMES] + reader.counts[NETLOG_TAP_UNREADABLE] ==
				  announced);
		free(exact);
		free(block.bytes);
	}
}

int main(void)
{
	test_tun();
	test_sock();
	test_tunnels();
	test_big();
	test_fragments();
	test_damage();
	printf("tap: ok\n");
	return 0;
}
