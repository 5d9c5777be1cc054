/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "tap/ring.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/ppp_defs.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "netlog_flow.h"
#include "packet/frame.h"

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

/* -- programs of the classic filter ----------------------------------------------------------- */

/* The places of a block of put_port(). */
enum { IP4, IP6, IP6_PLAIN, UDP, COMING, CHECK, PLACES };

/* Where a jump leads: to the next instruction, or to a place that put_label() names. */
enum {
	NEXT,
	PASS,
	PASS_SHORT,
	DROP,
	FIND,
	PPP,
	FOUND_IP4,
	FOUND_IP6,
	UNTAGGED,
	TAGGED = UNTAGGED + PLACES,
	TAG = TAGGED + PLACES, /* the first, of NETLOG_MAX_VLAN_TAGS */
	LABELS = TAG + NETLOG_MAX_VLAN_TAGS,
};

/* A jump is a byte wide. */
#define MOST_CODE 255

struct program {
	struct sock_filter code[MOST_CODE];
	unsigned short n;
	uint8_t places[LABELS];
};

static void put(struct program *program, uint16_t code, uint32_t k)
{
	program->code[program->n++] = (struct sock_filter)BPF_STMT(code, k);
}

static void put_load(struct program *program, uint16_t size, uint32_t at)
{
	put(program, BPF_LD | size | BPF_IND, at);
}

static void put_jump(struct program *program, uint16_t test, uint32_t k, int yes, int no)
{
	program->code[program->n++] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | test | BPF_K, k, (uint8_t)yes, (uint8_t)no);
}

static void put_label(struct program *program, int label)
{
	program->places[label] = (uint8_t)program->n;
}

/* X += bytes */
static void put_advance(struct program *program, uint32_t bytes)
{
	put(program, BPF_MISC | BPF_TXA, 0);
	put(program, BPF_ALU | BPF_ADD | BPF_K, bytes);
	put(program, BPF_MISC | BPF_TAX, 0);
}

/* Ends the program, and makes distances of its labels. */
static int attach_program(int fd, struct program *program)
{
	put_label(program, DROP);
	put(program, BPF_RET | BPF_K, 0);
	put_label(program, PASS);
	/* A super-packet may be of a tunnel, with the headers of two packets. */
	put(program, BPF_LD | BPF_W | BPF_LEN, 0);
	put_jump(program, BPF_JGT, NETLOG_TAP_SUPER, NEXT, PASS_SHORT);
	put(program, BPF_RET | BPF_K, NETLOG_TAP_SUPER_SNAP);
	put_label(program, PASS_SHORT);
	put(program, BPF_RET | BPF_K, NETLOG_TAP_SNAP);
	for (unsigned short i = 0; i < program->n; i++) {
		struct sock_filter *code = &program->code[i];

		if (BPF_CLASS(code->code) != BPF_JMP)
			continue;
		if (BPF_OP(code->code) == BPF_JA) {
			code->k = program->places[code->k] - i - 1u;
			continue;
		}
		code->jt = code->jt ? (uint8_t)(program->places[code->jt] - i - 1) : 0;
		code->jf = code->jf ? (uint8_t)(program->places[code->jf] - i - 1) : 0;
	}
	return attach(fd, program->code, program->n);
}

/* Passes UDP datagrams, whole or their first fragments, that leave from the port or come to it. The
 * IP header is at base + X. */
