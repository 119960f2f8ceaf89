/* SPDX-License-Identifier: BSD-3-Clause */
#include "ports.h"

#include "eal.h"
#include "passing.h"
#include "pools.h"
#include "wake.h"

#include <common/log.h>
#include <errno.h>
#include <event2/event.h>
#include <linux/ethtool.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <rte_ethdev.h>
#include <rte_lcore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LINK_MS 1000

struct ports {
	const struct config *config;
	const struct plan *plan;
	struct topology *topo;
	const struct pools *pools;
	struct env *env;
	struct event_base *base;
	struct env_timer *timer;
	int ctl;  /* for questions about kernel interfaces */
	int news; /* rtnetlink: links changed */
	struct event *readable;
	void (*link)(void *arg, uint16_t port, bool up);
	void *arg;
	uint16_t n;
	struct port at[PLAN_PORTS];
};

const struct port *
ports_at(const struct ports *ps, uint16_t index)
{
	return &ps->at[index];
}

const char *
port_wake_name(const struct port *p)
{
	static const char *const names[] = {"ladder", "socket", "interrupt"};

	return names[p->wake];
}

static const struct conf_port *
conf(const struct ports *ps, const struct port *p)
{
	return list_at(ps->config->ports, struct conf_port, p->index);
}

/* ---- kernel interfaces underneath ---- */

/* The kernel must not merge what arrives: a merged frame is larger than any MTU and would be cut. A driver that cannot
 * merge does not know the request. */
static void
no_merging(const struct ports *ps, struct ifreq *ifr, const char *port)
{
	struct ethtool_value v = {.cmd = ETHTOOL_GGRO};

	ifr->ifr_data = (char *)&v;
	if (ioctl(ps->ctl, SIOCETHTOOL, ifr) == 0 && v.data != 0) {
		v = (struct ethtool_value){.cmd = ETHTOOL_SGRO};
		if (ioctl(ps->ctl, SIOCETHTOOL, ifr) != 0)
			log_warn("ports: %s: generic receive offload of %s cannot be switched off: %s; "
				 "frames it merges "
				 "are dropped",
				port, ifr->ifr_name, strerror(errno));
	}
	v = (struct ethtool_value){.cmd = ETHTOOL_GFLAGS};
	if (ioctl(ps->ctl, SIOCETHTOOL, ifr) == 0 && (v.data & ETH_FLAG_LRO) != 0) {
		v = (struct ethtool_value){.cmd = ETHTOOL_SFLAGS, .data = v.data & ~(uint32_t)ETH_FLAG_LRO};
		if (ioctl(ps->ctl, SIOCETHTOOL, ifr) != 0)
			log_warn("ports: %s: large receive offload of %s cannot be switched off: %s", port,
				ifr->ifr_name, strerror(errno));
	}
}

/* The driver's own calls refuse more than 1500 bytes, so the interface is asked itself. */
static int
kernel_interface(const struct ports *ps, const struct port *p, struct err *e)
{
	const struct conf_port *c = conf(ps, p);
	struct ifreq ifr;

	memset(&ifr, 0, sizeof(ifr));
	if (if_indextoname(p->ifindex, ifr.ifr_name) == NULL || ioctl(ps->ctl, SIOCGIFMTU, &ifr) != 0)
		return err_set(e, errno, "port %s: its kernel interface: %s", c->name, strerror(errno));
	if (ifr.ifr_mtu != (int)c->mtu) {
		ifr.ifr_mtu = (int)c->mtu;
		if (ioctl(ps->ctl, SIOCSIFMTU, &ifr) != 0)
			return err_set(e, errno, "port %s: interface %s does not take MTU %llu: %s", c->name,
				ifr.ifr_name, (unsigned long long)c->mtu, strerror(errno));
		log_info("ports: %s: MTU of %s set to %d", c->name, ifr.ifr_name, ifr.ifr_mtu);
	}
	if (ioctl(ps->ctl, SIOCGIFFLAGS, &ifr) == 0 && (ifr.ifr_flags & IFF_UP) == 0) {
		ifr.ifr_flags |= IFF_UP;
		if (ioctl(ps->ctl, SIOCSIFFLAGS, &ifr) != 0)
			return err_set(e, errno, "port %s: interface %s cannot be set up: %s", c->name,
				ifr.ifr_name, strerror(errno));
	}
	no_merging(ps, &ifr, c->name);
	return 0;
}

