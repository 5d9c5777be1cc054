/* SPDX-License-Identifier: BSD-3-Clause */
/* netlog: the public C API of the meter, for data planes written in C.
 *
 *	netlog_meter_open(&options, &meter);
 *	netlog_meter_acquire_lane(meter, &lane);	in each thread that counts
 *	netlog_lane_enter(lane);			around each batch
 *	netlog_lane_count_packets(lane, packets, n);	at the TUN
 *	netlog_lane_count_datagrams(lane, datagrams, n);	at the UDP socket
 *	netlog_lane_leave(lane);
 *
 * and in the one thread that polls: netlog_meter_swap(), netlog_meter_drain() for each observation
 * point, netlog_meter_clear() once the message is stored.
 *
 * Threads		lane_*	swap	drain	clear	wait	wake	close
 *   lane_* (same lane)	X	-	-	-	-	-	X
 *   lane_* (other lane)	-	-	-	-	-	-	X
 *   swap/drain/clear/date	-	X	X	X	-	-	X
 *   wait		-	-	-	-	X	-	X
 *   wake		-	-	-	-	-	-	X
 * X = the caller keeps these two apart.
 *
 * Progress: every lane call is wait-free, whatever the poller does. swap waits, within its limit,
 * for writers that are inside a batch; the other poller calls never wait for a writer.
 * Errors: 0 or a negative errno. Nothing prints, exits, or allocates after open, but for
 * netlog_meter_drain(), which works in memory of the poller's own. (Lanes of a file get their pages
 * when they are acquired.)
 */
#ifndef NETLOG_H
#define NETLOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "netlog_flow.h"

#ifndef NETLOG_API
#define NETLOG_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct netlog_meter;
struct netlog_lane;

/* A table needs 26 bits for a position and keeps at least 6 for a tag. */
#define NETLOG_MAX_FLOWS (1u << 26)
#define NETLOG_MAX_LANES 256u

struct netlog_meter_options {
	uint32_t max_flows;     /* tun connections per lane and bank, 1..NETLOG_MAX_FLOWS */
	uint32_t max_endpoints; /* sock connections per lane and bank, 1..NETLOG_MAX_FLOWS */
	uint32_t max_lanes;     /* threads that count at once, 1..NETLOG_MAX_LANES */
	uint32_t shared;        /* 1: a forked child counts into, or polls, the same tables */
};

/* When a period was, by the poller's clocks. */
struct netlog_period {
	uint64_t start_ns; /* its first nanosecond, since the epoch of the wall clock */
	uint64_t end_ns;   /* its last one */
	uint64_t ended_ns; /* when it ended, in nanoseconds of CLOCK_BOOTTIME */
};

/* One IP packet, or a super-packet as IFF_VNET_HDR hands it over. */
struct netlog_packet {
	const uint8_t *data; /* from the IP header on; may be NULL if length is 0 */
	uint32_t length;     /* bytes at data */
	uint16_t gso_size;   /* payload bytes of a segment; 0: a packet of its own */
	uint8_t direction;   /* enum netlog_direction */
	uint8_t headers;     /* of a super-packet in a tunnel: bytes of all headers, which each
			      * segment repeats; 0: those of the packet itself */
};

/* One UDP datagram, or several that UDP_SEGMENT or UDP_GRO carried as one. */
struct netlog_datagram {
	uint8_t address[16]; /* the remote's, IPv4 in mapped form */
	uint16_t port;       /* host order */
	uint8_t version;     /* 4 or 6 */
	uint8_t direction;   /* enum netlog_direction */
	uint32_t length;     /* UDP payload bytes */
	uint16_t gso_size;   /* payload bytes of a segment; 0: a datagram of its own */
	uint16_t reserved;
};

/* Why a packet was counted without a connection. */
enum netlog_unattributed_reason {
	NETLOG_MALFORMED = 0,  /* shorter than it announces, or contradicts itself */
	NETLOG_NOT_IP = 1,     /* neither version 4 nor 6 */
	NETLOG_TABLE_FULL = 2, /* a new connection met a full table, or its thread had no lane */
	NETLOG_REASONS = 3,
};

struct netlog_unattributed {
	uint64_t packets[NETLOG_REASONS][2]; /* by reason and direction */
	uint64_t bytes[NETLOG_REASONS][2];
};

/* What writers of other processes have to say beside their counts; since the meter was made. */
struct netlog_aside {
	uint64_t processes;        /* that attached in order to count */
	uint64_t tuns;             /* that they opened */
	uint64_t laneless_packets; /* that crossed while their thread had no lane: unattributed */
	uint64_t laneless_bytes;
	uint64_t far_descriptors; /* that were opened beyond the numbers which are watched */
};

/* -EINVAL for an option out of range, -ENOMEM, or getrandom(2)'s error. */
NETLOG_API int netlog_meter_open(const struct netlog_meter_options *options,
				 struct netlog_meter **meter);
/* No lane may be in use. NULL is fine. */
NETLOG_API void netlog_meter_close(struct netlog_meter *meter);

/* A meter in a file (or memfd), for writers and a poller in processes of their own.
 *
 * create: makes an empty regular file, open for reading and writing, the region of a new meter; the
 * caller polls it. attach: maps a file that is one already. Of all who attach, one at a time may
 * poll, after netlog_meter_take_poll(). The file is opened anew, through /proc: locks (fcntl(2),
 * open file description) on it say who is alive, and those of one opening keep nobody apart. Where
 * that fails the descriptor is duplicated, and must not be shared with others who count or poll.
 * After fork(2) attach, or adopt.
 *
 * A writer trusts the file; a poller does not: -EIO if it is shorter than it must be, -EBADMSG if
 * it holds what no meter does. No process may shorten the file while it is in use.
 *
 * create: -EINVAL, -ENOMEM, -ENOSPC, or the errno of a system call. attach: also -EBADMSG. */
