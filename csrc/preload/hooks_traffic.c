/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks_traffic: calls that move bytes.
 *
 * For a descriptor that is none of ours a hook is one load and one comparison. For one of ours,
 * what the call returned is counted after it. A socket counts while this process has a TUN.
 */
#define _GNU_SOURCE
#include <netinet/in.h>

#include "descriptors.h"
#include "next.h"
#include "observe.h"

/* What these return crossed nothing, or was looked at only. */
#define NO_TRAFFIC (MSG_PEEK | MSG_ERRQUEUE)

NETLOG_INLINE bool is_tun(uint32_t word)
{
	return (word & WORD_KIND) == WORD_TUN;
}

NETLOG_INLINE bool is_sock(uint32_t word)
{
	return (word & WORD_KIND) == WORD_SOCK && descriptors_have_tun();
}

static void moved(int fd, uint32_t word, const void *data, ssize_t n, enum netlog_direction on_tun,
		  enum netlog_direction on_sock)
{
	if (n < 0)
		return;
	if (is_tun(word) && n)
		observe_packet(word, data, (size_t)n, on_tun);
	else if (is_sock(word))
		observe_datagram(fd, word, NULL, 0, (size_t)n, on_sock);
}

static void moved_vector(int fd, uint32_t word, const struct iovec *vectors, int n, ssize_t bytes,
			 enum netlog_direction on_tun, enum netlog_direction on_sock)
{
	if (bytes < 0)
		return;
	if (is_tun(word) && bytes)
		observe_packet_vector(word, vectors, n, (size_t)bytes, on_tun);
	else if (is_sock(word))
		observe_datagram(fd, word, NULL, 0, (size_t)bytes, on_sock);
}

HOOK ssize_t read(int fd, void *data, size_t n)
{
	uint32_t word = descriptor_word(fd);
	ssize_t got = NEXT(read)(fd, data, n);

	/* To read nothing takes no datagram. */
	if (unlikely(word) && n)
		moved(fd, word, data, got, NETLOG_TX, NETLOG_RX);
	return got;
}

HOOK ssize_t __read_chk(int fd, void *data, size_t n, size_t size)
{
	uint32_t word = descriptor_word(fd);
	ssize_t got = NEXT(__read_chk)(fd, data, n, size);

	if (unlikely(word) && n)
		moved(fd, word, data, got, NETLOG_TX, NETLOG_RX);
	return got;
}

HOOK ssize_t write(int fd, const void *data, size_t n)
{
	uint32_t word = descriptor_word(fd);
	ssize_t put = NEXT(write)(fd, data, n);

	if (unlikely(word))
		moved(fd, word, data, put, NETLOG_RX, NETLOG_TX);
	return put;
}

static size_t vector_bytes(const struct iovec *vectors, int n)
{
	size_t bytes = 0;

	for (int i = 0; i < n; i++)
		bytes += vectors[i].iov_len;
	return bytes;
}

HOOK ssize_t readv(int fd, const struct iovec *vectors, int n)
{
	uint32_t word = descriptor_word(fd);
	ssize_t got = NEXT(readv)(fd, vectors, n);

	if (unlikely(word) && got >= 0 && vector_bytes(vectors, n))
		moved_vector(fd, word, vectors, n, got, NETLOG_TX, NETLOG_RX);
	return got;
}

HOOK ssize_t writev(int fd, const struct iovec *vectors, int n)
{
	uint32_t word = descriptor_word(fd);
	ssize_t put = NEXT(writev)(fd, vectors, n);

	if (unlikely(word))
		moved_vector(fd, word, vectors, n, put, NETLOG_RX, NETLOG_TX);
	return put;
}

/* After a call on a socket that can name the other end. */
static void exchanged(int fd, uint32_t word, const void *address, socklen_t length, ssize_t n,
		      enum netlog_direction direction)
{
	if (n >= 0 && is_sock(word))
		observe_datagram(fd, word, address, length, (size_t)n, direction);
}

HOOK ssize_t recv(int fd, void *data, size_t n, int flags)
{
	uint32_t word = descriptor_word(fd);
	ssize_t got = NEXT(recv)(fd, data, n, flags);

	if (unlikely(word) && !(flags & NO_TRAFFIC))
		exchanged(fd, word, NULL, 0, got, NETLOG_RX);
	return got;
}

