/* SPDX-License-Identifier: BSD-3-Clause */
/* netlog: the public C API of the meter, for data planes written in C.
 *
 * A meter counts packets and UDP datagrams per connection. Each thread that counts owns a lane. A
 * lane has two banks of tables; the epoch says which bank is live. Each thread that counts calls:
 *
 *	netlog_meter_acquire_lane(meter, &lane);	once
 *	netlog_lane_enter(lane);			before each batch
 *	netlog_lane_count_packets(lane, packets, n);	at the TUN
 *	netlog_lane_count_datagrams(lane, datagrams, n);	at the UDP socket
 *	netlog_lane_leave(lane);			after each batch
 *	netlog_lane_release(lane);			once
 *
 * One thread, the poller, ends each period. It calls netlog_meter_swap(), then
 * netlog_meter_drain() for each observation point, and netlog_meter_clear() once the counts are
 * safely stored.
 *
 * Threads. The caller keeps two calls apart where the table has an X. Two calls marked - may run
 * at the same time.
 *
 *			lane	poller	wait	wake	close
 *   lane, same lane	X	-	-	-	X
 *   lane, other lane	-	-	-	-	X
 *   poller		-	X	-	-	X
 *   wait		-	-	X	-	X
 *   wake		-	-	-	-	X
 *
 *   lane:	the netlog_lane_ calls
 *   poller:	take_poll, swap, retired, epoch, retired_rows, drain, drain_begin, drain_next,
 *		clear, date and period
 *
 * Every thread may call acquire_lane, options_of, read_aside, id and region_bytes at any time
 * before close. While adopt runs, no other call may use the meter.
 *
 * Progress: every call with a lane is wait-free, whatever the poller does. swap waits for writers
 * that are inside a batch, but no longer than its timeout. The other calls of the poller never wait
 * for a writer.
 *
 * Errors: a call that can fail returns 0 or more for success, else a negative errno. No call prints
 * or exits.
 *
 * Memory: open, create and attach allocate; after them only drain and drain_begin do, for the
 * poller. A lane of a meter in a file gets its pages from the file system when it is acquired.
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

/* The tables of one node, with the epoch that they share. */
struct netlog_meter;
/* The part of a meter that one thread writes. */
struct netlog_lane;

/* The most connections of one table. An index slot has 32 bits: at most 27 for a position plus one,
 * so at least 5 for a tag. */
#define NETLOG_MAX_FLOWS (1u << 26)
#define NETLOG_MAX_LANES 256u

/* The size of a meter, which is fixed when it opens. A packet whose connection finds no room in the
 * table is counted as NETLOG_TABLE_FULL. */
struct netlog_meter_options {
	uint32_t max_flows;     /* TUN connections per lane and bank, 1..NETLOG_MAX_FLOWS */
	uint32_t max_endpoints; /* socket connections per lane and bank, 1..NETLOG_MAX_FLOWS */
	uint32_t max_lanes;     /* threads that count at once, 1..NETLOG_MAX_LANES */
	uint32_t shared;        /* 1: a forked child may count into, or poll, the same tables; 0: it
				 * has a copy, of which acquire_lane and swap return -EPERM */
};

/* The start and the end of a period, by the poller's clocks. */
struct netlog_period {
	uint64_t start_ns; /* first nanosecond: wall clock, since 1970-01-01 UTC */
	uint64_t end_ns;   /* last nanosecond: wall clock, since 1970-01-01 UTC */
	uint64_t ended_ns; /* the end again, in nanoseconds of CLOCK_BOOTTIME */
};

/* One IP packet, or a super-packet as a TUN with IFF_VNET_HDR delivers it. */
struct netlog_packet {
	const uint8_t *data; /* starts with the IP header; may be NULL if length is 0 */
	uint32_t length;     /* bytes at data */
	uint16_t gso_size;   /* payload bytes of each segment; 0: not a super-packet */
	uint8_t direction;   /* enum netlog_direction */
	uint8_t headers;     /* of a super-packet in a tunnel: bytes of all headers, which each
			      * segment repeats; 0: those of the packet itself */
};

/* One UDP datagram, or several that the kernel carried as one (UDP_SEGMENT, UDP_GRO). */
struct netlog_datagram {
	uint8_t address[16]; /* of the remote endpoint; IPv4 as ::ffff:a.b.c.d */
	uint16_t port;       /* of the remote endpoint, in host order */
	uint8_t version;     /* 4 or 6 */
	uint8_t direction;   /* enum netlog_direction */
	uint32_t length;     /* UDP payload bytes, of all segments together */
	uint16_t gso_size;   /* payload bytes of each segment; 0: a single datagram */
	uint16_t reserved;
};