NETLOG_API int netlog_meter_create(int fd, const struct netlog_meter_options *options,
				   struct netlog_meter **meter);
NETLOG_API int netlog_meter_attach(int fd, struct netlog_meter **meter);
/* Become the poller, and make good what dead writers and a dead poller left. -EBUSY: there is one.
 */
NETLOG_API int netlog_meter_take_poll(struct netlog_meter *meter);
NETLOG_API const struct netlog_meter_options *netlog_meter_options_of(
	const struct netlog_meter *meter);
/* For a fork of the process that attached: maps the file by `fd`, its own opening of the same file,
 * in place of its parent's, and takes `fd` over. The parent keeps its lanes, and no lane is in use
 * here. -EPERM: it is no fork. After another error the meter is as it was. */
NETLOG_API int netlog_meter_adopt(struct netlog_meter *meter, int fd);
/* Any process. */
NETLOG_API void netlog_meter_read_aside(const struct netlog_meter *meter,
					struct netlog_aside *aside);
/* 16 random bytes. With the number of an epoch they name a period's counts for ever. */
NETLOG_API const uint8_t *netlog_meter_id(const struct netlog_meter *meter);

/* Bytes of the whole region, touched or not. */
NETLOG_API size_t netlog_meter_region_bytes(const struct netlog_meter *meter);

/* Any thread. The lane belongs to the caller until released; -EAGAIN when all are taken. In a file:
 * -ENOSPC when there is no room for its pages, -EPERM after a fork. */
NETLOG_API int netlog_meter_acquire_lane(struct netlog_meter *meter, struct netlog_lane **lane);
/* Outside enter/leave. What the lane counted stays for the poller. NULL is fine. */
NETLOG_API void netlog_lane_release(struct netlog_lane *lane);

/* Owner only. What is counted between enter and leave lands in one epoch. Do not nest. */
NETLOG_API void netlog_lane_enter(struct netlog_lane *lane);
NETLOG_API void netlog_lane_leave(struct netlog_lane *lane);
NETLOG_API void netlog_lane_count_packets(struct netlog_lane *lane,
					  const struct netlog_packet *packets, size_t n);
NETLOG_API void netlog_lane_count_datagrams(struct netlog_lane *lane,
					    const struct netlog_datagram *datagrams, size_t n);

/* The rest is for the one poller.
 *
 * swap: one store retires the live bank of every lane and observation point. Then waits at most
 * timeout_ns until the writers that were inside a batch have left; returns how many had not. Such a
 * lane keeps its counts, and they come with a later swap. -EBUSY while a retired bank is not clear;
 * but if a poller died in the middle of a swap, this one finishes it. -EPERM: not the poller.
 */
NETLOG_API int netlog_meter_swap(struct netlog_meter *meter, uint64_t timeout_ns);
/* Whether a bank is retired and not clear. */
NETLOG_API bool netlog_meter_retired(const struct netlog_meter *meter);
/* Number of the epoch that is live. */
NETLOG_API uint64_t netlog_meter_epoch(const struct netlog_meter *meter);
/* Upper bound of the rows that drain of this point will write. */
NETLOG_API size_t netlog_meter_retired_rows(const struct netlog_meter *meter, int point);
/* Copies the retired banks of one observation point, one row a connection, and adds up what was
 * unattributed. Returns the rows written, -ENOSPC if capacity is below retired_rows(), -ENOMEM. */
NETLOG_API ssize_t netlog_meter_drain(struct netlog_meter *meter, int point,
				      struct netlog_flow *flows, size_t capacity,
				      struct netlog_unattributed *unattributed);

/* Likewise some rows at a time, in memory that does not grow with the connections. Begin says what
 * is unattributed, and may be called again to have the rows once more. Returns 0; -ENOTSUP where
 * the tables are more than two with rows, or of several records a connection, or two in a file:
 * those are for netlog_meter_drain(); -ENOMEM. */
NETLOG_API int netlog_meter_drain_begin(struct netlog_meter *meter, int point,
					struct netlog_unattributed *unattributed);

/* Writes up to capacity rows, each connection once. Returns how many, 0 when there are no more;
 * -EINVAL if the bank was cleared since. */
NETLOG_API ssize_t netlog_meter_drain_next(struct netlog_meter *meter, int point,
					   struct netlog_flow *flows, size_t capacity);
/* Empties the banks that drain could read. Only after this may the next swap come. 0 or -errno. */
NETLOG_API int netlog_meter_clear(struct netlog_meter *meter);
/* When the period of the retired bank was, for a successor; date says it, after swap. period tells
 * the last one that was said, and returns whether it is that of a retired bank. */
NETLOG_API void netlog_meter_date(struct netlog_meter *meter, const struct netlog_period *period);
NETLOG_API bool netlog_meter_period(const struct netlog_meter *meter, struct netlog_period *period);
/* Sleeps until a table is nearly full, netlog_meter_wake() is called, or timeout_ns have passed.
 * Returns 1 if woken, 0 after the time-out. */
NETLOG_API int netlog_meter_wait(struct netlog_meter *meter, uint64_t timeout_ns);
NETLOG_API void netlog_meter_wake(struct netlog_meter *meter);

#ifdef __cplusplus
}
#endif

#endif
