/* SPDX-License-Identifier: BSD-3-Clause */
/* meter: lanes, the epoch, and the handshake between the writers and the poller.
 *
 * The handshake. A writer first announces that it is inside a bracket, then reads the epoch and
 * counts into the bank of that epoch. The poller first stores the next epoch, then looks which
 * writers are inside. Each side stores its own word and then loads the other's. All four accesses
 * are seq_cst, so all threads agree on one order of them, and the side that comes second sees the
 * store of the first: either the poller sees the writer inside and waits, or the writer sees the
 * new epoch and uses the new bank. With less order the writer could read the old epoch while the
 * poller sees it outside, and the poller would drain a bank that is being written.
 *
 * `bracket` is odd inside and grows with every enter and leave. A poller that saw it odd waits for
 * any change: then the bracket that could have used the old bank is over, whatever followed.
 *
 * The other form of the handshake, for a writer that has registered for barriers (base/barrier.h).
 * The writer leaves its two accesses unordered. Between its own store and its look, the poller has
 * the kernel execute a barrier in the writer's thread. If the barrier falls before the writer's
 * store, the writer's load comes later and sees the new epoch. If it falls after, the poller sees
 * the store. So for each bracket one of the two holds, as above.
 *
 * A writer may stay inside longer than the poller is willing to wait. Then its lane keeps its
 * retired bank: the poller leaves that bank alone, and drains it when it retires again, two epochs
 * later. Until then the writer finds its counts where it left them. Nothing is lost, only late.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/barrier.h"
#include "meter/lane.h"

/* A table with this many bytes of records (256 k connections) or more gets huge pages. Counting is
 * 3-15 % faster with them, and the first touch far more. They may waste memory, but a user who asks
 * for a table this large has it. */
#define HUGE_TABLE_BYTES (16u << 20)

int netlog_meter_check_options(const struct netlog_meter_options *options)
{
	if (options->max_flows < 1 || options->max_flows > NETLOG_MAX_FLOWS ||
	    options->max_endpoints < 1 || options->max_endpoints > NETLOG_MAX_FLOWS ||
	    options->max_lanes < 1 || options->max_lanes > NETLOG_MAX_LANES || options->shared > 1)
		return -EINVAL;
	if (options->shared && !ATOMIC_ACROSS_PROCESSES)
		return -ENOTSUP;
	return region_fits(options, PTRDIFF_MAX) ? 0 : -EOVERFLOW;
}

/* Points one table at its part of the region and returns where the next part begins. */
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
	return base + region_records_bytes(capacity);
}

static void place_lane(struct netlog_meter *meter, uint32_t number)
{
	const struct netlog_meter_options *options = &meter->options;
	struct netlog_lane *lane = &meter->lanes[number];
	uint8_t *base = (uint8_t *)meter->region + region_lane_offset(options, number);

	lane->meter = meter;
	lane->live_epoch = &meter->region->epoch;
	lane->header = (struct netlog_lane_header *)base;
	base += NETLOG_PAGE;
	for (int bank = 0; bank < NETLOG_BANKS; bank++) {
		for (int point = 0; point < NETLOG_POINTS; point++) {
			struct netlog_table *table = &lane->tables[bank][point];

			table->secret = &meter->secret;
			base = place_table(table, &lane->header->tables[bank][point],
					   region_capacity(options, point), base);
		}
	}
}

void netlog_meter_place(struct netlog_meter *meter)
{
	meter->secret = meter->region->secret;
	for (uint32_t number = 0; number < meter->lane_count; number++)
		place_lane(meter, number);
}

void netlog_meter_rely(struct netlog_meter *meter)
{
	meter->relies = meter->asks_barriers && barrier_register();
}

static int fill_random(void *bytes, size_t n)
{
	return getrandom(bytes, n, 0) == (ssize_t)n ? 0 : -errno;
}

