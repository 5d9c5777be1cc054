/* SPDX-License-Identifier: BSD-3-Clause */
/* observe: a call moved data across a watched descriptor -> counts.
 *
 * The hooks call these functions after the program's call has succeeded, with its result. errno
 * stays as it is; the few system calls here, once for each thread or socket, restore it.
 *
 * A TUN's packets are counted whole, without the headers that only the descriptor has. On a TAP the
 * packets are counted without their Ethernet header. A frame of another kind (such as ARP) is
 * unattributed, so that the sums equal those of the interface.
 *
 * The remote of a datagram is the address that the call named, else the socket's peer, else
 * unknown: address 0.0.0.0, port 0.
 *
 * Threads: any.
 */
#ifndef NETLOG_PRELOAD_OBSERVE_H
#define NETLOG_PRELOAD_OBSERVE_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "netlog.h"

/* word: the descriptor's word before the call. bytes: the result of the call. Some functions return
 * it again, so that a hook ends with a jump. */

ssize_t observe_packet(uint32_t word, const void *data, size_t bytes,
		       enum netlog_direction direction);
void observe_packet_vector(uint32_t word, const struct iovec *vectors, int n, size_t bytes,
			   enum netlog_direction direction);

/* address, length: the remote that the call named; NULL: none. */
ssize_t observe_datagram(int fd, uint32_t word, const void *address, socklen_t length, size_t bytes,
			 enum netlog_direction direction);
ssize_t observe_message(int fd, uint32_t word, const struct msghdr *message, size_t bytes,
			enum netlog_direction direction);
void observe_messages(int fd, uint32_t word, const struct mmsghdr *messages, unsigned int n,
		      enum netlog_direction direction);

#endif
