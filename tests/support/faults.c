/* faults: makes the k-th system call on the files below a directory fail.
 *
 * A library for LD_PRELOAD. The program that loads it calls faults_arm() on it, and then works on files: the calls below
 * count those whose descriptor or path is inside the directory. From the k-th on, `times` of those that can fail in the
 * way that was asked for do.
 *
 * Threads: faults_arm() and faults_calls() while no other thread works on those files; everything else from any thread.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define PUBLIC __attribute__((visibility("default")))
#define MADE(name) ((__typeof__(&name))real(#name))

/* What a call is, which says how it can fail. */
enum { OPENS = 1, WRITES = 2, READS = 4, OTHER = 8, SENDS = 16 };
/* errno values below 0 are ways to fail without an error: half of what was asked for is done. */
enum { SHORT = -1 };

static char directory[PATH_MAX];
static size_t directory_len;
static atomic_long calls;
static long first, times, how;
static int sockets;

PUBLIC void faults_arm(const char *where, long at, long count, long way)
{
	sockets = !strcmp(where, "sockets");
	snprintf(directory, sizeof directory, "%s", where);
	directory_len = strlen(directory);
	first = at;
	times = count;
	how = way;
	atomic_store(&calls, 0);
}

/* Nothing fails any more; what was counted stays. */
PUBLIC void faults_stop(void)
{
	directory_len = 0;
}

PUBLIC long faults_calls(void)
{
	return atomic_load(&calls);
}

static void *real(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

static int is_inside(const char *path)
{
	return directory_len && !strncmp(path, directory, directory_len) &&
	       (path[directory_len] == '/' || !path[directory_len]);
}

static int is_ours(int fd)
{
	char link[64], path[PATH_MAX];
	ssize_t n_bytes;

	if (!directory_len)
		return 0;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n_bytes = readlink(link, path, sizeof path - 1);
	if (n_bytes < 0)
		return 0;
	path[n_bytes] = 0;
	return sockets ? !strncmp(path, "socket:", 7) : is_inside(path);
}

static int is_ours_at(int at, const char *path)
{
	return path[0] == '/' ? is_inside(path) : at == AT_FDCWD ? 0 : is_ours(at);
}

/* Whether a call of this kind could fail in the way that was asked for. */
static int can_fail(int kind)
{
	switch (how) {
	case SHORT:
		return kind & (WRITES | READS | SENDS);
	case ENOSPC:
		return kind & (OPENS | WRITES | OTHER);
	case EMFILE:
		return kind & OPENS;
	case EINTR:
		return kind & (OPENS | WRITES | READS | SENDS);
	case ENOBUFS:
		return kind & SENDS;
	default:
		return 1;
	}
}

static int fails(int kind)
{
	int saved = errno;
	long call;

	if (!can_fail(kind)) {
		errno = saved;
		return 0;
	}
	call = atomic_fetch_add(&calls, 1) + 1;
	errno = saved;
	if (call < first || call >= first + times)
		return 0;
	if (how > 0)
		errno = (int)how;
	return 1;
}

#define BY_FD(kind, fd) (is_ours(fd) && fails(kind))

#define OPEN(name)                                                                                 \
	PUBLIC int name(const char *path, int flags, ...)                                          \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = va_arg(args, mode_t);                                                       \
		va_end(args);                                                                      \
		if (is_inside(path) && fails(OPENS))                                               \
			return -1;                                                                 \
		return MADE(name)(path, flags, mode);                                              \
	}
#define OPENAT(name)                                                                               \
	PUBLIC int name(int at, const char *path, int flags, ...)                                  \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = va_arg(args, mode_t);                                                       \
		va_end(args);                                                                      \
		if (is_ours_at(at, path) && fails(OPENS))                                          \
			return -1;                                                                 \
		return MADE(name)(at, path, flags, mode);                                          \
	}
#define SIMPLE(name, kind, parameters, ...)                                                        \
	PUBLIC int name parameters                                                                 \
	{                                                                                          \
		if (BY_FD(kind, fd))                                                               \
			return -1;                                                                 \
		return MADE(name)(__VA_ARGS__);                                                    \
	}
