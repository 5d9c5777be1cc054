/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/atomic.h"
#include "io/tun.h"

void netlog_tun_set_statistics(struct netlog_tun *tun, bool enabled)
{
	set_flag_relaxed(&tun->statistics, enabled);
}

bool netlog_tun_statistics(const struct netlog_tun *tun)
{
	return flag_relaxed(&tun->statistics);
}

static bool is_gone(int error)
{
	return error == EBADFD || error == EBADF || error == ENODEV;
}

/* Returns the packet's length, or -errno. */
static ssize_t read_one(int fd, uint8_t *slot, uint32_t capacity)
{
	ssize_t length;

	do {
		length = read(fd, slot, capacity);
	} while (length < 0 && errno == EINTR);
	return length < 0 ? -errno : length;
}

int netlog_tun_read_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			    const struct netlog_batch *batch)
{
	struct netlog_packet packets[NETLOG_BATCH];
	uint32_t most = batch->n < NETLOG_BATCH ? batch->n : NETLOG_BATCH;
	uint32_t n = 0;
	ssize_t length = 0;

	while (n < most) {
		uint8_t *slot = batch_slot(batch, n);

		length = read_one(tun->fd, slot, batch->capacity);
		if (length < 0)
			break;
		batch->lengths[n] = (uint32_t)length;
		packets[n++] = (struct netlog_packet){
			.data = slot, .length = (uint32_t)length, .direction = NETLOG_TX};
	}
	if (lane && n)
		netlog_lane_count_packets(lane, packets, n);
	return n || length == -EAGAIN ? (int)n : (int)length;
}

static int write_vectors(int fd, const struct iovec *vectors, uint32_t n)
{
	ssize_t written;

	do {
		written = writev(fd, vectors, (int)n);
	} while (written < 0 && errno == EINTR);
	return written < 0 ? -errno : 0;
}

static int write_one(const struct netlog_tun *tun, const struct netlog_packet *packet)
{
	static const uint8_t plain[sizeof(struct virtio_net_hdr) + NETLOG_TUN_HEADER_MORE];
	const struct iovec vectors[2] = {
		{.iov_base = (void *)plain,
		 .iov_len = sizeof(struct virtio_net_hdr) + tun->header_more},
		{.iov_base = (void *)packet->data, .iov_len = packet->length},
	};

	return tun->vnet ? write_vectors(tun->fd, vectors, 2)
			 : write_vectors(tun->fd, vectors + 1, 1);
}

int netlog_tun_write_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			     const struct netlog_packet *packets, uint32_t n,
			     struct netlog_outcome *outcome)
{
	struct netlog_packet written[NETLOG_BATCH];
	uint32_t done = 0;
	int rc = 0;

	for (uint32_t i = 0; i < n; i++) {
		/* If the descriptor is gone, it is not used again for the rest of the batch. */
		if (!is_gone(-rc))
			rc = write_one(tun, &packets[i]);
		if (rc) {
			outcome->refused_packets++;
			outcome->refused_bytes += packets[i].length;
			outcome->error = -rc;
			continue;
		}
		outcome->done_packets++;
		outcome->done_bytes += packets[i].length;
		written[done] = packets[i];
		written[done++].direction = NETLOG_RX;
	}
	if (lane && done)
		netlog_lane_count_packets(lane, written, done);
	return is_gone(-rc) ? rc : 0;
}

/* Stands for a packet whose virtio header is impossible: an IPv4 header that is too short, so that
 * the packet is unattributed as malformed. It has as many bytes as the decoders may read. */
static const uint8_t malformed[64] = {0x40};

static struct netlog_packet described(const struct netlog_segments *plan, uint32_t length)
{
	if (!plan->count)
		return (struct netlog_packet){
			.data = malformed, .length = length, .direction = NETLOG_TX};
	return (struct netlog_packet){.data = plan->data,
				      .length = length,
				      .gso_size = (uint16_t)plan->gso_size,
				      .direction = NETLOG_TX};
}

static void swap_bytes(struct virtio_net_hdr *header)
{
	header->hdr_len = __builtin_bswap16(header->hdr_len);
	header->gso_size = __builtin_bswap16(header->gso_size);
	header->csum_start = __builtin_bswap16(header->csum_start);
	header->csum_offset = __builtin_bswap16(header->csum_offset);
}

