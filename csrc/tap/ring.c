/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap/ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlog_flow.h"

/* The kernel demands a frame size that divides the block. TPACKET_V3 packs frames closer than this.
 */
#define FRAME_BYTES 2048u

#define LENGTH(array) ((unsigned short)(sizeof(array) / sizeof((array)[0])))

/* The offset at which a classic filter finds the network header on every link; see the kernel's
 * bpf_load_pointer(). */
#define NET(offset) ((uint32_t)SKF_NET_OFF + (offset))

static int attach(int fd, const struct sock_filter *code, unsigned short n)
{
	struct sock_fprog program = {.len = n, .filter = (struct sock_filter *)code};

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) ? -errno : 0;
}

static int drop_all(int fd)
{
	static const struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, 0)};

	return attach(fd, code, LENGTH(code));
}

static int pass_all(int fd)
{
	static const struct sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, NETLOG_TAP_SNAP)};

	return attach(fd, code, LENGTH(code));
}

/* Passes UDP datagrams, whole or their first fragments, that leave from the port or come to it. */
static int pass_port(int fd, uint16_t port)
{
	enum { IP6 = 11, IP6_PLAIN = 20, UDP = 21, COMING = 26, CHECK = 27, DROP = 29 };
/* Jumps count from the next instruction. */
#define TO(target, from)       ((target) - (from) - 1)
#define JUMP(test, k, yes, no) BPF_JUMP(BPF_JMP | (test) | BPF_K, k, yes, no)
#define LOAD(size, at)         BPF_STMT(BPF_LD | (size) | BPF_ABS, at)
	const struct sock_filter code[] = {
		/*  0 */ LOAD(BPF_H, (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL)),
		/*  1 */ JUMP(BPF_JEQ, ETH_P_IPV6, TO(IP6, 1), 0),
		/*  2 */ JUMP(BPF_JEQ, ETH_P_IP, 0, TO(DROP, 2)),
		/* IPv4: UDP, but not a fragment after the first. */
		/*  3 */ LOAD(BPF_B, NET(9)),
		/*  4 */ JUMP(BPF_JEQ, IPPROTO_UDP, 0, TO(DROP, 4)),
		/*  5 */ LOAD(BPF_H, NET(6)),
		/*  6 */ JUMP(BPF_JSET, 0x1fff, TO(DROP, 6), 0),
		/*  7 */ LOAD(BPF_B, NET(0)),
		/*  8 */ BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 15),
		/*  9 */ BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2),
		/* 10 */ BPF_STMT(BPF_JMP | BPF_JA, TO(UDP, 10)),
		/* IPv6: UDP after the IPv6 header, or in a first fragment. */
		/* 11 */ LOAD(BPF_B, NET(6)),
		/* 12 */ JUMP(BPF_JEQ, IPPROTO_UDP, TO(IP6_PLAIN, 12), 0),
		/* 13 */ JUMP(BPF_JEQ, IPPROTO_FRAGMENT, 0, TO(DROP, 13)),
		/* 14 */ LOAD(BPF_B, NET(40)),
		/* 15 */ JUMP(BPF_JEQ, IPPROTO_UDP, 0, TO(DROP, 15)),
		/* 16 */ LOAD(BPF_H, NET(42)),
		/* 17 */ JUMP(BPF_JSET, 0xfff8, TO(DROP, 17), 0),
		/* 18 */ BPF_STMT(BPF_LD | BPF_IMM, 48),
		/* 19 */ BPF_STMT(BPF_JMP | BPF_JA, TO(UDP, 19)),
		/* 20 */ BPF_STMT(BPF_LD | BPF_IMM, 40),
		/* UDP: the accumulator has the offset of its header from the IP header. */
		/* 21 */ BPF_STMT(BPF_MISC | BPF_TAX, 0),
		/* 22 */ LOAD(BPF_B, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE)),
		/* 23 */ JUMP(BPF_JEQ, PACKET_OUTGOING, 0, TO(COMING, 23)),
		/* 24 */ BPF_STMT(BPF_LD | BPF_H | BPF_IND, NET(0)),
		/* 25 */ BPF_STMT(BPF_JMP | BPF_JA, TO(CHECK, 25)),
		/* 26 */ BPF_STMT(BPF_LD | BPF_H | BPF_IND, NET(2)),
		/* 27 */ JUMP(BPF_JEQ, port, 0, TO(DROP, 27)),
		/* 28 */ BPF_STMT(BPF_RET | BPF_K, NETLOG_TAP_SNAP),
		/* 29 */ BPF_STMT(BPF_RET | BPF_K, 0),
	};

	return attach(fd, code, LENGTH(code));
}

int netlog_tap_ring_listen(struct netlog_tap_ring *ring, const struct netlog_tap_options *options)
{
	return options->point == NETLOG_TUN ? pass_all(ring->fd)
					    : pass_port(ring->fd, options->port);
}

