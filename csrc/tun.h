/* SPDX-License-Identifier: BSD-3-Clause */
/* tun: counted reads and writes of whole IP packets on a TUN descriptor.
 *
 * The descriptor is that of /dev/net/tun, attached with IFF_TUN | IFF_NO_PI, without IFF_VNET_HDR
 * and with O_NONBLOCK: nothing here waits. What is read is tx, what is written is rx, as the kernel
 * counts the interface.
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

#include "batch.h"

struct netlog_tun {
	int fd;
	bool statistics; /* writer: any / reader: any / relaxed: one batch more or less */
};

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

/* The same with enter and leave around each NETLOG_BATCH packets, if statistics are enabled. */
int netlog_tun_read(const struct netlog_tun *tun, struct netlog_lane *lane,
		    const struct netlog_batch *batch);
int netlog_tun_write(const struct netlog_tun *tun, struct netlog_lane *lane,
		     const struct netlog_batch *batch, struct netlog_outcome *outcome);

#endif
