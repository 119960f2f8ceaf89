/* SPDX-License-Identifier: BSD-3-Clause */
/* tap.h - an interface of the kernel whose wire is this process. */
#pragma once

#include <common/addr.h>
#include <common/err.h>

struct tap {
	const char *name; /* at most 15 bytes */
	struct mac mac;
	ip4 address;
	uint8_t prefix_len;
	uint16_t mtu;
};

/* Makes the interface, gives it its addresses and sets it up: a descriptor that never blocks, whole frames at a time. A
 * persistent TAP of that name is taken as it is, with its VRF; any other goes when the descriptor is closed. -errno with
 * the reason. */
int tap_open(const struct tap *t, struct err *e);
/* The carrier, as the kernel's programs see it. */
int tap_carrier(int fd, bool up);
/* Writes net/ipv4/conf/INTERFACE/KEY, or that of IPv6. 0 or -errno. */
int tap_sysctl(const char *family, const char *interface, const char *key, int value);
/* The same read; -errno. */
int tap_sysctl_get(const char *family, const char *interface, const char *key);
