/* SPDX-License-Identifier: BSD-3-Clause */
/* core: includes the headers of everything that netlog.cdef declares to Python. */
#ifndef NETLOG_CORE_H
#define NETLOG_CORE_H

#include "capture/capture.h"
#include "gso/coalesce.h"
#include "rows/encode.h"
#include "netlog.h"
#include "packet/packet.h"
#include "prefixes/prefixes.h"
#include "relay/relay.h"
#include "gso/segment.h"
#include "rows/sort.h"
#include "python/span.h"
#include "rows/tally.h"
#include "tap/tap.h"

#endif
