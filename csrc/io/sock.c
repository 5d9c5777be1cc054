/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* recvmmsg */
#include <arpa/inet.h>

#include "base/atomic.h"
#include "io/sock_messages.h"
#include "io/sock.h"
#include "packet/key.h"

/* The most errors that are taken off a socket at once. With IP_RECVERR they queue up; if there are
 * more, the next call takes them. */
#define MAX_PENDING_ERRORS 64

void netlog_sock_set_statistics(struct netlog_sock *sock, bool enabled)
{
	set_flag_relaxed(&sock->statistics, enabled);
}

bool netlog_sock_statistics(const struct netlog_sock *sock)
{
	return flag_relaxed(&sock->statistics);
}

static void endpoint_of(const union remote *remote, struct netlog_endpoint *endpoint)
{
	*endpoint = (struct netlog_endpoint){.version = 4};
	if (remote->in.sin_family == AF_INET) {
		memcpy(endpoint->address, key_mapped_prefix, sizeof(key_mapped_prefix));
		memcpy(endpoint->address + 12, &remote->in.sin_addr, 4);
		endpoint->port = ntohs(remote->in.sin_port);
		return;
	}
	memcpy(endpoint->address, &remote->in6.sin6_addr, sizeof(endpoint->address));
	endpoint->port = ntohs(remote->in6.sin6_port);
	if (!IN6_IS_ADDR_V4MAPPED(&remote->in6.sin6_addr)) {
		endpoint->version = 6;
		endpoint->scope_id = remote->in6.sin6_scope_id;
	}
}

/* Returns the number of messages received, or -errno. */
static int receive(const struct netlog_sock *sock, struct messages *messages, uint32_t n)
{
	for (int attempt = 0; attempt < MAX_PENDING_ERRORS; attempt++) {
		/* MSG_TRUNC: the kernel reports the datagram's own length, even if the slot is
		 * shorter. */
		int received =
			recvmmsg(sock->fd, messages->headers, n, MSG_DONTWAIT | MSG_TRUNC, NULL);

		if (received >= 0)
			return received;
		if (errno == EAGAIN)
			return 0;
		if (is_gone(errno))
			return -errno;
	}
	return 0;
}

/* The control messages of a received message. The program that made the socket may have asked for
 * time stamps and more, which come before the size: at most 200 bytes in Linux 6.18. */
union received {
	struct cmsghdr header;
	uint8_t bytes[256];
};

/* If several datagrams came as one, returns the length of each one except the last; else 0. */
static uint16_t datagram_bytes_of(struct msghdr *header)
{
	for (struct cmsghdr *found = CMSG_FIRSTHDR(header); found;
	     found = CMSG_NXTHDR(header, found)) {
		int bytes;

		if (found->cmsg_level != SOL_UDP || found->cmsg_type != UDP_OPTION_GRO)
			continue;
		memcpy(&bytes, CMSG_DATA(found), sizeof(bytes));
		return bytes > 0 && bytes <= UINT16_MAX ? (uint16_t)bytes : 0;
	}
	return 0;
}

int netlog_sock_recv_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			     const struct netlog_batch *batch)
{
	struct netlog_datagram datagrams[NETLOG_BATCH];
	union received controls[NETLOG_BATCH];
	struct messages messages;
	uint32_t most = batch->n < NETLOG_BATCH ? batch->n : NETLOG_BATCH;

	for (uint32_t i = 0; i < most; i++) {
		set_message(&messages, i, batch_slot(batch, i), batch->capacity);
		if (batch->datagram_bytes) {
			messages.headers[i].msg_hdr.msg_control = &controls[i];
			messages.headers[i].msg_hdr.msg_controllen = sizeof(controls[i]);
		}
	}
	int received = receive(sock, &messages, most);
	for (int i = 0; i < received; i++) {
		endpoint_of(&messages.remotes[i], &batch->endpoints[i]);
		batch->lengths[i] = messages.headers[i].msg_len;
		describe(&batch->endpoints[i], batch->lengths[i], NETLOG_RX, &datagrams[i]);
		if (batch->datagram_bytes) {
			batch->datagram_bytes[i] = datagram_bytes_of(&messages.headers[i].msg_hdr);
			datagrams[i].gso_size = batch->datagram_bytes[i];
		}
	}
	if (lane && received > 0)
		netlog_lane_count_datagrams(lane, datagrams, (size_t)received);
	return received;
}

/* As netlog_sock_recv_entered(), for a socket with UDP_GRO, but each slot gets one datagram. */
static int recv_apart_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			      const struct netlog_batch *batch)
{
	struct netlog_sock_rest *rest = sock->rest;
	const struct netlog_batch one = {
		.data = rest->data,
		.lengths = &rest->length,
		.endpoints = &rest->endpoint,
		.datagram_bytes = &rest->datagram_bytes,
		.capacity = sizeof(rest->data),
		.n = 1,
	};
	uint32_t n = 0;

	while (n < batch->n) {
		if (rest->next >= rest->length) {
			int rc = netlog_sock_recv_entered(sock, lane, &one);

			rest->next = 0;
			if (rc <= 0) {
				rest->length = 0;
				return n ? (int)n : rc;
			}
		}
		uint32_t left = rest->length - rest->next;
		uint32_t whole = rest->datagram_bytes && rest->datagram_bytes < left
					 ? rest->datagram_bytes
					 : left;

		batch->lengths[n] = whole;
		batch->endpoints[n] = rest->endpoint;
		memcpy(batch_slot(batch, n), rest->data + rest->next,
		       whole < batch->capacity ? whole : batch->capacity);
		rest->next += whole;
		n++;
	}
	return (int)n;
}

int netlog_sock_recv(const struct netlog_sock *sock, struct netlog_lane *lane,
		     const struct netlog_batch *batch)
{
	uint32_t received = 0;

	while (received < batch->n) {
		struct netlog_batch part = batch_from(batch, received);
		bool counting = netlog_sock_statistics(sock);

		if (counting)
			netlog_lane_enter(lane);
		struct netlog_lane *counted = counting ? lane : NULL;
		int n = sock->gro ? recv_apart_entered(sock, counted, &part)
				  : netlog_sock_recv_entered(sock, counted, &part);
		if (counting)
			netlog_lane_leave(lane);
		if (n < 0)
			return received ? (int)received : n;
		received += (uint32_t)n;
		if ((uint32_t)n < part.n)
			break;
	}
	return (int)received;
}

void netlog_sock_clear_errors(const struct netlog_sock *sock)
{
	int error;
	socklen_t error_bytes = sizeof(error);

	/* If the program that made the socket has set IP_RECVERR, each error waits in a queue. */
	for (int i = 0; i < MAX_PENDING_ERRORS; i++) {
		struct msghdr header = {0};

		if (recvmsg(sock->fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0 && errno != EINTR)
			break;
	}
	/* After the queue: taking an error off it raises the next one. */
	(void)getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes);
}
