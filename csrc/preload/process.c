/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "preload/process.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "meter/meter.h"
#include "preload/next.h"

/* The hidden descriptor is below this, because the kernel's table grows with the highest number. */
#define HIDDEN_BELOW 1024
#define HIDDEN_ROOM  16
/* A thread that got no lane tries again after this many packets: each try costs one system call for
 * each lane. */
#define PACKETS_BETWEEN_ASKING 1024

/* The byte of the meter's file that each process locks for as long as it lives. So the poller sees
 * whether any process is left. It is beyond the bytes of meter/locks.c. */
#define PRESENCE_BYTE 512

/* The kernel zeroes this in every fork, even in one that runs no atfork handlers. */
struct alive {
	ATOMIC_WORD uint64_t pid;
};

int process_hidden_fd = -1;

static struct netlog_meter *meter;
static struct alive no_page;
static struct alive *alive = &no_page;
static pthread_key_t at_thread_end;

__thread struct process_thread process_thread;
static __thread uint32_t refusals; /* packets until the thread tries again to get a lane */
static __thread bool taking;       /* the thread is acquiring a lane */

bool process_is_vforked(void)
{
	/* relaxed, here and below: this process alone writes the word, before the program begins
	 * and in begin_as_fork(). */
	uint64_t pid = load_relaxed(&alive->pid);

	/* 0: the library is not set up yet, or this is a fork whose atfork handler did not run.
	 * Both run in memory of their own. */
	return pid && pid != (uint64_t)getpid();
}

/* Returns a copy of the descriptor at a high number, or -1. */
static int hide(int fd)
{
	struct rlimit limit;
	int most = HIDDEN_BELOW;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur < HIDDEN_BELOW)
		most = (int)limit.rlim_cur;
	for (int least = most - HIDDEN_ROOM; least > 2; least /= 2) {
		int hidden = NEXT(fcntl)(fd, F_DUPFD_CLOEXEC, least);

		if (hidden >= 0)
			return hidden;
	}
	return -1;
}

/* Locks PRESENCE_BYTE. */
static void show_presence(int fd)
{
	struct flock lock = {.l_type = F_RDLCK, .l_start = PRESENCE_BYTE, .l_len = 1};

	(void)NEXT(fcntl)(fd, F_OFD_SETLK, &lock);
}

/* Sets up a fork, which must not use its parent's lanes and locks. */
static void begin_as_fork(void)
{
	char path[64];
	int saved = errno;

	/* Another library's atfork handler ran first and counted, so this was done already. */
	if (load_relaxed(&alive->pid) == (uint64_t)getpid())
		return;
	process_thread.lane = NULL;
	process_thread.alive = NULL;
	taking = false;
	refusals = 0;
	store_relaxed(&alive->pid, (uint64_t)getpid());
	if (!meter)
		return;
	netlog_meter_rely(meter);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", process_hidden_fd);
	int fd = NEXT(open)(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	int hidden = fd < 0 ? -1 : hide(fd);

	if (fd >= 0)
		(void)NEXT(close)(fd);
	if (hidden >= 0) {
		/* Before the parent's opening is closed, so that one process shows its presence at
		 * all times. */
		show_presence(hidden);
		process_hidden_fd = hidden;
		/* This closes the parent's descriptor. */
		if (netlog_meter_adopt(meter, hidden)) {
			(void)NEXT(close)(hidden);
			process_hidden_fd = meter->fd;
		}
	}
	errno = saved;
}

static void end_thread(void *unused)
{
	(void)unused;
	if (process_thread.lane && load_relaxed(&alive->pid)) {
		netlog_lane_release(process_thread.lane);
		process_thread.lane = NULL;
		process_thread.alive = NULL;
	}
}

static void take_lane(void)
{
	struct netlog_lane *lane;
	int saved = errno;

	if (refusals) {
		refusals--;
		return;
	}
	if (!netlog_meter_acquire_lane(meter, &lane)) {
		/* Nobody uses the meter's view of the lane while the thread has this copy. */
		process_thread.view = *lane;
		process_thread.lane = lane;
		process_thread.alive = lane->relies ? &alive->pid : NULL;
		/* With any value except NULL, end_thread() is called when the thread ends. */
		(void)pthread_setspecific(at_thread_end, &process_thread);
	} else {
		refusals = PACKETS_BETWEEN_ASKING;
	}
	errno = saved;
}

/* Whether this thread can count into its lane now. Takes a lane if the thread has none. */
static bool can_count(void)
{
	if (unlikely(!meter))
		return false;
	if (unlikely(!load_relaxed(&alive->pid)))
		begin_as_fork();
	if (!process_thread.lane) {
		/* A signal handler that interrupts this must not take a second lane. */
		if (taking)
			return false;
		taking = true;
		take_lane();
		taking = false;
	}
	return process_thread.lane && !lane_is_inside(&process_thread.view);
}

struct netlog_lane *process_enter(void)
{
	if (!can_count())
		return NULL;
	lane_enter(&process_thread.view);
	return &process_thread.view;
}

void process_leave(struct netlog_lane *lane)
{
	/* This may wake the poller, by a system call that does not fail and keeps errno. */
	lane_leave(lane);
}

void process_count(int point, const struct netlog_key *key,
		   const struct netlog_increment *increment)
{
	struct netlog_lane *lane = process_enter();

	if (!lane) {
		process_count_laneless(point, increment);
		return;
	}
	lane_add(lane, point, key, increment);
	process_leave(lane);
}

void process_count_laneless(int point, const struct netlog_increment *increment)
{
	uint32_t direction = increment->direction;

	if (!meter)
		return;
	/* relaxed, here and below: counters that are only added to; see meter/region.h. */
	add_relaxed(&meter->region->laneless.packets[point][direction], increment->packets);
	add_relaxed(&meter->region->laneless.bytes[point][direction], increment->bytes);
}

void process_note_tun(void)
{
	struct netlog_lane *lane = process_enter();

	if (lane)
		process_leave(lane);
	if (meter)
		add_relaxed(&meter->region->aside.tuns, 1);
}

void process_note_far(void)
{
	if (meter)
		add_relaxed(&meter->region->aside.far_descriptors, 1);
}

void process_move_hidden(void)
{
	int hidden = meter ? hide(process_hidden_fd) : -1;
	int old = process_hidden_fd;

	/* If no other number is free, no further lane can be taken. The lanes that are taken stay
	 * valid: the mapping keeps their locks. */
	process_hidden_fd = hidden;
	if (meter)
		meter->fd = hidden;
	(void)NEXT(close)(old);
}

static void attach(const char *path)
{
	int fd = NEXT(open)(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return;
	if (!netlog_meter_attach(fd, &meter)) {
		int hidden = hide(meter->fd);

		if (hidden >= 0) {
			(void)NEXT(close)(meter->fd);
			meter->fd = hidden;
		}
		process_hidden_fd = meter->fd;
		netlog_meter_rely(meter);
		show_presence(meter->fd);
		add_relaxed(&meter->region->aside.processes, 1);
	}
	(void)NEXT(close)(fd);
}

bool process_begin(const char *path)
{
	if (pthread_key_create(&at_thread_end, end_thread))
		return false;
	void *page =
		mmap(NULL, NETLOG_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page != MAP_FAILED) {
		(void)madvise(page, NETLOG_PAGE, MADV_WIPEONFORK);
		alive = page;
	}
	alive->pid = (uint64_t)getpid();
	attach(path);
	if (meter)
		(void)pthread_atfork(NULL, NULL, begin_as_fork);
	return meter != NULL;
}
