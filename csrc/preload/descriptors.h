/* SPDX-License-Identifier: BSD-3-Clause */
/* descriptors: which file descriptors of this process are watched, and as what.
 *
 * Each descriptor has one word. It is 0 if the descriptor is not watched, so a hook then takes one
 * load and one comparison. The table is private to the process, as descriptors are: a fork gets a
 * copy, and a child that closes all its descriptors does not change the parent's table. A child of
 * vfork(2) shares the memory but not the descriptors, so it changes nothing here.
 *
 * Threads: any. If one thread uses a descriptor while another closes it, the call may be counted
 * for the old descriptor or for the new one. Bounds: DESCRIPTORS. TUNs and sockets with a higher
 * number are not watched, but counted as far.
 */
#ifndef NETLOG_PRELOAD_DESCRIPTORS_H
#define NETLOG_PRELOAD_DESCRIPTORS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/atomic.h"
#include "base/compiler.h"
#include "packet/key.h"

#define DESCRIPTORS 65536u /* a daemon with more has raised its limit twice; 4 bytes each */

/* The bits of a word: two for the kind, the others by kind. */
#define WORD_KIND     3u
#define WORD_TUN      1u
#define WORD_SOCK     2u
#define TUN_PI        4u /* a 4-byte header precedes each packet: no IFF_NO_PI */
#define TUN_VNET      8u
#define TUN_TAP       16u
#define TUN_VNET_AT   8 /* from this bit on: bytes of the virtio header */
#define SOCK_STREAMS  4u
#define SOCK_KNOWN    8u /* the next two bits are valid */
#define SOCK_COUNTED  16u
#define SOCK_HAS_PEER 32u
#define SOCK_SEGMENTS 64u /* UDP_SEGMENT is set on the socket */

/* The other end of a socket, in words of struct netlog_key, which are built in registers and copied
 * whole. */
struct remote {
	uint64_t address[2];
	uint64_t tail;
};

/* What is known of a socket beside its word. */
struct socket {
	struct remote peer;
	uint64_t segment_bytes; /* UDP_SEGMENT as a socket option; 0: not set */
};

/* Both in one struct, because a call on a descriptor needs both: with a low number they are close
 * in memory. */
struct descriptors {
	/* The number of TUN descriptors of this process. writer: any / reader: any / relaxed: see
	 * descriptors_have_tun() */
	uint32_t tuns;
	/* By descriptor. writer: any, by an exchange / reader: any / relaxed: see descriptor_word()
	 */
	uint32_t words[DESCRIPTORS];
} __attribute__((aligned(64)));

extern struct descriptors descriptors;
extern struct socket descriptor_sockets[DESCRIPTORS];

NETLOG_INLINE uint32_t descriptor_word(int fd)
{
	/* relaxed: the word is whole, and a thread that uses a descriptor has got it from the
	 * thread that made it, which orders the two. */
	return likely((uint32_t)fd < DESCRIPTORS) ? load_relaxed_32(&descriptors.words[fd]) : 0;
}

/* Whether sockets are counted now. relaxed: if another thread opens a TUN, the next call sees it.
 */
NETLOG_INLINE bool descriptors_have_tun(void)
{
	return load_relaxed_32(&descriptors.tuns) != 0;
}

/* All functions below keep errno, and do nothing if `fd` < 0. */

/* Stops watching a descriptor: it was closed, or is new and of another kind. */
void descriptor_forget(int fd);
void descriptor_forget_range(unsigned int first, unsigned int last);
void descriptor_copy(int from, int to);
void descriptor_set(int fd, uint32_t word);
/* Watches a new socket if it is one of UDP or TCP. */
void descriptor_set_socket(int fd, int family, int type);
/* Watches a TUN after TUNSETIFF. flags: as TUNSETIFF returned them. */
void descriptor_set_tun(int fd, uint32_t flags);
/* After TUNSETVNETHDRSZ. */
void descriptor_set_vnet_bytes(int fd, int bytes);
/* After UDP_SEGMENT was set on a socket. 0: not set. */
void descriptor_set_segment_bytes(int fd, int bytes);
/* After connect(2): forgets what is known of the socket's peer. */
void descriptor_connected(int fd);
/* Asks the kernel about a socket that has traffic. Returns its word, with SOCK_KNOWN. */
uint32_t descriptor_ask_socket(int fd, uint32_t word);
/* Looks at a descriptor that existed when the program began, or came from another process. */
void descriptor_inherit(int fd);
/* Looks at the descriptors that came with a message (SCM_RIGHTS). */
void descriptors_received(const struct msghdr *message);

NETLOG_INLINE uint32_t descriptor_know_socket(int fd, uint32_t word)
{
	return likely(word & SOCK_KNOWN) ? word : descriptor_ask_socket(fd, word);
}

/* Counts only sockets that have one of these ports at either end. ports: numbers separated by
 * commas; NULL or "": all ports.
 */
void descriptors_choose_ports(const char *ports);
/* Does not count sockets that are connected to an address in these prefixes: they do not belong to
 * the tunnel. prefixes: address/bits, separated by commas; NULL or "": none. */
void descriptors_exclude_peers(const char *prefixes);

NETLOG_INLINE uint64_t remote_tail(uint16_t port, uint8_t version)
{
	return key_tail(port, version, 0, NETLOG_NO_SRC);
}

/* Reads a socket address. Returns false, and writes nothing, if it is neither IPv4 nor IPv6, or is
 * too short. */
NETLOG_INLINE bool remote_from(const void *address, socklen_t length, struct remote *remote)
{
	const struct sockaddr_in *in = address;
	const struct sockaddr_in6 *in6 = address;

	if (unlikely(!address || length < sizeof(*in)))
		return false;
	if (likely(in->sin_family == AF_INET)) {
		remote->address[0] = 0;
		remote->address[1] = key_mapped(load_32(&in->sin_addr));
		remote->tail = remote_tail(ntohs(in->sin_port), 4);
		return true;
	}
	if (in->sin_family != AF_INET6 || length < sizeof(*in6))
		return false;
	remote->address[0] = load_64(&in6->sin6_addr);
	remote->address[1] = load_64(in6->sin6_addr.s6_addr + 8);
	remote->tail =
		remote_tail(ntohs(in6->sin6_port), IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr) ? 4 : 6);
	return true;
}

/* Returns the endpoint that stands for an unknown remote: 0.0.0.0:0. */
NETLOG_INLINE struct remote remote_nobody(void)
{
	return (struct remote){.address = {0, key_mapped(0)}, .tail = remote_tail(0, 4)};
}

#endif
