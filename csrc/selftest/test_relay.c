/* SPDX-License-Identifier: BSD-3-Clause */
/* Selftest of tun, sock and relay: real threads between a socket pair, which keeps packets apart as
 * a TUN does, and UDP sockets on loopback. Above all for the sanitizers. It runs with and without
 * virtio headers, UDP_SEGMENT and UDP_GRO, on one queue and on two. tests/system tests
 * super-packets.
 *
 *	stack ==== tun fd | relay | sock ---- loopback ---- peer      of each queue
 *
 * Meanwhile a poller swaps as fast as it can. In each epoch both observation points must agree, and
 * at the end nothing may be lost or counted twice.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "relay/relay.c"
#include "check.h"

#define ROUNDS       (40 / SLOWER + 2)
#define PACKETS      500u
#define BUFFER_BYTES (4 << 20)
#define OVERLAY      0x64400002u
#define SWAP_NS      10000000000ull
#define STOP_MS      10000 /* only a bound against hanging */
#define MAX_ROWS     64
#define VNET_BYTES   10

#define QUEUES 2u

struct queue {
	int stack;
	struct netlog_tun tun;
	struct netlog_sock sock;
	struct netlog_lane *lanes[2];
};

struct world {
	struct queue queues[QUEUES];
	uint32_t n_queues; /* used in this run */
	int peer;
	struct netlog_peers *peers;
	struct netlog_meter *meter;
	struct netlog_relay *relay;
};

struct sums {
	uint64_t tx_packets, tx_bytes, rx_packets, rx_bytes;
};

static int bound_socket(struct sockaddr_in *name)
{
	socklen_t bytes = sizeof(*name);
	int buffer = BUFFER_BYTES;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*name = (struct sockaddr_in){.sin_family = AF_INET};
	name->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	CHECK(fd >= 0 && bind(fd, (struct sockaddr *)name, bytes) == 0);
	CHECK(getsockname(fd, (struct sockaddr *)name, &bytes) == 0);
	CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer)) == 0);
	return fd;
}

static void open_queue(struct queue *queue, struct netlog_meter *meter)
{
	struct sockaddr_in name;
	int buffer = BUFFER_BYTES;
	int pair[2];

	CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	CHECK(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
	/* Room for all answers: otherwise some would be dropped if the user reads slowly. */
	CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)) == 0);
	queue->tun = (struct netlog_tun){.fd = pair[0], .statistics = true};
	queue->stack = pair[1];
	queue->sock = (struct netlog_sock){
		.fd = bound_socket(&name), .family = AF_INET, .statistics = true};
	for (int direction = 0; direction < 2; direction++)
		CHECK(netlog_meter_acquire_lane(meter, &queue->lanes[direction]) == 0);
}

static void open_world(struct world *world)
{
	struct sockaddr_in peer_name;
	struct netlog_prefix prefix = {.version = 4, .length = 32, .clear = UINT32_MAX, .set = 1};
	struct netlog_endpoint endpoint = {.version = 4};

	world->peer = bound_socket(&peer_name);
	prefix.address[10] = prefix.address[11] = 0xff;
	endpoint.address[10] = endpoint.address[11] = 0xff;
	put_32(prefix.address + 12, OVERLAY);
	memcpy(endpoint.address + 12, &peer_name.sin_addr, 4);
	endpoint.port = ntohs(peer_name.sin_port);
	CHECK(netlog_peers_open(&endpoint, 1, &prefix, 1, &world->peers) == 0);
	world->meter = open_meter(64, 64, 2 * QUEUES);
	for (uint32_t i = 0; i < QUEUES; i++)
		open_queue(&world->queues[i], world->meter);
}

static void start(struct world *world)
{
	struct netlog_relay_queue queues[QUEUES];
	struct netlog_relay_options options = {
		.queues = queues,
		.n_queues = world->n_queues,
		.peers = world->peers,
	};

	for (uint32_t i = 0; i < world->n_queues; i++) {
		struct queue *queue = &world->queues[i];

		queues[i] = (struct netlog_relay_queue){
			.tun = &queue->tun,
			.sock = &queue->sock,
			.lanes = {queue->lanes[0], queue->lanes[1]},
		};
	}
	CHECK(netlog_relay_start(&options, &world->relay) == 0);
}