#define MOVES(name, kind, parameters, half, ...)                                                   \
	PUBLIC ssize_t name parameters                                                             \
	{                                                                                          \
		if (BY_FD(kind, fd)) {                                                             \
			if (how != SHORT)                                                          \
				return -1;                                                         \
			half;                                                                      \
		}                                                                                  \
		return MADE(name)(__VA_ARGS__);                                                    \
	}

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
SIMPLE(fsync, OTHER, (int fd), fd)
SIMPLE(fdatasync, OTHER, (int fd), fd)
SIMPLE(ftruncate, OTHER, (int fd, off_t length), fd, length)
SIMPLE(ftruncate64, OTHER, (int fd, off64_t length), fd, length)
SIMPLE(fallocate, OTHER, (int fd, int mode, off_t offset, off_t length), fd, mode, offset, length)
SIMPLE(fallocate64, OTHER, (int fd, int mode, off64_t offset, off64_t length), fd, mode, offset,
       length)
MOVES(write, WRITES, (int fd, const void *data, size_t count), count -= count / 2, fd, data, count)
MOVES(pwrite, WRITES, (int fd, const void *data, size_t count, off_t at), count -= count / 2, fd,
      data, count, at)
MOVES(pwrite64, WRITES, (int fd, const void *data, size_t count, off64_t at), count -= count / 2,
      fd, data, count, at)
MOVES(read, READS, (int fd, void *data, size_t count), count -= count / 2, fd, data, count)
MOVES(pread, READS, (int fd, void *data, size_t count, off_t at), count -= count / 2, fd, data,
      count, at)
MOVES(pread64, READS, (int fd, void *data, size_t count, off64_t at), count -= count / 2, fd, data,
      count, at)
MOVES(writev, WRITES, (int fd, const struct iovec *parts, int count), count = 1, fd, parts, count)
MOVES(readv, READS, (int fd, const struct iovec *parts, int count), count = 1, fd, parts, count)
MOVES(sendmsg, SENDS, (int fd, const struct msghdr *message, int flags), , fd, message, flags)

/* These two say an error by their value. */
PUBLIC int posix_fallocate(int fd, off_t offset, off_t length)
{
	return BY_FD(OTHER, fd) ? (int)how : MADE(posix_fallocate)(fd, offset, length);
}

PUBLIC int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
	return BY_FD(OTHER, fd) ? (int)how : MADE(posix_fallocate64)(fd, offset, length);
}

/* A short one is of half of the messages. Sending alone can find no buffers. */
PUBLIC int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
	if (BY_FD(SENDS, fd)) {
		if (how != SHORT)
			return -1;
		count -= count / 2;
	}
	return MADE(sendmmsg)(fd, messages, count, flags);
}

PUBLIC int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags,
		    struct timespec *timeout)
{
	if (how != ENOBUFS && BY_FD(SENDS, fd)) {
		if (how != SHORT)
			return -1;
		count -= count / 2;
	}
	return MADE(recvmmsg)(fd, messages, count, flags, timeout);
}

/* The descriptor is closed all the same, as Linux does it. */
PUBLIC int close(int fd)
{
	int failed = how != ENOSPC && BY_FD(OTHER, fd), saved = errno;
	int result = MADE(close)(fd);

	if (failed) {
		errno = saved;
		return -1;
	}
	return result;
}

PUBLIC int rename(const char *from, const char *to)
{
	return is_inside(from) && fails(OTHER) ? -1 : MADE(rename)(from, to);
}

PUBLIC int renameat(int from_at, const char *from, int to_at, const char *to)
{
	if (is_ours_at(from_at, from) && fails(OTHER))
		return -1;
	return MADE(renameat)(from_at, from, to_at, to);
}

PUBLIC int mkdir(const char *path, mode_t mode)
{
	return is_inside(path) && fails(OTHER) ? -1 : MADE(mkdir)(path, mode);
}

PUBLIC int unlink(const char *path)
{
	return how != ENOSPC && is_inside(path) && fails(OTHER) ? -1 : MADE(unlink)(path);
}

PUBLIC int unlinkat(int at, const char *path, int flags)
{
	if (how != ENOSPC && is_ours_at(at, path) && fails(OTHER))
		return -1;
	return MADE(unlinkat)(at, path, flags);
}

PUBLIC void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
	if (fd >= 0 && BY_FD(OTHER, fd))
		return MAP_FAILED;
	return MADE(mmap)(address, length, protection, flags, fd, offset);
}

PUBLIC void *mmap64(void *address, size_t length, int protection, int flags, int fd, off64_t offset)
{
	if (fd >= 0 && BY_FD(OTHER, fd))
		return MAP_FAILED;
	return MADE(mmap64)(address, length, protection, flags, fd, offset);
}
