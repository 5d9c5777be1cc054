/* SPDX-License-Identifier: BSD-3-Clause */
/* core: everything that netlog.cdef declares to Python. */
#ifndef NETLOG_CORE_H
#define NETLOG_CORE_H

#include "capture.h"
#include "coalesce.h"
#include "encode.h"
#include "netlog.h"
#include "packet.h"
#include "prefixes.h"
#include "relay.h"
#include "segment.h"
#include "sort.h"
#include "span.h"
#include "tally.h"
#include "tap.h"

#endif
