// SPDX-License-Identifier: BSD-3-Clause
/* calls: times a call on a TUN or a socket, through the preload library and around it, in turns.
 *
 *	calls KIND BLOCKS both|hooked|bare
 *
 * The namespace must have a persistent tun0, 100.64.0.1/24, that is up. The program prints the time
 * of a hooked and of a bare call, in ns, as the median over the blocks; and the median of the
 * differences between neighbours, which other users of the machine affect least. All measured calls
 * are in measure(), for callgrind.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CALLS      128 /* a block; fewer than the TUN's queue holds */
#define BYTES      256
#define MAX_BLOCKS 20000

struct functions {
	__typeof__(&read) read;
	__typeof__(&write) write;
	ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
	ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
	__typeof__(&send) send;
	__typeof__(&recv) recv;
	__typeof__(&sendmsg) sendmsg;
	__typeof__(&recvmsg) recvmsg;
};

static struct functions hooked, bare;
static int tun, to_tun, receiver, connected, other;
static struct sockaddr_in behind_tun, receivers;
static uint8_t packet[BYTES];

static void look_up(struct functions *functions, void *where)
{
	void **into = (void **)functions;
	static const char *const names[] = {"read", "write", "sendto",  "recvfrom",
					    "send", "recv",  "sendmsg", "recvmsg"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		into[i] = dlsym(where, names[i]);
}

static ssize_t read_tun(const struct functions *by)
{
	return by->read(tun, packet, sizeof(packet));
}

static ssize_t write_tun(const struct functions *by)
{
	return by->write(tun, packet, sizeof(packet));
}

static ssize_t send_to(const struct functions *by)
{
	return by->sendto(to_tun, packet, 100, 0, (struct sockaddr *)&behind_tun,
			  sizeof(behind_tun));
}

static ssize_t receive_from(const struct functions *by)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);

	return by->recvfrom(receiver, packet, sizeof(packet), 0, (struct sockaddr *)&from, &length);
}

static ssize_t send_connected(const struct functions *by)
{
	return by->send(connected, packet, 100, 0);
}

static ssize_t receive_connected(const struct functions *by)
{
	return by->recv(receiver, packet, sizeof(packet), 0);
}

static ssize_t send_message(const struct functions *by)
{
	struct iovec piece = {.iov_base = packet, .iov_len = 100};
	struct msghdr message = {.msg_name = &behind_tun,
				 .msg_namelen = sizeof(behind_tun),
				 .msg_iov = &piece,
				 .msg_iovlen = 1};

	return by->sendmsg(to_tun, &message, 0);
}

static ssize_t receive_message(const struct functions *by)
{
	struct sockaddr_in from;
	struct iovec piece = {.iov_base = packet, .iov_len = sizeof(packet)};
	struct msghdr message = {
		.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &piece, .msg_iovlen = 1};

	return by->recvmsg(receiver, &message, 0);
}

static ssize_t read_other(const struct functions *by)
{
	return by->read(other, packet, 1) + 1;
}

/* Queues datagrams to read, one a call, from the socket or through the TUN. */
static void fill_tun(void)
{
	while (bare.read(tun, packet, sizeof(packet)) > 0)
		;
	for (int i = 0; i < CALLS; i++)
		(void)bare.sendto(to_tun, packet, 100, 0, (struct sockaddr *)&behind_tun,
				  sizeof(behind_tun));
}

static void fill_socket(void)
{
	while (bare.recv(receiver, packet, sizeof(packet), MSG_DONTWAIT) > 0)
		;
	for (int i = 0; i < CALLS; i++)
		(void)bare.sendto(other, packet, 100, 0, (struct sockaddr *)&receivers,
				  sizeof(receivers));
}

/* Makes an IPv4 packet to an unused address, which the kernel drops after a route lookup. */
static void make_packet(void)
{
	static const uint8_t header[] = {0x45, 0, 1, 0,   0, 0,   0, 0, 64, 17, 0, 0, 100,
					 64,   0, 9, 203, 0, 113, 9, 4, 0,  0,  9, 0, 236};

	memcpy(packet, header, sizeof(header));
}

