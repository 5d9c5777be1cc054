// SPDX-License-Identifier: BSD-3-Clause
/* floor: the least that counting can cost on this machine, at this moment.
 *
 * The floor streams headers from the ring: it touches each header line, and adds to one of as many
 * lines as there are connections. It compares no key, and hashes and decodes nothing. It knows the
 * line 32 packets ahead, and prefetches it.
 */
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#ifdef __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

#include "bench.h"

/* Enough to hide a DRAM access behind the work on the packets in between; more gains nothing. */
#define AHEAD           32
#define HUGE_PAGE_BYTES (2u << 20)

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t bench_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t bench_wall_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

static size_t mapped_bytes(size_t bytes)
{
	return (bytes + HUGE_PAGE_BYTES - 1) & ~(size_t)(HUGE_PAGE_BYTES - 1);
}

void *bench_allocate(size_t bytes)
{
	size_t mapped = mapped_bytes(bytes);
	uint8_t *memory = mmap(NULL, mapped + HUGE_PAGE_BYTES, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	size_t head = -(uintptr_t)memory & (HUGE_PAGE_BYTES - 1);

	if (head)
		munmap(memory, head);
	munmap(memory + head + mapped, HUGE_PAGE_BYTES - head);
	memory += head;
	madvise(memory, mapped, MADV_HUGEPAGE);
	memset(memory, 0, bytes);
	return memory;
}

void bench_free(void *memory, size_t bytes)
{
	if (memory)
		munmap(memory, mapped_bytes(bytes));
}

#ifdef __x86_64__
static bool has_clflushopt(void)
{
	unsigned eax, ebx, ecx, edx;

	return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && ebx & bit_CLFLUSHOPT;
}

/* clflushopt is not ordered, and so many times faster than clflush. */
__attribute__((target("clflushopt"))) static void flush(const uint8_t *memory, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += BENCH_SLOT_BYTES)
		_mm_clflushopt((void *)(uintptr_t)(memory + i));
	_mm_mfence();
}
#endif

void bench_chill(const void *memory, size_t bytes)
{
#ifdef __x86_64__
	if (has_clflushopt()) {
		flush(memory, bytes);
		return;
	}
#endif
	/* Without clflushopt, rely on the ring being larger than most caches. */
	(void)memory;
	(void)bytes;
}

static uint32_t connection_of(const uint8_t *slot)
{
	uint32_t connection;

	memcpy(&connection, slot + BENCH_SLOT_BYTES - sizeof(connection), sizeof(connection));
	return connection;
}

void bench_floor(struct bench_pass *pass)
{
	const uint8_t *ring = pass->ring;
	struct bench_line *lines = pass->lines;
	size_t mask = pass->slots - 1;
	uint64_t wall = bench_wall_ns();
	uint64_t cpu = bench_cpu_ns();

	for (size_t i = 0; i < pass->packets; i++) {
		const uint8_t *slot = ring + (i & mask) * BENCH_SLOT_BYTES;
		const uint8_t *ahead = ring + ((i + AHEAD) & mask) * BENCH_SLOT_BYTES;
		struct bench_line *line = &lines[connection_of(slot)];

		__builtin_prefetch(&lines[connection_of(ahead)], 1);
		line->packets++;
		line->bytes += slot[3]; /* the low byte of an IPv4 length: touches the header */
	}
	pass->cpu_ns = bench_cpu_ns() - cpu;
	pass->wall_ns = bench_wall_ns() - wall;
}

uint64_t bench_memcpy(void *to, const void *from, size_t bytes)
{
	uint64_t start = bench_cpu_ns();

	memcpy(to, from, bytes);
	return bench_cpu_ns() - start;
}
