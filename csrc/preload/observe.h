/* SPDX-License-Identifier: BSD-3-Clause */
/* observe: what a call moved across a descriptor of ours -> counts.
 *
 * Called after the call has succeeded, with what it returned. errno stays as it is:
 * what needs system calls, once a thread or a socket, keeps it.
 *
 * A TUN's packets are counted whole, without the headers that only the descriptor has. On a TAP
 * they are those in Ethernet frames, without the Ethernet header; a frame of another kind (ARP) is
 * unattributed, so that the sums are those of the interface. A datagram's remote is what the call
 * named, else the socket's peer, else nobody: address 0.0.0.0, port 0.
 *
 * Threads: any.
 */
#ifndef NETLOG_PRELOAD_OBSERVE_H
#define NETLOG_PRELOAD_OBSERVE_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "netlog.h"

/* `word`: that of the descriptor before the call. `bytes`: what the call returned; some return it
 * again, so that a hook ends with a jump. */

ssize_t observe_packet(uint32_t word, const void *data, size_t bytes,
		       enum netlog_direction direction);
void observe_packet_vector(uint32_t word, const struct iovec *vectors, int n, size_t bytes,
			   enum netlog_direction direction);

/* `address`, `length`: what the call named, or NULL. */
ssize_t observe_datagram(int fd, uint32_t word, const void *address, socklen_t length, size_t bytes,
			 enum netlog_direction direction);
ssize_t observe_message(int fd, uint32_t word, const struct msghdr *message, size_t bytes,
			enum netlog_direction direction);
void observe_messages(int fd, uint32_t word, const struct mmsghdr *messages, unsigned int n,
		      enum netlog_direction direction);

#endif
