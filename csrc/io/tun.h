/* SPDX-License-Identifier: BSD-3-Clause */
/* tun: counted reads and writes of whole IP packets on a TUN descriptor.
 *
 * The descriptor is one of /dev/net/tun, attached with IFF_TUN | IFF_NO_PI, and with O_NONBLOCK
 * set, so no call waits. Packets that are read are tx, packets that are written are rx, as in the
 * kernel's counters of the interface. But a super-packet counts as the packets that it is on the
 * wire.
 *
 * With IFF_VNET_HDR (`vnet`) a virtio header precedes every packet. It may be longer than struct
 * virtio_net_hdr, or have the other byte order. A caller that can process super-packets calls
 * netlog_tun_read_plans_entered() and netlog_tun_write_supers_entered(), which also work without
 * `vnet`. netlog_tun_read() delivers packets of the wire, with or without it.
 *
 * Threads: one thread at a time reads with a lane, and one writes with a lane. A read and a write
 * may run at the same time if their lanes differ. Any thread may set and ask for the statistics.
 *
 * Sources: Linux Documentation/networking/tuntap.rst, drivers/net/tun.c.
 */
#ifndef NETLOG_TUN_H
#define NETLOG_TUN_H

/* Not needed here: the ioctl numbers, for callers that open a TUN. */
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "io/batch.h"
#include "gso/coalesce.h"
#include "gso/segment.h"

/* A super-packet of which netlog_tun_read() has not delivered all segments yet. */
struct netlog_tun_rest {
	struct netlog_segments plan;
	uint32_t next; /* the next segment; plan.count: none is left */
	uint32_t length;
	uint8_t data[NETLOG_MAX_PACKET_BYTES];
	uint8_t segment[NETLOG_MAX_PACKET_BYTES]; /* the next segment, before it is cut */
};

/* The most bytes of a virtio header after struct virtio_net_hdr. Kernels use up to 14, for a hash
 * and for tunnels. */
#define NETLOG_TUN_HEADER_MORE 54u

struct netlog_tun {
	int fd;
	bool statistics;     /* writer: any / reader: any / relaxed: one batch more or less */
	bool vnet;           /* attached with IFF_VNET_HDR */
	bool swapped;        /* the virtio header has the other byte order */
	bool ecn;            /* TUN_F_TSO_ECN may be set, so VIRTIO_NET_HDR_GSO_ECN may come */
	uint8_t header_more; /* bytes after struct virtio_net_hdr, which are not used; at most
				NETLOG_TUN_HEADER_MORE */
	uint32_t kinds;      /* the enum netlog_coalesce_kinds that it takes; with vnet */
	struct netlog_tun_rest *rest; /* the caller's; with vnet, for netlog_tun_read() */
};

/* netlog_tun_read_plans_entered() reads this many bytes in one call, and up to one packet more.
 * They are still in the cache when they are sent. */
#define NETLOG_TUN_READ_BYTES (192u * 1024)

void netlog_tun_set_statistics(struct netlog_tun *tun, bool enabled);
bool netlog_tun_statistics(const struct netlog_tun *tun);

/* Reads packets into the slots of batch, at most NETLOG_BATCH, until there are no more.
 *
 * lane: counts them; the caller has entered it. NULL: they are not counted. A packet that is longer
 * than a slot is cut to it, and counted with that length: the kernel does not say how long it was.
 *
 * Returns the number of packets; or, if there was none, 0 or -errno (never -EAGAIN or -EINTR).
 * -EBADFD: the interface is gone. */
int netlog_tun_read_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			    const struct netlog_batch *batch);

/* Writes packets[0..n-1], n <= NETLOG_BATCH, and adds the result to outcome. A packet that the
 * kernel refuses does not stop the rest. lane: as above. Returns 0; or -EBADFD, -EBADF or -ENODEV
 * if the descriptor no longer takes packets; then the rest counts as refused. */
int netlog_tun_write_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			     const struct netlog_packet *packets, uint32_t n,
			     struct netlog_outcome *outcome);

/* As netlog_tun_read_entered(), but also for super-packets. plans[i] says how the packet in slot i
 * is segmented (gso/segment.h), and points into the slot. A packet whose virtio header is
 * impossible counts as malformed, and its plan has no segments. Stops after NETLOG_TUN_READ_BYTES.
 * *more: set if there may be more to read at once. */
int netlog_tun_read_plans_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
				  const struct netlog_batch *batch, struct netlog_segments *plans,
				  bool *more);

/* As netlog_tun_write_entered(), for the super-packets of a coalescer. The coalescer is finished,
 * and began with the TUN's kinds. outcome is in packets on the wire. */
int netlog_tun_write_supers_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
				    struct netlog_coalescer *coalescer,
				    struct netlog_outcome *outcome);

/* The same for a whole batch of any size, with enter and leave around each NETLOG_BATCH packets. If
 * statistics are disabled, nothing is counted. If the descriptor is gone, the rest counts as
 * refused.
 */
int netlog_tun_read(const struct netlog_tun *tun, struct netlog_lane *lane,
		    const struct netlog_batch *batch);
int netlog_tun_write(const struct netlog_tun *tun, struct netlog_lane *lane,
		     const struct netlog_batch *batch, struct netlog_outcome *outcome);

#endif
