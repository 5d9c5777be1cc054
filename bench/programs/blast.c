// SPDX-License-Identifier: BSD-3-Clause
/* blast: sends UDP datagrams as fast as it can until it is killed, from one socket to one address.
 *
 *	blast ADDRESS PORT FLOWS BYTES SECONDS
 *
 * It uses FLOWS destination ports from PORT on, in turn. After SECONDS it ends by itself. If the
 * kernel has no room, it tries again at once, without waiting.
 */
#define _GNU_SOURCE /* sendmmsg */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH     64
#define MAX_BYTES 2048

static int blast(int fd, struct mmsghdr *messages)
{
	for (;;) {
		if (sendmmsg(fd, messages, BATCH, 0) < 0 && errno != ENOBUFS && errno != EAGAIN &&
		    errno != ECONNREFUSED && errno != EINTR)
			return 1;
	}
}

int main(int argc, char **argv)
{
	static uint8_t payload[MAX_BYTES];
	struct sockaddr_in to[BATCH] = {0};
	struct iovec piece = {.iov_base = payload};
	struct mmsghdr messages[BATCH] = {0};

	if (argc != 6)
		return 2;
	unsigned flows = (unsigned)atoi(argv[3]);

	piece.iov_len = (size_t)atoi(argv[4]);
	if (!flows || piece.iov_len > MAX_BYTES)
		return 2;
	alarm((unsigned)atoi(argv[5]));
	for (unsigned i = 0; i < BATCH; i++) {
		to[i].sin_family = AF_INET;
		to[i].sin_port = htons((uint16_t)((unsigned)atoi(argv[2]) + i % flows));
		if (inet_pton(AF_INET, argv[1], &to[i].sin_addr) != 1)
			return 2;
		messages[i].msg_hdr.msg_name = &to[i];
		messages[i].msg_hdr.msg_namelen = sizeof(to[i]);
		messages[i].msg_hdr.msg_iov = &piece;
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return fd < 0 ? 1 : blast(fd, messages);
}
