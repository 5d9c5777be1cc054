/* SPDX-License-Identifier: BSD-3-Clause */
/* process: the meter of this process, and the lanes of its threads.
 *
 * The meter's file is opened and mapped before the program begins. So chroot(2), setuid(2) and
 * closing all descriptors come too late to do harm. The mapping keeps the open file description,
 * and with it the locks, even if the descriptor is closed. The descriptor is kept at a high number,
 * and the hooks do not let the program close it.
 *
 * A fork opens the file again at once (through /proc), because it must not share its parent's
 * locks. If it cannot, it has no lanes.
 *
 * Each thread takes a lane with its first packet, and gives it back when it ends. Two kinds of
 * packets are counted without their connection, by atomic additions: those of a thread without a
 * lane, and those of a signal handler that interrupts the counting. Nothing ever waits.
 *
 * Threads: any. Errors: none reach the program. Counting keeps errno.
 */
#ifndef NETLOG_PRELOAD_PROCESS_H
#define NETLOG_PRELOAD_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meter/lane.h"
#include "packet/packet.h"

/* The descriptor of the meter, which the program must not close; -1: none. */
extern int process_hidden_fd;

/* The lane of a thread. Its view is a copy here, which a hook reaches in one step. */
struct process_thread {
	struct netlog_lane *lane; /* the meter's view, for giving the lane back; NULL: no lane */
	/* Points to a word that is 0 in a fork whose atfork handler did not run. NULL: the thread
	 * has no lane that relies on the poller's barriers. */
	const uint64_t *alive;
	struct netlog_lane view;
};

extern __thread struct process_thread process_thread;

/* Counts one packet if its connection is the same as last time. Else returns false and counts
 * nothing.
 */
NETLOG_INLINE bool process_count_last(int point, const struct netlog_key *key, int version,
				      enum netlog_direction direction, uint64_t bytes)
{
	struct process_thread *thread = &process_thread;

	/* relaxed: in a fork the kernel has set it to 0 before the first instruction; else it never
	 * becomes 0. */
	return likely(thread->alive && load_relaxed(thread->alive)) &&
	       lane_count_last(&thread->view, point, key, version, direction, bytes);
}

/* Attaches the meter in the file `path`, before the program begins. Returns whether it did. */
bool process_begin(const char *path);
/* Counts one packet or super-packet, whose connection is decoded. */
void process_count(int point, const struct netlog_key *key,
		   const struct netlog_increment *increment);
/* Enters the lane of this thread, for counting anything else. Returns NULL if it has no lane. */
struct netlog_lane *process_enter(void);
void process_leave(struct netlog_lane *lane);
/* Counts without a connection, for a thread without a lane. */
void process_count_laneless(int point, const struct netlog_increment *increment);
/* Notes that a TUN was opened. Takes a lane, so that the first packet need not wait for its pages.
 */
void process_note_tun(void);
/* Notes that a TUN or socket has a number beyond the table. */
void process_note_far(void);
/* Whether this is a child of vfork(2), which runs in its parent's memory. */
bool process_is_vforked(void);
/* Moves the hidden descriptor, because the program wants its number. */
void process_move_hidden(void);

#endif
