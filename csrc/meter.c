/* SPDX-License-Identifier: BSD-3-Clause */
/* meter: lanes, the epoch, and the handshake between the writers and the poller.
 *
 * The handshake. A writer announces that it is inside a bracket, then reads the epoch and counts
 * into that epoch's bank. The poller stores the next epoch, then looks who is inside. Both are a
 * store followed by a load of the other's word, so both are seq_cst: otherwise the writer could
 * read the old epoch while the poller does not see it inside yet, and the poller would drain a bank
 * that is being written. With one order of all four accesses, whoever comes second sees the first:
 * the writer is inside and waited for, or it uses the new bank.
 *
 * `bracket` is odd inside and grows with every enter and leave, so a poller that saw it odd waits
 * for any change: the bracket that could have been in the old bank is over then, whatever came
 * next.
 *
 * A writer that stays inside for longer than the poller is willing to wait keeps its lane's retired
 * bank: the poller leaves the bank alone and drains it when it retires again, two epochs later.
 * Until then the writer finds its counts where it left them. Nothing is lost, only late.
 */
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "atomic.h"
#include "count.h"
#include "merge.h"
#include "region.h"

/* From this many bytes of records on, a table is worth huge pages: counting gains 3-10 % and first
 * touch far more, while a table this large was asked for by somebody who has the memory. */
#define HUGE_TABLE_BYTES (32u << 20)

/* How long the poller sleeps between two looks at a writer that is inside a batch. */
#define QUIESCE_SLEEP_NS 20000

#define NS_PER_S 1000000000ull

/* A writer's view of its lane. Private to the process; one cache line or more to itself. */
struct netlog_lane {
	struct netlog_meter *meter;
	struct netlog_lane_header *header;
	uint64_t bracket; /* what header->bracket holds: only the owner writes that */
	uint64_t epoch;
	struct netlog_table *live; /* the tables of the live bank, by point */
	struct netlog_record *last[NETLOG_POINTS];
	bool woken; /* the poller was woken in this epoch */
	struct netlog_table tables[NETLOG_BANKS][NETLOG_POINTS];
} __attribute__((aligned(NETLOG_LINE)));

struct netlog_meter {
	struct netlog_region *region;
	size_t region_bytes;
	uint32_t lane_count;
	/* The poller's: a bank was retired and not cleared yet; which lanes' retired banks are
	 * quiet. */
	bool retired;
	bool quiesced[NETLOG_MAX_LANES];
	uint32_t wakes_seen;
	netlog_count_packets_fn *count_packets;
	struct netlog_lane *lanes;
};

static bool valid_options(const struct netlog_meter_options *options)
{
	return options->max_flows >= 1 && options->max_flows <= NETLOG_MAX_FLOWS &&
	       options->max_endpoints >= 1 && options->max_endpoints <= NETLOG_MAX_FLOWS &&
	       options->max_lanes >= 1 && options->max_lanes <= NETLOG_MAX_LANES &&
	       options->shared <= 1;
}

/* Lays one table over its part of the region and returns where the next part begins. */
static uint8_t *place_table(struct netlog_table *table, struct netlog_table_header *header,
			    uint32_t capacity, uint8_t *base)
{
	table->header = header;
	table->capacity = capacity;
	table->index.slots = (uint32_t *)base;
	table->index.bucket_mask = index_buckets(capacity) - 1;
	table->index.position_mask = index_position_mask(capacity);
	base += region_round(netlog_table_index_bytes(capacity));
	table->records = (struct netlog_record *)base;
	return base + region_round((size_t)capacity * sizeof(struct netlog_record));
}

static void place_lane(struct netlog_meter *meter, uint32_t number)
{
	const struct netlog_meter_options *options = &meter->region->options;
	struct netlog_lane *lane = &meter->lanes[number];
	uint8_t *base =
		(uint8_t *)meter->region + NETLOG_PAGE + number * region_lane_bytes(options);

	lane->meter = meter;
	lane->header = (struct netlog_lane_header *)base;
	base += NETLOG_PAGE;
	for (int bank = 0; bank < NETLOG_BANKS; bank++) {
		for (int point = 0; point < NETLOG_POINTS; point++) {
			struct netlog_table *table = &lane->tables[bank][point];

			table->secret = &meter->region->secret;
			base = place_table(table, &lane->header->tables[bank][point],
					   region_capacity(options, point), base);
		}
	}
}

static int fill_random(void *bytes, size_t n)
{
	return getrandom(bytes, n, 0) == (ssize_t)n ? 0 : -errno;
}

static int map_region(const struct netlog_meter_options *options, struct netlog_meter *meter)
{
	size_t bytes = region_bytes(options);
	int kind = options->shared ? MAP_SHARED : MAP_PRIVATE;
	/* NORESERVE: most of it is never touched, and what is touched is bounded. */
	void *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    kind | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (region == MAP_FAILED)
		return -errno;
	if ((size_t)options->max_flows * sizeof(struct netlog_record) >= HUGE_TABLE_BYTES)
		(void)madvise(region, bytes, MADV_HUGEPAGE);
	meter->region = region;
	meter->region_bytes = bytes;
	return 0;
}

