/* SPDX-License-Identifier: BSD-3-Clause */
/* messages: what receiving (sock.c) and sending (sock_send.c) on a UDP socket have in common. */
#ifndef NETLOG_MESSAGES_H
#define NETLOG_MESSAGES_H

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "io/batch.h"
#include "base/compiler.h"

union remote {
	struct sockaddr_in6 in6;
	struct sockaddr_in in;
};

/* From linux/udp.h; not every C library defines them. */
enum { UDP_OPTION_SEGMENT = 103, UDP_OPTION_GRO = 104 };

/* A control message with the size of the segments: an int from the kernel, a uint16_t to it. */
union control {
	struct cmsghdr header;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

/* The arguments of recvmmsg(2) and sendmmsg(2). */
struct messages {
	struct mmsghdr headers[NETLOG_BATCH];
	struct iovec vectors[NETLOG_BATCH];
	union remote remotes[NETLOG_BATCH];
	uint32_t packets[NETLOG_BATCH]; /* to send, by message */
	uint32_t bytes[NETLOG_BATCH];
};

NETLOG_INLINE bool is_gone(int error)
{
	return error == EBADF || error == ENOTSOCK;
}

NETLOG_INLINE void set_message(struct messages *messages, uint32_t i, const void *data,
			       uint32_t length)
{
	messages->vectors[i] = (struct iovec){.iov_base = (void *)data, .iov_len = length};
	messages->headers[i] = (struct mmsghdr){
		.msg_hdr = {.msg_name = &messages->remotes[i],
			    .msg_namelen = sizeof(messages->remotes[i]),
			    .msg_iov = &messages->vectors[i],
			    .msg_iovlen = 1},
	};
}

NETLOG_INLINE void describe(const struct netlog_endpoint *endpoint, uint32_t length,
			    uint8_t direction, struct netlog_datagram *datagram)
{
	*datagram = (struct netlog_datagram){.port = endpoint->port,
					     .version = endpoint->version,
					     .direction = direction,
					     .length = length};
	memcpy(datagram->address, endpoint->address, sizeof(datagram->address));
}

#endif
