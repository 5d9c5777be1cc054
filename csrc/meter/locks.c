/* SPDX-License-Identifier: BSD-3-Clause */
/* locks: which users of a meter in a file are alive, and whether the file can be trusted.
 *
 * A living user holds a lock on one byte of the file (F_OFD_SETLK): the poller on byte 0, the owner
 * of lane n on byte 1 + n. The kernel drops the locks when the process ends, for whatever reason.
 * The locks belong to the open file description, so they do not keep the threads of one process
 * apart. `claimed` of the lane does that.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64 /* as in file.c */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic.h"
#include "meter/meter.h"

#define POLLER_BYTE   0
#define LANE_BYTE     1
#define BYTES_A_BLOCK 512 /* of st_blocks, on every file system */

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
	/* A fork shares the open file description of its parent. It must not drop the locks, which
	 * are the parent's. */
	struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	if (getpid() == meter->attached)
		(void)fcntl(meter->fd, F_OFD_SETLK, &all);
	close(meter->fd);
}

/* Repairs a lane whose owner is dead. The owner may have left its bracket open. It may also have
 * appended a record that is not in the index: the next packet of that connection gets a second
 * record, so `split` is set. */
static void repair_lane(struct netlog_lane *lane)
{
	/* relaxed: the only writer is dead, and this process holds the lane's lock. */
	uint64_t bracket = load_relaxed(&lane->header->bracket);

	for (int bank = 0; bank < NETLOG_BANKS; bank++) {
		for (int point = 0; point < NETLOG_POINTS; point++)
			lane->header->tables[bank][point].split = 1;
	}
	/* release: the first store does what the owner did not come to do in lane_leave_as_full();
	 * pairs with is_quiesced(), which says why. The second pairs with compare_exchange() in
	 * own(): the next owner sees the lane as it is now. */
	store_release(&lane->header->bracket, bracket + bracket % 2);
	store_release(&lane->header->owned, 0);
}

static bool bracket_is_open(const struct netlog_lane *lane)
{
	/* relaxed: a hint. What it leads to is decided with the lane's lock. */
	return load_relaxed(&lane->header->bracket) % 2;
}

bool netlog_file_lock_lane(struct netlog_meter *meter, struct netlog_lane *lane)
{
	struct flock lock = byte_lock(F_WRLCK, lane_byte(meter, lane));

	if (fcntl(meter->fd, F_OFD_SETLK, &lock))
		return false;
	/* acquire: pairs with compare_exchange() in own(), by the owner whose lane this repairs.
	 * The lane is owned, but no thread of this process has claimed it, and no other process
	 * holds its lock. So its owner is dead. */
	if (load_acquire(&lane->header->owned) || bracket_is_open(lane))
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

		/* acquire: pairs with compare_exchange() in own(). A lane that a thread of this
		 * process has claimed needs no repair, even if that changes now. Nor does one that
		 * is not owned, unless damage left its bracket open. */
		if ((!load_acquire(&lane->header->owned) && !bracket_is_open(lane)) ||
		    !compare_exchange(&lane->claimed, 0, 1))
			continue;
		if (netlog_file_lock_lane(meter, lane))
			netlog_file_unlock_lane(meter, lane);
		/* release: pairs with the claim in netlog_meter_acquire_lane(), which says why. */
		store_release(&lane->claimed, 0);
	}
}

int netlog_file_back_lane(const struct netlog_meter *meter, const struct netlog_lane *lane)
{
	if (meter->fd < 0)
		return 0;
	/* Without this, a full file system would end the process (SIGBUS) at some later packet. */
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
				/* relaxed: the count of a live bank may be a moment old, but only
				 * its bound matters. */
				uint64_t count = load_relaxed(&table->header->count);

				if (count > table->capacity)
					return -EBADMSG;
				records += count;
			}
		}
	}
	/* Records that were written have pages in the file. If there are fewer, a count is wrong,
	 * and reading the holes would take up memory. */
	if (records * sizeof(struct netlog_record) > (uint64_t)file.st_blocks * BYTES_A_BLOCK)
		return -EBADMSG;
	return 0;
}

void netlog_file_unlock_poller(const struct netlog_meter *meter)
{
	struct flock lock = byte_lock(F_UNLCK, POLLER_BYTE);

	(void)fcntl(meter->fd, F_OFD_SETLK, &lock);
}

int netlog_file_lock_poller(const struct netlog_meter *meter)
{
	struct flock lock = byte_lock(F_WRLCK, POLLER_BYTE);

	if (!fcntl(meter->fd, F_OFD_SETLK, &lock))
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}
