/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* recvmmsg, sendmmsg */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
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

/* linux/udp.h; not every libc names them. */
enum { NETLOG_UDP_SEGMENT = 103, NETLOG_UDP_GRO = 104 };

/* The size of the segments: an int from the kernel, a uint16_t to it. */
union control {
	struct cmsghdr header;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

/* What recvmmsg(2) and sendmmsg(2) work on. */
struct messages {
	struct mmsghdr headers[NETLOG_BATCH];
	struct iovec vectors[NETLOG_BATCH];
	union remote remotes[NETLOG_BATCH];
	uint32_t packets[NETLOG_BATCH]; /* to be sent, by message */
	uint32_t bytes[NETLOG_BATCH];
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

/* Of each datagram but the last of those that came as one; 0: it is one. */
static uint16_t datagram_bytes_of(struct msghdr *header)
{
	for (struct cmsghdr *found = CMSG_FIRSTHDR(header); found;
	     found = CMSG_NXTHDR(header, found)) {
		int bytes;

		if (found->cmsg_level != SOL_UDP || found->cmsg_type != NETLOG_UDP_GRO)
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
	union control controls[NETLOG_BATCH];
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

static void refuse(uint32_t packets, uint32_t bytes, int error, struct netlog_outcome *outcome)
{
	if (error == EAGAIN || error == ENOBUFS) {
		outcome->full_packets += packets;
		outcome->full_bytes += bytes;
	} else {
		outcome->refused_packets += packets;
		outcome->refused_bytes += bytes;
	}
	outcome->error = error;
}

/* Whether the kernel may take the datagrams of a message one by one that it refused as one. */
static bool is_bundled(const struct messages *messages, uint32_t i, int error)
{
	return messages->packets[i] > 1 && (error == EMSGSIZE || error == EIO || error == EINVAL ||
					    error == EOPNOTSUPP || error == ENOPROTOOPT);
}

/* What became of messages. */
struct sending {
	bool sent[NETLOG_BATCH];
	int apart; /* errno for which the message behind the last was refused as one, or 0 */
};

/* Sends messages from..n-1, all that can be sent and marks it: sent[i]. Returns where it stopped:
 * n, or a message to be sent one by one; or -errno as the public function. */
static int send_messages(const struct netlog_sock *sock, struct messages *messages, uint32_t from,
			 uint32_t n, struct sending *sending, struct netlog_outcome *outcome)
{
	int failures = 0;

	sending->apart = 0;
	for (uint32_t i = from; i < n;) {
		int taken = sendmmsg(sock->fd, &messages->headers[i], n - i,
				     MSG_DONTWAIT | MSG_NOSIGNAL);
		int error = errno;

		if (taken > 0) {
			memset(&sending->sent[i], true, (size_t)taken);
			i += (uint32_t)taken;
			failures = 0;
			continue;
		}
		if (error == EINTR)
			continue;
		if (is_gone(error) || error == EAGAIN) {
			for (; i < n; i++)
				refuse(messages->packets[i], messages->bytes[i], error, outcome);
			return is_gone(error) ? -error : (int)n;
		}
		netlog_sock_clear_errors(sock);
		if (++failures < MAX_SENDS)
			continue;
		if (is_bundled(messages, i, error)) {
			sending->apart = error;
			return (int)i;
		}
		refuse(messages->packets[i], messages->bytes[i], error, outcome);
		i++;
		failures = 0;
	}
	return (int)n;
}

int netlog_sock_send_entered(const struct netlog_sock *sock, struct netlog_lane *lane,
			     const struct netlog_outgoing *outgoing, uint32_t n,
			     struct netlog_outcome *outcome)
{
	struct netlog_datagram datagrams[NETLOG_BATCH];
	struct messages messages;
	struct sending sending = {.apart = 0};
	uint32_t done = 0;

	for (uint32_t i = 0; i < n; i++) {
		set_message(&messages, i, outgoing[i].data, outgoing[i].length);
		messages.packets[i] = 1;
		messages.bytes[i] = outgoing[i].length;
		messages.headers[i].msg_hdr.msg_namelen =
			remote_of(sock->family, outgoing[i].endpoint, &messages.remotes[i]);
	}
	int rc = send_messages(sock, &messages, 0, n, &sending, outcome);
	for (uint32_t i = 0; i < n; i++) {
		if (!sending.sent[i])
			continue;
		outcome->done_bytes += outgoing[i].length;
		describe(outgoing[i].endpoint, outgoing[i].length, NETLOG_TX, &datagrams[done++]);
	}
	outcome->done_packets += done;
	if (lane && done)
		netlog_lane_count_datagrams(lane, datagrams, done);
	return rc < 0 ? rc : 0;
}

bool netlog_sock_segments(const struct netlog_sock *sock)
{
	return flag_relaxed(&sock->segments);
}

/* Makes message i the whole of a bundle. */
static void set_bundle(struct messages *messages, union control *controls, uint32_t i,
		       struct netlog_bundler *bundler, int family)
{
	const struct netlog_bundle *bundle = &bundler->bundles[i];
	uint16_t bytes = (uint16_t)bundle->datagram_bytes;

	messages->packets[i] = bundle->datagrams;
	messages->bytes[i] = bundle->length;
	messages->headers[i] = (struct mmsghdr){
		.msg_hdr = {.msg_name = &messages->remotes[i],
			    .msg_namelen =
				    remote_of(family, bundle->endpoint, &messages->remotes[i]),
			    .msg_iov = bundler->vectors + bundle->first,
			    .msg_iovlen = bundle->n_vectors},
	};
	if (bundle->datagrams == 1)
		return;
	memset(&controls[i], 0, sizeof(controls[i]));
	controls[i].header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(bytes)),
					      .cmsg_level = SOL_UDP,
					      .cmsg_type = NETLOG_UDP_SEGMENT};
	memcpy(CMSG_DATA(&controls[i].header), &bytes, sizeof(bytes));
	messages->headers[i].msg_hdr.msg_control = &controls[i];
	messages->headers[i].msg_hdr.msg_controllen = CMSG_SPACE(sizeof(bytes));
}

static void count_bundle(struct netlog_lane *lane, const struct netlog_bundle *bundle,
			 struct netlog_outcome *outcome)
{
	struct netlog_datagram datagram;

