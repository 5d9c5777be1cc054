/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks_traffic: hooks for calls that move bytes.
 *
 * For a descriptor that is not watched, a hook costs one load and one comparison. For a watched
 * one, the hook counts the result after the call. A socket is counted only while this process has a
 * TUN.
 */
#define _GNU_SOURCE
#include <netinet/in.h>

#include "preload/descriptors.h"
#include "preload/next.h"
#include "preload/observe.h"

/* Calls with these flags are not counted: they return an error message, or only peek at data. */
#define NO_TRAFFIC (MSG_PEEK | MSG_ERRQUEUE)

NETLOG_INLINE bool is_tun(uint32_t word)
{
	return (word & WORD_KIND) == WORD_TUN;
}

NETLOG_INLINE bool is_sock(uint32_t word)
{
	return (word & WORD_KIND) == WORD_SOCK && descriptors_have_tun();
}

/* Counts the result of a plain call. Returns it again, so that a hook ends with this call. */
NETLOG_INLINE ssize_t moved(int fd, uint32_t word, const void *data, ssize_t n,
			    enum netlog_direction on_tun, enum netlog_direction on_sock)
{
	if (likely(n > 0 && is_tun(word)))
		return observe_packet(word, data, (size_t)n, on_tun);
	if (n >= 0 && is_sock(word))
		return observe_datagram(fd, word, NULL, 0, (size_t)n, on_sock);
	return n;
}

static ssize_t moved_vector(int fd, uint32_t word, const struct iovec *vectors, int n,
			    ssize_t bytes, enum netlog_direction on_tun,
			    enum netlog_direction on_sock)
{
	if (bytes > 0 && is_tun(word))
		observe_packet_vector(word, vectors, n, (size_t)bytes, on_tun);
	else if (bytes >= 0 && is_sock(word))
		return observe_datagram(fd, word, NULL, 0, (size_t)bytes, on_sock);
	return bytes;
}

HOOK_OFTEN ssize_t read(int fd, void *data, size_t n)
{
	uint32_t word = descriptor_word(fd);

	/* A read of 0 bytes does not take a datagram. */
	if (likely(!word || !n))
		return NEXT(read)(fd, data, n);
	return moved(fd, word, data, NEXT(read)(fd, data, n), NETLOG_TX, NETLOG_RX);
}

HOOK_OFTEN ssize_t __read_chk(int fd, void *data, size_t n, size_t size)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word || !n))
		return NEXT(__read_chk)(fd, data, n, size);
	return moved(fd, word, data, NEXT(__read_chk)(fd, data, n, size), NETLOG_TX, NETLOG_RX);
}

HOOK_OFTEN ssize_t write(int fd, const void *data, size_t n)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word))
		return NEXT(write)(fd, data, n);
	return moved(fd, word, data, NEXT(write)(fd, data, n), NETLOG_RX, NETLOG_TX);
}

static size_t vector_bytes(const struct iovec *vectors, int n)
{
	size_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += vectors[i].iov_len;
	return bytes;
}

HOOK_OFTEN ssize_t readv(int fd, const struct iovec *vectors, int n)
{
	uint32_t word = descriptor_word(fd);
	ssize_t got = NEXT(readv)(fd, vectors, n);

	if (likely(!word || got < 0 || !vector_bytes(vectors, n)))
		return got;
	return moved_vector(fd, word, vectors, n, got, NETLOG_TX, NETLOG_RX);
}

HOOK_OFTEN ssize_t writev(int fd, const struct iovec *vectors, int n)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word))
		return NEXT(writev)(fd, vectors, n);
	return moved_vector(fd, word, vectors, n, NEXT(writev)(fd, vectors, n), NETLOG_RX,
			    NETLOG_TX);
}

/* Counts the result of a call on a socket that can name the remote. Returns it again, too. */
NETLOG_INLINE ssize_t exchanged(int fd, uint32_t word, const void *address, socklen_t length,
				ssize_t n, enum netlog_direction direction)
{
	if (likely(n >= 0 && is_sock(word)))
		return observe_datagram(fd, word, address, length, (size_t)n, direction);
	return n;
}

/* Whether the sender of a datagram is known only if the call asks for its address. Then *word is
 * updated with what is known of the socket. */
NETLOG_INLINE bool needs_name(int fd, uint32_t *word)
{
	/* A stream always has a peer. */
	if (likely(*word & (SOCK_HAS_PEER | SOCK_STREAMS)) || !is_sock(*word))
		return false;
	*word = descriptor_know_socket(fd, *word);
	return (*word & (SOCK_COUNTED | SOCK_HAS_PEER)) == SOCK_COUNTED;
}

/* Replaces a recv or recvfrom that does not ask for the sender's address. For the kernel both are
 * one system call, which writes to the same places, so the program sees no difference. A read is
 * not replaced: it would become another system call, and a seccomp filter of the program could kill
 * it. */
static NETLOG_NOINLINE ssize_t receive_named(int fd, uint32_t word, void *data, size_t n, int flags)
{
	struct sockaddr_storage from;
	socklen_t length = sizeof(from);
	ssize_t got = NEXT(recvfrom)(fd, data, n, flags, (struct sockaddr *)&from, &length);

	return exchanged(fd, word, &from, length, got, NETLOG_RX);
}

/* The same for recvmsg. The fields that the kernel sets in the header are passed on, except the
 * address. */