/* The reason why a packet was counted without a connection. */
enum netlog_unattributed_reason {
	NETLOG_MALFORMED = 0,  /* shorter than its headers say, or they contradict each other */
	NETLOG_NOT_IP = 1,     /* neither version 4 nor version 6 */
	NETLOG_TABLE_FULL = 2, /* a new connection met a full table, or the thread had no lane */
	NETLOG_REASONS = 3,
};

/* What was counted without a connection, by reason and direction. */
struct netlog_unattributed {
	uint64_t packets[NETLOG_REASONS][2];
	uint64_t bytes[NETLOG_REASONS][2];
};

/* What netlog's preload library reports beside its counts, in sums since the meter was made. A
 * program that calls netlog_meter_attach() itself adds nothing to them. */
struct netlog_aside {
	uint64_t processes;        /* processes that attached in order to count */
	uint64_t tuns;             /* TUN descriptors that they opened */
	uint64_t laneless_packets; /* packets and datagrams of threads that had no lane */
	uint64_t laneless_bytes;   /* their bytes; both are unattributed, as NETLOG_TABLE_FULL */
	uint64_t far_descriptors;  /* TUNs and sockets whose number was too high to be watched */
};

/* Opens a meter in memory and makes the caller its poller. The address space is taken at once; a
 * page takes up memory only when it is first written.
 *
 * options: read during the call. *meter: the new meter, which the caller closes; unchanged after an
 * error.
 *
 * Returns 0; -EINVAL: an option is out of range; -EOVERFLOW: a 32-bit process cannot map a meter
 * this large; -ENOTSUP: `shared`, on a machine whose processes cannot share 64-bit words, see
 * below; -ENOMEM; or the errno of mmap(2) or getrandom(2). */
NETLOG_API int netlog_meter_open(const struct netlog_meter_options *options,
				 struct netlog_meter **meter);

/* Closes a meter. No lane may be in use, and no other call may be running. What nobody drained from
 * a meter in memory is lost; a meter in a file keeps it. NULL is allowed. */
NETLOG_API void netlog_meter_close(struct netlog_meter *meter);

/* A meter in a file, or in a memfd, lets one process count and another one poll. It outlives both:
 * the counts of a process that was killed stay in the file.
 *
 * create, attach and adopt use locks on the file (fcntl(2), open file description locks) to tell
 * who is alive. Locks that come through the same opening do not exclude each other. So create and
 * attach open the file again through /proc/self/fd, and `fd` stays the caller's. Where that fails
 * they duplicate `fd`, and then nobody else who counts or polls may share that opening.
 *
 * Trust: a writer trusts the file. A poller does not: its calls return -EIO if the file no longer
 * has the size of the meter, and -EBADMSG if it contains counts that no meter writes. A row that no
 * meter writes comes without addresses (NETLOG_NO_SRC | NETLOG_NO_DST), with its counts. No process
 * may shorten the file while it is in use.
 *
 * Some 32-bit processors (MIPS, PowerPC) have no instruction that loads or stores 64 bits as a
 * whole, so processes cannot share counters there. A meter in a file is refused on them, and so is
 * `shared`: -ENOTSUP. A meter in memory works.
 *
 * After fork(2) the child may not use the meter of its parent: it attaches, or it adopts. Until
 * then acquire_lane, take_poll and swap return -EPERM. It may close the meter, which takes nothing
 * from the parent; and it must not count on a lane that the parent acquired. */

/* Turns an empty file into a new meter and makes the caller its poller.
 *
 * fd: an empty regular file, open for reading and writing. options: `shared` is ignored, the meter
 * is always shared. *meter: the new meter, which the caller closes; unchanged after an error.
 *
 * Returns 0; -EINVAL: an option is out of range; -EOVERFLOW and -ENOTSUP, as netlog_meter_open();
 * -ENOMEM; -ENOSPC: the file system is full; -EBUSY: another process polls this file; or the errno
 * of another system call. */
NETLOG_API int netlog_meter_create(int fd, const struct netlog_meter_options *options,
				   struct netlog_meter **meter);

/* Maps a file that netlog_meter_create() made. The caller may count; it may poll only after
 * netlog_meter_take_poll().
 *
 * fd: open for reading and writing. *meter: the caller closes it; unchanged after an error.
 *
 * Returns 0; -EBADMSG: the file is not a meter of this version; -EOVERFLOW and -ENOTSUP, as
 * netlog_meter_open(); -ENOMEM; or the errno of a system call. */
