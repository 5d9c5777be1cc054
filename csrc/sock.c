/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* recvmmsg, sendmmsg */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "atomic.h"
#include "sock.h"

/* Errors taken off a socket at once. With IP_RECVERR they queue up; more than this come again with
 * the next look. */
#define MAX_PENDING_ERRORS 64

/* How often a datagram is tried. The first failure is often an earlier datagram's ICMP error. The
 * next ones can be too: whoever takes an error off the queue meanwhile makes the kernel raise the
 * one behind it (sock_dequeue_err_skb()). */
#define MAX_SENDS 4

union remote {
	struct sockaddr_in6 in6;
	struct sockaddr_in in;
};

/* What recvmmsg(2) and sendmmsg(2) work on. */
struct messages {
	struct mmsghdr headers[NETLOG_BATCH];
	struct iovec vectors[NETLOG_BATCH];
	union remote remotes[NETLOG_BATCH];
};

static const uint8_t mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

void netlog_sock_set_statistics(struct netlog_sock *sock, bool enabled)
{
	set_flag_relaxed(&sock->statistics, enabled);
}

bool netlog_sock_statistics(const struct netlog_sock *sock)
{
	return flag_relaxed(&sock->statistics);
}

static bool is_gone(int error)
{
	return error == EBADF || error == ENOTSOCK;
}

static void set_message(struct messages *messages, uint32_t i, const void *data, uint32_t length)
{
	messages->vectors[i] = (struct iovec){.iov_base = (void *)data, .iov_len = length};
	messages->headers[i] = (struct mmsghdr){
		.msg_hdr = {.msg_name = &messages->remotes[i],
			    .msg_namelen = sizeof(messages->remotes[i]),
			    .msg_iov = &messages->vectors[i],
			    .msg_iovlen = 1},
	};
}