static bool is_done(const struct world *world, int timeout_ms)
{
	struct pollfd done = {.fd = netlog_relay_done_fd(world->relay), .events = POLLIN};

	return poll(&done, 1, timeout_ms) == 1;
}

static void close_world(struct world *world)
{
	for (uint32_t i = 0; i < QUEUES; i++) {
		struct queue *queue = &world->queues[i];

		netlog_lane_release(queue->lanes[0]);
		netlog_lane_release(queue->lanes[1]);
		close(queue->tun.fd);
		close(queue->sock.fd);
		close(queue->stack);
	}
	netlog_meter_close(world->meter);
	netlog_peers_close(world->peers);
	close(world->peer);
}

/* The users behind one queue: they send, and read the answers. */
static void *use(void *argument)
{
	struct queue *queue = argument;
	uint8_t packet[VNET_BYTES + UDP4_BYTES] = {0}, answer[2 * sizeof(packet)];
	ssize_t header = queue->tun.vnet ? VNET_BYTES : 0;
	ssize_t length = header + (ssize_t)UDP4_BYTES;

	for (uint32_t number = 0; number < PACKETS; number++) {
		make_udp4(packet + header, 1, OVERLAY, 1, (uint16_t)number);
		CHECK(send(queue->stack, packet, (size_t)length, 0) == length);
	}
	for (uint32_t number = 0; number < PACKETS; number++)
		CHECK_ROW(number, recv(queue->stack, answer, sizeof(answer), 0) == length);
	return NULL;
}

/* The peer answers each packet with one that it may send, and one that it may not. */
static void *answer(void *argument)
{
	struct world *world = argument;
	uint8_t packet[2 * UDP4_BYTES];

	for (uint32_t number = 0; number < world->n_queues * PACKETS; number++) {
		struct sockaddr_in from;
		socklen_t bytes = sizeof(from);

		CHECK_ROW(number, recvfrom(world->peer, packet, sizeof(packet), 0,
					   (struct sockaddr *)&from, &bytes) == UDP4_BYTES);
		for (uint32_t allowed = 0; allowed < 2; allowed++) {
			make_udp4(packet, OVERLAY + !allowed, 1, (uint16_t)number, 1);
			CHECK(sendto(world->peer, packet, UDP4_BYTES, 0, (struct sockaddr *)&from,
				     bytes) == UDP4_BYTES);
		}
	}
	return NULL;
}

static void drain(struct world *world, int point, struct sums *sums)
{
	static struct netlog_flow flows[2 * MAX_ROWS * NETLOG_MAX_LANES];
	struct netlog_unattributed unattributed;
	ssize_t rows = netlog_meter_drain(world->meter, point, flows,
					  sizeof(flows) / sizeof(flows[0]), &unattributed);

	CHECK(rows >= 0);
	*sums = (struct sums){0};
	for (ssize_t i = 0; i < rows; i++) {
		sums->tx_packets += flows[i].tx_packets;
		sums->tx_bytes += flows[i].tx_bytes;
		sums->rx_packets += flows[i].rx_packets;
		sums->rx_bytes += flows[i].rx_bytes;
	}
	/* There are more ports than the table has room for: the rest counts as unattributed. */
	for (int reason = 0; reason < NETLOG_REASONS; reason++) {
		sums->tx_packets += unattributed.packets[reason][NETLOG_TX];
		sums->tx_bytes += unattributed.bytes[reason][NETLOG_TX];
		sums->rx_packets += unattributed.packets[reason][NETLOG_RX];
		sums->rx_bytes += unattributed.bytes[reason][NETLOG_RX];
	}
}

/* Swaps once and adds the counts. Every packet that was read from the TUN is sent in the same
 * epoch. */
static void poll_once(struct world *world, struct sums *tun_sum, struct sums *sock_sum)
{
	struct sums tun, sock;

	CHECK(netlog_meter_swap(world->meter, SWAP_NS) == 0);
	drain(world, NETLOG_TUN, &tun);
	drain(world, NETLOG_SOCK, &sock);
	netlog_meter_clear(world->meter);
	CHECK(tun.tx_packets == sock.tx_packets && tun.tx_bytes == sock.tx_bytes);
	CHECK(tun.rx_packets <= sock.rx_packets && tun.rx_bytes <= sock.rx_bytes);
	tun_sum->tx_packets += tun.tx_packets;
	tun_sum->rx_packets += tun.rx_packets;
	sock_sum->tx_packets += sock.tx_packets;
	sock_sum->rx_packets += sock.rx_packets;
}