NETLOG_API int netlog_meter_attach(int fd, struct netlog_meter **meter);

/* Makes the caller the poller of a meter that it attached to. One process at a time polls a meter.
 * Completes a clear that a dead poller left half done, and frees the lanes of dead writers. Their
 * counts stay.
 *
 * If netlog_meter_retired() is true afterwards, a bank is left to drain. Call netlog_meter_swap()
 * first, which finishes an interrupted swap or returns -EBUSY; then drain and clear.
 *
 * Returns 0; -EBUSY: there is a poller already; -EPERM: the meter is not in a file, or this process
 * is a fork that has not adopted it; -ENOTSUP: writers rely on memory barriers that this process
 * cannot ask the kernel for (membarrier(2)); -EIO or -EBADMSG, as above; or the errno of a system
 * call. */
NETLOG_API int netlog_meter_take_poll(struct netlog_meter *meter);

/* The options of a meter, as they were checked when it opened. Valid until close. */
NETLOG_API const struct netlog_meter_options *netlog_meter_options_of(
	const struct netlog_meter *meter);

/* In a fork of the process that attached: replaces the parent's mapping of the file by one of the
 * child's own. The parent keeps its lanes. No lane may be in use in the child, and the child does
 * not poll.
 *
 * fd: the child's own opening of the same file. After success it belongs to the meter.
 *
 * Returns 0; -EPERM: this process is not a fork, or the meter is not in a file; or the errno of
 * mmap(2). After an error the meter is as it was. */
NETLOG_API int netlog_meter_adopt(struct netlog_meter *meter, int fd);

/* Reads the sums of all processes that use the meter. Each value is whole, but may be a moment old.
 */
NETLOG_API void netlog_meter_read_aside(const struct netlog_meter *meter,
					struct netlog_aside *aside);

/* The meter's identity: 16 random bytes, valid until close. Together with the number of an epoch
 * they name the counts of one period permanently. */
NETLOG_API const uint8_t *netlog_meter_id(const struct netlog_meter *meter);

/* The size of the whole meter in bytes, including pages that were never touched. */
NETLOG_API size_t netlog_meter_region_bytes(const struct netlog_meter *meter);

/* Takes a free lane. The caller owns it until it releases it; one thread at a time may use it.
 *
 * Returns 0; -EAGAIN: all lanes are taken; -EPERM: this process is a fork, and the meter is not
 * shared or was not adopted. Of a meter in a file also -ENOSPC: the file system has no room for the
 * lane's pages; or another error of posix_fallocate(3). */
NETLOG_API int netlog_meter_acquire_lane(struct netlog_meter *meter, struct netlog_lane **lane);

/* Gives a lane back, outside enter and leave. The poller still gets what the lane has counted. NULL
 * is allowed. */
NETLOG_API void netlog_lane_release(struct netlog_lane *lane);

/* Begin and end a batch. Only the lane's owner calls them. Everything that is counted in between,
 * at both observation points, falls into one epoch. Do not nest them. If a table of the lane is
 * three quarters full, leave wakes the poller, once in an epoch. */
NETLOG_API void netlog_lane_enter(struct netlog_lane *lane);
NETLOG_API void netlog_lane_leave(struct netlog_lane *lane);

/* Counts n IP packets that crossed the TUN; 0 is allowed. Only the lane's owner calls it, between
 * enter and leave. The packets are only read. A packet that is malformed, is not IP, or finds no
 * room counts as unattributed. */
NETLOG_API void netlog_lane_count_packets(struct netlog_lane *lane,
					  const struct netlog_packet *packets, size_t n);

/* Counts n datagrams that crossed the UDP socket; 0 is allowed. Only the lane's owner calls it,
 * between enter and leave. A datagram with another version than 4 or 6, or that finds no room,
 * counts as unattributed. */
NETLOG_API void netlog_lane_count_datagrams(struct netlog_lane *lane,
					    const struct netlog_datagram *datagrams, size_t n);

/* All calls that follow, except wake, are for the one poller. Only swap checks that. */

/* Ends the epoch. One store retires the live bank of every lane at both observation points. Then
 * waits up to timeout_ns until all writers that were inside a batch have left it.
 *
 * A lane whose writer is still inside is late. Its bank keeps the counts until the bank retires
 * again, which is two swaps later. Nothing is lost.
 *
 * If a poller died during a swap, the next call of its successor finishes that swap.
 *
 * Returns the number of late lanes; -EBUSY: a retired bank has not been cleared; -EPERM: the caller
 * is not the poller, or a fork of it. Of a meter in a file also -EIO, -EBADMSG, or the errno of
 * fstat(2). */
