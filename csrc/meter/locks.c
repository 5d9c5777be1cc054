/* SPDX-License-Identifier: BSD-3-Clause */
/* locks: who is alive of those that use a meter in a file, and whether the file can be trusted.
 *
 * Who is alive is said by locks on single bytes of the file (F_OFD_SETLK): byte 0 is the poller's,
 * byte 1 + n that of the owner of lane n. The kernel drops them with the process, whatever ended
 * it. They belong to the open file description, so within a process they keep nobody apart: there
 * `claimed` of a lane does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic.h"
#include "meter/meter.h"

#define POLLER_BYTE   0
#define LANE_BYTE     1
#define BYTES_A_BLOCK 512 /* of st_blocks, whatever the file system's own are */

static struct flock byte_lock(short type, off_t byte)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
}

static off_t lane_byte(const struct netlog_meter *meter, const struct netlog_lane *lane)
{
	return LANE_BYTE + (lane - meter->lanes);
}

void netlog_file_close(struct netlog_meter *meter)
{
	/* A fork has the same open file description: it keeps the locks, and must not drop those of
	 * its parent. */
	struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	if (getpid() == meter->attached)
		(void)fcntl(meter->fd, F_OFD_SETLK, &all);
	close(meter->fd);
}

/* A dead owner can have left the lane inside a bracket, and a record that is counted and not in the
 * index: the next packet of that connection gets a second one. */
static void repair_lane(struct netlog_lane *lane)
{
	/* relaxed: its only writer is dead, and we hold the lane's lock. */
	uint64_t bracket = load_relaxed(&lane->header->bracket);

	for (int bank = 0; bank < NETLOG_BANKS; bank++) {
		for (int point = 0; point < NETLOG_POINTS; point++)
			lane->header->tables[bank][point].split = 1;
	}
	/* release: as lane_leave_as_full(), which the owner did not come to; pairs with
	 * is_quiesced(). The second pairs with own() of meter.c: the next owner sees the lane as it
	 * is now. */
	store_release(&lane->header->bracket, bracket + bracket % 2);
	store_release(&lane->header->owned, 0);
}

bool netlog_file_lock_lane(struct netlog_meter *meter, struct netlog_lane *lane)
{
	struct flock lock = byte_lock(F_WRLCK, lane_byte(meter, lane));

	if (fcntl(meter->fd, F_OFD_SETLK, &lock))
		return false;
	/* acquire: pairs with own(), whose lane we may have to make good.
	 * Owned, and nobody of this process had claimed it, nor does another hold the lock. */
	if (load_acquire(&lane->header->owned))
		repair_lane(lane);
	return true;
}

void netlog_file_unlock_lane(struct netlog_meter *meter, const struct netlog_lane *lane)
{
	struct flock lock = byte_lock(F_UNLCK, lane_byte(meter, lane));

	(void)fcntl(meter->fd, F_OFD_SETLK, &lock);
}

void netlog_file_reclaim(struct netlog_meter *meter)
{
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		struct netlog_lane *lane = &meter->lanes[number];

		/* acquire: pairs with own(). A lane that is taken or left just now is none to free.
		 */
		if (!load_acquire(&lane->header->owned) || !compare_exchange(&lane->claimed, 0, 1))
			continue;
		if (netlog_file_lock_lane(meter, lane))
			netlog_file_unlock_lane(meter, lane);
		/* release: pairs with the claim in netlog_meter_acquire_lane(). */
		store_release(&lane->claimed, 0);
	}
}

int netlog_file_back_lane(const struct netlog_meter *meter, const struct netlog_lane *lane)
{
	if (meter->fd < 0)
		return 0;
	/* Without it a full file system would end the process (SIGBUS) at some packet. */
	return -posix_fallocate(meter->fd, (uint8_t *)lane->header - (uint8_t *)meter->region,
				(off_t)region_lane_bytes(&meter->options));
}

int netlog_file_check(const struct netlog_meter *meter)
{
	struct stat file;
	uint64_t records = 0;

	if (meter->fd < 0)
		return 0;
	if (fstat(meter->fd, &file))
		return -errno;
	if ((uint64_t)file.st_size != meter->region_bytes)
		return -EIO;
	for (uint32_t number = 0; number < meter->lane_count; number++) {
		const struct netlog_lane *lane = &meter->lanes[number];

		for (int bank = 0; bank < NETLOG_BANKS; bank++) {
			for (int point = 0; point < NETLOG_POINTS; point++) {
				const struct netlog_table *table = &lane->tables[bank][point];
				/* relaxed: a live bank's may be a moment old; only its bound
				 * matters. */
				uint64_t count = load_relaxed(&table->header->count);

				if (count > table->capacity)
					return -EBADMSG;
				records += count;
			}
		}
	}
	/* Records that were written have pages: those of a hole would take memory to be read. */
	if (records * sizeof(struct netlog_record) > (uint64_t)file.st_blocks * BYTES_A_BLOCK)
		return -EBADMSG;
	return 0;
}

int netlog_file_lock_poller(const struct netlog_meter *meter)
{
	struct flock lock = byte_lock(F_WRLCK, POLLER_BYTE);

	if (!fcntl(meter->fd, F_OFD_SETLK, &lock))
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}
