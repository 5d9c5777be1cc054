/* SPDX-License-Identifier: BSD-3-Clause */
/* tun: counted reads and writes of whole IP packets on a TUN descriptor.
 *
 * The descriptor is that of /dev/net/tun, attached with IFF_TUN | IFF_NO_PI and with O_NONBLOCK:
 * nothing here waits. What is read is tx, what is written is rx, as the kernel counts the
 * interface; but a super-packet counts as the packets that it is on the wire.
 *
 * With IFF_VNET_HDR (`vnet`) every packet has a virtio header in front, of which some may be set to
 * be longer than what is known here, or of the other byte order. Who can take super-packets
 * calls read_plans and write_supers, which also work without; netlog_tun_read() hands over whole
 * packets in either case.
 *
 * Threads: reads of one lane by one thread at a time, writes likewise; a read and a write may go on
 * at once if their lanes differ. set_statistics by any.
 *
 * Sources: Linux Documentation/networking/tuntap.rst, drivers/net/tun.c.
 */
#ifndef NETLOG_TUN_H
#define NETLOG_TUN_H

/* The ioctl numbers, for those who open one. */
#include <linux/if_tun.h>
#include <sys/ioctl.h>

#include "io/batch.h"
#include "gso/coalesce.h"
#include "gso/segment.h"

/* What netlog_tun_read() has read of a super-packet, and not yet handed over. */
struct netlog_tun_rest {
	struct netlog_segments plan;
	uint32_t next; /* segment; plan.count: there are none left */
	uint32_t length;
	uint8_t data[NETLOG_MAX_PACKET_BYTES];
	uint8_t segment[NETLOG_MAX_PACKET_BYTES]; /* the one that is handed over, before it is cut
						   */
};

/* Behind struct virtio_net_hdr: kernels know of 14 bytes, for a hash and for tunnels. */
#define NETLOG_TUN_HEADER_MORE 54u

struct netlog_tun {
	int fd;
	bool statistics;     /* writer: any / reader: any / relaxed: one batch more or less */
	bool vnet;           /* attached with IFF_VNET_HDR */
	bool swapped;        /* the virtio header is in the other byte order */
	bool ecn;            /* VIRTIO_NET_HDR_GSO_ECN may come: TUN_F_TSO_ECN may be set */
	uint8_t header_more; /* bytes behind struct virtio_net_hdr, at most
				NETLOG_TUN_HEADER_MORE; nothing in them is used */
	uint32_t kinds;      /* enum netlog_coalesce_kinds that may be written; with vnet */
	struct netlog_tun_rest *rest; /* the caller's; with vnet, for netlog_tun_read() */
};

/* Bytes that netlog_tun_read_plans_entered() reads at once, and up to one packet more: they are
 * still in the cache when they are sent. */
#define NETLOG_TUN_READ_BYTES (192u * 1024)

void netlog_tun_set_statistics(struct netlog_tun *tun, bool enabled);
bool netlog_tun_statistics(const struct netlog_tun *tun);

/* Reads packets into the slots of batch, at most NETLOG_BATCH, until there are no more.
 * lane: the caller is between its enter and leave, and what is read is counted there; NULL: nothing
 * is counted. A packet longer than a slot arrives cut to it, and is counted so: the kernel does not
 * say how long it was. Returns how many, or an errno other than EAGAIN and EINTR if there was none:
 * -EBADFD when the interface is gone. */
int netlog_tun_read_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			    const struct netlog_batch *batch);

/* Writes packets[0..n-1], n <= NETLOG_BATCH, and adds to outcome what became of them; one that the
 * kernel refuses does not stop the rest. Lane as above. Returns 0, or -EBADFD, -EBADF when the
 * descriptor takes nothing any more; then what is left is refused. */
int netlog_tun_write_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			     const struct netlog_packet *packets, uint32_t n,
			     struct netlog_outcome *outcome);

/* As netlog_tun_read_entered(), for super-packets too, and with the plan of each packet's segments
 * (segment.h): plans[i] points into slot i. One whose virtio header can not be is counted as
 * malformed, and has a plan of no segments. Stops after NETLOG_TUN_READ_BYTES; *more: there may be
 * more to read at once. */
int netlog_tun_read_plans_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
				  const struct netlog_batch *batch, struct netlog_segments *plans,
				  bool *more);

/* Writes what is in coalescer, finished and of the TUN's kinds, as netlog_tun_write_entered() does;
 * outcome is in packets on the wire. */
int netlog_tun_write_supers_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
				    struct netlog_coalescer *coalescer,
				    struct netlog_outcome *outcome);

/* The same with enter and leave around each NETLOG_BATCH packets, if statistics are enabled. What
 * is left when the descriptor is gone is refused. */
int netlog_tun_read(const struct netlog_tun *tun, struct netlog_lane *lane,
		    const struct netlog_batch *batch);
int netlog_tun_write(const struct netlog_tun *tun, struct netlog_lane *lane,
		     const struct netlog_batch *batch, struct netlog_outcome *outcome);

#endif
