/* SPDX-License-Identifier: BSD-3-Clause */
#include "wake.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool
bound_to(int fd, unsigned int ifindex)
{
	struct sockaddr_ll sa;
	socklen_t len = sizeof(sa);

	memset(&sa, 0, sizeof(sa));
	return getsockname(fd, (struct sockaddr *)&sa, &len) == 0 && sa.sll_family == AF_PACKET &&
	       sa.sll_protocol == htons(ETH_P_ALL) && sa.sll_ifindex == (int)ifindex;
}

uint16_t
wake_packet_sockets(unsigned int ifindex, int *fds, uint16_t max)
{
	DIR *d = opendir("/proc/self/fd");
	uint16_t n = 0;
	struct dirent *de;

	if (d == NULL)
		return 0;
	while ((de = readdir(d)) != NULL) {
		int fd = atoi(de->d_name), i;

		if (de->d_name[0] == '.' || !bound_to(fd, ifindex))
			continue;
		if (n == max)
			break;
		for (i = n++; i > 0 && fds[i - 1] > fd; i--)
			fds[i] = fds[i - 1];
		fds[i] = fd;
	}
	closedir(d);
	return n;
}

uint32_t
wake_socket_drops(int fd)
{
	struct tpacket_stats stats;
	socklen_t len = sizeof(stats);

	memset(&stats, 0, sizeof(stats));
	return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &len) == 0 ? stats.tp_drops : 0;
}

void
wake_clear_error(int fd)
{
	int error;
	socklen_t len = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len); /* reading takes it away */
}

/* net_af_packet joins every socket to a fanout group with PACKET_FANOUT_FLAG_DEFRAG: the kernel would then reassemble IP
 * fragments into packets beyond any MTU before a router sees them, and cut those to the ring's slot. It also listens to
 * what the host itself sends on the interface. Neither can be changed once the driver has done it, and it has no option for
 * either, so its call is put right on the way: this definition comes before libc's for every library of this process. */
int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	unsigned int arg;
	int on = 1;

	if (level != SOL_PACKET || name != PACKET_FANOUT || len != sizeof(arg))
		return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
	syscall(SYS_setsockopt, fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)); /* Linux 4.20 */
	memcpy(&arg, value, sizeof(arg));
	arg &= ~((unsigned int)PACKET_FANOUT_FLAG_DEFRAG << 16);
	return (int)syscall(SYS_setsockopt, fd, level, name, &arg, sizeof(arg));
}
