/* SPDX-License-Identifier: BSD-3-Clause */
/* notify.h - readiness for systemd (sd_notify(3)): one datagram to the socket in NOTIFY_SOCKET, nothing without it. */
#pragma once

void notify(const char *state); /* "READY=1", "STOPPING=1" */
