/* SPDX-License-Identifier: BSD-3-Clause */
/* next: the functions of the C library that the hooks replace.
 *
 * They are looked up when the library is loaded. The constructors of other libraries may call hooks
 * before; then the first such call looks them up. Looking up twice does no harm.
 */
#ifndef NETLOG_PRELOAD_NEXT_H
#define NETLOG_PRELOAD_NEXT_H

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/compiler.h"

/* glibc 2.34 added these. A program that calls them runs with such a glibc. */
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
int close_range(unsigned int first, unsigned int last, int flags);
void closefrom(int lowest);

/* _FORTIFY_SOURCE replaces the plain calls by these. The headers do not declare them here. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int directory, const char *path, int flags);
int __openat64_2(int directory, const char *path, int flags);
ssize_t __read_chk(int fd, void *data, size_t n, size_t size);
ssize_t __recv_chk(int fd, void *data, size_t n, size_t size, int flags);
ssize_t __recvfrom_chk(int fd, void *data, size_t n, size_t size, int flags, __SOCKADDR_ARG address,
		       socklen_t *length);

/* The functions that move traffic come first, so that they share few cache lines. clang-format is
 * off because it would indent each line further than the one before. */
/* clang-format off */
#define NEXT_FUNCTIONS(X) \
	X(read) X(write) X(recvfrom) X(sendto) X(recvmsg) X(sendmsg) X(recv) X(send) \
	X(readv) X(writev) X(recvmmsg) X(sendmmsg) X(__read_chk) X(__recv_chk) X(__recvfrom_chk) \
	X(open) X(open64) X(openat) X(openat64) X(creat) X(creat64) \
	X(__open_2) X(__open64_2) X(__openat_2) X(__openat64_2) \
	X(pipe) X(pipe2) X(socketpair) X(epoll_create) X(epoll_create1) X(eventfd) \
	X(timerfd_create) X(fclose) X(ioctl) X(socket) X(accept) X(accept4) X(connect) \
	X(setsockopt) X(close) X(close_range) X(closefrom) X(dup) X(dup2) X(dup3) \
	X(fcntl) X(fcntl64)
/* clang-format on */

struct next_functions {
#define NEXT_MEMBER(name) __typeof__(&(name)) name;
	NEXT_FUNCTIONS(NEXT_MEMBER)
#undef NEXT_MEMBER
} __attribute__((aligned(64)));

extern struct next_functions next_functions;

NETLOG_RARE void next_look_up(void);

/* The C library's function of this name. */
#define NEXT(name)                                                                                 \
	(*(likely(next_functions.name) ? next_functions.name                                       \
				       : (next_look_up(), next_functions.name)))

#define HOOK       __attribute__((visibility("default")))
#define HOOK_OFTEN HOOK NETLOG_OFTEN

#endif
