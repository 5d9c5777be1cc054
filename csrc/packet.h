/* SPDX-License-Identifier: BSD-3-Clause */
/* packet: the bytes of an IP packet -> its connection, and what it stands for on the wire.
 *
 * Every read is preceded by a check against both the bytes at hand and the packet's own length
 * field. Nothing is verified beyond that: no checksums (with offloads they are partial), no
 * options.
 *
 * Sources: RFC 791, RFC 8200 (extension headers), RFC 4302 (AH), RFC 1858 (fragments); Linux
 * virtio_net.h for what gso_size means.
 */
#ifndef NETLOG_PACKET_H
#define NETLOG_PACKET_H

#include "netlog.h"

/* RFC 8200 names six extension headers and allows each once, one of them twice; more than 8 is no
 * packet that a stack of our days makes. */
#define NETLOG_MAX_EXTENSION_HEADERS 8

/* What one packet adds to a record. */
struct netlog_increment {
	uint32_t packets;
	uint32_t direction;
	uint64_t bytes;
};

/* Decodes packet into connection and increment, both written whole.
 * Returns 0, or 1 + the reason for which the packet has no connection; then connection is not
 * written and the increment is one packet of packet->length bytes. */
int netlog_packet_decode(const struct netlog_packet *packet, struct netlog_connection *connection,
			 struct netlog_increment *increment);

#endif
