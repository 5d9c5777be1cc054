/* SPDX-License-Identifier: BSD-3-Clause */
/* file: a meter whose region is a file, so that it outlives the processes that use it.
 *
 * The header is checked when a process attaches. locks.c checks the sizes again before each use by
 * the poller, and keeps owners apart.
 */
#define _GNU_SOURCE
/* For files beyond 2 GiB on 32-bit machines, and for the locks of a file. */
#define _FILE_OFFSET_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/barrier.h"
#include "meter/meter.h"

/* Opens the file again, and returns a descriptor. Locks of the caller's own opening would not
 * exclude others who use that same opening, and a poller would believe that a living writer is
 * dead. If /proc is not available, the caller's opening is used, and then no one else may use it.
 */
static int open_own(int fd)
{
	char path[32];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	int opened = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	/* At least 3: if a standard stream is closed, this must not become it. */
	int own = fcntl(opened < 0 ? fd : opened, F_DUPFD_CLOEXEC, 3);

	if (opened >= 0)
		close(opened);
	return own;
}

/* Maps the file for a meter whose options are known, through a descriptor of the meter's own. */
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

/* Gives the file its size, and allocates the pages that the poller reads of every lane. */
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

int netlog_meter_create(int fd, const struct netlog_meter_options *options,
			struct netlog_meter **created)
{
	struct netlog_meter_options shared = *options;

	shared.shared = 1;
	int rc = netlog_meter_check_options(&shared);

	if (rc)
		return rc;
	struct netlog_meter *meter = netlog_meter_allocate(&shared);

	rc = meter ? size_file(meter, fd) : -ENOMEM;
	if (!rc)
		rc = map_file(meter, fd);
	if (!rc)
		rc = netlog_file_lock_poller(meter);
	if (!rc)
		rc = netlog_meter_init_region(meter);
	if (rc) {
		netlog_meter_close(meter);
		return rc;
	}
	meter->region->asks_barriers = meter->asks_barriers = barrier_can_ask();
	meter->region->constants_check = region_check_constants(meter->region);
	netlog_meter_place(meter);
	meter->polls = true;
	*created = meter;
	return 0;
}

/* Checks that a file of this size that begins with these bytes is a meter, and that this process
 * can use it. Returns 0; -EBADMSG; -EOVERFLOW; or -ENOTSUP. */
static int check_header(const struct netlog_region *region, uint64_t file_bytes)
{
	int rc = netlog_meter_check_options(&region->options);

	if (region->magic != NETLOG_REGION_MAGIC || region->version != NETLOG_REGION_VERSION ||
	    region->header_bytes != sizeof(*region) || region->options.shared != 1 ||
	    rc == -EINVAL || region->region_bytes != file_bytes ||
	    region_bytes(&region->options) != file_bytes || region->asks_barriers > 1 ||
	    region->constants_check != region_check_constants(region))
		return -EBADMSG;
	return rc;
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
	if (!S_ISREG(file.st_mode) || got < (ssize_t)sizeof(header))
		return -EBADMSG;
	int rc = check_header(&header, (uint64_t)file.st_size);

	if (rc)
		return rc;
	struct netlog_meter *meter = netlog_meter_allocate(&header.options);

	rc = meter ? map_file(meter, fd) : -ENOMEM;
	if (rc) {
		netlog_meter_close(meter);
		return rc;
	}
	meter->asks_barriers = header.asks_barriers;
	netlog_meter_place(meter);

	/* The next wake counts even if the word is damaged, and would become 0. A wake before this
	 * one counts, too: a table may be nearly full. relaxed: nothing is read because of it. */
	uint32_t wakes = load_relaxed_32(&meter->region->wakes);

	meter->wakes_seen = wakes ? wakes - 1 : 0;
	*attached = meter;
	return 0;
}

int netlog_meter_adopt(struct netlog_meter *meter, int fd)
{
	if (meter->fd < 0 || meter->attached == getpid())
		return -EPERM;
	/* The old mapping keeps the parent's open file description alive, and with it the parent's
	 * locks. While it exists, the lanes of a dead parent cannot be reclaimed. */
	void *region = mmap(meter->region, meter->region_bytes, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_FIXED, fd, 0);

	if (region == MAP_FAILED)
		return -errno;
	close(meter->fd);
	meter->fd = fd;
	meter->attached = getpid();
	meter->polls = false;
	/* relaxed: this is the only thread of the fork that uses the meter. */
	for (uint32_t number = 0; number < meter->lane_count; number++)
		store_relaxed(&meter->lanes[number].claimed, 0);
	return 0;
}

/* Whether the words that the last poller left are consistent. */
static bool valid_progress(const struct netlog_meter *meter)
{
	const struct netlog_progress *progress = &meter->region->progress;
	uint64_t epoch = meter->region->epoch;

	return progress->cleared <= progress->stored && progress->stored <= progress->settled &&
	       progress->settled <= epoch && progress->dated <= epoch &&
	       epoch - progress->cleared <= 1;
}

/* Continues where the last poller stopped. The caller has the poller's lock. */
static int take_over(struct netlog_meter *meter)
{
	int rc = netlog_file_check(meter);

	/* Writers rely on barriers because the meter's maker could ask for them. */
	if (!rc && meter->asks_barriers && !barrier_can_ask())
		rc = -ENOTSUP;
	if (!rc && !valid_progress(meter))
		rc = -EBADMSG;
	if (rc)
		return rc;
	netlog_file_reclaim(meter);
	/* The last poller has stored the bank's messages, and may have cleared a part of it. */
	if (meter->region->progress.stored == meter->region->epoch)
		return netlog_meter_clear(meter);
	return 0;
}

int netlog_meter_take_poll(struct netlog_meter *meter)
{
	if (meter->fd < 0)
		return meter->polls ? -EBUSY : -EPERM;
	if (getpid() != meter->attached)
		return -EPERM;
	int rc = meter->polls ? -EBUSY : netlog_file_lock_poller(meter);

	if (rc)
		return rc;
	rc = take_over(meter);
	if (rc)
		netlog_file_unlock_poller(meter);
	meter->polls = !rc;
	return rc;
}
