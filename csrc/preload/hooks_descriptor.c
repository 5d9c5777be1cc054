/* SPDX-License-Identifier: BSD-3-Clause */
/* hooks_descriptor: hooks for calls that make, change or close a descriptor.
 *
 * Each hook updates the table of descriptors. Calls inside the C library (system(3), the resolver)
 * do not pass through the hooks; the C library closes the descriptors that it makes there itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/udp.h>

#include "preload/descriptors.h"
#include "preload/next.h"
#include "preload/process.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define HAS_MODE(flags) ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE)

/* Returns a new descriptor of a kind that is not watched. */
static int other(int fd)
{
	descriptor_forget(fd);
	return fd;
}

#define HOOK_OPEN(name)                                                                            \
	HOOK int name(const char *path, int flags, ...)                                            \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
		if (HAS_MODE(flags)) {                                                             \
			va_list rest;                                                              \
			va_start(rest, flags);                                                     \
			mode = va_arg(rest, mode_t);                                               \
			va_end(rest);                                                              \
		}                                                                                  \
		return other(NEXT(name)(path, flags, mode));                                       \
	}

#define HOOK_OPEN_AT(name)                                                                         \
	HOOK int name(int directory, const char *path, int flags, ...)                             \
	{                                                                                          \
		mode_t mode = 0;                                                                   \
		if (HAS_MODE(flags)) {                                                             \
			va_list rest;                                                              \
			va_start(rest, flags);                                                     \
			mode = va_arg(rest, mode_t);                                               \
			va_end(rest);                                                              \
		}                                                                                  \
		return other(NEXT(name)(directory, path, flags, mode));                            \
	}

HOOK_OPEN(open)
HOOK_OPEN(open64)
HOOK_OPEN_AT(openat)
HOOK_OPEN_AT(openat64)

HOOK int __open_2(const char *path, int flags)
{
	return other(NEXT(__open_2)(path, flags));
}

HOOK int __open64_2(const char *path, int flags)
{
	return other(NEXT(__open64_2)(path, flags));
}

HOOK int __openat_2(int directory, const char *path, int flags)
{
	return other(NEXT(__openat_2)(directory, path, flags));
}

HOOK int __openat64_2(int directory, const char *path, int flags)
{
	return other(NEXT(__openat64_2)(directory, path, flags));
}

HOOK int creat(const char *path, mode_t mode)
{
	return other(NEXT(creat)(path, mode));
}

HOOK int creat64(const char *path, mode_t mode)
{
	return other(NEXT(creat64)(path, mode));
}

HOOK int epoll_create(int size)
{
	return other(NEXT(epoll_create)(size));
}

HOOK int epoll_create1(int flags)
{
	return other(NEXT(epoll_create1)(flags));
}

HOOK int eventfd(unsigned int value, int flags)
{
	return other(NEXT(eventfd)(value, flags));
}

HOOK int timerfd_create(clockid_t clock, int flags)
{
	return other(NEXT(timerfd_create)(clock, flags));
}

static int other_pair(int rc, const int pair[2])
{
	if (!rc) {
		descriptor_forget(pair[0]);
		descriptor_forget(pair[1]);
	}
	return rc;
}

HOOK int pipe(int pair[2])
{
	return other_pair(NEXT(pipe)(pair), pair);
}

HOOK int pipe2(int pair[2], int flags)
{
	return other_pair(NEXT(pipe2)(pair, flags), pair);
}

HOOK int socketpair(int family, int type, int protocol, int pair[2])
{
	return other_pair(NEXT(socketpair)(family, type, protocol, pair), pair);
}

HOOK int socket(int family, int type, int protocol)
{
	int fd = NEXT(socket)(family, type, protocol);

	descriptor_set_socket(fd, family, type);
	return fd;
}

/* The new socket has the kind of the listening one. */
static int accepted(int listening, int fd)
{
	uint32_t word = descriptor_word(listening) & (WORD_KIND | SOCK_STREAMS);

	descriptor_set(fd, (word & WORD_KIND) == WORD_SOCK ? word : 0);
	return fd;
}

HOOK int accept(int fd, __SOCKADDR_ARG address, socklen_t *length)
{
	return accepted(fd, NEXT(accept)(fd, address, length));
}

HOOK int accept4(int fd, __SOCKADDR_ARG address, socklen_t *length, int flags)
{
	return accepted(fd, NEXT(accept4)(fd, address, length, flags));
}

