/* SPDX-License-Identifier: BSD-3-Clause */
/* bench: the C functions that the benches call from Python. They are not part of the package.
 *
 * A ring is an array of 64-byte slots. Their number is a power of two, and each holds one whole IP
 * packet of 64 bytes. The last four bytes of a slot hold the number of its connection, so that the
 * floor finds its line where the meter finds its key: in the header line of the packet.
 *
 * Times are CPU time of the calling thread, in ns, because the machine has other users and their
 * time must not count. Rings and lines come from bench_allocate(), meters from netlog.h.
 *
 * Threads: every function uses only its arguments.
 */
#ifndef NETLOG_BENCH_H
#define NETLOG_BENCH_H

#include "netlog.h"

#define BENCH_SLOT_BYTES 64
/* The size of a batch that a data plane reads: a larger recvmmsg gains nothing. */
#define BENCH_BATCH 64
#define BENCH_API   __attribute__((visibility("default"), noinline))

struct bench_line {
	uint64_t packets;
	uint64_t bytes;
	uint64_t unused[6];
};

/* One pass of one thread: the meter's if lane is set, else the floor's. */
struct bench_pass {
	const uint8_t *ring;
	size_t slots;
	size_t packets; /* a multiple of BENCH_BATCH */
	struct netlog_lane *lane;
	struct bench_line *lines;
	uint64_t cpu_ns;  /* result */
	uint64_t wall_ns; /* result */
};

/* Zeroed, on huge pages if the kernel gives them. NULL: out of memory. */
BENCH_API void *bench_allocate(size_t bytes);
BENCH_API void bench_free(void *memory, size_t bytes);

/* Flushes the lines from every cache. A reader finds a ring of 1 M packets cold after a large
 * receive only if the last-level cache is smaller than the ring. This makes it so everywhere. */
BENCH_API void bench_chill(const void *memory, size_t bytes);

/* The same numbers as uniform() in goring/goring.go: connections[i] uniform in 0..limit-1. */
BENCH_API void bench_uniform(uint32_t *connections, size_t n, uint32_t limit, uint64_t seed);
/* The same bytes as fill() in goring/goring.go. slots packets, of connections[0..slots-1]. */
BENCH_API void bench_fill(uint8_t *ring, size_t slots, int version, const uint32_t *connections);
/* FNV-1a of the ring, to show that two programs count the same packets. */
BENCH_API uint64_t bench_checksum(const uint8_t *ring, size_t slots);

/* Runs one pass and stores its times in it. */
BENCH_API void bench_floor(struct bench_pass *pass);
BENCH_API void bench_count(struct bench_pass *pass);
/* Runs two passes at once, each on a thread of its own. Returns their common wall time, or -errno.
 */
BENCH_API int64_t bench_pair(struct bench_pass *first, struct bench_pass *second);
/* Returns CPU ns. */
BENCH_API uint64_t bench_memcpy(void *to, const void *from, size_t bytes);

/* Bits of a batch's mark. A preempted batch says nothing about the meter. */
enum { BENCH_FIRST_OF_EPOCH = 1, BENCH_PREEMPTED = 2 };

/* A writer that times each of its batches, and a poller beside it. */
struct bench_stall {
	struct bench_pass *pass; /* ring, slots, lane */
	struct netlog_meter *meter;
	struct netlog_flow *flows; /* where the poller drains to; NULL: it never swaps */
	size_t capacity;
	uint64_t period_ns; /* the poller's, below a second */
	int poller_cpu;     /* the processor that it is bound to */
	size_t batches;
	uint32_t *batch_ns;   /* result, one a batch */
	uint8_t *marks;       /* result, one a batch */
	uint64_t page_faults; /* result: the writer's */
	uint64_t sleeps;      /* result: how often it gave up its processor voluntarily */
	bool failed;          /* result: a swap came late, or a drain failed */
};

/* 0, -EIO if failed, or -errno. */
BENCH_API int bench_stall(struct bench_stall *stall);
/* Times batches, with memory flushed from the caches before each. */
BENCH_API void bench_refill(struct bench_stall *stall, const void *memory, size_t bytes);

/* A counter in the kernel. While it is open it counts the IPv4 packets that an interface of the
 * caller's network namespace receives, from the IP header on. */
struct bench_bpf {
	int map;
	int link;
};

/* 0 or -errno. */
BENCH_API int bench_bpf_open(struct bench_bpf *counter, uint32_t interface, uint32_t entries);
BENCH_API void bench_bpf_close(struct bench_bpf *counter);
/* Packets of all connections, or -errno. */
BENCH_API int64_t bench_bpf_packets(const struct bench_bpf *counter);

/* The floor of system calls: a write of each slot, from the ring's first on, or a read of each
 * packet. Returns CPU ns, or -errno. */
BENCH_API int64_t bench_write_each(int fd, const uint8_t *ring, size_t packets);
BENCH_API int64_t bench_read_each(int fd, size_t packets);

BENCH_API uint64_t bench_cpu_ns(void);
BENCH_API uint64_t bench_wall_ns(void);

#endif
