/* SPDX-License-Identifier: BSD-3-Clause */
/* retired: reads the retired bank of a meter: its rows, and what was counted without a connection.
 *
 * In a file, other processes wrote the bank. So counts are checked against the room in the table,
 * and rows against what a meter can write.
 *
 * relaxed, in this file: only the poller writes the epoch, as poll.c says.
 */
#include <errno.h>
#include <string.h>

#include "base/atomic.h"
#include "meter/meter.h"

/* The records of a table. Another process may have written the count, so it is limited to the
 * capacity. */
static size_t table_count(const struct netlog_table *table)
{
	uint64_t count = table->header->count;

	return count < table->capacity ? (size_t)count : table->capacity;
}

size_t netlog_meter_retired_rows(const struct netlog_meter *meter, int point)
{
	size_t rows = 0;

	for (uint32_t number = 0; number < meter->lane_count; number++) {
		const struct netlog_table *table = netlog_meter_retired_table(meter, number, point);

		if (table)
			rows += table_count(table);
	}
	return rows;
}

/* A sum that does not fit stays at the greatest number: damage must not make it a small one. */
static void add(uint64_t *sum, uint64_t count)
{
	if (__builtin_add_overflow(*sum, count, sum))
		*sum = UINT64_MAX;
}

/* What a counter gained; 0 if damage has made it smaller. */
static uint64_t gained(uint64_t now, uint64_t before)
{
	return now > before ? now - before : 0;
}

static void add_unattributed(struct netlog_unattributed *sum,
			     const struct netlog_unattributed *counts)
{
	for (int reason = 0; reason < NETLOG_REASONS; reason++) {
		for (int direction = 0; direction < 2; direction++) {
			add(&sum->packets[reason][direction], counts->packets[reason][direction]);
			add(&sum->bytes[reason][direction], counts->bytes[reason][direction]);
		}
	}
}

/* Adds what threads without a lane moved during the epoch of the retired bank. */
static void add_laneless(const struct netlog_meter *meter, int point,
			 struct netlog_unattributed *sum)
{
	uint64_t epoch = load_relaxed(&meter->region->epoch);
	const struct netlog_laneless *until = meter->region->progress.laneless_until;
	const struct netlog_laneless *now = &until[epoch % 2], *before = &until[(epoch + 1) % 2];

	if (!netlog_meter_retired(meter) || !netlog_meter_settled(meter))
		return;
	for (int direction = 0; direction < 2; direction++) {
		add(&sum->packets[NETLOG_TABLE_FULL][direction],
		    gained(now->packets[point][direction], before->packets[point][direction]));
		add(&sum->bytes[NETLOG_TABLE_FULL][direction],
		    gained(now->bytes[point][direction], before->bytes[point][direction]));
	}
}

/* Takes the connection from each row that no meter writes, and keeps its counts. Any process that
 * maps the file could have written anything. One bad row must not hold up all the others. */
static void take_bad_connections(struct netlog_flow *flows, size_t n, int point)
{
	uint8_t flags = point == NETLOG_TUN ? 0 : NETLOG_NO_SRC;

	for (size_t i = 0; i < n; i++) {
		struct netlog_connection *connection = &flows[i].connection;

		if (likely((connection->version == 4 || connection->version == 6) &&
			   connection->flags == flags && connection->reserved == 0))
			continue;
		*connection = (struct netlog_connection){.flags = NETLOG_NO_SRC | NETLOG_NO_DST};
	}
}

/* Lists the retired tables of a point, and sums up what was counted there without a connection.
 * Returns the number of tables, and their records in *rows. The index of a table is lent unless the
 * meter is in a file. */
static size_t retired_sources(const struct netlog_meter *meter, int point,
			      struct netlog_merge_source *sources, size_t *rows,
			      struct netlog_unattributed *unattributed)
{
	size_t n = 0;

	*rows = 0;
	memset(unattributed, 0, sizeof(*unattributed));
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		const struct netlog_table *table = netlog_meter_retired_table(meter, number, point);

		if (!table)
			continue;
		sources[n].records = table->records;
		sources[n].count = table_count(table);
		sources[n].split = table->header->split;
		sources[n].index = meter->fd < 0 ? &table->index : NULL;
		*rows += sources[n].count;
		n++;
		add_unattributed(unattributed, &table->header->unattributed);
	}
	add_laneless(meter, point, unattributed);
	return n;
}

ssize_t netlog_meter_drain(struct netlog_meter *meter, int point, struct netlog_flow *flows,
			   size_t capacity, struct netlog_unattributed *unattributed)
{
	struct netlog_merge_source sources[NETLOG_MAX_LANES];
	size_t rows;
	int rc = netlog_file_check(meter);

	if (rc)
		return rc;
	size_t n = retired_sources(meter, point, sources, &rows, unattributed);

	if (rows > capacity)
		return -ENOSPC;
	ssize_t written = netlog_merge(sources, n, &meter->secret, flows);

	if (written > 0 && meter->fd >= 0)
		take_bad_connections(flows, (size_t)written, point);
	return written;
}

int netlog_meter_drain_begin(struct netlog_meter *meter, int point,
			     struct netlog_unattributed *unattributed)
{
	struct netlog_merge_source sources[NETLOG_MAX_LANES];
	size_t rows;
	int rc = netlog_file_check(meter);

	if (rc)
		return rc;
	size_t n = retired_sources(meter, point, sources, &rows, unattributed);

	netlog_drain_end(&meter->drains[point]);
	meter->drained_epoch[point] = load_relaxed(&meter->region->epoch);
	return netlog_drain_begin(&meter->drains[point], sources, n, &meter->secret);
}

ssize_t netlog_meter_drain_next(struct netlog_meter *meter, int point, struct netlog_flow *flows,
				size_t capacity)
{
	int rc = netlog_file_check(meter);

	if (rc)
		return rc;
	/* The bank has been cleared, and may belong to another epoch by now. */
	if (!netlog_meter_retired(meter) ||
	    meter->drained_epoch[point] != load_relaxed(&meter->region->epoch))
		return -EINVAL;
	size_t written = netlog_drain_next(&meter->drains[point], flows, capacity);

	if (meter->fd >= 0)
		take_bad_connections(flows, written, point);
	return (ssize_t)written;
}
