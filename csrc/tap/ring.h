/* SPDX-License-Identifier: BSD-3-Clause */
/* ring: a packet socket with a mapped ring (TPACKET_V3) on one interface, or on all.
 *
 * The ring holds the first NETLOG_TAP_SNAP bytes of each frame, NETLOG_TAP_SUPER_SNAP of a long
 * one, behind a virtio header (PACKET_VNET_HDR) that says what a super-packet stands for. Until
 * netlog_tap_ring_listen() the kernel's filter drops everything, so that rings of one fan-out group
 * begin at once.
 *
 * Threads: one at a time; is_gone by any. Rights: CAP_NET_RAW in the interface's network namespace.
 * Sources: Linux Documentation/networking/packet_mmap.rst, packet(7).
 */
#ifndef NETLOG_TAP_RING_H
#define NETLOG_TAP_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Ethernet with a tag, IPv6, 8 extension headers of the shortest kind, and the ports. */
#define NETLOG_TAP_SNAP 128u

/* A frame that is longer may be a super-packet of a tunnel, of which more is captured: twice such
 * headers. */
#define NETLOG_TAP_SUPER      2048u
#define NETLOG_TAP_SUPER_SNAP 256u

/* A block goes to the reader when it is full, or after so long. */
#define NETLOG_TAP_BLOCK_BYTES (256u << 10)
#define NETLOG_TAP_BLOCK_MS    20

struct netlog_tap_options {
	int32_t ifindex; /* 0: every interface of the namespace */
	uint8_t point;   /* enum netlog_point */
	uint16_t port;   /* the local UDP port, 1..65535; NETLOG_SOCK only */
	uint32_t blocks; /* of the ring, 2..NETLOG_TAP_MAX_BLOCKS */
	int32_t fanout;  /* -1: none; NETLOG_TAP_NEW_FANOUT; else the number of a group */
};

#define NETLOG_TAP_MAX_BLOCKS 4096u
#define NETLOG_TAP_NEW_FANOUT (-2)

struct netlog_tap_ring {
	int fd;
	uint8_t *blocks; /* `count` of NETLOG_TAP_BLOCK_BYTES */
	uint32_t count;
	bool any_interface;
};

/* What became of frames since the last time: those that passed the filter, and what of them. */
struct netlog_tap_statistics {
	uint32_t passed;
	uint32_t drops;
	uint32_t freezes;
};

/* 0 or -errno: -EPERM without CAP_NET_RAW, -ENODEV for an index that there is not,
 * -ENETDOWN for a fan-out on an interface that is down (before Linux 6.13). On failure nothing is
 * left. */
int netlog_tap_ring_open(const struct netlog_tap_options *options, struct netlog_tap_ring *ring);
void netlog_tap_ring_close(struct netlog_tap_ring *ring);
/* Lets through what the options ask for. 0 or -errno. */
int netlog_tap_ring_listen(struct netlog_tap_ring *ring, const struct netlog_tap_options *options);
/* Lets nothing through any more; what is in the ring stays there. */
void netlog_tap_ring_mute(struct netlog_tap_ring *ring);
/* Takes the numbers, and sets them back. */
void netlog_tap_ring_statistics(struct netlog_tap_ring *ring,
				struct netlog_tap_statistics *statistics);
/* The fan-out group of the ring: a number, or -errno. */
int netlog_tap_ring_fanout(const struct netlog_tap_ring *ring);
/* Whether the interface was removed. One that is only down may come up again. */
bool netlog_tap_ring_is_gone(const struct netlog_tap_ring *ring);

#endif
