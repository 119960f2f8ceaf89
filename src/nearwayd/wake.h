/* SPDX-License-Identifier: BSD-3-Clause */
/* wake.h - the packet sockets that net_af_packet opened, found again to sleep on.
 *
 * The driver has no Rx interrupt, but its sockets are descriptors of this process like any other: bound to the
 * interface for all protocols, one for each queue, opened in the order of the queues.
 */
#pragma once

#include <stdint.h>

/* Fills at most `max` descriptors bound to `ifindex`, in order of the queues; returns how many there are. */
uint16_t wake_packet_sockets(unsigned int ifindex, int *fds, uint16_t max);
/* Packets that the kernel dropped for want of a free slot since the last call; the driver does not count them. */
uint32_t wake_socket_drops(int fd);
/* Once its interface was down, a socket's next system call fails, even if the interface is up again by then: for the
 * driver's send that means frames that lie in the ring until the next ones come, for epoll a wake-up without end. */
void wake_clear_error(int fd);
