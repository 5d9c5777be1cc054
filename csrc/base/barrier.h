/* SPDX-License-Identifier: BSD-3-Clause */
/* barrier: a full memory barrier in other threads, asked for by one that is rarely there.
 *
 * A writer that counts one packet a bracket pays most for the barrier in it: an instruction that
 * waits for all stores before it, the kernel's among them (measured: 12 ns of the 27 of a counted
 * read). So the poller, who swaps once a period, has the kernel execute one in every thread that
 * relies on it (membarrier(2)), and the writer only keeps the compiler from moving things.
 *
 * Whoever relies on it has registered before, and the poller's word that it asks for barriers
 * stands in the region. Who can not register uses a barrier of its own, which is always right.
 *
 * Source: membarrier(2); Linux 4.16 or newer.
 */
#ifndef NETLOG_BARRIER_H
#define NETLOG_BARRIER_H

#include <linux/membarrier.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether this process can ask for barriers in others. */
static inline bool barrier_can_ask(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	return commands > 0 && commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED;
}

/* From now on this process takes part; a program that it executes does not. False: it can not. */
static inline bool barrier_register(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
}

/* Every thread of every process that takes part has passed a full barrier. False: it failed. */
static inline bool barrier_ask(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

#endif