static int map_region(struct netlog_meter *meter)
{
	const struct netlog_meter_options *options = &meter->options;
	int kind = options->shared ? MAP_SHARED : MAP_PRIVATE;
	/* MAP_NORESERVE: most of the region is never touched, and its size is bounded. */
	void *region = mmap(NULL, meter->region_bytes, PROT_READ | PROT_WRITE,
			    kind | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (region == MAP_FAILED)
		return -errno;
	if ((uint64_t)options->max_flows * sizeof(struct netlog_record) >= HUGE_TABLE_BYTES)
		(void)madvise(region, meter->region_bytes, MADV_HUGEPAGE);
	meter->region = region;
	return 0;
}

int netlog_meter_init_region(struct netlog_meter *meter)
{
	struct netlog_region *region = meter->region;
	int rc = fill_random(region->meter_id, sizeof(region->meter_id));

	if (!rc)
		rc = fill_random(&region->secret, sizeof(region->secret));
	region->version = NETLOG_REGION_VERSION;
	region->header_bytes = sizeof(*region);
	region->region_bytes = meter->region_bytes;
	region->options = meter->options;
	region->magic = NETLOG_REGION_MAGIC;
	netlog_meter_date(meter, &(struct netlog_period){0});
	return rc;
}

struct netlog_meter *netlog_meter_allocate(const struct netlog_meter_options *options)
{
	struct netlog_meter *meter = calloc(1, sizeof(*meter));

	if (!meter)
		return NULL;
	meter->options = *options;
	meter->region_bytes = (size_t)region_bytes(options);
	meter->lane_count = options->max_lanes;
	meter->fd = -1;
	meter->count_packets = netlog_count_packets_choose();
	meter->lanes = aligned_alloc(NETLOG_LINE, options->max_lanes * sizeof(*meter->lanes));
	if (!meter->lanes) {
		free(meter);
		return NULL;
	}
	memset(meter->lanes, 0, options->max_lanes * sizeof(*meter->lanes));
	return meter;
}

int netlog_meter_open(const struct netlog_meter_options *options, struct netlog_meter **opened)
{
	int rc = netlog_meter_check_options(options);

	if (rc)
		return rc;
	struct netlog_meter *meter = netlog_meter_allocate(options);

	rc = meter ? map_region(meter) : -ENOMEM;
	if (!rc)
		rc = netlog_meter_init_region(meter);
	if (rc) {
		netlog_meter_close(meter);
		return rc;
	}
	netlog_meter_place(meter);
	meter->attached = getpid();
	meter->polls = true;
	*opened = meter;
	return 0;
}

void netlog_meter_close(struct netlog_meter *meter)
{
	if (!meter)
		return;
	if (meter->region)
		munmap(meter->region, meter->region_bytes);
	if (meter->fd >= 0)
		netlog_file_close(meter);
	for (int point = 0; point < NETLOG_POINTS; point++)
		netlog_drain_end(&meter->drains[point]);
	free(meter->lanes);
	free(meter);
}

const struct netlog_meter_options *netlog_meter_options_of(const struct netlog_meter *meter)
{
	return &meter->options;
}

const uint8_t *netlog_meter_id(const struct netlog_meter *meter)
{
	return meter->region->meter_id;
}

void netlog_meter_read_aside(const struct netlog_meter *meter, struct netlog_aside *aside)
{
	/* relaxed: each value is whole, and a report may be a moment old. */
	const struct netlog_aside *shared = &meter->region->aside;

	aside->processes = load_relaxed(&shared->processes);
	aside->tuns = load_relaxed(&shared->tuns);
	aside->laneless_packets = aside->laneless_bytes = 0;
	for (int point = 0; point < NETLOG_POINTS; point++) {
		for (int direction = 0; direction < 2; direction++) {
			aside->laneless_packets +=
				load_relaxed(&meter->region->laneless.packets[point][direction]);
			aside->laneless_bytes +=
				load_relaxed(&meter->region->laneless.bytes[point][direction]);
		}
	}
	aside->far_descriptors = load_relaxed(&shared->far_descriptors);
}

size_t netlog_meter_region_bytes(const struct netlog_meter *meter)
{
	return meter->region_bytes;
}

/* Makes the caller, who has claimed the lane in this process, its owner among all processes.
 * Returns false if it has an owner. */
static bool own(struct netlog_meter *meter, struct netlog_lane *lane)
{
	if (meter->fd >= 0 && !netlog_file_lock_lane(meter, lane))
		return false;
	/* acq_rel: pairs with store_release() in netlog_lane_release() and in repair_lane().
	 * Without it the new owner could count on from an older bracket or table than the last
	 * owner left.
	 */
	if (compare_exchange(&lane->header->owned, 0, 1))
		return true;
	if (meter->fd >= 0)
		netlog_file_unlock_lane(meter, lane);
	return false;
}

bool netlog_meter_is_ours(const struct netlog_meter *meter)
{
	return (meter->fd < 0 && meter->options.shared) || getpid() == meter->attached;
}

int netlog_meter_acquire_lane(struct netlog_meter *meter, struct netlog_lane **acquired)
{
	if (!netlog_meter_is_ours(meter))
		return -EPERM;
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		struct netlog_lane *lane = &meter->lanes[number];

		/* acq_rel: pairs with the last store_release() to `claimed`, in this function, in
		 * netlog_lane_release() or in netlog_file_reclaim(). Without it two threads of this
		 * process could use one view of the lane, the second with stale contents. */
		if (!compare_exchange(&lane->claimed, 0, 1))
			continue;
		if (own(meter, lane)) {
			int rc = netlog_file_back_lane(meter, lane);

			if (rc) {
				netlog_lane_release(lane);
				return rc;
			}
			/* relaxed: own() has ordered it after what the last owner wrote. */
			lane->bracket = load_relaxed(&lane->header->bracket);
			lane->relies = meter->relies;
			/* No epoch has this number, so the first enter looks up everything. */
			lane->epoch = UINT64_MAX;
			*acquired = lane;
			return 0;
		}
		/* release: pairs with the claim above, by the next thread that tries. */
		store_release(&lane->claimed, 0);
	}
	return -EAGAIN;
}

void netlog_lane_release(struct netlog_lane *lane)
{
	if (!lane)
		return;
	/* release: pairs with compare_exchange() in own(). The next owner sees the lane as it is.
	 */
	store_release(&lane->header->owned, 0);
	if (lane->meter->fd >= 0)
		netlog_file_unlock_lane(lane->meter, lane);
	/* release: pairs with the claim in netlog_meter_acquire_lane(), which says why. */
	store_release(&lane->claimed, 0);
}

void netlog_lane_enter(struct netlog_lane *lane)
{
	lane_enter(lane);
}

void netlog_lane_leave(struct netlog_lane *lane)
{
	lane_leave(lane);
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
