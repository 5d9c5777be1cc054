/* SPDX-License-Identifier: BSD-3-Clause */
/* meter_file: a meter whose region is a file, so that it outlives the processes that use it.
 *
 * Who is alive is said by locks on single bytes of the file (F_OFD_SETLK): byte 0 is the poller's,
 * byte 1 + n that of the owner of lane n. The kernel drops them with the process, whatever ended
 * it. They belong to the open file description, so within a process they keep nobody apart: there
 * `claimed` of a lane does.
 *
 * What is read from the file is checked when it is attached, and its sizes again before each use.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "atomic.h"
#include "barrier.h"
#include "meter.h"

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

/* A descriptor of an opening of its own: the locks of the caller's would not keep this meter apart
 * from others who were given the same one, and a poller would take a living writer for dead. Where
 * /proc does not have it the caller's opening is used, and must be nobody else's. */
static int open_own(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int opened = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	/* Not one of the standard streams', if those are closed. */
	int own = fcntl(opened < 0 ? fd : opened, F_DUPFD_CLOEXEC, 3);

	if (opened >= 0)
		close(opened);
	return own;
}

/* Maps the file, and takes a descriptor of its own, for a meter whose options are known. */
static int map_file(struct netlog_meter *meter, int fd)
{
	void *region;

	meter->fd = open_own(fd);
	if (meter->fd < 0)
		return -errno;
	meter->attached = getpid();
	region = mmap(NULL, meter->region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, meter->fd, 0);
	if (region == MAP_FAILED)
		return -errno;
	meter->region = region;
	return 0;
}

/* The file gets its size, and room for what the poller reads of every lane. */
static int size_file(const struct netlog_meter *meter, int fd)
{
	if (ftruncate(fd, (off_t)meter->region_bytes))
		return -errno;
	int rc = -posix_fallocate(fd, 0, NETLOG_PAGE);

	for (uint32_t number = 0; !rc && number < meter->lane_count; number++)
		rc = -posix_fallocate(fd, (off_t)region_lane_offset(&meter->options, number),
				      NETLOG_PAGE);
	return rc;
}

static int lock_poller(const struct netlog_meter *meter)
{
	struct flock lock = byte_lock(F_WRLCK, POLLER_BYTE);

	if (!fcntl(meter->fd, F_OFD_SETLK, &lock))
		return 0;
	return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

int netlog_meter_create(int fd, const struct netlog_meter_options *options,
			struct netlog_meter **created)
{
	struct netlog_meter_options shared = *options;

	shared.shared = 1;
	if (!netlog_meter_valid_options(&shared))
		return -EINVAL;
	struct netlog_meter *meter = netlog_meter_allocate(&shared);
	int rc = meter ? size_file(meter, fd) : -ENOMEM;

	if (!rc)
		rc = map_file(meter, fd);
	if (!rc)
		rc = lock_poller(meter);
	if (!rc)
		rc = netlog_meter_init_region(meter);
	if (rc) {
		netlog_meter_close(meter);
		return rc;
	}
	meter->region->asks_barriers = meter->asks_barriers = barrier_can_ask();
	netlog_meter_place(meter);
	meter->polls = true;
	*created = meter;
	return 0;
}

/* Whether these first bytes of a file of that size are a meter's. */
static bool valid_header(const struct netlog_region *region, uint64_t file_bytes)
{
	return region->magic == NETLOG_REGION_MAGIC && region->version == NETLOG_REGION_VERSION &&
	       region->header_bytes == sizeof(*region) && region->options.shared == 1 &&
	       netlog_meter_valid_options(&region->options) && region->region_bytes == file_bytes &&
	       region_bytes(&region->options) == file_bytes && region->asks_barriers <= 1;
}

int netlog_meter_attach(int fd, struct netlog_meter **attached)
{
	struct netlog_region header;
	struct stat file;
	ssize_t got;

	if (fstat(fd, &file))
		return -errno;
	got = pread(fd, &header, sizeof(header), 0);
	if (got < 0)
		return -errno;
	if (!S_ISREG(file.st_mode) || got < (ssize_t)sizeof(header) ||
	    !valid_header(&header, (uint64_t)file.st_size))
		return -EBADMSG;
	struct netlog_meter *meter = netlog_meter_allocate(&header.options);
	int rc = meter ? map_file(meter, fd) : -ENOMEM;

	if (rc) {
		netlog_meter_close(meter);
		return rc;
	}
	meter->asks_barriers = header.asks_barriers;
	netlog_meter_place(meter);
	*attached = meter;
	return 0;
}

int netlog_meter_adopt(struct netlog_meter *meter, int fd)
{
	if (meter->fd < 0 || meter->attached == getpid())
		return -EPERM;
	/* The old mapping holds the parent's open file description, and so its locks: as long as it
	 * is there, no lane of a dead parent could be made good. */
	void *region = mmap(meter->region, meter->region_bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, fd, 0);

	if (region == MAP_FAILED)
		return -errno;
	close(meter->fd);
	meter->fd = fd;
	meter->attached = getpid();
	meter->polls = false;
	for (uint32_t number = 0; number < meter->lane_count; number++)
		store_relaxed(&meter->lanes[number].claimed, 0);
	return 0;
}

/* Whether the words of the last poller fit together. */
static bool valid_progress(const struct netlog_meter *meter)
{
	const struct netlog_progress *progress = &meter->region->progress;
	uint64_t epoch = meter->region->epoch;

	return progress->cleared <= progress->stored && progress->stored <= progress->settled &&
	       progress->settled <= epoch && progress->dated <= epoch &&
	       epoch - progress->cleared <= 1;
}

int netlog_meter_take_poll(struct netlog_meter *meter)
{
	int rc = meter->polls ? -EBUSY : lock_poller(meter);

	/* Writers rely on what its maker could do. */
	if (!rc && meter->asks_barriers && !barrier_can_ask())
		rc = -ENOTSUP;
	if (!rc)
		rc = netlog_file_check(meter);
	if (!rc && !valid_progress(meter))
		rc = -EBADMSG;
	if (rc)
		return rc;
	meter->polls = true;
	netlog_file_reclaim(meter);
	/* Stored, and cleared in part. */
	if (meter->region->progress.stored == meter->region->epoch)
		return netlog_meter_clear(meter);
	return 0;
}