	outcome->done_packets += bundle->datagrams;
	outcome->done_bytes += bundle->length;
	describe(bundle->endpoint, bundle->length, NETLOG_TX, &datagram);
	if (bundle->datagrams > 1)
		datagram.gso_size = (uint16_t)bundle->datagram_bytes;
	if (lane)
		netlog_lane_count_datagrams(lane, &datagram, 1);
}

/* Sends the datagrams of a bundle one by one. Returns 0 or -errno as the public function. */
static int send_apart(const struct netlog_sock *sock, struct netlog_lane *lane,
		      struct netlog_bundler *bundler, const struct netlog_bundle *bundle,
		      struct netlog_outcome *outcome)
{
	uint32_t at = bundle->first, left = bundle->length;

	while (left) {
		struct messages messages;
		struct sending sending = {.apart = 0};
		struct netlog_bundle one = {.endpoint = bundle->endpoint, .datagrams = 1};
		struct msghdr *header = &messages.headers[0].msg_hdr;

		set_message(&messages, 0, NULL, 0);
		header->msg_namelen = remote_of(sock->family, one.endpoint, &messages.remotes[0]);
		header->msg_iov = bundler->vectors + at;
		header->msg_iovlen = 0;
		/* A datagram ends where one of its vectors does. */
		while (one.length < bundle->datagram_bytes && one.length < left) {
			one.length += (uint32_t)bundler->vectors[at++].iov_len;
			header->msg_iovlen++;
		}
		left -= one.length;
		messages.packets[0] = 1;
		messages.bytes[0] = one.length;
		int rc = send_messages(sock, &messages, 0, 1, &sending, outcome);

		if (sending.sent[0])
			count_bundle(lane, &one, outcome);
		if (rc < 0) {
			refuse((left + bundle->datagram_bytes - 1) / bundle->datagram_bytes, left,
			       -rc, outcome);
			return rc;
		}
	}
	return 0;
}

int netlog_sock_send_bundles_entered(struct netlog_sock *sock, struct netlog_lane *lane,
				     struct netlog_bundler *bundler, struct netlog_outcome *outcome)
{
	union control controls[NETLOG_BATCH];
	struct messages messages;
	struct sending sending = {.apart = 0};
	uint32_t n = bundler->n_bundles;
	int rc = 0;

	for (uint32_t i = 0; i < n; i++)
		set_bundle(&messages, controls, i, bundler, sock->family);
	for (uint32_t from = 0; from < n; from = (uint32_t)rc + 1) {
		rc = send_messages(sock, &messages, from, n, &sending, outcome);
		if (rc < 0 || !sending.apart)
			break;
		if (sending.apart != EMSGSIZE)
			set_flag_relaxed(&sock->segments, false);
		int error = send_apart(sock, lane, bundler, &bundler->bundles[rc], outcome);

		if (error) {
			for (uint32_t i = (uint32_t)rc + 1; i < n; i++)
				refuse(messages.packets[i], messages.bytes[i], -error, outcome);
			rc = error;
			break;
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		if (sending.sent[i])
			count_bundle(lane, &bundler->bundles[i], outcome);
	}
	return rc < 0 ? rc : 0;
}

/* netlog_sock_recv_entered() for a socket with UDP_GRO: one slot, one datagram. */
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