static NETLOG_NOINLINE ssize_t receive_message_named(int fd, uint32_t word, struct msghdr *message,
						     int flags)
{
	struct sockaddr_storage from;
	struct msghdr named = *message;

	named.msg_name = &from;
	named.msg_namelen = sizeof(from);
	ssize_t got = NEXT(recvmsg)(fd, &named, flags);

	if (got < 0)
		return got;
	message->msg_controllen = named.msg_controllen;
	message->msg_flags = named.msg_flags;
	return observe_message(fd, word, &named, (size_t)got, NETLOG_RX);
}

HOOK_OFTEN ssize_t recv(int fd, void *data, size_t n, int flags)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word || flags & NO_TRAFFIC))
		return NEXT(recv)(fd, data, n, flags);
	if (unlikely(needs_name(fd, &word)))
		return receive_named(fd, word, data, n, flags);
	return exchanged(fd, word, NULL, 0, NEXT(recv)(fd, data, n, flags), NETLOG_RX);
}

HOOK_OFTEN ssize_t __recv_chk(int fd, void *data, size_t n, size_t size, int flags)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word || flags & NO_TRAFFIC))
		return NEXT(__recv_chk)(fd, data, n, size, flags);
	return exchanged(fd, word, NULL, 0, NEXT(__recv_chk)(fd, data, n, size, flags), NETLOG_RX);
}

HOOK_OFTEN ssize_t send(int fd, const void *data, size_t n, int flags)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word))
		return NEXT(send)(fd, data, n, flags);
	return exchanged(fd, word, NULL, 0, NEXT(send)(fd, data, n, flags), NETLOG_TX);
}

/* Returns the bytes of an address that were written: at most as many as there was room for. */
static socklen_t written(socklen_t room, const socklen_t *length)
{
	return *length < room ? *length : room;
}

/* Counts the result of a recvfrom with `room` bytes for an address. */
NETLOG_INLINE ssize_t received(int fd, uint32_t word, const void *address, socklen_t room,
			       const socklen_t *length, ssize_t n)
{
	if (unlikely(n < 0))
		return n;
	return exchanged(fd, word, address, length ? written(room, length) : 0, n, NETLOG_RX);
}

HOOK_OFTEN ssize_t recvfrom(int fd, void *data, size_t n, int flags, __SOCKADDR_ARG address,
			    socklen_t *length)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word || flags & NO_TRAFFIC))
		return NEXT(recvfrom)(fd, data, n, flags, address, length);
	if (unlikely(!address.__sockaddr__) && needs_name(fd, &word))
		return receive_named(fd, word, data, n, flags);
	socklen_t room = length ? *length : 0;

	return received(fd, word, address.__sockaddr__, room, length,
			NEXT(recvfrom)(fd, data, n, flags, address, length));
}

HOOK_OFTEN ssize_t __recvfrom_chk(int fd, void *data, size_t n, size_t size, int flags,
				  __SOCKADDR_ARG address, socklen_t *length)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word || flags & NO_TRAFFIC))
		return NEXT(__recvfrom_chk)(fd, data, n, size, flags, address, length);
	socklen_t room = length ? *length : 0;

	return received(fd, word, address.__sockaddr__, room, length,
			NEXT(__recvfrom_chk)(fd, data, n, size, flags, address, length));
}

HOOK_OFTEN ssize_t sendto(int fd, const void *data, size_t n, int flags,
			  __CONST_SOCKADDR_ARG address, socklen_t length)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word))
		return NEXT(sendto)(fd, data, n, flags, address, length);
	return exchanged(fd, word, address.__sockaddr__, length,
			 NEXT(sendto)(fd, data, n, flags, address, length), NETLOG_TX);
}

HOOK_OFTEN ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	uint32_t word = descriptor_word(fd);

	if (unlikely(!word || flags & NO_TRAFFIC || !is_sock(word))) {
		ssize_t other = NEXT(recvmsg)(fd, message, flags);

		if (unlikely(other >= 0 && message->msg_controllen))
			descriptors_received(message);
		return other;
	}
	if (unlikely(!message->msg_name) && needs_name(fd, &word))
		return receive_message_named(fd, word, message, flags);
	socklen_t room = message->msg_namelen;
	ssize_t got = NEXT(recvmsg)(fd, message, flags);

	if (unlikely(got < 0))
		return got;
	if (likely(message->msg_namelen <= room))
		return observe_message(fd, word, message, (size_t)got, NETLOG_RX);
	struct msghdr seen = *message;

	seen.msg_namelen = room;
	return observe_message(fd, word, &seen, (size_t)got, NETLOG_RX);
}

HOOK_OFTEN ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	uint32_t word = descriptor_word(fd);

	if (likely(!word || !is_sock(word)))
		return NEXT(sendmsg)(fd, message, flags);
	ssize_t put = NEXT(sendmsg)(fd, message, flags);

	return likely(put >= 0) ? observe_message(fd, word, message, (size_t)put, NETLOG_TX) : put;
}

HOOK_OFTEN int recvmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags,
			struct timespec *timeout)
{
	uint32_t word = descriptor_word(fd);
	int got = NEXT(recvmmsg)(fd, messages, n, flags, timeout);

	for (int i = 0; unlikely(!word) && i < got; i++)
		descriptors_received(&messages[i].msg_hdr);
	if (unlikely(word) && got > 0 && !(flags & NO_TRAFFIC) && is_sock(word))
		observe_messages(fd, word, messages, (unsigned int)got, NETLOG_RX);
	return got;
}

HOOK_OFTEN int sendmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags)
{
	uint32_t word = descriptor_word(fd);
	int put = NEXT(sendmmsg)(fd, messages, n, flags);

	if (unlikely(word) && put > 0 && is_sock(word))
		observe_messages(fd, word, messages, (unsigned int)put, NETLOG_TX);
	return put;
}
