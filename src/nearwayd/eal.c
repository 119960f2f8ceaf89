/* SPDX-License-Identifier: BSD-3-Clause */
#include "eal.h"

#include <common/log.h>
#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int __attribute__((format(printf, 2, 3))) add(struct eal_args *a, const char *fmt, ...)
{
	va_list ap;
	int rc;

	if (a->argc == EAL_ARGS_MAX)
		return -ENOSPC;
	va_start(ap, fmt);
	rc = vasprintf(&a->argv[a->argc], fmt, ap);
	va_end(ap);
	if (rc < 0) {
		a->argv[a->argc] = NULL;
		return -ENOMEM;
	}
	a->argc++;
	return 0;
}

static int
add_lcores(const struct plan *p, struct eal_args *a)
{
	char text[32 * (PLAN_WORKERS + 1)];
	size_t n = snprintf(text, sizeof(text), "0@%u", p->control_cpu);

	/* Ids of our own, so that a worker may share the control thread's CPU on a small machine. */
	for (uint16_t i = 0; i < p->n_workers; i++)
		n += snprintf(text + n, sizeof(text) - n, ",%u@%u", eal_lcore(i), p->cpu[i]);
	return add(a, "--lcores=%s", text);
}

static int
add_memory(const struct plan *p, struct eal_args *a)
{
	if (p->hugepages)
		return add(a, "--in-memory");
	return add(a, "--no-huge") != 0 || add(a, "--no-shconf") != 0 || add(a, "-m") != 0 ||
			       add(a, "%llu", (unsigned long long)p->memory_mb) != 0
		       ? -ENOMEM
		       : 0;
}

static int
add_ports(const struct plan *p, struct eal_args *a)
{
	bool pci = false;
	int rc = 0;

	for (uint16_t i = 0; i < p->n_ports; i++)
		pci |= p->ports[i].pci;
	if (!pci)
		rc |= add(a, "--no-pci");
	for (uint16_t i = 0; i < p->n_ports; i++)
		rc |= add(a, "%s%s", p->ports[i].pci ? "--allow=" : "--vdev=", p->ports[i].args);
	return rc;
}

int
eal_args_make(const struct plan *p, const char *router, struct eal_args *a)
{
	memset(a, 0, sizeof(*a));
	if (add(a, "nearwayd") != 0 || add_lcores(p, a) != 0 || add(a, "--main-lcore=0") != 0 ||
		add_memory(p, a) != 0 || add(a, "--file-prefix=nearway-%s", router) != 0 ||
		add(a, "--no-telemetry") != 0 || add_ports(p, a) != 0) {
		eal_args_free(a);
		return -ENOMEM;
	}
	return 0;
}

void
eal_args_free(struct eal_args *a)
{
	for (int i = 0; i < a->argc; i++)
		free(a->argv[i]);
	memset(a, 0, sizeof(*a));
}

/* A line of DPDK's becomes a line of ours, at the level that DPDK gave it. */
static ssize_t
log_write(void *cookie, const char *text, size_t n)
{
	int level = rte_log_cur_msg_loglevel();
	enum log_level ours = LOG_DEBUG;
	size_t all = n;

	(void)cookie;
	while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
		n--;
	if (level <= (int)RTE_LOG_ERR)
		ours = LOG_ERROR;
	else if (level == RTE_LOG_WARNING)
		ours = LOG_WARN;
	else if (level == RTE_LOG_NOTICE)
		ours = LOG_INFO;
	if (n > 0)
		log_line(ours, "dpdk: %.*s", (int)n, text);
	return (ssize_t)all;
}

static void
log_redirect(bool verbose)
{
	cookie_io_functions_t io = {.write = log_write};
	FILE *f = fopencookie(NULL, "w", io);

	if (f != NULL) {
		setvbuf(f, NULL, _IOLBF, 0);
		rte_openlog_stream(f);
	}
	rte_log_set_global_level(verbose ? RTE_LOG_INFO : RTE_LOG_WARNING);
}

/* EAL would say so too, in front of pages of help about its own options. */
static int
check_cpu(unsigned int cpu, const char *key, struct err *e)
{
	char dir[64];

	snprintf(dir, sizeof(dir), "/sys/devices/system/cpu/cpu%u", cpu);
	return access(dir, F_OK) == 0 ? 0 : err_set(e, ENODEV, "%s: this machine has no CPU %u", key, cpu);
}

static int
check_cpus(const struct plan *p, struct err *e)
{
	int rc = check_cpu(p->control_cpu, "dataplane.control-cpu", e);

	for (uint16_t i = 0; i < p->n_workers && rc == 0; i++)
		rc = check_cpu(p->cpu[i], "dataplane.cpus", e);
	return rc;
}

int
eal_start(const struct plan *p, const char *router, bool verbose, struct err *e)
{
	struct eal_args a;
	char *argv[EAL_ARGS_MAX + 1];
	int rc = check_cpus(p, e);

	if (rc != 0)
		return rc;
	if (eal_args_make(p, router, &a) != 0)
		return err_set(e, ENOMEM, "eal: no memory");
	for (int i = 1; i < a.argc; i++)
		log_debug("eal: %s", a.argv[i]);
	log_redirect(verbose);
	memcpy(argv, a.argv, sizeof(argv)); /* EAL reorders the vector that it is given */
	rc = rte_eal_init(a.argc, argv);
	eal_args_free(&a);
	if (rc < 0)
		return err_set(e, rte_errno != 0 ? rte_errno : EIO,
			"eal: DPDK does not start: %s (its own lines above say why; -v shows more). Memory: "
			"%s, %llu MB",
			rte_strerror(rte_errno), p->hugepages ? "hugepages" : "no hugepages",
			(unsigned long long)p->memory_mb);
	return 0;
}

void
eal_stop(void)
{
	rte_eal_cleanup();
}