NETLOG_API int netlog_meter_swap(struct netlog_meter *meter, uint64_t timeout_ns);

/* Whether a bank is retired and has not been cleared. */
NETLOG_API bool netlog_meter_retired(const struct netlog_meter *meter);

/* The number of the live epoch. It begins at 0, and each swap adds 1. */
NETLOG_API uint64_t netlog_meter_epoch(const struct netlog_meter *meter);

/* The capacity, in rows, that netlog_meter_drain() needs at this observation point. It may write
 * fewer rows. point: enum netlog_point, here and below. */
NETLOG_API size_t netlog_meter_retired_rows(const struct netlog_meter *meter, int point);

/* Copies the retired bank of one observation point, merged over all lanes: one row for each
 * connection, in no particular order. Until clear it may be called again, with the same rows.
 *
 * flows: room for `capacity` rows. unattributed: overwritten with what was counted without a
 * connection.
 *
 * Returns the number of rows, 0 if no bank is retired; -ENOSPC: capacity is below
 * netlog_meter_retired_rows(); -ENOMEM. Of a meter in a file also -EIO, -EBADMSG, or the errno of
 * fstat(2). */
NETLOG_API ssize_t netlog_meter_drain(struct netlog_meter *meter, int point,
				      struct netlog_flow *flows, size_t capacity,
				      struct netlog_unattributed *unattributed);

/* Begins to drain one observation point some rows at a time, so that the caller needs no room for
 * all rows at once. Beside the caller's rows it takes one bit for each record. May be called again
 * before clear, to begin again with the first row.
 *
 * unattributed: overwritten, as by netlog_meter_drain().
 *
 * Returns 0; -ENOMEM; -ENOTSUP: use netlog_meter_drain() instead, because
 *  - more than 16 lanes have rows at this observation point,
 *  - or a lane may have several records of a connection, because a 32-bit packet counter
 *    overflowed or the lane's owner died,
 *  - or the meter is in a file and more than one lane has rows.
 * Of a meter in a file also -EIO, -EBADMSG, or the errno of fstat(2). */
NETLOG_API int netlog_meter_drain_begin(struct netlog_meter *meter, int point,
					struct netlog_unattributed *unattributed);

/* Writes the next rows, up to `capacity` of them, after drain_begin has returned 0. Each connection
 * comes once.
 *
 * Returns the number of rows, 0 after the last one; -EINVAL: the bank has been cleared. Of a meter
 * in a file also -EIO, -EBADMSG, or the errno of fstat(2). */
NETLOG_API ssize_t netlog_meter_drain_next(struct netlog_meter *meter, int point,
					   struct netlog_flow *flows, size_t capacity);

/* Empties the retired bank. Call it once the counts are safely stored: afterwards nobody can drain
 * them again. The next swap is possible only after it. The banks of late lanes keep their counts.
 *
 * Returns 0, also if no bank is retired. Of a meter in a file also -EIO, -EBADMSG, or the errno of
 * fstat(2). */
NETLOG_API int netlog_meter_clear(struct netlog_meter *meter);

/* Notes in the meter when the period of the retired bank was, so that a successor knows it if this
 * poller dies. Call it after swap. */
NETLOG_API void netlog_meter_date(struct netlog_meter *meter, const struct netlog_period *period);

/* Reads what netlog_meter_date() noted last; all zero before the first time. Returns 1: it is the
 * period of a bank that is retired now; 0: of an earlier one; -EBADMSG: the last one is damaged,
 * and *period is the one before it, or all zero. */
NETLOG_API int netlog_meter_period(const struct netlog_meter *meter, struct netlog_period *period);

/* Sleeps until a table is three quarters full, until netlog_meter_wake() is called, or for
 * timeout_ns. If the meter was woken since the last call, returns at once. One thread at a time.
 * Returns 1 if woken, 0 after the timeout. */
NETLOG_API int netlog_meter_wait(struct netlog_meter *meter, uint64_t timeout_ns);

/* Wakes the thread in netlog_meter_wait(). Any thread of any process that has the meter may call
 * it. */
NETLOG_API void netlog_meter_wake(struct netlog_meter *meter);

#ifdef __cplusplus
}
#endif

#endif
