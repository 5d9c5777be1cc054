/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

#include "count.h"
#include "descriptors.h"
#include "observe.h"
#include "process.h"

#define BATCH 64 /* datagrams that are counted in one bracket */

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SOL_UDP
#define SOL_UDP IPPROTO_UDP
#endif

static void count_all(const struct netlog_datagram *datagrams, unsigned int n)
{
	struct netlog_lane *lane = process_enter();

	if (unlikely(!lane)) {
		for (unsigned int i = 0; i < n; i++)
			process_count_aside(1, datagrams[i].length);
		return;
	}
	netlog_lane_count_datagrams(lane, datagrams, n);
	process_leave(lane);
}

NETLOG_INLINE void count(const struct netlog_datagram *datagram)
{
	struct netlog_increment increment;
	struct netlog_key key;

	count_describe(datagram, &key, &increment);
	/* Its source is nothing, as that of all of them: the words that IPv4 has are compared, and
	 * the one more that IPv6 has. */
	process_count(NETLOG_SOCK, &key, 6, &increment);
}

NETLOG_INLINE void describe(int fd, uint32_t word, const void *address, socklen_t length,
			    size_t bytes, enum netlog_direction direction,
			    struct netlog_datagram *datagram)
{
	/* Words all the way: see key.h. */
	struct remote remote = {.version = 4, .address = {0, key_mapped(0)}};

	if (word & SOCK_STREAMS || !remote_from(address, length, &remote)) {
		if (word & SOCK_HAS_PEER)
			remote = descriptor_remotes[fd];
	}
	*datagram = (struct netlog_datagram){.port = remote.port,
					     .version = remote.version,
					     .direction = (uint8_t)direction,
					     .length = (uint32_t)bytes};
	memcpy(datagram->address, remote.address, sizeof(datagram->address));
	if (unlikely(word & SOCK_SEGMENTS) && direction == NETLOG_TX)
		datagram->gso_size = descriptor_remotes[fd].segment_bytes;
}

/* UDP_SEGMENT or UDP_GRO of one message, into the datagram. */
static void describe_segments(const struct msghdr *message, struct netlog_datagram *datagram)
{
	struct msghdr *header = (struct msghdr *)message; /* CMSG_NXTHDR wants it so */

	if (!message->msg_control || !message->msg_controllen)
		return;
	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control;
	     control = CMSG_NXTHDR(header, control)) {
		if (control->cmsg_level != SOL_UDP)
			continue;
		/* The kernel hands UDP_GRO over as an int, and takes UDP_SEGMENT as 16 bits. */
		int value = 0;
		uint16_t short_value = 0;

		if (control->cmsg_type == UDP_GRO && control->cmsg_len >= CMSG_LEN(sizeof(value))) {
			memcpy(&value, CMSG_DATA(control), sizeof(value));
			datagram->gso_size = (uint16_t)value;
		} else if (control->cmsg_type == UDP_SEGMENT &&
			   control->cmsg_len >= CMSG_LEN(sizeof(short_value))) {
			memcpy(&short_value, CMSG_DATA(control), sizeof(short_value));
			datagram->gso_size = short_value;
		}
	}
}

void observe_datagram(int fd, uint32_t word, const void *address, socklen_t length, size_t bytes,
		      enum netlog_direction direction)
{
	struct netlog_datagram datagram;

	word = descriptor_know_socket(fd, word);
	/* The end of a stream is nothing that crossed; an empty datagram is. */
	if (word & SOCK_COUNTED && (bytes || !(word & SOCK_STREAMS))) {
		describe(fd, word, address, length, bytes, direction, &datagram);
		count(&datagram);
	}
}

static void describe_message(int fd, uint32_t word, const struct msghdr *message, size_t bytes,
			     enum netlog_direction direction, struct netlog_datagram *datagram)
{
	describe(fd, word, message->msg_name, message->msg_namelen, bytes, direction, datagram);
	if (!(word & SOCK_STREAMS))
		describe_segments(message, datagram);
}

void observe_message(int fd, uint32_t word, const struct msghdr *message, size_t bytes,
		     enum netlog_direction direction)
{
	struct netlog_datagram datagram;

	word = descriptor_know_socket(fd, word);
	if (word & SOCK_COUNTED && (bytes || !(word & SOCK_STREAMS))) {
		describe_message(fd, word, message, bytes, direction, &datagram);
		count(&datagram);
	}
}

void observe_messages(int fd, uint32_t word, const struct mmsghdr *messages, unsigned int n,
		      enum netlog_direction direction)
{
	struct netlog_datagram datagrams[BATCH];
	unsigned int filled = 0;

	word = descriptor_know_socket(fd, word);
	for (unsigned int i = 0; word & SOCK_COUNTED && i < n; i++) {
		if (word & SOCK_STREAMS && !messages[i].msg_len)
			continue;
		describe_message(fd, word, &messages[i].msg_hdr, messages[i].msg_len, direction,
				 &datagrams[filled++]);
		if (filled == BATCH) {
			count_all(datagrams, filled);
			filled = 0;
		}
	}
	if (filled)
		count_all(datagrams, filled);
}