/* Converts the header to this machine's byte order, and to the offloads that gso/segment.h knows.
 */
static void normalize(const struct netlog_tun *tun, struct virtio_net_hdr *header)
{
	uint8_t type = header->gso_type & (uint8_t)~VIRTIO_NET_HDR_GSO_ECN;

	if (tun->swapped)
		swap_bytes(header);
	/* The bit says that CWR is set. The TCP header says the same, so it is not needed. */
	if (tun->ecn && (type == VIRTIO_NET_HDR_GSO_TCPV4 || type == VIRTIO_NET_HDR_GSO_TCPV6))
		header->gso_type = type;
}

/* Returns the packet's length without the virtio header, or -errno. */
static ssize_t read_vnet(const struct netlog_tun *tun, struct virtio_net_hdr *header, uint8_t *slot,
			 uint32_t capacity)
{
	uint8_t more[NETLOG_TUN_HEADER_MORE];
	const struct iovec vectors[3] = {
		{.iov_base = header, .iov_len = sizeof(*header)},
		{.iov_base = more, .iov_len = tun->header_more},
		{.iov_base = slot, .iov_len = capacity},
	};
	ssize_t headers = (ssize_t)sizeof(*header) + tun->header_more;
	ssize_t length;

	do {
		length = readv(tun->fd, vectors, 3);
	} while (length < 0 && errno == EINTR);
	if (length < 0)
		return -errno;
	normalize(tun, header);
	return length < headers ? 0 : length - headers;
}

int netlog_tun_read_plans_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
				  const struct netlog_batch *batch, struct netlog_segments *plans,
				  bool *more)
{
	struct netlog_packet packets[NETLOG_BATCH];
	uint32_t most = batch->n < NETLOG_BATCH ? batch->n : NETLOG_BATCH;
	uint32_t n = 0, bytes = 0;
	ssize_t length = 0;

	while (n < most && bytes < NETLOG_TUN_READ_BYTES) {
		struct virtio_net_hdr header = {0};
		uint8_t *slot = batch_slot(batch, n);

		length = tun->vnet ? read_vnet(tun, &header, slot, batch->capacity)
				   : read_one(tun->fd, slot, batch->capacity);
		if (length < 0)
			break;
		bytes += (uint32_t)length;
		batch->lengths[n] = (uint32_t)length;
		if (netlog_segments_plan(&header, slot, (uint32_t)length, &plans[n]))
			plans[n].count = 0;
		packets[n] = described(&plans[n], (uint32_t)length);
		n++;
	}
	if (lane && n)
		netlog_lane_count_packets(lane, packets, n);
	*more = length >= 0;
	return n || length == -EAGAIN ? (int)n : (int)length;
}

/* Returns the bytes of a super-packet on the wire, where each segment repeats the headers. */
static uint64_t bytes_on_wire(const struct netlog_super *super)
{
	return super->length + (uint64_t)(super->segments - 1) * super->headers;
}

static int write_super(const struct netlog_tun *tun, struct netlog_coalescer *coalescer, uint32_t i)
{
	static const uint8_t more[NETLOG_TUN_HEADER_MORE];
	struct virtio_net_hdr header = coalescer->supers[i].header;
	struct iovec vectors[2 + NETLOG_SUPER_SEGMENTS];
	uint32_t n = netlog_coalesce_vectors(coalescer, i, vectors + 1);

	if (!tun->vnet)
		return write_vectors(tun->fd, vectors + 2, n - 1);
	if (tun->swapped)
		swap_bytes(&header);
	vectors[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof(header)};
	/* This replaces the vector with the coalescer's own header. */
	vectors[1] = (struct iovec){.iov_base = (void *)more, .iov_len = tun->header_more};
	return write_vectors(tun->fd, vectors, n + 1);
}

int netlog_tun_write_supers_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
				    struct netlog_coalescer *coalescer,
				    struct netlog_outcome *outcome)
{
	struct netlog_packet written[NETLOG_BATCH];
	uint32_t done = 0;
	int rc = 0;

