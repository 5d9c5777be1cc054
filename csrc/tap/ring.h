/* SPDX-License-Identifier: BSD-3-Clause */
/* ring: a packet socket with a mapped ring (TPACKET_V3) on one interface, or on all.
 *
 * The ring holds the first NETLOG_TAP_SNAP bytes of each frame, NETLOG_TAP_SUPER_SNAP of a long
 * one, behind a virtio header (PACKET_VNET_HDR) that says what a super-packet stands for. Until
 * netlog_tap_ring_listen() the kernel's filter drops everything, so that rings of one fan-out group
 * begin at once.
 *
 * Threads: one at a time; any thread may call netlog_tap_ring_is_gone().
 * Rights: CAP_NET_RAW in the interface's network namespace.
 * Sources: Linux Documentation/networking/packet_mmap.rst, packet(7).
 */
#ifndef NETLOG_TAP_RING_H
#define NETLOG_TAP_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for Ethernet with a tag, IPv6, 8 of the shortest extension headers, and the ports. */
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
	uint32_t blocks; /* blocks of the ring, 2..NETLOG_TAP_MAX_BLOCKS */
	int32_t fanout;  /* -1: no group; NETLOG_TAP_NEW_FANOUT; else the number of a group */
};

#define NETLOG_TAP_MAX_BLOCKS 4096u
#define NETLOG_TAP_NEW_FANOUT (-2)

struct netlog_tap_ring {
	int fd;
	uint8_t *blocks; /* `count` blocks of NETLOG_TAP_BLOCK_BYTES each */
	uint32_t count;
	bool any_interface;
};

/* The kernel's counters since they were read last. */
struct netlog_tap_statistics {
	uint32_t passed;  /* frames that passed the filter, drops included */
	uint32_t drops;   /* frames for which the ring had no room */
	uint32_t freezes; /* times that the ring became full */
};

/* Opens a ring. Returns 0; -EINVAL: an option is out of range; -EPERM: CAP_NET_RAW is missing;
 * -ENODEV: no interface has this index; -ENETDOWN: a fan-out on an interface that is down, before
 * Linux 6.13; or another errno. After an error nothing is open. */
int netlog_tap_ring_open(const struct netlog_tap_options *options, struct netlog_tap_ring *ring);
void netlog_tap_ring_close(struct netlog_tap_ring *ring);
/* Lets the frames pass that the options ask for. Returns 0 or -errno. */
int netlog_tap_ring_listen(struct netlog_tap_ring *ring, const struct netlog_tap_options *options);
/* Lets no more frames pass. Frames in the ring stay there. */
void netlog_tap_ring_mute(struct netlog_tap_ring *ring);
/* Reads the kernel's counters, which resets them. */
void netlog_tap_ring_statistics(struct netlog_tap_ring *ring,
				struct netlog_tap_statistics *statistics);
/* Returns the number of the ring's fan-out group, or -errno. */
int netlog_tap_ring_fanout(const struct netlog_tap_ring *ring);
/* Whether the interface was removed. One that is only down may come up again. Any thread. */
bool netlog_tap_ring_is_gone(const struct netlog_tap_ring *ring);

#endif
