/* SPDX-License-Identifier: BSD-3-Clause */
#include "count/count.h"

#include "base/cpu.h"

netlog_count_packets_fn *netlog_count_packets_choose(void)
{
#ifdef __x86_64__
	if (cpu_has_avx512())
		return netlog_count_packets_avx512;
	if (cpu_has_avx2())
		return netlog_count_packets_avx2;
#endif
	return netlog_count_packets_base;
}

struct netlog_record *netlog_count_packet(struct netlog_table *table,
					  const struct netlog_packet *packet)
{
	struct netlog_increment increment;
	struct netlog_key key;
	int reason = netlog_packet_decode(packet, &key, &increment);

	if (reason) {
		netlog_table_add_unattributed(table, reason - 1, &increment);
		return NULL;
	}
	return netlog_table_add(table, &key, key_hash(&key, table->secret), &increment);
}

void netlog_count_datagrams(struct netlog_table *table, const struct netlog_datagram *datagrams,
			    size_t n, struct netlog_record **last)
{
	struct netlog_increment increment;
	struct netlog_key key = {.src = {0, 0}};
	struct netlog_record *record = *last;

	for (size_t i = 0; i < n; i++) {
		const struct netlog_datagram *datagram = &datagrams[i];

		key.dst[0] = load_64(datagram->address);
		key.dst[1] = load_64(datagram->address + 8);
		key.tail = key_tail(datagram->port, datagram->version, 0, NETLOG_NO_SRC);
		increment.direction = datagram->direction & 1;
		increment.bytes = datagram->length;
		increment.packets = 1;
		if (datagram->gso_size && datagram->length > datagram->gso_size)
			increment.packets = (datagram->length - 1) / datagram->gso_size + 1;
		if (record && last_equals(&key, 0, &record->connection) &&
		    netlog_record_add(record, &increment))
			continue;
		/* No record has such a version, so the quick path above never meets one. */
		if (unlikely(datagram->version != 4 && datagram->version != 6)) {
			netlog_table_add_unattributed(table, NETLOG_NOT_IP, &increment);
			continue;
		}
		record = netlog_table_add(table, &key, key_hash(&key, table->secret), &increment);
	}
	*last = record;
}