static int init_region(const struct netlog_meter_options *options, struct netlog_meter *meter)
{
	struct netlog_region *region = meter->region;

	region->magic = NETLOG_REGION_MAGIC;
	region->version = NETLOG_REGION_VERSION;
	region->header_bytes = sizeof(*region);
	region->region_bytes = meter->region_bytes;
	region->options = *options;
	int rc = fill_random(region->meter_id, sizeof(region->meter_id));

	return rc ? rc : fill_random(&region->secret, sizeof(region->secret));
}

int netlog_meter_open(const struct netlog_meter_options *options, struct netlog_meter **opened)
{
	struct netlog_meter *meter;
	int rc = -ENOMEM;

	if (!valid_options(options))
		return -EINVAL;
	meter = calloc(1, sizeof(*meter));
	if (!meter)
		return -ENOMEM;
	meter->lane_count = options->max_lanes;
	meter->count_packets = netlog_count_packets_choose();
	meter->lanes = aligned_alloc(NETLOG_LINE, options->max_lanes * sizeof(*meter->lanes));
	if (!meter->lanes)
		goto err_lanes;
	memset(meter->lanes, 0, options->max_lanes * sizeof(*meter->lanes));
	rc = map_region(options, meter);
	if (rc)
		goto err_region;
	rc = init_region(options, meter);
	if (rc)
		goto err_init;
	for (uint32_t number = 0; number < meter->lane_count; number++)
		place_lane(meter, number);
	*opened = meter;
	return 0;

err_init:
	munmap(meter->region, meter->region_bytes);
err_region:
	free(meter->lanes);
err_lanes:
	free(meter);
	return rc;
}

void netlog_meter_close(struct netlog_meter *meter)
{
	if (!meter)
		return;
	munmap(meter->region, meter->region_bytes);
	free(meter->lanes);
	free(meter);
}

size_t netlog_meter_region_bytes(const struct netlog_meter *meter)
{
	return meter->region_bytes;
}

int netlog_meter_acquire_lane(struct netlog_meter *meter, struct netlog_lane **acquired)
{
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		struct netlog_lane *lane = &meter->lanes[number];

		/* acq_rel: pairs with the store in netlog_lane_release(). Without it the new owner
		 * could count with an older bracket or table than the last one left. */
		if (compare_exchange(&lane->header->owned, 0, 1)) {
			lane->bracket = load_relaxed(&lane->header->bracket);
			/* No epoch: the first enter looks everything up. */
			lane->epoch = UINT64_MAX;
			*acquired = lane;
			return 0;
		}
	}
	return -EAGAIN;
}

void netlog_lane_release(struct netlog_lane *lane)
{
	/* release: pairs with netlog_meter_acquire_lane(). */
	if (lane)
		store_release(&lane->header->owned, 0);
}

void netlog_lane_enter(struct netlog_lane *lane)
{
	/* seq_cst, and the load after it: the writer's half of the handshake, above. */
	store_seq_cst(&lane->header->bracket, ++lane->bracket);
	uint64_t epoch = load_seq_cst(&lane->meter->region->epoch);

	if (unlikely(epoch != lane->epoch)) {
		lane->epoch = epoch;
		lane->live = lane->tables[epoch % NETLOG_BANKS];
		lane->last[NETLOG_TUN] = lane->last[NETLOG_SOCK] = NULL;
		lane->woken = false;
	}
}

static bool nearly_full(const struct netlog_table *table)
{
	return table->header->count >= table->capacity - table->capacity / 4;
}

void netlog_lane_leave(struct netlog_lane *lane)
{
	bool wake = !lane->woken && unlikely(nearly_full(&lane->live[NETLOG_TUN]) ||
					     nearly_full(&lane->live[NETLOG_SOCK]));

	/* release: pairs with the load_acquire in is_quiesced(). Without it the poller could see
	 * this lane outside and drain records whose counts it does not see yet. */
	store_release(&lane->header->bracket, ++lane->bracket);
	/* At most one system call a lane and epoch, and outside the bracket. */
	if (unlikely(wake)) {
		lane->woken = true;
		netlog_meter_wake(lane->meter);
	}
}

void netlog_lane_count_packets(struct netlog_lane *lane, const struct netlog_packet *packets,
			       size_t n)
{
	lane->meter->count_packets(&lane->live[NETLOG_TUN], packets, n, &lane->last[NETLOG_TUN]);
}

