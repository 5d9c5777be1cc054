/* SPDX-License-Identifier: BSD-3-Clause */
/* transport: the offsets of the fields in IP, TCP and UDP headers that segment and coalesce use.
 *
 * Sources: RFC 791 §3.1, RFC 8200 §3, RFC 793 §3.1, RFC 3168 §6.1 (ECE, CWR), RFC 768.
 */
#ifndef NETLOG_TRANSPORT_H
#define NETLOG_TRANSPORT_H

#include "packet/packet.h"

enum {
	IP4_TOTAL = 2,
	IP4_ID = 4,
	IP4_FRAGMENT = 6,
	IP4_CHECKSUM = 10,
	IP6_PAYLOAD = 4,
};

enum {
	TCP_SEQUENCE = 4,
	TCP_ACKNOWLEDGEMENT = 8,
	TCP_OFFSET = 12,
	TCP_FLAGS = 13,
	TCP_CHECKSUM = 16,
	TCP_OPTIONS = 20,
	UDP_LENGTH = 4,
	UDP_CHECKSUM = 6,
};

enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_PSH = 0x08,
	TCP_ACK = 0x10,
	TCP_ECE = 0x40,
	TCP_CWR = 0x80,
};

/* VIRTIO_NET_HDR_GSO_UDP_L4. Kernel headers before Linux 6.2 do not have it. */
enum { GSO_UDP = 5 };

NETLOG_INLINE uint32_t transport_checksum(uint8_t proto)
{
	return proto == PROTO_TCP ? TCP_CHECKSUM : UDP_CHECKSUM;
}

#endif