void netlog_tap_ring_mute(struct netlog_tap_ring *ring)
{
	/* It fails only if memory runs out. Then later frames are counted, too. */
	(void)drop_all(ring->fd);
}

static int set_option(int fd, int option, const void *value, socklen_t bytes)
{
	return setsockopt(fd, SOL_PACKET, option, value, bytes) ? -errno : 0;
}

static int set_up_ring(int fd, uint32_t blocks)
{
	const int version = TPACKET_V3, on = 1;
	const struct tpacket_req3 ring = {
		.tp_block_size = NETLOG_TAP_BLOCK_BYTES,
		.tp_block_nr = blocks,
		.tp_frame_size = FRAME_BYTES,
		.tp_frame_nr = NETLOG_TAP_BLOCK_BYTES / FRAME_BYTES * blocks,
		.tp_retire_blk_tov = NETLOG_TAP_BLOCK_MS,
	};
	int rc = set_option(fd, PACKET_VERSION, &version, sizeof(version));

	if (!rc)
		rc = set_option(fd, PACKET_VNET_HDR, &on, sizeof(on));
	return rc ? rc : set_option(fd, PACKET_RX_RING, &ring, sizeof(ring));
}

static int listen_on(int fd, int32_t ifindex)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(ETH_P_ALL),
		.sll_ifindex = ifindex,
	};

	return bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

static int join_fanout(int fd, int32_t fanout)
{
	bool is_new = fanout == NETLOG_TAP_NEW_FANOUT;
	uint32_t how = PACKET_FANOUT_HASH | (is_new ? PACKET_FANOUT_FLAG_UNIQUEID : 0u);
	uint32_t value = (is_new ? 0u : (uint32_t)fanout & 0xffff) | how << 16;

	if (fanout == -1)
		return 0;
	int rc = set_option(fd, PACKET_FANOUT, &value, sizeof(value));

	/* Kernels before 6.13 return -EINVAL if the interface is down. */
	return rc == -EINVAL ? -ENETDOWN : rc;
}

static bool valid_options(const struct netlog_tap_options *options)
{
	if (options->blocks < 2 || options->blocks > NETLOG_TAP_MAX_BLOCKS || options->ifindex < 0)
		return false;
	if (options->point == NETLOG_TUN)
		return options->ifindex > 0;
	return options->point == NETLOG_SOCK && options->port;
}

int netlog_tap_ring_open(const struct netlog_tap_options *options, struct netlog_tap_ring *ring)
{
	if (!valid_options(options))
		return -EINVAL;
	/* Protocol 0: no frame arrives before the socket is bound. */
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	size_t bytes = (size_t)options->blocks * NETLOG_TAP_BLOCK_BYTES;
	int rc;

	if (fd < 0)
		return -errno;
	rc = drop_all(fd);
	if (!rc)
		rc = set_up_ring(fd, options->blocks);
	if (rc)
		goto err_socket;
	void *blocks = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (blocks == MAP_FAILED) {
		rc = -errno;
		goto err_socket;
	}
	rc = listen_on(fd, options->ifindex);
	if (!rc)
		rc = join_fanout(fd, options->fanout);
	if (rc)
		goto err_blocks;
	*ring = (struct netlog_tap_ring){.fd = fd,
					 .blocks = blocks,
					 .count = options->blocks,
					 .any_interface = options->ifindex == 0};
	return 0;

err_blocks:
	munmap(blocks, bytes);
err_socket:
	close(fd);
	return rc;
}

void netlog_tap_ring_close(struct netlog_tap_ring *ring)
{
	munmap(ring->blocks, (size_t)ring->count * NETLOG_TAP_BLOCK_BYTES);
	close(ring->fd);
}

void netlog_tap_ring_statistics(struct netlog_tap_ring *ring,
				struct netlog_tap_statistics *statistics)
{
	struct tpacket_stats_v3 taken = {0};
	socklen_t bytes = sizeof(taken);

	(void)getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &taken, &bytes);
	*statistics = (struct netlog_tap_statistics){
		.passed = taken.tp_packets,
		.drops = taken.tp_drops,
		.freezes = taken.tp_freeze_q_cnt,
	};
}

int netlog_tap_ring_fanout(const struct netlog_tap_ring *ring)
{
	uint32_t value = 0;
	socklen_t bytes = sizeof(value);

	if (getsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT, &value, &bytes))
		return -errno;
	return (int)(value & 0xffff);
}

bool netlog_tap_ring_is_gone(const struct netlog_tap_ring *ring)
{
	struct sockaddr_ll address = {0};
	socklen_t bytes = sizeof(address);

	/* The kernel sets the index to -1 when the interface is unregistered. */
	return !ring->any_interface &&
	       !getsockname(ring->fd, (struct sockaddr *)&address, &bytes) &&
	       address.sll_ifindex < 0;
}
