/* SPDX-License-Identifier: BSD-3-Clause */
/* bench: what the benches drive from Python, and never part of the package.
 *
 * A ring is an array of 64-byte slots, a power of two of them, each with one whole IP packet of 64
 * bytes. The last four bytes of a slot hold the number of its connection, so that the floor finds
 * its line where the meter finds its key: in the header line of the packet.
 *
 * Times are CPU time of the calling thread, in ns: this machine has other users, and what they
 * take is not what we measure. Rings and lines come from bench_allocate(), meters from netlog.h.
 *
 * Threads: every function works on what it is given and nothing else.
 */
#ifndef NETLOG_BENCH_H
#define NETLOG_BENCH_H

#include "netlog.h"

#define BENCH_SLOT_BYTES 64
/* A batch as a data plane reads it: the largest recvmmsg that still pays. */
#define BENCH_BATCH 64
#define BENCH_API   __attribute__((visibility("default"), noinline))

struct bench_line {
	uint64_t packets;
	uint64_t bytes;
	uint64_t unused[6];
};

/* One pass of one thread: the meter's if lane is there, else the floor's. */
struct bench_pass {
	const uint8_t *ring;
	size_t slots;
	size_t packets; /* a multiple of BENCH_BATCH */
	struct netlog_lane *lane;
	struct bench_line *lines;
	uint64_t cpu_ns;  /* result */
	uint64_t wall_ns; /* result */
};

/* Zeroed, on huge pages where the kernel gives them. NULL: out of memory. */
BENCH_API void *bench_allocate(size_t bytes);
BENCH_API void bench_free(void *memory, size_t bytes);

/* Puts the lines out of every cache. A ring of 1 M packets is as cold as its reader finds it after
 * a large receive only where the last-level cache is smaller than it: this makes it so everywhere.
 */
BENCH_API void bench_chill(const void *memory, size_t bytes);

/* The same numbers as uniform() in seed/main.go: connections[i] uniform in 0..limit-1. */
BENCH_API void bench_uniform(uint32_t *connections, size_t n, uint32_t limit, uint64_t seed);
/* The same bytes as fill() in seed/main.go. slots packets, of connections[0..slots-1]. */
BENCH_API void bench_fill(uint8_t *ring, size_t slots, int version, const uint32_t *connections);
/* FNV-1a of the ring, to show that two programs count the same packets. */
BENCH_API uint64_t bench_checksum(const uint8_t *ring, size_t slots);

/* Runs one pass and stores its times in it. */
BENCH_API void bench_floor(struct bench_pass *pass);
BENCH_API void bench_count(struct bench_pass *pass);
/* Runs two passes at once, each on a thread of its own. Returns the wall time of both, or -errno.
 */
BENCH_API int64_t bench_pair(struct bench_pass *first, struct bench_pass *second);
/* Returns CPU ns. */
BENCH_API uint64_t bench_memcpy(void *to, const void *from, size_t bytes);

/* Bits of a batch's mark. A batch that was taken off its processor says nothing about the meter. */
enum { BENCH_FIRST_OF_EPOCH = 1, BENCH_PREEMPTED = 2 };

/* A writer that times each of its batches, and a poller beside it. */
struct bench_stall {
	struct bench_pass *pass; /* ring, slots, lane */
	struct netlog_meter *meter;
	struct netlog_flow *flows; /* where the poller drains to; NULL: it swaps never */
	size_t capacity;
	uint64_t period_ns; /* the poller's, below a second */
	int poller_cpu;     /* the processor that it is bound to */
	size_t batches;
	uint32_t *batch_ns;   /* result, one a batch */
	uint8_t *marks;       /* result, one a batch */
	uint64_t page_faults; /* result: the writer's */
	uint64_t sleeps;      /* result: how often it gave up its processor by itself */
	bool failed;          /* result: a swap came late, or a drain failed */
};

/* 0, -EIO if failed, or -errno. */
BENCH_API int bench_stall(struct bench_stall *stall);
/* Batches that each find nothing of memory in a cache. */
BENCH_API void bench_refill(struct bench_stall *stall, const void *memory, size_t bytes);

/* A counter in the kernel, while it is open: IPv4 packets that an interface of the caller's network
 * namespace receives, from the IP header on. */
struct bench_bpf {
	int map;
	int link;
};

/* 0 or -errno. */
BENCH_API int bench_bpf_open(struct bench_bpf *counter, uint32_t interface, uint32_t entries);
BENCH_API void bench_bpf_close(struct bench_bpf *counter);
/* Packets of all connections, or -errno. */
BENCH_API int64_t bench_bpf_packets(const struct bench_bpf *counter);

/* The floor of system calls: a write of each slot from the ring's first on, or a read of each
 * packet. CPU ns, or -errno. */
BENCH_API int64_t bench_write_each(int fd, const uint8_t *ring, size_t packets);
BENCH_API int64_t bench_read_each(int fd, size_t packets);

BENCH_API uint64_t bench_cpu_ns(void);
BENCH_API uint64_t bench_wall_ns(void);

#endif