static void nothing(void)
{
}

struct kind {
	const char *name;
	ssize_t (*call)(const struct functions *by);
	void (*prepare)(void);
};

static const struct kind kinds[] = {
	{"read-tun", read_tun, fill_tun},    {"write-tun", write_tun, make_packet},
	{"sendto", send_to, nothing},        {"recvfrom", receive_from, fill_socket},
	{"send", send_connected, nothing},   {"recv", receive_connected, fill_socket},
	{"sendmsg", send_message, nothing},  {"recvmsg", receive_message, fill_socket},
	{"read-other", read_other, nothing},
};

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The function that --toggle-collect names. */
__attribute__((noinline)) double measure(const struct kind *kind, const struct functions *by)
{
	double begun = now_ns();

	for (int i = 0; i < CALLS; i++) {
		if (kind->call(by) <= 0)
			exit(3);
	}
	return (now_ns() - begun) / CALLS;
}

static void open_all(void)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = "tun0"};
	struct sockaddr_in any = {.sin_family = AF_INET};
	socklen_t length = sizeof(receivers);
	int room = 8 << 20;

	tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
	to_tun = socket(AF_INET, SOCK_DGRAM, 0);
	receiver = socket(AF_INET, SOCK_DGRAM, 0);
	connected = socket(AF_INET, SOCK_DGRAM, 0);
	any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	behind_tun = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(9)};
	behind_tun.sin_addr.s_addr = inet_addr("100.64.0.9");
	if (ioctl(tun, TUNSETIFF, &request) ||
	    setsockopt(receiver, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) ||
	    bind(receiver, (struct sockaddr *)&any, sizeof(any)) ||
	    getsockname(receiver, (struct sockaddr *)&receivers, &length) ||
	    connect(connected, (struct sockaddr *)&behind_tun, sizeof(behind_tun)))
		exit(4);
}

/* Connects the receiver to its sender. On an unconnected socket the library would make each recv()
 * ask the kernel for the sender's address. */
static int join(void)
{
	struct sockaddr_in end = {.sin_family = AF_INET};
	socklen_t length = sizeof(end);

	end.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return !bind(other, (struct sockaddr *)&end, sizeof(end)) &&
	       !getsockname(other, (struct sockaddr *)&end, &length) &&
	       !connect(receiver, (struct sockaddr *)&end, sizeof(end));
}

static int by_size(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return (left > right) - (left < right);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), by_size);
	return values[n / 2];
}

int main(int argc, char **argv)
{
	static double took[3][MAX_BLOCKS];
	const struct kind *kind = NULL;
	int blocks = argc == 4 ? atoi(argv[2]) : 0;

	for (size_t i = 0; argc == 4 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!strcmp(argv[1], kinds[i].name))
			kind = &kinds[i];
	}
	if (!kind || blocks < 1 || blocks > MAX_BLOCKS)
		return 2;
	look_up(&hooked, RTLD_DEFAULT);
	look_up(&bare, dlopen("libc.so.6", RTLD_NOLOAD | RTLD_NOW));
	open_all();
	/* This one does not belong to the tunnel. */
	other = kind->call == read_other ? open("/dev/null", O_RDWR)
					 : socket(AF_INET, SOCK_DGRAM, 0);
	if (kind->call == receive_connected && !join())
		return 1;
	for (int i = 0; i < 2 * blocks; i++) {
		/* Each way is the first in every second pair. */
		int which = (i ^ i >> 1) & 1;

		if (!strcmp(argv[3], which ? "hooked" : "bare"))
			continue;
		kind->prepare();
		took[which][i / 2] = measure(kind, which ? &bare : &hooked);
	}
	for (int i = 0; i < blocks; i++)
		took[2][i] = took[0][i] - took[1][i];
	printf("%.2f %.2f %.2f\n", median(took[0], blocks), median(took[1], blocks),
	       median(took[2], blocks));
	return 0;
}
