/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "atomic.h"
#include "tun.h"

void netlog_tun_set_statistics(struct netlog_tun *tun, bool enabled)
{
	set_flag_relaxed(&tun->statistics, enabled);
}

bool netlog_tun_statistics(const struct netlog_tun *tun)
{
	return flag_relaxed(&tun->statistics);
}

static bool is_gone(int error)
{
	return error == EBADFD || error == EBADF || error == ENODEV;
}

/* A packet's length, or -errno. */
static ssize_t read_one(int fd, uint8_t *slot, uint32_t capacity)
{
	ssize_t length;

	do {
		length = read(fd, slot, capacity);
	} while (length < 0 && errno == EINTR);
	return length < 0 ? -errno : length;
}

int netlog_tun_read_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			    const struct netlog_batch *batch)
{
	struct netlog_packet packets[NETLOG_BATCH];
	uint32_t most = batch->n < NETLOG_BATCH ? batch->n : NETLOG_BATCH;
	uint32_t n = 0;
	ssize_t length = 0;

	while (n < most) {
		uint8_t *slot = batch_slot(batch, n);

		length = read_one(tun->fd, slot, batch->capacity);
		if (length < 0)
			break;
		batch->lengths[n] = (uint32_t)length;
		packets[n++] = (struct netlog_packet){
			.data = slot, .length = (uint32_t)length, .direction = NETLOG_TX};
	}
	if (lane && n)
		netlog_lane_count_packets(lane, packets, n);
	return n || length == -EAGAIN ? (int)n : (int)length;
}

static int write_one(int fd, const struct netlog_packet *packet)
{
	ssize_t written;

	do {
		written = write(fd, packet->data, packet->length);
	} while (written < 0 && errno == EINTR);
	return written < 0 ? -errno : 0;
}

int netlog_tun_write_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			     const struct netlog_packet *packets, uint32_t n,
			     struct netlog_outcome *outcome)
{
	struct netlog_packet written[NETLOG_BATCH];
	uint32_t done = 0;
	int rc = 0;

	for (uint32_t i = 0; i < n; i++) {
		/* A descriptor that is gone is not asked again for the rest of the batch. */
		if (!is_gone(-rc))
			rc = write_one(tun->fd, &packets[i]);
		if (rc) {
			outcome->refused_packets++;
			outcome->refused_bytes += packets[i].length;
			outcome->error = -rc;
			continue;
		}
		outcome->done_packets++;
		outcome->done_bytes += packets[i].length;
		written[done] = packets[i];
		written[done++].direction = NETLOG_RX;
	}
	if (lane && done)
		netlog_lane_count_packets(lane, written, done);
	return is_gone(-rc) ? rc : 0;
}

int netlog_tun_read(const struct netlog_tun *tun, struct netlog_lane *lane,
		    const struct netlog_batch *batch)
{
	uint32_t read = 0;

	while (read < batch->n) {
		struct netlog_batch part = batch_from(batch, read);
		bool counting = netlog_tun_statistics(tun);

		if (counting)
			netlog_lane_enter(lane);
		int n = netlog_tun_read_entered(tun, counting ? lane : NULL, &part);
		if (counting)
			netlog_lane_leave(lane);
		if (n < 0)
			return read ? (int)read : n;
		read += (uint32_t)n;
		if ((uint32_t)n < part.n)
			break;
	}
	return (int)read;
}

static int write_part(const struct netlog_tun *tun, struct netlog_lane *lane,
		      const struct netlog_batch *part, struct netlog_outcome *outcome)
{
	struct netlog_packet packets[NETLOG_BATCH];
	bool counting = netlog_tun_statistics(tun);

	for (uint32_t i = 0; i < part->n; i++)
		packets[i] = (struct netlog_packet){.data = batch_slot(part, i),
						    .length = part->lengths[i]};
	if (counting)
		netlog_lane_enter(lane);
	int rc = netlog_tun_write_entered(tun, counting ? lane : NULL, packets, part->n, outcome);
	if (counting)
		netlog_lane_leave(lane);
	return rc;
}

int netlog_tun_write(const struct netlog_tun *tun, struct netlog_lane *lane,
		     const struct netlog_batch *batch, struct netlog_outcome *outcome)
{
	int rc = 0;

	for (uint32_t first = 0; first < batch->n && !rc; first += NETLOG_BATCH) {
		struct netlog_batch part = batch_from(batch, first);

		rc = write_part(tun, lane, &part, outcome);
	}
	return rc;
}
