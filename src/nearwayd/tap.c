/* SPDX-License-Identifier: BSD-3-Clause */
#include "tap.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static void
set_ip(struct ifreq *ifr, ip4 a)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(a)};

	memcpy(&ifr->ifr_addr, &sin, sizeof(sin));
}

/* In this order: an interface that is up does not change its MAC, and one that is down announces nothing half done. */
static int
configure(int ctl, struct ifreq *ifr, const struct tap *t, const char **what)
{
	*what = "its MAC";
	ifr->ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(ifr->ifr_hwaddr.sa_data, t->mac.b, sizeof(t->mac.b));
	if (ioctl(ctl, SIOCSIFHWADDR, ifr) != 0)
		return -errno;
	*what = "its MTU";
	ifr->ifr_mtu = t->mtu;
	if (ioctl(ctl, SIOCSIFMTU, ifr) != 0)
		return -errno;
	*what = "its address";
	set_ip(ifr, t->address);
	if (ioctl(ctl, SIOCSIFADDR, ifr) != 0)
		return -errno;
	set_ip(ifr, ip4_mask(t->prefix_len));
	if (ioctl(ctl, SIOCSIFNETMASK, ifr) != 0)
		return -errno;
	*what = "to be up";
	if (ioctl(ctl, SIOCGIFFLAGS, ifr) != 0)
		return -errno;
	ifr->ifr_flags = (short)((ifr->ifr_flags | IFF_UP) & ~IFF_MULTICAST);
	return ioctl(ctl, SIOCSIFFLAGS, ifr) == 0 ? 0 : -errno;
}

/* IPv6 goes before the interface is up, or it would speak of it. */
static int
set_up(struct ifreq *ifr, const struct tap *t, struct err *e)
{
	int ctl = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc;
	const char *what = "a socket to set it up";

	tap_sysctl("ipv6", t->name, "disable_ipv6", 1); /* where there is none, so much the better */
	rc = ctl >= 0 ? configure(ctl, ifr, t, &what) : -errno;
	if (ctl >= 0)
		close(ctl);
	return rc == 0 ? 0
		       : err_set(e, -rc, "interface %s does not get %s: %s", t->name, what, strerror(-rc));
}

int
tap_open(const struct tap *t, struct err *e)
{
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), rc;
	struct ifreq ifr;

	if (fd < 0)
		return err_set(e, errno, "interface %s: /dev/net/tun: %s", t->name, strerror(errno));
	memset(&ifr, 0, sizeof(ifr));
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", t->name);
	ifr.ifr_flags = IFF_TAP | IFF_NO_PI;
	if (ioctl(fd, TUNSETIFF, &ifr) != 0) {
		rc = err_set(e, errno, "interface %s cannot be made: %s%s", t->name, strerror(errno),
			errno == EBUSY || errno == EINVAL ? "; the name is in use" : "");
	} else {
		rc = set_up(&ifr, t, e);
	}
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int
tap_carrier(int fd, bool up)
{
	int on = up;

	return ioctl(fd, TUNSETCARRIER, &on) == 0 ? 0 : -errno;
}

static int
sysctl_open(const char *family, const char *interface, const char *key, int flags)
{
	char file[128];

	snprintf(file, sizeof(file), "/proc/sys/net/%s/conf/%s/%s", family, interface, key);
	return open(file, flags | O_CLOEXEC);
}

int
tap_sysctl(const char *family, const char *interface, const char *key, int value)
{
	int fd = sysctl_open(family, interface, key, O_WRONLY), rc = 0;

	if (fd < 0)
		return -errno;
	if (dprintf(fd, "%d\n", value) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

int
tap_sysctl_get(const char *family, const char *interface, const char *key)
{
	int fd = sysctl_open(family, interface, key, O_RDONLY), value = -EIO;
	char text[16] = "";

	if (fd < 0)
		return -errno;
	if (read(fd, text, sizeof(text) - 1) > 0 && sscanf(text, "%d", &value) != 1)
		value = -EINVAL;
	close(fd);
	return value;
}