/* The driver always says up. */
static bool
kernel_link_up(const struct ports *ps, const struct port *p)
{
	struct ifreq ifr;

	memset(&ifr, 0, sizeof(ifr));
	return if_indextoname(p->ifindex, ifr.ifr_name) != NULL && ioctl(ps->ctl, SIOCGIFFLAGS, &ifr) == 0 &&
	       (ifr.ifr_flags & IFF_UP) != 0 && (ifr.ifr_flags & IFF_RUNNING) != 0;
}

/* ---- configuring ---- */

/* Drivers whose queues exist from the start and get their share of packets whether one reads them or not. */
static bool
queues_are_given(const char *driver)
{
	return strcmp(driver, "net_af_packet") == 0 || strcmp(driver, "net_pcap") == 0;
}

/* These have no Rx interrupt, and some accept the request for it all the same. */
static bool
never_interrupts(const char *driver)
{
	return queues_are_given(driver) || strcmp(driver, "net_ring") == 0 ||
	       strcmp(driver, "net_memif") == 0;
}

/* net_memif claims 1518 bytes, and carries whatever its buffers take: those are as large as the port's frames (plan.c). */
static bool
carries_what_fits(const char *driver)
{
	return strcmp(driver, "net_memif") == 0;
}

static uint16_t
choose(const struct ports *ps, const struct port *p, uint16_t most)
{
	uint16_t planned = ps->plan->ports[p->index].queues, workers = ps->plan->n_workers;

	if (queues_are_given(p->driver))
		return most;
	return RTE_MIN(most, planned != 0 ? RTE_MIN(planned, workers) : workers);
}

static int
choose_queues(const struct ports *ps, struct port *p, const struct rte_eth_dev_info *info, struct err *e)
{
	p->rxqs = choose(ps, p, info->max_rx_queues);
	p->txqs = choose(ps, p, info->max_tx_queues);
	if (p->rxqs > PORT_QUEUES)
		return err_set(e, EINVAL, "port %s: %u receive queues; at most %u", conf(ps, p)->name,
			p->rxqs, PORT_QUEUES);
	if (p->txqs == 0)
		return err_set(e, EINVAL, "port %s: %s cannot send", conf(ps, p)->name, p->driver);
	if (p->rxqs < ps->plan->n_workers || p->txqs < ps->plan->n_workers)
		log_info("ports: %s: %u receive and %u transmit queues for %u workers, which pass packets to "
			 "each "
			 "other",
			conf(ps, p)->name, p->rxqs, p->txqs, ps->plan->n_workers);
	return 0;
}

static void
choose_offloads(const struct ports *ps, const struct port *p, const struct rte_eth_dev_info *info,
	struct rte_eth_conf *conf_)
{
	uint64_t hash = info->flow_type_rss_offloads & (RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP);

	conf_->rxmode.offloads = info->rx_offload_capa & RTE_ETH_RX_OFFLOAD_VLAN_STRIP;
	if (!pools_several(
		    ps->pools)) /* else a queue would take all buffers for those of the first one's pool */
		conf_->txmode.offloads = info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	if (p->ifindex == 0 && !carries_what_fits(p->driver))
		conf_->rxmode.mtu = conf(ps, p)->mtu;
	if (p->rxqs > 1 && hash != 0) {
		conf_->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		conf_->rx_adv_conf.rss_conf.rss_hf = hash;
	}
}

/* Rx interrupts are tried first where the workers will sleep; a driver that has none is asked again without. */
static int
configure(const struct ports *ps, struct port *p, const struct rte_eth_dev_info *info)
{
	struct rte_eth_conf c;
	int rc = -1;

	memset(&c, 0, sizeof(c));
	choose_offloads(ps, p, info, &c);
	p->intr = ps->config->dataplane.poll == POLL_ADAPTIVE && !never_interrupts(p->driver);
	if (p->intr) {
		c.intr_conf.rxq = 1;
		rc = rte_eth_dev_configure(p->id, p->rxqs, p->txqs, &c);
	}
	if (rc != 0) {
		p->intr = false;
		c.intr_conf.rxq = 0;
		rc = rte_eth_dev_configure(p->id, p->rxqs, p->txqs, &c);
	}
	return rc;
}

/* Where a queue's descriptors and buffers are: where the device is; one that is nowhere writes them by the CPU of the worker. */
static int
queue_node(const struct ports *ps, const struct port *p, uint16_t queue)
{
	int node = rte_eth_dev_socket_id(p->id);

	return node >= 0
		       ? node
		       : (int)rte_lcore_to_socket_id(eal_lcore(passing_owner(p, queue, ps->plan->n_workers)));
}

