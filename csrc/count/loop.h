/* SPDX-License-Identifier: BSD-3-Clause */
/* loop: the loop over packets, for one level of the instruction set; see count.h.
 *
 * Included once by each of base.c, avx2.c and avx512.c, which names the function in COUNT_PACKETS.
 *
 * Plain packets (packet/packet.h) are decoded inline: eight at once if the machine has AVX2
 * (eight.h), else one by one (pending.h). Other packets take a call to netlog_count_packet(), and
 * new connections one to netlog_table_add().
 */
#include "count/eight.h"

/* How many packets ahead headers are prefetched. */
#define AHEAD_PACKETS 48

/* Prefetches the headers of n packets. */
NETLOG_INLINE void prefetch_headers(const struct netlog_packet *packets, size_t n)
{
	for (size_t i = 0; i < n; i++)
		prefetch(packets[i].data);
}

static void pass_decode(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
			struct netlog_record *last, struct pass *pass)
{
	const struct netlog_packet *end = packets + n;

	pass->four.n = pass->six.n = 0;
	if (likely(n >= AHEAD_PACKETS))
		prefetch_headers(packets, AHEAD_PACKETS);
	else
		prefetch_headers(packets, n);
#ifdef TARGET_AVX2
	for (; end - packets >= BLOCK_PACKETS; packets += BLOCK_PACKETS) {
		if (end - packets >= AHEAD_PACKETS + BLOCK_PACKETS)
			prefetch_headers(packets + AHEAD_PACKETS, BLOCK_PACKETS);
		enum block_outcome outcome = decode_block(table, packets, last, pass);

		if (unlikely(outcome == BLOCK_MIXED)) {
			/* The rest of this pass is probably mixed, too. */
			prefetch_headers(packets, (size_t)(end - packets));
			decode_mixed(table, packets, (size_t)(end - packets), last, pass);
			return;
		}
		if (unlikely(outcome == BLOCK_NOT_PLAIN))
			decode_each(table, packets, BLOCK_PACKETS, last, pass);
	}
	if (unlikely(packets != end))
		decode_each(table, packets, (size_t)(end - packets), last, pass);
#else
	for (; packets < end; packets++) {
		if (end - packets > AHEAD_PACKETS)
			prefetch(packets[AHEAD_PACKETS].data);
		decode_each(table, packets, 1, last, pass);
	}
#endif
}

/* Second pass. Records are prefetched into the second-level cache, as buckets are, for the reason
 * that prefetch_bucket() gives. */
static void pass_match(const struct netlog_table *table, struct pending *pending)
{
	const struct netlog_index index = table->index;
	struct netlog_record *records = table->records;

	for (size_t i = 0; i < pending->n; i++) {
		struct netlog_record *candidate = NULL;

		(void)first_candidate(&index, records, pending, i, &candidate);
		pending->candidates[i] = candidate;
		prefetch_far(candidate);
	}
}

/* Adds a packet whose record was not the first candidate, or whose connection is new. */
static NETLOG_NOINLINE struct netlog_record *settle_other(struct netlog_table *table,
							  const struct pending *pending, size_t i,
							  int version)
{
	struct netlog_key key = key_of_pending(pending, i, version);
	struct netlog_increment increment = {1, pending->directions[i], pending->lengths[i]};
	uint64_t hash = pending->hashes[i];

	return netlog_table_add(table, &key, hash << 32 | hash, &increment);
}

/* Adds the packet to the candidate, if that is its record. */
NETLOG_INLINE bool settle(struct netlog_record *candidate, const struct pending *pending, size_t i,
			  int version)
{
	return likely(is_of(candidate, pending, i, version)) &&
	       likely(add(candidate, pending->directions[i], pending->lengths[i]));
}

NETLOG_INLINE struct netlog_record *pass_add(struct netlog_table *table,
					     const struct pending *pending, int version,
					     struct netlog_record *last)
{
	for (size_t i = 0; i < pending->n; i++) {
		last = pending->candidates[i];
		if (unlikely(!last || !settle(last, pending, i, version)))
			last = settle_other(table, pending, i, version);
	}
	return last;
}

/* Counts a single packet. There is no other one with which its cache misses could overlap. */
NETLOG_INLINE struct netlog_record *count_single(struct netlog_table *table,
						 const struct netlog_packet *packet,
						 struct netlog_record *last)
{
	struct netlog_increment increment;
	struct netlog_key key;
	int version = 4;

	if (unlikely(!packet_decode_plain4(packet, &key))) {
		version = 6;
		if (unlikely(!packet_decode_plain6(packet, &key))) {
			(void)netlog_count_packet(table, packet);
			return last;
		}
	}
	if (last && last_equals(&key, version, &last->connection) &&
	    add(last, packet->direction & 1, packet->length))
		return last;
	packet_put_increment(&increment, packet);
	return netlog_table_add(table, &key, key_hash(&key, table->secret), &increment);
}

static NETLOG_NOINLINE void count_many(struct netlog_table *table,
				       const struct netlog_packet *packets, size_t n,
				       struct netlog_record **last)
{
	struct pass pass;

	table_begin(table);
	while (n) {
		size_t part = n < PASS_PACKETS ? n : PASS_PACKETS;

		pass_decode(table, packets, part, *last, &pass);
		pass_match(table, &pass.four);
		pass_match(table, &pass.six);
		*last = pass_add(table, &pass.four, 4, *last);
		*last = pass_add(table, &pass.six, 6, *last);
		packets += part;
		n -= part;
	}
}

void COUNT_PACKETS(struct netlog_table *table, const struct netlog_packet *packets, size_t n,
		   struct netlog_record **last)
{
	if (n == 1)
		*last = count_single(table, packets, *last);
	else
		count_many(table, packets, n, last);
}