static void put_port(struct program *program, uint16_t port, uint32_t base, int block)
{
	put_label(program, block + IP4);
	put_load(program, BPF_B, base + 9);
	put_jump(program, BPF_JEQ, IPPROTO_UDP, NEXT, DROP);
	put_load(program, BPF_H, base + 6);
	put_jump(program, BPF_JSET, 0x1fff, DROP, NEXT);
	put_load(program, BPF_B, base);
	put(program, BPF_ALU | BPF_AND | BPF_K, 15);
	put(program, BPF_ALU | BPF_LSH | BPF_K, 2);
	put(program, BPF_ALU | BPF_ADD | BPF_X, 0);
	put(program, BPF_MISC | BPF_TAX, 0);
	put(program, BPF_JMP | BPF_JA, (uint32_t)(block + UDP));
	/* UDP at once, or in a first fragment. */
	put_label(program, block + IP6);
	put_load(program, BPF_B, base + 6);
	put_jump(program, BPF_JEQ, IPPROTO_UDP, block + IP6_PLAIN, NEXT);
	put_jump(program, BPF_JEQ, IPPROTO_FRAGMENT, NEXT, DROP);
	put_load(program, BPF_B, base + 40);
	put_jump(program, BPF_JEQ, IPPROTO_UDP, NEXT, DROP);
	put_load(program, BPF_H, base + 42);
	put_jump(program, BPF_JSET, 0xfff8, DROP, NEXT);
	put_advance(program, 8);
	put_label(program, block + IP6_PLAIN);
	put_advance(program, 40);
	put_label(program, block + UDP);
	put(program, BPF_LD | BPF_B | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PKTTYPE));
	put_jump(program, BPF_JEQ, PACKET_OUTGOING, NEXT, block + COMING);
	put_load(program, BPF_H, base);
	put(program, BPF_JMP | BPF_JA, (uint32_t)(block + CHECK));
	put_label(program, block + COMING);
	put_load(program, BPF_H, base + 2);
	put_label(program, block + CHECK);
	put_jump(program, BPF_JEQ, port, PASS, DROP);
}

/* Tags that a frame may have in front of its packet, and PPPoE; see frame.c. */
static const uint16_t tags[] = {ETH_P_8021Q, ETH_P_8021AD, ETH_P_QINQ1, ETH_P_QINQ2};

#define N_TAGS (sizeof(tags) / sizeof(tags[0]))

/* Finds the IP header of an Ethernet frame whose type is at 12. The kernel takes the outermost tag
 * out of it, and no more. A frame with more tags than netlog reads passes, so that it is counted as
 * left out. */
static void put_tags(struct program *program)
{
	put(program, BPF_LDX | BPF_W | BPF_IMM, 12);
	for (int tag = 0; tag <= NETLOG_MAX_VLAN_TAGS; tag++) {
		int next = tag == NETLOG_MAX_VLAN_TAGS ? PASS : TAG + tag;

		put_load(program, BPF_H, 0);
		put_jump(program, BPF_JEQ, ETH_P_IP, FOUND_IP4, NEXT);
		put_jump(program, BPF_JEQ, ETH_P_IPV6, FOUND_IP6, NEXT);
		put_jump(program, BPF_JEQ, ETH_P_PPP_SES, PPP, NEXT);
		for (size_t i = 0; i < N_TAGS; i++)
			put_jump(program, BPF_JEQ, tags[i], next, i + 1 < N_TAGS ? NEXT : DROP);
		if (next == PASS)
			break;
		put_label(program, next);
		put_advance(program, 4);
	}
	/* The type is two bytes before the packet; PPPoE's protocol is eight behind it. */
	put_label(program, PPP);
	put_advance(program, 8);
	put_load(program, BPF_H, 0);
	put_jump(program, BPF_JEQ, PPP_IP, FOUND_IP4, NEXT);
	put_jump(program, BPF_JEQ, PPP_IPV6, FOUND_IP6, DROP);
	put_label(program, FOUND_IP6);
	put_advance(program, 2);
	put(program, BPF_JMP | BPF_JA, TAGGED + IP6);
	put_label(program, FOUND_IP4);
	put_advance(program, 2);
	put(program, BPF_JMP | BPF_JA, TAGGED + IP4);
}

static int pass_all(int fd)
{
	struct program program = {.n = 0};

	put(&program, BPF_JMP | BPF_JA, PASS);
	return attach_program(fd, &program);
}

static int pass_port(int fd, uint16_t port)
{
	struct program program = {.n = 0};

	put(&program, BPF_LDX | BPF_W | BPF_IMM, 0);
	put(&program, BPF_LD | BPF_H | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_PROTOCOL));
	put_jump(&program, BPF_JEQ, ETH_P_IP, UNTAGGED + IP4, NEXT);
	put_jump(&program, BPF_JEQ, ETH_P_IPV6, UNTAGGED + IP6, NEXT);
	put_jump(&program, BPF_JEQ, ETH_P_PPP_SES, FIND, NEXT);
	for (size_t i = 0; i < N_TAGS; i++)
		put_jump(&program, BPF_JEQ, tags[i], FIND, i + 1 < N_TAGS ? NEXT : DROP);
	put_port(&program, port, NET(0), UNTAGGED);
	put_label(&program, FIND);
	put_tags(&program);
	put_port(&program, port, 0, TAGGED);
	return attach_program(fd, &program);
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
