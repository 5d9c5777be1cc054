/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#include "preload/descriptors.h"
#include "preload/observe.h"
#include "preload/process.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP IPPROTO_UDP
#endif

/* A datagram, or a piece of a stream, as it is counted. */
struct seen {
	struct netlog_key key;
	struct netlog_increment increment;
};

NETLOG_INLINE void describe(int fd, uint32_t word, const void *address, socklen_t length,
			    size_t bytes, enum netlog_direction direction, struct seen *seen)
{
	struct remote remote;

	/* The kernel ignores an address that is given with a stream. */
	if (word & SOCK_STREAMS || !remote_from(address, length, &remote))
		remote = word & SOCK_HAS_PEER ? descriptor_sockets[fd].peer : remote_nobody();
	seen->key = (struct netlog_key){.dst = {remote.address[0], remote.address[1]},
					.tail = remote.tail};
	seen->increment = (struct netlog_increment){
		.packets = 1, .direction = direction, .bytes = (uint32_t)bytes};
}

static void cut(struct seen *seen, uint16_t segment_bytes)
{
	if (segment_bytes && seen->increment.bytes > segment_bytes)
		seen->increment.packets =
			(uint32_t)((seen->increment.bytes - 1) / segment_bytes + 1);
}

/* Returns the segment size of one message (UDP_SEGMENT or UDP_GRO); 0: it has none. */
static uint16_t segments_of(const struct msghdr *message)
{
	struct msghdr *header = (struct msghdr *)message; /* CMSG_NXTHDR takes no const pointer */
	uint16_t found = 0;

	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control;
	     control = CMSG_NXTHDR(header, control)) {
		/* The kernel returns UDP_GRO as an int, and takes UDP_SEGMENT as 16 bits. */
		int value;

		if (control->cmsg_level != SOL_UDP)
			continue;
		if (control->cmsg_type == UDP_GRO && control->cmsg_len >= CMSG_LEN(sizeof(value))) {
			memcpy(&value, CMSG_DATA(control), sizeof(value));
			found = (uint16_t)value;
		} else if (control->cmsg_type == UDP_SEGMENT &&
			   control->cmsg_len >= CMSG_LEN(sizeof(found))) {
			memcpy(&found, CMSG_DATA(control), sizeof(found));
		}
	}
	return found;
}

/* Whether a call that moved `bytes` is counted. 0 bytes of a stream are its end, and are not
 * counted; an empty datagram is. */
NETLOG_INLINE bool counts(uint32_t word, size_t bytes)
{
	return likely(word & SOCK_COUNTED) && (likely(bytes) || !(word & SOCK_STREAMS));
}

static NETLOG_RARE ssize_t observe_rare(int fd, uint32_t word, const void *address,
					socklen_t length, size_t bytes,
					enum netlog_direction direction)
{
	struct seen seen;

	word = descriptor_know_socket(fd, word);
	if (!counts(word, bytes))
		return (ssize_t)bytes;
	describe(fd, word, address, length, bytes, direction, &seen);
	if (word & SOCK_SEGMENTS && direction == NETLOG_TX)
		cut(&seen, (uint16_t)descriptor_sockets[fd].segment_bytes);
	process_count(NETLOG_SOCK, &seen.key, &seen.increment);
	return (ssize_t)bytes;
}

/* The short path: nearly always the socket is known, and the remote is the same as last time. */
NETLOG_OFTEN ssize_t observe_datagram(int fd, uint32_t word, const void *address, socklen_t length,
				      size_t bytes, enum netlog_direction direction)
{
	const uint32_t asked = SOCK_KNOWN | SOCK_COUNTED | SOCK_STREAMS | SOCK_SEGMENTS;
	struct seen seen;

	if (likely((word & asked) == (SOCK_KNOWN | SOCK_COUNTED))) {
		describe(fd, word, address, length, bytes, direction, &seen);
		if (likely(process_count_last(NETLOG_SOCK, &seen.key, 0, direction,
					      (uint32_t)bytes)))
			return (ssize_t)bytes;
	}
	return observe_rare(fd, word, address, length, bytes, direction);
}

NETLOG_INLINE void describe_message(int fd, uint32_t word, const struct msghdr *message,
				    size_t bytes, enum netlog_direction direction,
				    struct seen *seen)
{
	uint16_t segment_bytes = 0;

	describe(fd, word, message->msg_name, message->msg_namelen, bytes, direction, seen);
	if (word & SOCK_STREAMS)
		return;
	if (word & SOCK_SEGMENTS && direction == NETLOG_TX)
		segment_bytes = (uint16_t)descriptor_sockets[fd].segment_bytes;
	/* The size in the message overrides the socket option. */
	if (message->msg_control && message->msg_controllen) {
		uint16_t own = segments_of(message);

		segment_bytes = own ? own : segment_bytes;
	}
	cut(seen, segment_bytes);
}

ssize_t observe_message(int fd, uint32_t word, const struct msghdr *message, size_t bytes,
			enum netlog_direction direction)
{
	struct seen seen;

	/* Without control data the message has no segment size of its own. */
	if (likely(!message->msg_control || !message->msg_controllen))
		return observe_datagram(fd, word, message->msg_name, message->msg_namelen, bytes,
					direction);
	word = descriptor_know_socket(fd, word);
	if (!counts(word, bytes))
		return (ssize_t)bytes;
	describe_message(fd, word, message, bytes, direction, &seen);
	if (seen.increment.packets != 1 ||
	    !process_count_last(NETLOG_SOCK, &seen.key, 0, direction, (uint32_t)bytes))
		process_count(NETLOG_SOCK, &seen.key, &seen.increment);
	return (ssize_t)bytes;
}

void observe_messages(int fd, uint32_t word, const struct mmsghdr *messages, unsigned int n,
		      enum netlog_direction direction)
{
	struct netlog_lane *lane;
	struct seen seen;

	word = descriptor_know_socket(fd, word);
	if (!(word & SOCK_COUNTED))
		return;
	lane = process_enter();
	for (unsigned int i = 0; i < n; i++) {
		if (!counts(word, messages[i].msg_len))
			continue;
		describe_message(fd, word, &messages[i].msg_hdr, messages[i].msg_len, direction,
				 &seen);
		if (likely(lane))
			lane_add(lane, NETLOG_SOCK, &seen.key, &seen.increment);
		else
			process_count_laneless(NETLOG_SOCK, &seen.increment);
	}
	if (likely(lane))
		process_leave(lane);
}