static int
setup_queues(const struct ports *ps, struct port *p)
{
	int rc;

	p->rxd = ps->config->limits.rx_ring;
	p->txd = PLAN_TXD;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(p->id, &p->rxd, &p->txd);
	for (uint16_t q = 0; q < p->rxqs && rc == 0; q++)
		rc = rte_eth_rx_queue_setup(p->id, q, p->rxd, (unsigned int)queue_node(ps, p, q), NULL,
			pools_at(ps->pools, queue_node(ps, p, q)));
	for (uint16_t q = 0; q < p->txqs && rc == 0; q++)
		rc = rte_eth_tx_queue_setup(p->id, q, p->txd, (unsigned int)queue_node(ps, p, q), NULL);
	return rc;
}

static int
open_port(struct ports *ps, uint16_t index, struct err *e)
{
	const struct plan_port *plan = &ps->plan->ports[index];
	struct topo_port *t = &ps->topo->ports[index];
	struct port *p = &ps->at[index];
	const char *name = list_at(ps->config->ports, struct conf_port, index)->name;
	struct rte_eth_dev_info info;
	int rc;

	p->index = index;
	memset(p->wake_fd, -1, sizeof(p->wake_fd));
	if (rte_eth_dev_get_port_by_name(plan->name, &p->id) != 0)
		return err_set(e, ENODEV, "port %s: DPDK has no device %s: see its own lines above%s", name,
			plan->name,
			plan->pci ? "; is the NIC bound to vfio-pci (dpdk-devbind.py --status)?" : "");
	if ((rc = rte_eth_dev_info_get(p->id, &info)) != 0)
		return err_set(e, -rc, "port %s: %s: %s", name, plan->name, strerror(-rc));
	p->driver = info.driver_name;
	p->ifindex = strcmp(p->driver, "net_af_packet") == 0 ? info.if_index : 0;
	if ((rc = choose_queues(ps, p, &info, e)) != 0)
		return rc;
	if (p->ifindex != 0 && (rc = kernel_interface(ps, p, e)) != 0)
		return rc;
	if ((rc = configure(ps, p, &info)) != 0 || (rc = setup_queues(ps, p)) != 0)
		return err_set(e, -rc,
			"port %s: %s (%s) does not take %u+%u queues with frames of MTU %llu: %s", name,
			plan->name, p->driver, p->rxqs, p->txqs, (unsigned long long)conf(ps, p)->mtu,
			strerror(-rc));
	if ((rc = rte_eth_macaddr_get(p->id, &t->mac)) != 0)
		return err_set(e, -rc, "port %s: no MAC address: %s", name, strerror(-rc));
	t->dpdk_port = p->id;
	return 0;
}

struct ports *
ports_open(const struct ports_start *s, struct err *e)
{
	struct ports *ps = calloc(1, sizeof(*ps));

	if (ps == NULL) {
		err_set(e, ENOMEM, "no memory");
		return NULL;
	}
	ps->config = s->config;
	ps->plan = s->plan;
	ps->topo = s->topo;
	ps->pools = s->pools;
	ps->env = s->env;
	ps->base = s->base;
	ps->news = -1;
	ps->ctl = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (; ps->n < s->plan->n_ports; ps->n++) {
		if (open_port(ps, ps->n, e) != 0) {
			ports_close(ps);
			return NULL;
		}
	}
	return ps;
}

/* ---- running ---- */

static void
find_wake(const struct ports *ps, struct port *p)
{
	bool all = true;

	if (p->ifindex != 0)
		p->n_sockets = wake_packet_sockets(p->ifindex, p->sockets, PORT_QUEUES);
	if (ps->config->dataplane.poll != POLL_ADAPTIVE)
		return;
	if (p->ifindex != 0 && p->n_sockets == p->rxqs) {
		memcpy(p->wake_fd, p->sockets, p->n_sockets * sizeof(p->wake_fd[0]));
		p->wake = WAKE_SOCKET;
	} else if (p->intr) {
		for (uint16_t q = 0; q < p->rxqs; q++) {
			p->wake_fd[q] = rte_eth_dev_rx_intr_ctl_q_get_fd(p->id, q);
			all &= p->wake_fd[q] >= 0;
		}
		p->wake = all ? WAKE_INTERRUPT : WAKE_NONE;
	}
	/* net_tap's interrupt is the tap itself; and its receive looks at the tap only after a signal has come, which may be
	 * later than our wake-up: an edge would be spent by then. */
	p->wake_by_data = p->wake == WAKE_SOCKET || strcmp(p->driver, "net_tap") == 0;
	log_info("ports: %s: idle workers wait by %s", conf(ps, p)->name, port_wake_name(p));
}