static void endpoint_of(const union remote *remote, struct netlog_endpoint *endpoint)
{
	*endpoint = (struct netlog_endpoint){.version = 4};
	if (remote->in.sin_family == AF_INET) {
		memcpy(endpoint->address, mapped_prefix, sizeof(mapped_prefix));
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

/* Returns the length of the name. An IPv6 endpoint on an AF_INET socket is left to the kernel to
 * refuse. */
static socklen_t remote_of(int family, const struct netlog_endpoint *endpoint, union remote *remote)
{
	if (family == AF_INET && endpoint->version == 4) {
		remote->in = (struct sockaddr_in){.sin_family = AF_INET,
						  .sin_port = htons(endpoint->port)};
		memcpy(&remote->in.sin_addr, endpoint->address + 12, 4);
		return sizeof(remote->in);
	}
	remote->in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
					    .sin6_port = htons(endpoint->port),
					    .sin6_scope_id = endpoint->scope_id};
	memcpy(&remote->in6.sin6_addr, endpoint->address, sizeof(endpoint->address));
	return sizeof(remote->in6);
}

static void describe(const struct netlog_endpoint *endpoint, uint32_t length, uint8_t direction,
		     struct netlog_datagram *datagram)
{
	*datagram = (struct netlog_datagram){.port = endpoint->port,
					     .version = endpoint->version,
					     .direction = direction,
					     .length = length};
	memcpy(datagram->address, endpoint->address, sizeof(datagram->address));
}

/* How many datagrams came, or -errno. */
static int receive(const struct netlog_sock *sock, struct messages *messages, uint32_t n)
{
	for (int attempt = 0; attempt < MAX_PENDING_ERRORS; attempt++) {
		/* MSG_TRUNC: report a datagram's own length, also if the slot is shorter. */
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

int netlog_sock_recv_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			     const struct netlog_batch *batch)
{
	struct netlog_datagram datagrams[NETLOG_BATCH];
	struct messages messages;
	uint32_t most = batch->n < NETLOG_BATCH ? batch->n : NETLOG_BATCH;

	for (uint32_t i = 0; i < most; i++)
		set_message(&messages, i, batch_slot(batch, i), batch->capacity);
	int received = receive(sock, &messages, most);
	for (int i = 0; i < received; i++) {
		endpoint_of(&messages.remotes[i], &batch->endpoints[i]);
		batch->lengths[i] = messages.headers[i].msg_len;
		describe(&batch->endpoints[i], batch->lengths[i], NETLOG_RX, &datagrams[i]);
	}
	if (lane && received > 0)
		netlog_lane_count_datagrams(lane, datagrams, (size_t)received);
	return received;
}

static void refuse(const struct netlog_outgoing *outgoing, int error,
		   struct netlog_outcome *outcome)
{
	if (error == EAGAIN || error == ENOBUFS) {
		outcome->full_packets++;
		outcome->full_bytes += outgoing->length;
	} else {
		outcome->refused_packets++;
		outcome->refused_bytes += outgoing->length;
	}
	outcome->error = error;
}

/* Sends all that can be sent and marks it: sent[i]. Returns 0 or -errno as the public function. */
static int send_messages(const struct netlog_sock *sock, struct messages *messages,
			 const struct netlog_outgoing *outgoing, uint32_t n, bool *sent,
			 struct netlog_outcome *outcome)
{
	int failures = 0;

	for (uint32_t i = 0; i < n;) {
		int taken = sendmmsg(sock->fd, &messages->headers[i], n - i,
				     MSG_DONTWAIT | MSG_NOSIGNAL);
		int error = errno;

		if (taken > 0) {
			memset(&sent[i], true, (size_t)taken);
			i += (uint32_t)taken;
			failures = 0;
			continue;
		}
		if (error == EINTR)
			continue;
		if (is_gone(error) || error == EAGAIN) {
			while (i < n)
				refuse(&outgoing[i++], error, outcome);
			return is_gone(error) ? -error : 0;
		}
		netlog_sock_clear_errors(sock);
		if (++failures == MAX_SENDS) {
			refuse(&outgoing[i++], error, outcome);
			failures = 0;
		}
	}
	return 0;
}

int netlog_sock_send_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			     const struct netlog_outgoing *outgoing, uint32_t n,
			     struct netlog_outcome *outcome)
{
	struct netlog_datagram datagrams[NETLOG_BATCH];
	struct messages messages;
	bool sent[NETLOG_BATCH] = {false};
	uint32_t done = 0;

	for (uint32_t i = 0; i < n; i++) {
		set_message(&messages, i, outgoing[i].data, outgoing[i].length);
		messages.headers[i].msg_hdr.msg_namelen =
			remote_of(sock->family, outgoing[i].endpoint, &messages.remotes[i]);
	}
	int rc = send_messages(sock, &messages, outgoing, n, sent, outcome);
	for (uint32_t i = 0; i < n; i++) {
		if (!sent[i])
			continue;
		outcome->done_bytes += outgoing[i].length;
		describe(outgoing[i].endpoint, outgoing[i].length, NETLOG_TX, &datagrams[done++]);
	}
	outcome->done_packets += done;
	if (lane && done)
		netlog_lane_count_datagrams(lane, datagrams, done);
	return rc;
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
		int n = netlog_sock_recv_entered(sock, counting ? lane : NULL, &part);
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

static int send_part(const struct netlog_sock *sock, struct netlog_lane *lane,
		     const struct netlog_batch *part, struct netlog_outcome *outcome)
{
	struct netlog_outgoing outgoing[NETLOG_BATCH];
	bool counting = netlog_sock_statistics(sock);

	for (uint32_t i = 0; i < part->n; i++)
		outgoing[i] = (struct netlog_outgoing){.data = batch_slot(part, i),
						       .endpoint = &part->endpoints[i],
						       .length = part->lengths[i]};
	if (counting)
		netlog_lane_enter(lane);
	int rc = netlog_sock_send_entered(sock, counting ? lane : NULL, outgoing, part->n, outcome);
	if (counting)
		netlog_lane_leave(lane);
	return rc;
}

int netlog_sock_send(const struct netlog_sock *sock, struct netlog_lane *lane,
		     const struct netlog_batch *batch, struct netlog_outcome *outcome)
{
	int rc = 0;

	for (uint32_t first = 0; first < batch->n && !rc; first += NETLOG_BATCH) {
		struct netlog_batch part = batch_from(batch, first);

		rc = send_part(sock, lane, &part, outcome);
	}
	return rc;
}

void netlog_sock_clear_errors(const struct netlog_sock *sock)
{
	int error;
	socklen_t error_bytes = sizeof(error);

	/* Where IP_RECVERR is set, by whoever made the socket, each error waits in a queue. */
	for (int i = 0; i < MAX_PENDING_ERRORS; i++) {
		struct msghdr header = {0};

		if (recvmsg(sock->fd, &header, MSG_ERRQUEUE | MSG_DONTWAIT) < 0 && errno != EINTR)
			break;
	}
	/* After the queue, which raises the next error as it is emptied. */
	(void)getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes);
}