void netlog_lane_count_datagrams(struct netlog_lane *lane, const struct netlog_datagram *datagrams,
				 size_t n)
{
	netlog_count_datagrams(&lane->live[NETLOG_SOCK], datagrams, n, &lane->last[NETLOG_SOCK]);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static bool is_quiesced(const struct netlog_lane *lane, uint64_t inside)
{
	/* acquire: pairs with the store_release in netlog_lane_leave(). */
	return load_acquire(&lane->header->bracket) != inside;
}

/* Waits until the bracket that was open at the swap is closed; false if it still is at deadline. */
static bool wait_quiesced(const struct netlog_lane *lane, uint64_t deadline_ns)
{
	/* seq_cst: the poller's half of the handshake, after the store to the epoch. */
	uint64_t bracket = load_seq_cst(&lane->header->bracket);

	if (bracket % 2 == 0)
		return true;
	while (!is_quiesced(lane, bracket)) {
		if (now_ns() >= deadline_ns)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = QUIESCE_SLEEP_NS}, NULL);
	}
	return true;
}

int netlog_meter_swap(struct netlog_meter *meter, uint64_t timeout_ns)
{
	uint64_t deadline_ns = now_ns() + timeout_ns;
	int late = 0;

	if (meter->retired)
		return -EBUSY;
	/* The one store. It also orders the clearing of the bank that becomes live (done by this
	 * thread) before the first count into it: pairs with the load in netlog_lane_enter(). */
	store_seq_cst(&meter->region->epoch, load_relaxed(&meter->region->epoch) + 1);
	meter->retired = true;
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		meter->quiesced[number] = wait_quiesced(&meter->lanes[number], deadline_ns);
		late += !meter->quiesced[number];
	}
	return late;
}

uint64_t netlog_meter_epoch(const struct netlog_meter *meter)
{
	return load_relaxed(&meter->region->epoch);
}

/* The retired table of a lane, if the poller may touch it. */
static struct netlog_table *retired_table(const struct netlog_meter *meter, uint32_t number,
					  int point)
{
	uint64_t epoch = load_relaxed(&meter->region->epoch);

	if (!meter->retired || !meter->quiesced[number])
		return NULL;
	return &meter->lanes[number].tables[(epoch + 1) % NETLOG_BANKS][point];
}

/* A count is another thread's word, one day another process's: never more than there is room. */
static size_t table_count(const struct netlog_table *table)
{
	uint64_t count = table->header->count;

	return count < table->capacity ? (size_t)count : table->capacity;
}

size_t netlog_meter_retired_rows(const struct netlog_meter *meter, int point)
{
	size_t rows = 0;

	for (uint32_t number = 0; number < meter->lane_count; number++) {
		const struct netlog_table *table = retired_table(meter, number, point);

		if (table)
			rows += table_count(table);
	}
	return rows;
}

static void add_unattributed(struct netlog_unattributed *sum,
			     const struct netlog_unattributed *counts)
{
	for (int reason = 0; reason < NETLOG_REASONS; reason++) {
		for (int direction = 0; direction < 2; direction++) {
			sum->packets[reason][direction] += counts->packets[reason][direction];
			sum->bytes[reason][direction] += counts->bytes[reason][direction];
		}
	}
}

ssize_t netlog_meter_drain(struct netlog_meter *meter, int point, struct netlog_flow *flows,
			   size_t capacity, struct netlog_unattributed *unattributed)
{
	struct netlog_merge_source sources[NETLOG_MAX_LANES];
	size_t n = 0, rows = 0;

	memset(unattributed, 0, sizeof(*unattributed));
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		const struct netlog_table *table = retired_table(meter, number, point);

		if (!table)
			continue;
		sources[n].records = table->records;
		sources[n].count = table_count(table);
		sources[n].split = table->header->split;
		sources[n].index = &table->index;
		rows += sources[n].count;
		n++;
		add_unattributed(unattributed, &table->header->unattributed);
	}
	if (rows > capacity)
		return -ENOSPC;
	return netlog_merge(sources, n, &meter->region->secret, flows);
}

void netlog_meter_clear(struct netlog_meter *meter)
{
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		for (int point = 0; point < NETLOG_POINTS; point++) {
			struct netlog_table *table = retired_table(meter, number, point);

			if (table)
				netlog_table_clear(table);
		}
	}
	meter->retired = false;
}

int netlog_meter_wait(struct netlog_meter *meter, uint64_t timeout_ns)
{
	uint64_t deadline_ns = now_ns() + timeout_ns;
	uint32_t *wakes = &meter->region->wakes;

	for (;;) {
		/* acquire: pairs with netlog_meter_wake(). */
		uint32_t seen = load_acquire_32(wakes);

		if (seen != meter->wakes_seen) {
			meter->wakes_seen = seen;
			return 1;
		}
		uint64_t now = now_ns();

		if (now >= deadline_ns)
			return 0;
		struct timespec left = {.tv_sec = (time_t)((deadline_ns - now) / NS_PER_S),
					.tv_nsec = (long)((deadline_ns - now) % NS_PER_S)};

		/* Whatever ends it, the loop looks again. */
		(void)syscall(SYS_futex, wakes, FUTEX_WAIT, seen, &left, NULL, 0);
	}
}

void netlog_meter_wake(struct netlog_meter *meter)
{
	uint32_t *wakes = &meter->region->wakes;

	/* release: pairs with the load in netlog_meter_wait(). */
	add_release_32(wakes, 1);
	(void)syscall(SYS_futex, wakes, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
