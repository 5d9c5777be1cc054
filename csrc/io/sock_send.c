/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE /* sendmmsg */
#include <arpa/inet.h>

#include "base/atomic.h"
#include "io/sock_messages.h"
#include "io/sock.h"

/* The most attempts for a datagram. The first failure is often an ICMP error of an earlier
 * datagram. So may be the next ones: when any thread takes an error off the queue, the kernel
 * raises the one that follows it (sock_dequeue_err_skb()). */
#define MAX_SENDS 4

/* Writes the endpoint as a socket address to *remote, and returns its length. The kernel refuses an
 * IPv6 endpoint on an AF_INET socket. */
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

/* Whether message i is a bundle, and the kernel may take its datagrams one by one after this error.
 */
static bool is_bundled(const struct messages *messages, uint32_t i, int error)
{
	return messages->packets[i] > 1 && (error == EMSGSIZE || error == EIO || error == EINVAL ||
					    error == EOPNOTSUPP || error == ENOPROTOOPT);
}

/* The result of send_messages(). */
struct sending {
	bool sent[NETLOG_BATCH]; /* by message */
	int apart; /* errno for which the bundle where it stopped was refused as a whole; else 0 */
};

/* Sends messages from..n-1 as far as the kernel takes them, and sets sent[i] for each one that was
 * sent. Returns n; or the number of a bundle whose datagrams are to be sent one by one; or -errno
 * as the public functions. */
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

/* Makes message i send bundle i as a whole. */
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
					      .cmsg_type = UDP_OPTION_SEGMENT};
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

/* Sends the datagrams of a bundle one by one. Returns 0, or -errno as the public functions. */
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
		/* A datagram always ends at the end of a vector. */
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

	for (uint32_t first = 0; first < batch->n; first += NETLOG_BATCH) {
		struct netlog_batch part = batch_from(batch, first);

		if (rc)
			batch_refuse(&part, -rc, outcome);
		else
			rc = send_part(sock, lane, &part, outcome);
	}
	return rc;
}