HOOK ssize_t __recv_chk(int fd, void *data, size_t n, size_t size, int flags)
{
	uint32_t word = descriptor_word(fd);
	ssize_t got = NEXT(__recv_chk)(fd, data, n, size, flags);

	if (unlikely(word) && !(flags & NO_TRAFFIC))
		exchanged(fd, word, NULL, 0, got, NETLOG_RX);
	return got;
}

HOOK ssize_t send(int fd, const void *data, size_t n, int flags)
{
	uint32_t word = descriptor_word(fd);
	ssize_t put = NEXT(send)(fd, data, n, flags);

	if (unlikely(word))
		exchanged(fd, word, NULL, 0, put, NETLOG_TX);
	return put;
}

/* What of an address was written: no more than there was room for. */
static socklen_t written(socklen_t room, const socklen_t *length)
{
	if (!length)
		return 0;
	return *length < room ? *length : room;
}

HOOK ssize_t recvfrom(int fd, void *data, size_t n, int flags, __SOCKADDR_ARG address,
		      socklen_t *length)
{
	uint32_t word = descriptor_word(fd);
	socklen_t room = unlikely(word) && length ? *length : 0;
	ssize_t got = NEXT(recvfrom)(fd, data, n, flags, address, length);

	if (unlikely(word) && !(flags & NO_TRAFFIC) && got >= 0)
		exchanged(fd, word, address.__sockaddr__, written(room, length), got, NETLOG_RX);
	return got;
}

HOOK ssize_t __recvfrom_chk(int fd, void *data, size_t n, size_t size, int flags,
			    __SOCKADDR_ARG address, socklen_t *length)
{
	uint32_t word = descriptor_word(fd);
	socklen_t room = unlikely(word) && length ? *length : 0;
	ssize_t got = NEXT(__recvfrom_chk)(fd, data, n, size, flags, address, length);

	if (unlikely(word) && !(flags & NO_TRAFFIC) && got >= 0)
		exchanged(fd, word, address.__sockaddr__, written(room, length), got, NETLOG_RX);
	return got;
}

HOOK ssize_t sendto(int fd, const void *data, size_t n, int flags, __CONST_SOCKADDR_ARG address,
		    socklen_t length)
{
	uint32_t word = descriptor_word(fd);
	ssize_t put = NEXT(sendto)(fd, data, n, flags, address, length);

	if (unlikely(word))
		exchanged(fd, word, address.__sockaddr__, length, put, NETLOG_TX);
	return put;
}

HOOK ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	uint32_t word = descriptor_word(fd);
	socklen_t room = unlikely(word) ? message->msg_namelen : 0;
	ssize_t got = NEXT(recvmsg)(fd, message, flags);

	if (unlikely(word) && got >= 0 && !(flags & NO_TRAFFIC) && is_sock(word)) {
		struct msghdr seen = *message;

		seen.msg_namelen = written(room, &message->msg_namelen);
		observe_message(fd, word, &seen, (size_t)got, NETLOG_RX);
	}
	return got;
}

HOOK ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	uint32_t word = descriptor_word(fd);
	ssize_t put = NEXT(sendmsg)(fd, message, flags);

	if (unlikely(word) && put >= 0 && is_sock(word))
		observe_message(fd, word, message, (size_t)put, NETLOG_TX);
	return put;
}

HOOK int recvmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags,
		  struct timespec *timeout)
{
	uint32_t word = descriptor_word(fd);
	int got = NEXT(recvmmsg)(fd, messages, n, flags, timeout);

	if (unlikely(word) && got > 0 && !(flags & NO_TRAFFIC) && is_sock(word))
		observe_messages(fd, word, messages, (unsigned int)got, NETLOG_RX);
	return got;
}

HOOK int sendmmsg(int fd, struct mmsghdr *messages, unsigned int n, int flags)
{
	uint32_t word = descriptor_word(fd);
	int put = NEXT(sendmmsg)(fd, messages, n, flags);

	if (unlikely(word) && put > 0 && is_sock(word))
		observe_messages(fd, word, messages, (unsigned int)put, NETLOG_TX);
	return put;
}
