/* SPDX-License-Identifier: BSD-3-Clause */
/* encode: flow records -> the JSON entries of a message.
 *
 * An entry is {"proto":n,"src":"a:p","dst":"a:p","txPkts":n,"txBytes":n,"rxPkts":n,"rxBytes":n}. A
 * member is omitted if it is zero or its address is absent. Addresses are a.b.c.d:port, or
 * [v6]:port in the form of RFC 5952. IPv4-mapped IPv6 is [::ffff:a.b.c.d]:port.
 */
#ifndef NETLOG_ENCODE_H
#define NETLOG_ENCODE_H

#include "netlog.h"

/* The bytes of the longest entry, with the comma before it. encode.c has the arithmetic. */
extern const size_t netlog_encode_max_entry_bytes;

/* Writes the entries of flows[order[0..n-1]], separated by commas, without brackets, until the next
 * one does not fit in `capacity`. Never writes beyond capacity.
 *
 * order: NULL for flows[0..n-1]. *encoded: the number of entries written. ends: NULL, or room for
 * n; ends[i] becomes the number of bytes up to the end of entry i.
 *
 * Returns the number of bytes written. */
size_t netlog_encode_flows(const struct netlog_flow *flows, const uint32_t *order, size_t n,
			   char *text, size_t capacity, size_t *encoded, uint64_t *ends);

#endif
