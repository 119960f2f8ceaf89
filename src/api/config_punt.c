/* SPDX-License-Identifier: BSD-3-Clause */
/* config_punt.c - ports that give the kernel an interface. */
#include "config_priv.h"

#include <string.h>

bool
conf_punt_name(const struct conf_port *p, char name[PUNT_NAME_LEN + 1])
{
	bool given = p->punt_name[0] != '\0';

	return snprintf(name, PUNT_NAME_LEN + 1, "%s%s", given ? "" : "nw-",
		       given ? p->punt_name : p->name) <= PUNT_NAME_LEN;
}

/* One name for two interfaces. */
static void
check_punt_twice(struct check *k, size_t i, const char *name)
{
	char other[PUNT_NAME_LEN + 1];

	for (size_t j = 0; j < i; j++)
		if (PORT(k->c, j)->punt && conf_punt_name(PORT(k->c, j), other) && strcmp(name, other) == 0)
			bad(k, PATH("ports[%zu].punt", i),
				"its interface \"%s\" is that of port \"%s\" too; give another punt-name",
				name, PORT(k->c, j)->name);
}

static void
check_punt_name(struct check *k, size_t i)
{
	const struct conf_port *p = PORT(k->c, i);
	char name[PUNT_NAME_LEN + 1];

	if (conf_punt_name(p, name))
		check_punt_twice(k, i, name);
	else if (p->punt_name[0] != '\0')
		bad(k, PATH("ports[%zu].punt-name", i),
			"\"%s\" is longer than the %d bytes of an interface's name", p->punt_name,
			PUNT_NAME_LEN);
	else
		bad(k, PATH("ports[%zu].punt", i),
			"\"nw-%s\" is longer than the %d bytes of an interface's name; give punt-name",
			p->name, PUNT_NAME_LEN);
}

/* The kernel reaches the connected prefix of a port that punts by that port: nothing of the control channel may be there. */
static void
check_punt_control(struct check *k, size_t i, const char *path, const char *hostport)
{
	struct prefix4 c = connected(PORT(k->c, i));
	char host[HOSTPORT_LEN + 1];
	ip4 a;

	snprintf(host, sizeof(host), "%.*s", (int)strcspn(hostport, ":"), hostport);
	if (is_wan(PORT(k->c, i)) && ip4_parse(host, &a) == 0 && a != PORT(k->c, i)->address.addr &&
		prefix4_has(&c, a))
		bad(k, path,
			"%s is on the prefix of port \"%s\", which has punt: on; the control channel never "
			"uses a data port",
			host, PORT(k->c, i)->name);
}

void
check_punt(struct check *k, size_t i)
{
	const struct conf_port *p = PORT(k->c, i);

	for (int n = 0; n < 2 && !is_given(k, PATH("ports[%zu].punt", i)); n++) {
		const char *key = PATH("ports[%zu].%s", i, n == 0 ? "punt-name" : "punt-rate");

		if (is_given(k, key))
			bad(k, key, "does nothing without punt: on");
	}
	if (!p->punt || p->name[0] == '\0')
		return;
	if (p->role == PORT_DC)
		bad(k, PATH("ports[%zu].punt", i),
			"is not allowed with role: dc; VMs must not reach the kernel");
	check_punt_name(k, i);
	check_punt_control(k, i, "control.listen", k->c->control.listen);
	check_punt_control(k, i, "control.metrics", k->c->control.metrics);
	for (size_t j = 0; j < k->c->peers.n; j++)
		check_punt_control(k, i, PATH("peers[%zu].address", j), PEER(k->c, j)->address);
}