static uint64_t moved(const struct world *world, int direction, enum netlog_fate fate)
{
	struct netlog_fates fates = {0};

	netlog_relay_fates(world->relay, direction, &fates);
	return fates.packets[fate];
}

/* Packets and bytes agree only when the relay is idle. */
static void check_bytes(const struct world *world)
{
	for (int direction = 0; direction < 2; direction++) {
		struct netlog_fates fates = {0};

		netlog_relay_fates(world->relay, direction, &fates);
		for (int fate = 0; fate < NETLOG_FATES; fate++)
			CHECK_ROW(fate, fates.bytes[fate] == fates.packets[fate] * UDP4_BYTES);
	}
}

static void test_traffic(struct world *world)
{
	const uint64_t packets = world->n_queues * PACKETS;
	struct sums tun = {0}, sock = {0};
	pthread_t users[QUEUES], peer;
	uint32_t queue;
	int direction;

	start(world);
	for (uint32_t i = 0; i < world->n_queues; i++)
		CHECK(pthread_create(&users[i], NULL, use, &world->queues[i]) == 0);
	CHECK(pthread_create(&peer, NULL, answer, world) == 0);
	while (moved(world, NETLOG_RX, NETLOG_DROP_SOURCE_NOT_ALLOWED) < packets ||
	       moved(world, NETLOG_RX, NETLOG_FORWARDED) < packets)
		poll_once(world, &tun, &sock);
	for (uint32_t i = 0; i < world->n_queues; i++)
		CHECK(pthread_join(users[i], NULL) == 0);
	CHECK(pthread_join(peer, NULL) == 0);
	CHECK(moved(world, NETLOG_TX, NETLOG_FORWARDED) == packets);
	CHECK(netlog_relay_error(world->relay, &direction, &queue) == 0 && !is_done(world, 0));
	netlog_relay_stop(world->relay);
	CHECK(is_done(world, STOP_MS));
	check_bytes(world);
	netlog_relay_close(world->relay);
	poll_once(world, &tun, &sock);
	CHECK(tun.tx_packets == packets && tun.rx_packets == packets);
	CHECK(sock.tx_packets == packets && sock.rx_packets == 2 * packets);
}

/* If a descriptor is gone, all threads end, and the first errno stays. */
static void test_gone(struct world *world)
{
	struct queue *last = &world->queues[world->n_queues - 1];
	struct netlog_tun tun = last->tun;
	int direction = -1;
	uint32_t queue = QUEUES;

	/* A number that no descriptor of the relay itself gets. */
	last->tun.fd = fcntl(tun.fd, F_DUPFD_CLOEXEC, 200);
	CHECK(close(last->tun.fd) == 0);
	start(world);
	CHECK(is_done(world, STOP_MS));
	CHECK(netlog_relay_error(world->relay, &direction, &queue) == EBADF);
	CHECK(direction == NETLOG_TX && queue == world->n_queues - 1);
	netlog_relay_close(world->relay);
	last->tun = tun;
}

static void set_offload(struct queue *queue, int on)
{
	CHECK(setsockopt(queue->sock.fd, SOL_UDP, 104 /* UDP_GRO */, &on, sizeof(on)) == 0);
	queue->sock.gro = queue->sock.segments = on;
	queue->tun.vnet = on;
	queue->tun.kinds = on ? NETLOG_COALESCE_TCP4 | NETLOG_COALESCE_UDP4 : 0;
}

static void test_bounds(struct world *world)
{
	static const uint32_t impossible[] = {0, NETLOG_MAX_QUEUES + 1};

	for (size_t i = 0; i < 2; i++) {
		struct netlog_relay_options options = {.n_queues = impossible[i],
						       .peers = world->peers};

		CHECK_ROW(i, netlog_relay_start(&options, &world->relay) == -EINVAL);
	}
}

int main(void)
{
	struct world world;

	open_world(&world);
	test_bounds(&world);
	for (int round = 0; round < ROUNDS; round++) {
		world.n_queues = 1 + (uint32_t)round / 2 % QUEUES;
		for (uint32_t i = 0; i < QUEUES; i++)
			set_offload(&world.queues[i], round % 2);
		test_traffic(&world);
		test_gone(&world);
	}
	close_world(&world);
	netlog_relay_close(NULL);
	puts("relay: ok");
	return 0;
}
