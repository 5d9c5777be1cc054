/* SPDX-License-Identifier: BSD-3-Clause */
/* encode: flow records -> the JSON entries of a message.
 *
 * An entry is {"proto":n,"src":"a:p","dst":"a:p","txPkts":n,"txBytes":n,"rxPkts":n,"rxBytes":n}; a
 * member that is zero or has no address is left out. Addresses are a.b.c.d:port and [v6]:port in
 * RFC 5952 form, IPv4-mapped IPv6 as [::ffff:a.b.c.d]:port.
 */
#ifndef NETLOG_ENCODE_H
#define NETLOG_ENCODE_H

#include "netlog.h"

/* The longest entry, with the comma that precedes it; the arithmetic stands in encode.c. */
extern const size_t netlog_encode_max_entry_bytes;

/* Writes the entries of flows[order[0..n-1]] (order NULL: flows[0..n-1]), separated by commas, no
 * brackets, until the next one would not fit in capacity. Writes never go beyond capacity.
 * Returns the bytes written; *encoded is the number of entries in them; ends[i] (n of them; NULL:
 * not wanted) becomes the bytes up to the end of entry i. */
size_t netlog_encode_flows(const struct netlog_flow *flows, const uint32_t *order, size_t n,
			   char *text, size_t capacity, size_t *encoded, uint64_t *ends);

#endif
