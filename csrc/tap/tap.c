/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* pthread_setname_np */
#include "tap/tap.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic.h"

struct netlog_tap {
	struct netlog_tap_ring ring;
	struct netlog_tap_options options;
	struct netlog_tap_reader reader; /* the thread's own */
	ATOMIC_WORD uint64_t
		published[NETLOG_TAP_COUNTS]; /* writer: publish() / reader: netlog_tap_counts(),
					       * by any thread / relaxed: each is a sum, and may
					       * be a moment old */
	uint64_t passed;                      /* frames that passed the filter; the thread's own */
	uint32_t next; /* the block that the kernel passes next; the thread's own */
	int stop_fd;   /* the thread ends when it is readable */
	bool started;
	pthread_t thread;
};

static uint32_t *status_of(const struct netlog_tap *tap, uint32_t number)
{
	uint8_t *block = tap->ring.blocks + (size_t)number * NETLOG_TAP_BLOCK_BYTES;

	return &((struct tpacket_block_desc *)(void *)block)->hdr.bh1.block_status;
}

/* Counts the next block, if the kernel has passed it. */
static bool count_next(struct netlog_tap *tap)
{
	uint32_t *status = status_of(tap, tap->next);

	/* acquire: pairs with the kernel's barrier before it sets the status. Without it the thread
	 * could read old contents of the block. */
	if (!(load_acquire_32(status) & TP_STATUS_USER))
		return false;
	netlog_lane_enter(tap->reader.lane);
	netlog_tap_count_block(&tap->reader,
			       tap->ring.blocks + (size_t)tap->next * NETLOG_TAP_BLOCK_BYTES,
			       NETLOG_TAP_BLOCK_BYTES);
	netlog_lane_leave(tap->reader.lane);
	/* release: pairs with the kernel's read of the status. Without it the kernel could fill the
	 * block while this thread still reads it. */
	store_release_32(status, TP_STATUS_KERNEL);
	tap->next = (tap->next + 1) % tap->ring.count;
	return true;
}

static void publish(struct netlog_tap *tap)
{
	struct netlog_tap_statistics statistics;

	netlog_tap_ring_statistics(&tap->ring, &statistics);
	tap->passed += statistics.passed;
	tap->reader.counts[NETLOG_TAP_DROPS] += statistics.drops;
	tap->reader.counts[NETLOG_TAP_FREEZES] += statistics.freezes;
	for (int count = 0; count < NETLOG_TAP_COUNTS; count++)
		store_relaxed(&tap->published[count], tap->reader.counts[count]);
}

/* Counts the blocks that are ready, at most one turn of the ring: so the thread sees a stop however
 * fast packets come. */
static void count_ready(struct netlog_tap *tap)
{
	uint32_t blocks = 0;

	while (blocks < tap->ring.count && count_next(tap))
		blocks++;
	publish(tap);
}

/* Sleeps until there may be a block, for at most timeout_ms. Returns false if the tap is to stop.
 */
static bool wait_ready(const struct netlog_tap *tap, int timeout_ms)
{
	struct pollfd fds[2] = {
		{.fd = tap->ring.fd, .events = POLLIN},
		{.fd = tap->stop_fd, .events = POLLIN},
	};

	while (poll(fds, 2, timeout_ms) < 0 && errno == EINTR)
		;
	if (fds[0].revents & POLLERR) {
		/* The interface went down. Reading the error clears it, so poll() reports it once.
		 */
		int error;
		socklen_t bytes = sizeof(error);

		(void)getsockopt(tap->ring.fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
	}
	return !fds[1].revents;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Whether every frame that passed the filter has been read, or was dropped. */
static bool has_all(const struct netlog_tap *tap)
{
	const uint64_t *counts = tap->reader.counts;

	return counts[NETLOG_TAP_FRAMES] + counts[NETLOG_TAP_UNREADABLE] +
		       counts[NETLOG_TAP_DROPS] >=
	       tap->passed;
}

/* Counts the frames that came before the stop. The kernel passes the block that it is filling only
 * when its time is up, so this looks again until it has all frames. */
static void count_rest(struct netlog_tap *tap)
{
	uint64_t until_ms = now_ms() + NETLOG_TAP_STOP_MS;

	netlog_tap_ring_mute(&tap->ring);
	count_ready(tap);
	while (!has_all(tap) && now_ms() < until_ms) {
		struct pollfd ring = {.fd = tap->ring.fd, .events = POLLIN};

		(void)poll(&ring, 1, NETLOG_TAP_BLOCK_MS / 4);
		count_ready(tap);
	}
}

static void *run(void *argument)
{
	struct netlog_tap *tap = argument;

	while (wait_ready(tap, -1))
		count_ready(tap);
	count_rest(tap);
	return NULL;
}

int netlog_tap_open(const struct netlog_tap_options *options, struct netlog_lane *lane,
		    struct netlog_tap **opened)
{
	struct netlog_tap *tap = calloc(1, sizeof(*tap));
	int rc;

	if (!tap)
		return -ENOMEM;
	tap->options = *options;
	tap->reader = (struct netlog_tap_reader){
		.lane = lane, .point = options->point, .port = options->port};
	tap->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (tap->stop_fd < 0) {
		rc = -errno;
		goto err_event;
	}
	rc = netlog_tap_ring_open(options, &tap->ring);
	if (rc)
		goto err_ring;
	*opened = tap;
	return 0;

err_ring:
	close(tap->stop_fd);
err_event:
	free(tap);
	return rc;
}

int netlog_tap_start(struct netlog_tap *tap)
{
	sigset_t all, before;
	int rc = netlog_tap_ring_listen(&tap->ring, &tap->options);

	if (rc)
		return rc;
	/* The main program handles signals. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&tap->thread, NULL, run, tap);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return -rc;
	pthread_setname_np(tap->thread, "netlog-tap");
	tap->started = true;
	return 0;
}

void netlog_tap_stop(struct netlog_tap *tap)
{
	uint64_t one = 1;

	if (!tap->started)
		return;
	while (write(tap->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	pthread_join(tap->thread, NULL);
	tap->started = false;
}

int netlog_tap_fanout(const struct netlog_tap *tap)
{
	return netlog_tap_ring_fanout(&tap->ring);
}

bool netlog_tap_is_gone(const struct netlog_tap *tap)
{
	return netlog_tap_ring_is_gone(&tap->ring);
}

void netlog_tap_counts(const struct netlog_tap *tap, uint64_t *sums)
{
	for (int count = 0; count < NETLOG_TAP_COUNTS; count++)
		sums[count] += load_relaxed(&tap->published[count]);
}

void netlog_tap_close(struct netlog_tap *tap)
{
	if (!tap)
		return;
	netlog_tap_stop(tap);
	netlog_tap_ring_close(&tap->ring);
	close(tap->stop_fd);
	free(tap);
}
