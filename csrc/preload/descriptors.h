/* SPDX-License-Identifier: BSD-3-Clause */
/* descriptors: what each file descriptor of this process is to us.
 *
 * One word a descriptor: 0 for those that are none of ours, which is one load and one comparison in
 * a hook. The table is private to the process, as descriptors are: a fork gets a copy, and a child
 * that closes all of its own leaves the parent's alone. A child of vfork(2) shares the memory, not
 * the descriptors, so it changes nothing here.
 *
 * Threads: any. A thread that uses a descriptor while another closes it may be counted for either.
 * Bounds: DESCRIPTORS; what is opened beyond is not ours, and counted as far.
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

/* A word. The kind stands in two bits, the rest is by kind. */
#define WORD_KIND     3u
#define WORD_TUN      1u
#define WORD_SOCK     2u
#define TUN_PI        4u /* a 4-byte header precedes each packet: no IFF_NO_PI */
#define TUN_VNET      8u
#define TUN_TAP       16u
#define TUN_VNET_AT   8 /* bytes of the virtio header, from this bit on */
#define SOCK_STREAMS  4u
#define SOCK_KNOWN    8u /* the next two bits were found out */
#define SOCK_COUNTED  16u
#define SOCK_HAS_PEER 32u
#define SOCK_SEGMENTS 64u /* UDP_SEGMENT is set on the socket */

/* The other end of a socket, in the words of struct netlog_key: they are made in registers and
 * copied whole. */
struct remote {
	uint64_t address[2];
	uint64_t tail;
};

/* Beside the word of a socket. */
struct socket {
	struct remote peer;
	uint64_t segment_bytes; /* UDP_SEGMENT as a socket option; 0: none */
};

/* Together, as a call on a low descriptor needs both. */
struct descriptors {
	uint32_t tuns; /* how many TUN descriptors this process has */
	uint32_t words[DESCRIPTORS];
} __attribute__((aligned(64)));

extern struct descriptors descriptors;
extern struct socket descriptor_sockets[DESCRIPTORS];

NETLOG_INLINE uint32_t descriptor_word(int fd)
{
	/* relaxed: the word is whole, and whoever uses a descriptor has got it from its maker. */
	return likely((uint32_t)fd < DESCRIPTORS) ? load_relaxed_32(&descriptors.words[fd]) : 0;
}

/* Whether sockets are counted now. relaxed: a TUN that another thread opens is the next call's. */
NETLOG_INLINE bool descriptors_have_tun(void)
{
	return load_relaxed_32(&descriptors.tuns) != 0;
}

/* All of these keep errno. `fd` < 0: nothing happens. */

/* A new descriptor of a kind that is none of ours, or one that is closed now. */
void descriptor_forget(int fd);
void descriptor_forget_range(unsigned int first, unsigned int last);
void descriptor_copy(int from, int to);
void descriptor_set(int fd, uint32_t word);
/* A new socket; only those of UDP and TCP matter. */
void descriptor_set_socket(int fd, int family, int type);
/* After TUNSETIFF, with the flags that it gave back. */
void descriptor_set_tun(int fd, uint32_t flags);
/* After TUNSETVNETHDRSZ. */
void descriptor_set_vnet_bytes(int fd, int bytes);
/* After UDP_SEGMENT was set on a socket; 0: none. */
void descriptor_set_segment_bytes(int fd, int bytes);
/* The peer is another one now, or there is one. */
void descriptor_connected(int fd);
/* Asks the kernel about a socket that has traffic; its word, with SOCK_KNOWN. */
uint32_t descriptor_ask_socket(int fd, uint32_t word);
/* One that was there when the program began, or came from elsewhere: looks at it. */
void descriptor_inherit(int fd);
/* Those that came with a message (SCM_RIGHTS). */
void descriptors_received(const struct msghdr *message);

NETLOG_INLINE uint32_t descriptor_know_socket(int fd, uint32_t word)
{
	return likely(word & SOCK_KNOWN) ? word : descriptor_ask_socket(fd, word);
}

/* The ports that the user named, separated by commas; NULL or "": all. */
void descriptors_choose_ports(const char *ports);
/* Prefixes (address/bits), likewise: sockets that are connected there are none of the tunnel's. */
void descriptors_exclude_peers(const char *prefixes);

NETLOG_INLINE uint64_t remote_tail(uint16_t port, uint8_t version)
{
	return key_tail(port, version, 0, NETLOG_NO_SRC);
}

/* false if `address` is none of IPv4 or IPv6, or has not all of its bytes; then nothing is written.
 */
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

/* What stands for nobody: 0.0.0.0:0. */
NETLOG_INLINE struct remote remote_nobody(void)
{
	return (struct remote){.address = {0, key_mapped(0)}, .tail = remote_tail(0, 4)};
}

#endif
