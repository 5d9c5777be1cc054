// SPDX-License-Identifier: BSD-3-Clause
/* kernel: bare system calls on a TUN, and a counter inside the kernel: an eBPF program at an
 * interface's ingress, with a hash map that has a set of counters for each processor.
 *
 * The program is assembled here, so that no compiler for eBPF is needed. It is attached by a link
 * (tcx, Linux 6.6), so that closing the descriptor removes it.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define MAX_PROCESSORS 256
#define TCX_INGRESS    46 /* of enum bpf_attach_type; older headers lack it */
#define TCX_NEXT       (-1)
#define COUNT(array)   (sizeof(array) / sizeof((array)[0]))

struct counts {
	uint64_t packets;
	uint64_t bytes;
};

struct key {
	uint32_t source, destination, ports, proto;
};

/* Where the program keeps its key and the first counts, below the frame pointer. */
#define KEY_AT   (-16)
#define FIRST_AT (-32)

#define INSTRUCTION(c, d, s, o, i)                                                                 \
	((struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)})
#define MOVE(d, s)           INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(d, i)            INSTRUCTION(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define ADD(d, i)            INSTRUCTION(BPF_ALU64 | BPF_ADD | BPF_K, d, 0, 0, i)
#define ADD_X(d, s)          INSTRUCTION(BPF_ALU64 | BPF_ADD | BPF_X, d, s, 0, 0)
#define LOAD(size, d, s, o)  INSTRUCTION(BPF_LDX | BPF_MEM | (size), d, s, o, 0)
#define STORE(size, d, s, o) INSTRUCTION(BPF_STX | BPF_MEM | (size), d, s, o, 0)
#define STORE_1(size, d, o)  INSTRUCTION(BPF_ST | BPF_MEM | (size), d, 0, o, 1)
#define SKIP_IF(op, d, s, n) INSTRUCTION(BPF_JMP | (op) | BPF_X, d, s, n, 0)
#define SKIP_IF_0(d, n)      INSTRUCTION(BPF_JMP | BPF_JEQ | BPF_K, d, 0, n, 0)
#define SKIP(n)              INSTRUCTION(BPF_JMP | BPF_JA, 0, 0, n, 0)
#define CALL(f)              INSTRUCTION(BPF_JMP | BPF_CALL, 0, 0, 0, f)
#define EXIT                 INSTRUCTION(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP(d, fd)                                                                                 \
	INSTRUCTION(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd),                       \
		INSTRUCTION(0, 0, 0, 0, 0)