HOOK int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length)
{
	int rc = NEXT(connect)(fd, address, length);

	descriptor_connected(fd);
	return rc;
}

HOOK int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	int rc = NEXT(setsockopt)(fd, level, name, value, length);

	if (!rc && level == IPPROTO_UDP && name == UDP_SEGMENT && length >= sizeof(int))
		descriptor_set_segment_bytes(fd, *(const int *)value);
	return rc;
}

HOOK int ioctl(int fd, unsigned long request, ...)
{
	va_list rest;

	va_start(rest, request);
	void *argument = va_arg(rest, void *);
	va_end(rest);
	int rc = NEXT(ioctl)(fd, request, argument);

	if (likely(rc < 0))
		return rc;
	if (request == TUNSETIFF) {
		const struct ifreq *made = argument;

		descriptor_set_tun(fd, (uint16_t)made->ifr_flags);
		process_note_tun();
	} else if (request == TUNSETVNETHDRSZ) {
		descriptor_set_vnet_bytes(fd, *(const int *)argument);
	}
	return rc;
}

HOOK int close(int fd)
{
	if (unlikely(fd == process_hidden_fd) && fd >= 0) {
		/* A program that closes all numbers expects EBADF for many of them. */
		errno = EBADF;
		return -1;
	}
	/* Before the call: right after it, another thread may get the same number. */
	descriptor_forget(fd);
	return NEXT(close)(fd);
}

HOOK int fclose(FILE *stream)
{
	/* fclose() closes the descriptor inside the C library, where no hook sees it. */
	int saved = errno;

	/* NULL is undefined, and crashes here as it does in the C library. */
	descriptor_forget(fileno(stream));
	errno = saved;
	return NEXT(fclose)(stream);
}

static bool is_hidden_between(unsigned int first, unsigned int last)
{
	unsigned int hidden = (unsigned int)process_hidden_fd;

	return process_hidden_fd >= 0 && first <= hidden && hidden <= last;
}

HOOK int close_range(unsigned int first, unsigned int last, int flags)
{
	unsigned int hidden = (unsigned int)process_hidden_fd;
	int rc = 0;

	if (!next_functions.close_range) {
		errno = ENOSYS;
		return -1;
	}
	if ((unsigned int)flags & CLOSE_RANGE_CLOEXEC)
		return NEXT(close_range)(first, last, flags);
	if (first <= last)
		descriptor_forget_range(first, last);
	if (!is_hidden_between(first, last))
		return NEXT(close_range)(first, last, flags);
	if (first < hidden)
		rc = NEXT(close_range)(first, hidden - 1, flags);
	if (!rc && hidden < last)
		rc = NEXT(close_range)(hidden + 1, last, flags);
	return rc;
}

HOOK void closefrom(int lowest)
{
	unsigned int first = lowest < 0 ? 0 : (unsigned int)lowest;

	if (!is_hidden_between(first, UINT32_MAX)) {
		descriptor_forget_range(first, UINT32_MAX);
		NEXT(closefrom)(lowest);
		return;
	}
	int saved = errno;

	(void)close_range(first, UINT32_MAX, 0);
	errno = saved;
}

HOOK int dup(int fd)
{
	int copy = NEXT(dup)(fd);

	descriptor_copy(fd, copy);
	return copy;
}

HOOK int dup2(int fd, int wanted)
{
	if (unlikely(wanted == process_hidden_fd) && wanted >= 0)
		process_move_hidden();
	int copy = NEXT(dup2)(fd, wanted);

	descriptor_copy(fd, copy);
	return copy;
}

HOOK int dup3(int fd, int wanted, int flags)
{
	if (unlikely(wanted == process_hidden_fd) && wanted >= 0)
		process_move_hidden();
	int copy = NEXT(dup3)(fd, wanted, flags);

	descriptor_copy(fd, copy);
	return copy;
}

#define HOOK_FCNTL(name)                                                                           \
	HOOK int name(int fd, int command, ...)                                                    \
	{                                                                                          \
		va_list rest;                                                                      \
		va_start(rest, command);                                                           \
		void *argument = va_arg(rest, void *);                                             \
		va_end(rest);                                                                      \
		int rc = NEXT(name)(fd, command, argument);                                        \
		if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)                              \
			descriptor_copy(fd, rc);                                                   \
		return rc;                                                                         \
	}

HOOK_FCNTL(fcntl)
HOOK_FCNTL(fcntl64)
