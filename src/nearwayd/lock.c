/* SPDX-License-Identifier: BSD-3-Clause */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static int
held(int fd, const char *file, struct err *e)
{
	char pid[16] = "";
	ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);

	if (n > 0)
		pid[strcspn(pid, "\n")] = '\0';
	return err_set(e, EBUSY, "%s: another nearwayd (pid %s) runs this router: stop it first", file,
		pid[0] != '\0' ? pid : "unknown");
}

int
lock_take(const char *dir, struct err *e)
{
	char file[300], pid[16];
	int fd, rc;

	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_set(e, errno, "%s: cannot be made: %s (control.runtime)", dir, strerror(errno));
	snprintf(file, sizeof(file), "%s/nearwayd.lock", dir);
	fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(e, errno, "%s: %s", file, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		rc = errno == EWOULDBLOCK ? held(fd, file, e)
					  : err_set(e, errno, "%s: %s", file, strerror(errno));
		close(fd);
		return rc;
	}
	snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, strlen(pid), 0) < 0) {
		rc = err_set(e, errno, "%s: %s", file, strerror(errno));
		close(fd);
		return rc;
	}
	return fd;
}
