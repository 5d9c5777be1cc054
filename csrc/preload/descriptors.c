/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "preload/descriptors.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "preload/next.h"
#include "preload/process.h"

#define MISC_MAJOR   10
#define TUN_MINOR    200
#define VNET_BYTES   10 /* of the oldest virtio header, until TUNSETVNETHDRSZ */
#define MAX_PORTS    64
#define MAX_EXCLUDED 64

/* The bits of a socket's word that are known without asking the kernel. */
#define SOCK_MADE (WORD_KIND | SOCK_STREAMS | SOCK_SEGMENTS)

struct descriptors descriptors;
struct socket descriptor_sockets[DESCRIPTORS];

static uint16_t chosen_ports[MAX_PORTS];
static int n_chosen_ports;

/* A prefix of addresses in mapped form. */
struct excluded {
	uint8_t address[16];
	unsigned int bits;
};

static struct excluded excluded_peers[MAX_EXCLUDED];
static int n_excluded;

/* Stores a word, and keeps the number of TUNs right. */
static void put(int fd, uint32_t word)
{
	/* The memory is the parent's, whose descriptors do not change. */
	if (process_is_vforked())
		return;
	/* acq_rel, though no order is needed: two threads that store words for one number each get
	 * back the word that they replaced, so the number of TUNs stays right. */
	uint32_t old = exchange_32(&descriptors.words[fd], word);

	if ((word & WORD_KIND) == WORD_TUN)
		add_relaxed_32(&descriptors.tuns, 1);
	if ((old & WORD_KIND) == WORD_TUN)
		add_relaxed_32(&descriptors.tuns, (uint32_t)-1);
}

void descriptor_set(int fd, uint32_t word)
{
	if (fd < 0)
		return;
	if ((uint32_t)fd >= DESCRIPTORS) {
		if (word)
			process_note_far();
		return;
	}
	/* Most descriptors are watched neither before nor after. relaxed: as descriptor_word(). */
	if (word || load_relaxed_32(&descriptors.words[fd]))
		put(fd, word);
}

void descriptor_forget(int fd)
{
	descriptor_set(fd, 0);
}

void descriptor_forget_range(unsigned int first, unsigned int last)
{
	for (unsigned int fd = first; fd <= last && fd < DESCRIPTORS; fd++)
		descriptor_forget((int)fd);
}

void descriptor_copy(int from, int to)
{
	uint32_t word = descriptor_word(from);

	if (from == to || to < 0)
		return;
	if ((word & WORD_KIND) == WORD_SOCK && (uint32_t)to < DESCRIPTORS)
		descriptor_sockets[to] = descriptor_sockets[from];
	descriptor_set(to, word);
}

void descriptor_set_socket(int fd, int family, int type)
{
	uint32_t word = WORD_SOCK;

	type &= ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (type == SOCK_STREAM)
		word |= SOCK_STREAMS;
	if ((family != AF_INET && family != AF_INET6) ||
	    (type != SOCK_STREAM && type != SOCK_DGRAM))
		word = 0;
	if (word && fd >= 0 && (uint32_t)fd < DESCRIPTORS)
		memset(&descriptor_sockets[fd], 0, sizeof(descriptor_sockets[fd]));
	descriptor_set(fd, word);
}

void descriptor_set_tun(int fd, uint32_t flags)
{
	int saved = errno;
	int header_bytes = VNET_BYTES;
	uint32_t word = WORD_TUN;

	if (!(flags & IFF_NO_PI))
		word |= TUN_PI;
	if (flags & IFF_TAP)
		word |= TUN_TAP;
	if (flags & IFF_VNET_HDR) {
		(void)NEXT(ioctl)(fd, TUNGETVNETHDRSZ, &header_bytes);
		word |= TUN_VNET | (uint32_t)header_bytes << TUN_VNET_AT;
	}
	descriptor_set(fd, word);
	errno = saved;
}

void descriptor_set_vnet_bytes(int fd, int bytes)
{
	uint32_t word = descriptor_word(fd);

	if ((word & WORD_KIND) == WORD_TUN && word & TUN_VNET)
		descriptor_set(fd,
			       (word & ((1u << TUN_VNET_AT) - 1)) | (uint32_t)bytes << TUN_VNET_AT);
}

void descriptor_set_segment_bytes(int fd, int bytes)
{
	uint32_t word = descriptor_word(fd);

	if ((word & WORD_KIND) != WORD_SOCK || process_is_vforked())
		return;
	descriptor_sockets[fd].segment_bytes = (uint16_t)bytes;
	descriptor_set(fd, bytes ? word | SOCK_SEGMENTS : word & ~SOCK_SEGMENTS);
}

void descriptor_connected(int fd)
{
	uint32_t word = descriptor_word(fd);

	/* Not if another thread has closed the descriptor meanwhile: its word is newer. acq_rel, in
	 * compare_exchange_32(); only the word itself matters. */
	if ((word & WORD_KIND) == WORD_SOCK && !process_is_vforked())
		(void)compare_exchange_32(&descriptors.words[fd], word, word & SOCK_MADE);
}

void descriptors_choose_ports(const char *ports)
{
	while (ports && *ports && n_chosen_ports < MAX_PORTS) {
		char *end;
		unsigned long port = strtoul(ports, &end, 10);

		if (end == ports)
			return;
		chosen_ports[n_chosen_ports++] = (uint16_t)port;
		ports = *end ? end + 1 : end;
	}
}

