/* SPDX-License-Identifier: BSD-3-Clause */
#include "words.h"

#include "dp.h"
#include "topo.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct word {
	const char *name;
	int value;
};

static const struct word protos[] = {{"icmp", IPPROTO_ICMP}, {"tcp", IPPROTO_TCP}, {"udp", IPPROTO_UDP}, {0}};
static const struct word ethertypes[] = {{"ipv4", RTE_ETHER_TYPE_IPV4}, {"ipv6", RTE_ETHER_TYPE_IPV6},
	{"arp", RTE_ETHER_TYPE_ARP}, {"rarp", RTE_ETHER_TYPE_RARP}, {0}};

static int
find(const struct word *w, const char *given, int max, const char *what, struct err *e)
{
	char *end;
	unsigned long n = strtoul(given, &end, 0);

	for (; w->name != NULL; w++)
		if (strcmp(w->name, given) == 0)
			return w->value;
	if (*end == '\0' && given[0] >= '0' && given[0] <= '9' && n <= (unsigned long)max)
		return (int)n;
	return err_set(
		e, EINVAL, "%s: \"%s\" is neither one of its names nor a number up to %d", what, given, max);
}

int
word_proto(const char *word, struct err *e)
{
	return find(protos, word, 255, "proto (tcp, udp, icmp)", e);
}

int
word_ethertype(const char *word, struct err *e)
{
	return find(ethertypes, word, 65535, "ethertype (ipv4, ipv6, arp, rarp)", e);
}

static void
append(char *list, size_t size, const char *name)
{
	size_t n = strlen(list);

	snprintf(list + n, size - n, "%s%s", n > 0 ? ", " : "", name);
}

int
word_port(const struct dp *dp, const char *name, struct err *e)
{
	char all[240] = "";

	for (uint16_t i = 0; i < dp->topo->n_ports; i++) {
		if (strcmp(dp->topo->ports[i].name, name) == 0)
			return i;
		append(all, sizeof(all), dp->topo->ports[i].name);
	}
	return err_set(e, ENOENT, "port: there is no %s; one of: %s", name, all);
}

int
word_segment(const struct dp *dp, const char *name, struct err *e)
{
	char all[240] = "";

	for (uint16_t i = 0; i < dp->topo->n_segments; i++) {
		if (strcmp(dp->topo->segments[i].name, name) == 0)
			return i;
		append(all, sizeof(all), dp->topo->segments[i].name);
	}
	return err_set(e, ENOENT, "segment: there is no %s; one of: %s", name, all[0] != '\0' ? all : "none");
}

static void
add_ip(struct probe_match *q, rte_be32_t ip)
{
	if (ip != 0 && q->n_vm_ips < PROBE_VM_IPS)
		q->vm_ips[q->n_vm_ips++] = ip;
}

static void
add_vm(struct probe_match *q, const struct vm_rec *r)
{
	q->by_vm = true;
	q->vm_mac = r->mac;
	for (uint8_t i = 0; i < r->n_addresses; i++) {
		add_ip(q, r->addresses[i].ip);
		add_ip(q, r->addresses[i].global);
	}
	for (uint8_t i = 0; i < r->n_drains; i++)
		add_ip(q, r->drains[i].global);
}

/* In the segment that was named, or in the first that has it. */
static int
find_vm(const struct dp *dp, const struct mac *mac, struct probe_match *q, struct err *e)
{
	struct vm_key_mac key = {.mac = topo_mac(mac)};
	const struct vm_rec *r;
	char text[MAC_TEXT];

	for (uint16_t i = 0; i < dp->topo->n_segments; i++) {
		if (q->seg != TOPO_NONE && q->seg != i)
			continue;
		key.seg = i;
		vmtab_by_mac(dp->tables.vms, &key, 1, &r);
		if (r == NULL)
			continue;
		add_vm(q, r);
		q->seg = TOPO_NONE; /* what comes by a global address is in no segment yet */
		return 0;
	}
	return err_set(
		e, ENOENT, "vm: no VM %s is registered; for any other host say mac", mac_format(mac, text));
}

static bool
is_set(const struct mac *m)
{
	static const struct mac none;

	return !mac_equal(m, &none);
}

int
word_match(const struct dp *dp, const struct packet_match *m, struct probe_match *q, struct err *e)
{
	int n = 0;

	*q = (struct probe_match){.port = TOPO_NONE, .seg = TOPO_NONE, .proto = -1};
	if (m->port[0] != '\0' && (n = word_port(dp, m->port, e)) >= 0)
		q->port = (uint16_t)n;
	if (n >= 0 && m->segment[0] != '\0' && (n = word_segment(dp, m->segment, e)) >= 0)
		q->seg = (uint16_t)n;
	if (n >= 0 && m->proto[0] != '\0' && (n = word_proto(m->proto, e)) >= 0)
		q->proto = (int16_t)n;
	if (n >= 0 && m->ethertype[0] != '\0' && (n = word_ethertype(m->ethertype, e)) >= 0)
		q->ethertype = (uint16_t)n;
	if (n >= 0 && is_set(&m->vm))
		n = find_vm(dp, &m->vm, q, e);
	q->by_mac = is_set(&m->mac);
	q->mac = topo_mac(&m->mac);
	q->host = rte_cpu_to_be_32(m->host);
	q->l4_port = (uint16_t)m->l4_port;
	return n < 0 ? n : 0;
}
