/* SPDX-License-Identifier: BSD-3-Clause */
#include "wait.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

int
wait_open_interrupt(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void
wait_close_interrupt(int *interrupt)
{
	sigset_t set;

	if (*interrupt < 0)
		return;
	close(*interrupt);
	*interrupt = -1;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int
wait_for(int fd, short events, int interrupt, int timeout_ms)
{
	struct pollfd p[] = {{.fd = fd, .events = events}, {.fd = interrupt, .events = POLLIN}};
	struct signalfd_siginfo taken;
	int n;

	do /* a stopped and continued process makes the kernel return early */
		n = poll(p, 2, timeout_ms);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -1;
	if (n == 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	if (p[1].revents != 0 && read(interrupt, &taken, sizeof(taken)) > 0) {
		errno = EINTR;
		return -1;
	}
	return 0;
}