static int
start_port(const struct ports *ps, struct port *p, struct err *e)
{
	const struct conf_port *c = conf(ps, p);
	int rc = rte_eth_dev_start(p->id);

	if (rc != 0)
		return err_set(e, -rc, "port %s: %s does not start: %s", c->name,
			ps->plan->ports[p->index].name, strerror(-rc));
	p->started = true;
	/* VMs send to the gateway's MAC, which is no port's own; tenants' multicast is forwarded too. */
	if (c->role == PORT_DC && (rc = rte_eth_promiscuous_enable(p->id)) != 0)
		log_warn("ports: %s: promiscuous mode: %s; frames to the gateway's MAC may not arrive",
			c->name, strerror(-rc));
	if (p->ifindex == 0 && (rc = rte_eth_dev_set_mtu(p->id, c->mtu)) != 0 && rc != -ENOTSUP)
		log_warn("ports: %s: MTU %llu: %s", c->name, (unsigned long long)c->mtu, strerror(-rc));
	find_wake(ps, p);
	return 0;
}

static void
count_drops(struct port *p)
{
	for (uint16_t i = 0; i < p->n_sockets; i++)
		p->socket_drops += wake_socket_drops(p->sockets[i]); /* reading resets the kernel's */
}

uint64_t
ports_missed(struct ports *ps, uint16_t index)
{
	struct port *p = &ps->at[index];
	struct rte_eth_stats stats;

	memset(&stats, 0, sizeof(stats));
	rte_eth_stats_get(p->id, &stats);
	count_drops(p);
	return stats.imissed + stats.rx_nombuf + p->socket_drops;
}

static void
look_at_link(struct ports *ps, struct port *p)
{
	struct rte_eth_link link;
	bool up;

	memset(&link, 0, sizeof(link));
	if (rte_eth_link_get_nowait(p->id, &link) != 0)
		return;
	up = p->ifindex != 0 ? kernel_link_up(ps, p) : link.link_status == RTE_ETH_LINK_UP;
	for (uint16_t i = 0; i < p->n_sockets; i++)
		wake_clear_error(p->sockets[i]);
	p->speed = link.link_speed;
	if (up == p->up)
		return;
	__atomic_store_n(&p->up, up, __ATOMIC_RELAXED);
	log_info("ports: %s: link %s", conf(ps, p)->name, up ? "up" : "down");
	ps->link(ps->arg, p->index, up);
}

static void
link_tick(void *arg)
{
	struct ports *ps = arg;

	for (uint16_t i = 0; i < ps->n; i++)
		look_at_link(ps, &ps->at[i]);
	ps->env->ops->timer_set(ps->timer, LINK_MS);
}

/* Links of kernel interfaces: what happened does not matter, only that something did. */
static void
on_news(evutil_socket_t fd, short what, void *arg)
{
	struct ports *ps = arg;
	char buf[8192];

	(void)what;
	while (recv(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
	for (uint16_t i = 0; i < ps->n; i++)
		look_at_link(ps, &ps->at[i]);
}

/* Without it links are still looked at once a second. */
static void
listen_for_news(struct ports *ps)
{
	struct sockaddr_nl sa = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};

	ps->news = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (ps->news < 0 || bind(ps->news, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		return;
	ps->readable = event_new(ps->base, ps->news, EV_READ | EV_PERSIST, on_news, ps);
	if (ps->readable != NULL)
		event_add(ps->readable, NULL);
}

int
ports_start(struct ports *ps, void (*link)(void *arg, uint16_t port, bool up), void *arg, struct err *e)
{
	ps->link = link;
	ps->arg = arg;
	ps->timer = ps->env->ops->timer_new(ps->env->ctx, link_tick, ps);
	if (ps->timer == NULL)
		return err_set(e, ENOMEM, "no memory");
	for (uint16_t i = 0; i < ps->n; i++) {
		int rc = start_port(ps, &ps->at[i], e);

		if (rc != 0)
			return rc;
	}
	listen_for_news(ps);
	link_tick(ps);
	return 0;
}

void
ports_close(struct ports *ps)
{
	if (ps == NULL)
		return;
	for (uint16_t i = 0; i < ps->n; i++) {
		if (ps->at[i].started)
			rte_eth_dev_stop(ps->at[i].id);
		rte_eth_dev_close(ps->at[i].id);
	}
	if (ps->timer != NULL)
		ps->env->ops->timer_free(ps->timer);
	if (ps->readable != NULL)
		event_free(ps->readable);
	if (ps->news >= 0)
		close(ps->news);
	if (ps->ctl >= 0)
		close(ps->ctl);
	free(ps);
}