	for (uint32_t i = 0; i < coalescer->n_supers; i++) {
		const struct netlog_super *super = &coalescer->supers[i];

		if (!is_gone(-rc))
			rc = write_super(tun, coalescer, i);
		if (rc) {
			outcome->refused_packets += super->segments;
			outcome->refused_bytes += bytes_on_wire(super);
			outcome->error = -rc;
			continue;
		}
		outcome->done_packets += super->segments;
		outcome->done_bytes += bytes_on_wire(super);
		written[done] = coalesce_packet(coalescer, i);
		written[done++].direction = NETLOG_RX;
		if (lane && done == NETLOG_BATCH) {
			netlog_lane_count_packets(lane, written, done);
			done = 0;
		}
		if (!lane)
			done = 0;
	}
	if (lane && done)
		netlog_lane_count_packets(lane, written, done);
	return is_gone(-rc) ? rc : 0;
}

/* Reads the next packet or super-packet into rest. Returns 1; 0: there is none; or -errno. */
static int refill(const struct netlog_tun *tun, struct netlog_lane *lane)
{
	struct netlog_tun_rest *rest = tun->rest;
	const struct netlog_batch one = {
		.data = rest->data,
		.lengths = &rest->length,
		.capacity = sizeof(rest->data),
		.n = 1,
	};
	bool more;
	int n = netlog_tun_read_plans_entered(tun, lane, &one, &rest->plan, &more);

	rest->next = 0;
	if (n <= 0)
		rest->plan.count = 0;
	return n;
}

/* As netlog_tun_read_entered(), for a descriptor with virtio headers. */
static int read_apart_entered(const struct netlog_tun *tun, struct netlog_lane *lane,
			      const struct netlog_batch *batch)
{
	struct netlog_tun_rest *rest = tun->rest;
	uint32_t n = 0;

	while (n < batch->n) {
		if (rest->next >= rest->plan.count) {
			int rc = refill(tun, lane);

			if (rc <= 0)
				return n ? (int)n : rc;
			continue;
		}
		uint32_t bytes = netlog_segment_copy(&rest->plan, rest->next++, rest->segment);

		batch->lengths[n] = bytes < batch->capacity ? bytes : batch->capacity;
		memcpy(batch_slot(batch, n), rest->segment, batch->lengths[n]);
		n++;
	}
	return (int)n;
}

int netlog_tun_read(const struct netlog_tun *tun, struct netlog_lane *lane,
		    const struct netlog_batch *batch)
{
	uint32_t read = 0;

	while (read < batch->n) {
		struct netlog_batch part = batch_from(batch, read);
		bool counting = netlog_tun_statistics(tun);

		if (counting)
			netlog_lane_enter(lane);
		struct netlog_lane *counted = counting ? lane : NULL;
		int n = tun->vnet ? read_apart_entered(tun, counted, &part)
				  : netlog_tun_read_entered(tun, counted, &part);
		if (counting)
			netlog_lane_leave(lane);
		if (n < 0)
			return read ? (int)read : n;
		read += (uint32_t)n;
		if ((uint32_t)n < part.n)
			break;
	}
	return (int)read;
}

static int write_part(const struct netlog_tun *tun, struct netlog_lane *lane,
		      const struct netlog_batch *part, struct netlog_outcome *outcome)
{
	struct netlog_packet packets[NETLOG_BATCH];
	bool counting = netlog_tun_statistics(tun);

	for (uint32_t i = 0; i < part->n; i++)
		packets[i] = (struct netlog_packet){.data = batch_slot(part, i),
						    .length = part->lengths[i]};
	if (counting)
		netlog_lane_enter(lane);
	int rc = netlog_tun_write_entered(tun, counting ? lane : NULL, packets, part->n, outcome);
	if (counting)
		netlog_lane_leave(lane);
	return rc;
}

int netlog_tun_write(const struct netlog_tun *tun, struct netlog_lane *lane,
		     const struct netlog_batch *batch, struct netlog_outcome *outcome)
{
	int rc = 0;

	for (uint32_t first = 0; first < batch->n; first += NETLOG_BATCH) {
		struct netlog_batch part = batch_from(batch, first);

		if (rc)
			batch_refuse(&part, -rc, outcome);
		else
			rc = write_part(tun, lane, &part, outcome);
	}
	return rc;
}
