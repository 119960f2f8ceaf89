/* SPDX-License-Identifier: BSD-3-Clause */
/* wakeup - what this machine takes to wake a thread that sleeps in epoll: nobody who sleeps can do with less.
 *
 *   usage: wakeup CPU-FROM CPU-TO COUNT PAUSE-US
 *
 * The sleeper is alone on CPU-TO; the other one writes to its eventfd, each time after a pause. Prints the ns of each, from before the write
 * until epoll_wait() has returned. */
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_pause.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static int eventfd_of, epoll_of;
static int to;
static atomic_ullong woken; /* TSC; 0: it sleeps, or is about to */

static void
place(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof(one), &one) != 0) {
		fprintf(stderr, "wakeup: no CPU %d\n", cpu);
		exit(1);
	}
}

static void *
sleeper(void *arg)
{
	struct epoll_event ev;
	uint64_t count;

	(void)arg;
	place(to);
	while (epoll_wait(epoll_of, &ev, 1, -1) == 1) {
		uint64_t now = rte_rdtsc();

		if (read(eventfd_of, &count, sizeof(count)) < 0)
			break;
		atomic_store(&woken, now);
	}
	return NULL;
}

static double
wake(long pause_us, double hz)
{
	struct timespec ts = {pause_us / 1000000, pause_us % 1000000 * 1000};
	uint64_t one = 1, start, end;

	nanosleep(&ts, NULL);
	atomic_store(&woken, 0);
	start = rte_rdtsc();
	if (write(eventfd_of, &one, sizeof(one)) < 0)
		exit(1);
	while ((end = atomic_load(&woken)) == 0)
		rte_pause();
	return (double)(end - start) * 1e9 / hz;
}

/* EAL, which knows the TSC's, is not here. */
static double
tsc_hz(void)
{
	struct timespec a, b, ts = {0, 50000000};
	uint64_t start = rte_rdtsc(), end;

	clock_gettime(CLOCK_MONOTONIC, &a);
	nanosleep(&ts, NULL);
	end = rte_rdtsc();
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (double)(end - start) * 1e9 /
	       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec));
}

int
main(int argc, char **argv)
{
	struct epoll_event ev = {.events = EPOLLIN};
	double hz = tsc_hz();
	pthread_t thread;

	if (argc != 5) {
		fputs("usage: wakeup CPU-FROM CPU-TO COUNT PAUSE-US\n", stderr);
		return 2;
	}
	place(atoi(argv[1]));
	to = atoi(argv[2]);
	eventfd_of = eventfd(0, 0);
	epoll_of = epoll_create1(0);
	if (eventfd_of < 0 || epoll_of < 0 || epoll_ctl(epoll_of, EPOLL_CTL_ADD, eventfd_of, &ev) != 0 ||
		pthread_create(&thread, NULL, sleeper, NULL) != 0) {
		perror("wakeup");
		return 1;
	}
	for (int i = 0; i < atoi(argv[3]); i++)
		printf("%.0f ", wake(atol(argv[4]), hz));
	puts("");
	return 0; /* it sleeps */
}
