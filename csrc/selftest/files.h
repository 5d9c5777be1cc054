/* SPDX-License-Identifier: BSD-3-Clause */
/* files: capture files that selftests make, in this machine's byte order. */
#ifndef NETLOG_SELFTEST_FILES_H
#define NETLOG_SELFTEST_FILES_H

#include "check.h"

#define MOST_BYTES 4096u

struct file {
	uint8_t bytes[MOST_BYTES];
	size_t n;
	uint64_t *random;
};

/* Copies bytes to memory that ends where they end. */
static inline uint8_t *exact(const uint8_t *bytes, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	CHECK(copy);
	return memcpy(copy, bytes, n);
}

static inline void put(struct file *file, const void *bytes, size_t n)
{
	CHECK(file->n + n <= MOST_BYTES);
	memcpy(file->bytes + file->n, bytes, n);
	file->n += n;
}

static inline void put_word(struct file *file, uint32_t value)
{
	put(file, &value, sizeof(value));
}

/* Two numbers of 16 bits, in the machine's byte order like the words. */
static inline void put_pair(struct file *file, uint32_t first, uint32_t second)
{
	uint16_t pair[2] = {(uint16_t)first, (uint16_t)second};

	put(file, pair, sizeof(pair));
}

static inline void put_pcap_header(struct file *file, uint32_t magic, uint32_t link)
{
	put_word(file, magic);
	put_pair(file, 2, 4);
	put_word(file, 0);
	put_word(file, 0);
	put_word(file, 65535);
	put_word(file, link);
}

/* Ends the block that began at `at`: writes its length in both places. */
static inline void end_block(struct file *file, size_t at)
{
	uint32_t bytes = (uint32_t)(file->n - at) + 4;

	put_word(file, bytes);
	memcpy(file->bytes + at + 4, &bytes, sizeof(bytes));
}

static inline size_t begin_block(struct file *file, uint32_t type)
{
	size_t at = file->n;

	put_word(file, type);
	put_word(file, 0);
	return at;
}

static inline void put_section(struct file *file)
{
	size_t at = begin_block(file, 0x0a0d0d0a);

	put_word(file, 0x1a2b3c4d);
	put_pair(file, 1, 0);
	put_word(file, ~0u);
	put_word(file, ~0u);
	end_block(file, at);
}

#endif
