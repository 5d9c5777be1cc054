/* SPDX-License-Identifier: BSD-3-Clause */
/* process: this process's hold on the meter, and its threads' lanes.
 *
 * The meter's file is opened and mapped before the program begins, so that chroot(2), setuid(2) and
 * closing all descriptors come too late to harm. The mapping keeps the open file description, and
 * with it the locks, whatever becomes of the descriptor; that is kept at a high number, and the
 * hooks keep the program from closing it.
 *
 * A fork opens the file anew at once (through /proc), since locks must not be shared; where it can
 * not, it has no lanes.
 *
 * Each thread takes a lane with its first packet and gives it back when it ends. What a thread
 * without a lane moves, or a signal handler that interrupts the counting, is counted without its
 * connection, by additions that are atomic. Nothing ever waits.
 *
 * Threads: any. Errors: none reach the program; errno is the caller's to keep.
 */
#ifndef NETLOG_PRELOAD_PROCESS_H
#define NETLOG_PRELOAD_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meter/lane.h"
#include "packet/packet.h"

/* The descriptor of the meter, which is not the program's to close; -1: none. */
extern int process_hidden_fd;

/* What a thread counts with. Its view of its lane stands here, where a hook is at it in one step.
 */
struct process_thread {
	struct netlog_lane
		*lane; /* the meter's view, for giving the lane back; NULL: it has none */
	/* Points to 0 in a fork that nobody has told of; NULL: no lane that relies on the poller's
	 * barriers. */
	const uint64_t *alive;
	struct netlog_lane view;
};

extern __thread struct process_thread process_thread;

/* Counts one packet of the connection that came last, and nothing else: false, nothing happened. */
NETLOG_INLINE bool process_count_last(int point, const struct netlog_key *key, int version,
				      enum netlog_direction direction, uint64_t bytes)
{
	struct process_thread *thread = &process_thread;

	/* relaxed: it says 0 from the fork on, or never. */
	return likely(thread->alive && load_relaxed(thread->alive)) &&
	       lane_count_last(&thread->view, point, key, version, direction, bytes);
}

/* Attaches the meter whose file this is, before the program begins. Whether there is one. */
bool process_begin(const char *path);
/* Counts one packet, or super-packet, of any known connection. */
void process_count(int point, const struct netlog_key *key,
		   const struct netlog_increment *increment);
/* The lane of this thread, entered, for what is not one such; NULL: it has none. */
struct netlog_lane *process_enter(void);
void process_leave(struct netlog_lane *lane);
/* What has no lane: counted without its connection. */
void process_count_laneless(int point, const struct netlog_increment *increment);
/* A TUN was opened: takes a lane, so that the first packet need not wait for its pages. */
void process_note_tun(void);
/* A descriptor that would be ours is beyond the table. */
void process_note_far(void);
/* Whether this is a child of vfork(2), in its parent's memory. */
bool process_is_vforked(void);
/* Puts the hidden descriptor elsewhere, as the program wants the number. */
void process_move_hidden(void);

#endif