static int bpf(int command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static int make_map(uint32_t entries)
{
	union bpf_attr map = {.map_type = BPF_MAP_TYPE_PERCPU_HASH,
			      .key_size = sizeof(struct key),
			      .value_size = sizeof(struct counts),
			      .max_entries = entries};

	return bpf(BPF_MAP_CREATE, &map);
}

/* For IPv4 with ports, from the IP header on, as a TUN hands packets to the kernel. */
static int load_program(int map)
{
	const struct bpf_insn program[] = {
		MOVE(6, 1),
		LOAD(BPF_W, 2, 1, offsetof(struct __sk_buff, data)),
		LOAD(BPF_W, 3, 1, offsetof(struct __sk_buff, data_end)),
		MOVE(4, 2),
		ADD(4, 28),
		SKIP_IF(BPF_JGT, 4, 3, 32),
		LOAD(BPF_W, 5, 2, 12),
		STORE(BPF_W, 10, 5, KEY_AT),
		LOAD(BPF_W, 5, 2, 16),
		STORE(BPF_W, 10, 5, KEY_AT + 4),
		LOAD(BPF_W, 5, 2, 20),
		STORE(BPF_W, 10, 5, KEY_AT + 8),
		LOAD(BPF_B, 5, 2, 9),
		STORE(BPF_W, 10, 5, KEY_AT + 12),
		LOAD(BPF_W, 7, 6, offsetof(struct __sk_buff, len)),
		MAP(1, map),
		MOVE(2, 10),
		ADD(2, KEY_AT),
		CALL(BPF_FUNC_map_lookup_elem),
		SKIP_IF_0(0, 7),
		LOAD(BPF_DW, 1, 0, 0),
		ADD(1, 1),
		STORE(BPF_DW, 0, 1, 0),
		LOAD(BPF_DW, 1, 0, 8),
		ADD_X(1, 7),
		STORE(BPF_DW, 0, 1, 8),
		SKIP(10),
		STORE_1(BPF_DW, 10, FIRST_AT),
		STORE(BPF_DW, 10, 7, FIRST_AT + 8),
		MAP(1, map),
		MOVE(2, 10),
		ADD(2, KEY_AT),
		MOVE(3, 10),
		ADD(3, FIRST_AT),
		SET(4, BPF_ANY),
		CALL(BPF_FUNC_map_update_elem),
		SET(0, TCX_NEXT),
		EXIT,
	};
	union bpf_attr load = {.prog_type = BPF_PROG_TYPE_SCHED_CLS,
			       .insns = (uintptr_t)program,
			       .insn_cnt = COUNT(program),
			       .license = (uintptr_t)"BSD"};

	return bpf(BPF_PROG_LOAD, &load);
}

int bench_bpf_open(struct bench_bpf *counter, uint32_t interface, uint32_t entries)
{
	union bpf_attr link = {0};
	int program;

	counter->map = make_map(entries);
	if (counter->map < 0)
		return -errno;
	program = load_program(counter->map);
	if (program < 0)
		goto err_map;
	link.link_create.prog_fd = (uint32_t)program;
	link.link_create.target_ifindex = interface;
	link.link_create.attach_type = TCX_INGRESS;
	counter->link = bpf(BPF_LINK_CREATE, &link);
	if (counter->link < 0)
		goto err_program;
	close(program);
	return 0;

err_program:
	close(program);
err_map:;
	int error = errno;

	close(counter->map);
	return -error;
}

void bench_bpf_close(struct bench_bpf *counter)
{
	close(counter->link);
	close(counter->map);
}

int64_t bench_bpf_packets(const struct bench_bpf *counter)
{
	struct counts counts[MAX_PROCESSORS];
	struct key key;
	union bpf_attr at = {.map_fd = (uint32_t)counter->map};
	long processors = sysconf(_SC_NPROCESSORS_CONF);
	int64_t packets = 0;

	if (processors > MAX_PROCESSORS)
		return -E2BIG;
	at.next_key = (uintptr_t)&key;
	while (bpf(BPF_MAP_GET_NEXT_KEY, &at) == 0) {
		union bpf_attr row = {.map_fd = (uint32_t)counter->map,
				      .key = (uintptr_t)&key,
				      .value = (uintptr_t)counts};

		if (bpf(BPF_MAP_LOOKUP_ELEM, &row))
			return -errno;
		for (long i = 0; i < processors; i++)
			packets += (int64_t)counts[i].packets;
		at.key = (uintptr_t)&key;
	}
	return packets;
}

int64_t bench_write_each(int fd, const uint8_t *ring, size_t packets)
{
	uint64_t start = bench_cpu_ns();

	for (size_t i = 0; i < packets; i++)
		if (write(fd, ring + i * BENCH_SLOT_BYTES, BENCH_SLOT_BYTES) != BENCH_SLOT_BYTES)
			return -errno;
	return (int64_t)(bench_cpu_ns() - start);
}

int64_t bench_read_each(int fd, size_t packets)
{
	uint8_t packet[2048];
	uint64_t start = bench_cpu_ns();

	for (size_t i = 0; i < packets; i++)
		if (read(fd, packet, sizeof(packet)) <= 0)
			return -errno;
	return (int64_t)(bench_cpu_ns() - start);
}