/* Reads one prefix. Returns false if it is invalid. */
static bool exclude(const char *text, size_t length)
{
	char address[INET6_ADDRSTRLEN + sizeof("/128")];
	struct excluded *excluded = &excluded_peers[n_excluded];

	if (length >= sizeof(address))
		return false;
	memcpy(address, text, length);
	address[length] = '\0';
	char *slash = strchr(address, '/');

	if (!slash)
		return false;
	*slash = '\0';
	excluded->bits = (unsigned int)strtoul(slash + 1, NULL, 10);
	if (inet_pton(AF_INET, address, excluded->address + sizeof(key_mapped_prefix)) == 1) {
		memcpy(excluded->address, key_mapped_prefix, sizeof(key_mapped_prefix));
		excluded->bits += 8 * sizeof(key_mapped_prefix);
	} else if (inet_pton(AF_INET6, address, excluded->address) != 1) {
		return false;
	}
	return excluded->bits <= 8 * sizeof(excluded->address);
}

void descriptors_exclude_peers(const char *prefixes)
{
	while (prefixes && *prefixes && n_excluded < MAX_EXCLUDED) {
		size_t length = strcspn(prefixes, ",");

		n_excluded += exclude(prefixes, length);
		prefixes += length + (prefixes[length] == ',');
	}
}

static bool lies_in(const struct excluded *excluded, const uint8_t *address)
{
	unsigned int whole = excluded->bits / 8, rest = excluded->bits % 8;

	if (memcmp(address, excluded->address, whole) != 0)
		return false;
	return !rest || ((address[whole] ^ excluded->address[whole]) >> (8 - rest)) == 0;
}

static bool is_excluded(const struct remote *peer)
{
	for (int i = 0; i < n_excluded; i++) {
		if (lies_in(&excluded_peers[i], (const uint8_t *)peer->address))
			return true;
	}
	return false;
}

/* Whether the user chose the port of this address. address: the socket's own, or its peer's. */
static bool is_chosen(const struct sockaddr_storage *address, socklen_t length)
{
	struct remote end;

	if (!remote_from(address, length, &end))
		return false;
	for (int i = 0; i < n_chosen_ports; i++) {
		if (remote_tail(chosen_ports[i], key_tail_version(end.tail)) == end.tail)
			return true;
	}
	return false;
}

uint32_t descriptor_ask_socket(int fd, uint32_t word)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	struct remote *peer = &descriptor_sockets[fd].peer;
	uint32_t known = (word & SOCK_MADE) | SOCK_KNOWN;
	bool counted = !n_chosen_ports;
	int saved = errno;

	if (!getpeername(fd, (struct sockaddr *)&address, &length) &&
	    remote_from(&address, length, peer)) {
		known |= SOCK_HAS_PEER;
		counted = counted || is_chosen(&address, length);
	}
	length = sizeof(address);
	if (!counted && !getsockname(fd, (struct sockaddr *)&address, &length))
		counted = is_chosen(&address, length);
	if (counted && !(known & SOCK_HAS_PEER && is_excluded(peer)))
		known |= SOCK_COUNTED;
	/* Not if another thread has closed or connected the socket meanwhile: its word is newer.
	 * acq_rel, in compare_exchange_32(); only the word itself matters. */
	if (!process_is_vforked())
		(void)compare_exchange_32(&descriptors.words[fd], word, known);
	errno = saved;
	return known;
}

/* Watches a TUN that existed already. The flags come from sysfs, because the bit of IFF_NO_PI means
 * something else in the answer of TUNGETIFF. */
static void inherit_tun(int fd)
{
	char text[32], path[64];
	struct ifreq request;

	memset(&request, 0, sizeof(request));
	if (NEXT(ioctl)(fd, TUNGETIFF, &request))
		return;
	uint32_t flags = (uint16_t)request.ifr_flags | IFF_NO_PI;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/tun_flags", request.ifr_name);
	int file = NEXT(open)(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = file < 0 ? -1 : NEXT(read)(file, text, sizeof(text) - 1);

	if (n > 0) {
		text[n] = '\0';
		flags = (uint32_t)strtoul(text, NULL, 16);
	}
	if (file >= 0)
		(void)NEXT(close)(file);
	descriptor_set_tun(fd, flags);
}

void descriptor_inherit(int fd)
{
	int saved = errno;
	struct stat status;
	int family = 0, type = 0;
	socklen_t length = sizeof(int);

	descriptor_forget(fd);
	if (fstat(fd, &status)) {
		errno = saved;
		return;
	}
	if (S_ISCHR(status.st_mode) && status.st_rdev == makedev(MISC_MAJOR, TUN_MINOR)) {
		inherit_tun(fd);
	} else if (S_ISSOCK(status.st_mode) &&
		   !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &length) &&
		   !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length)) {
		descriptor_set_socket(fd, family, type);
	}
	errno = saved;
}

void descriptors_received(const struct msghdr *message)
{
	struct msghdr *header = (struct msghdr *)message; /* CMSG_NXTHDR takes no const pointer */
	/* relaxed: descriptors that this thread adds below are in the second load. */
	uint32_t tuns = load_relaxed_32(&descriptors.tuns);

	for (struct cmsghdr *control = CMSG_FIRSTHDR(header); control;
	     control = CMSG_NXTHDR(header, control)) {
		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = 0; CMSG_LEN(at + sizeof(int)) <= control->cmsg_len;
		     at += sizeof(int)) {
			int fd;

			memcpy(&fd, CMSG_DATA(control) + at, sizeof(fd));
			descriptor_inherit(fd);
		}
	}
	if (load_relaxed_32(&descriptors.tuns) > tuns)
		process_note_tun();
}
