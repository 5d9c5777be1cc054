/* SPDX-License-Identifier: BSD-3-Clause */
/* barrier: lets a thread that acts rarely execute a full memory barrier in threads that act often.
 *
 * A writer that counts one packet in each bracket pays most for the barrier in it: the instruction
 * waits for all earlier stores, also for those of the kernel (measured: 12 ns of the 27 ns of a
 * counted read). The poller swaps only once a period. So the poller has the kernel execute the
 * barrier in every thread that relies on it (membarrier(2)), and the writer only keeps the compiler
 * from moving its accesses.
 *
 * A process that relies on it has registered before. The region says that the poller asks for
 * barriers. A process that cannot register executes its own barriers, which is always right.
 *
 * Source: membarrier(2); Linux 4.16 or newer.
 */
#ifndef NETLOG_BARRIER_H
#define NETLOG_BARRIER_H

#include <linux/membarrier.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Whether this process can ask the kernel for barriers in other processes. */
static inline bool barrier_can_ask(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	return commands > 0 && commands & MEMBARRIER_CMD_GLOBAL_EXPEDITED;
}

/* Registers this process, so that barrier_ask() reaches its threads. A program that it executes is
 * not registered. Returns false if it failed. */
static inline bool barrier_register(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);
}

/* Executes a full barrier in every thread of every registered process; it has happened when this
 * returns. Returns false if it failed. */
static inline bool barrier_ask(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0, 0);
}

#endif
