/* SPDX-License-Identifier: BSD-3-Clause */
/* Every kind of fault in nearway.yaml is told with its exact place. Each case changes one line of a good
 * file. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <api/kinds.h>
#include <api/yaml.h>
#include <cmocka.h>

#define KEY_C "RVhBTVBMRS1QVUJMSUMtS0VZLU9GLUNMT1VELUNUUkw="
#define KEY_Y "RVhBTVBMRS1QVUJMSUMtS0VZLU9GLVJPVVRFUi1SLVk="
#define KEY_O "RVhBTVBMRS1QVUJMSUMtS0VZLU9GLURBU0hCT0FSRC0="
#define KEY_Z "RVhBTVBMRS1QVUJMSUMtS0VZLU9GLVJPVVRFUi1SLVo="

static const char *const good[] = {
	[1] = "router:",
	[2] = "  name: r-x",
	[3] = "  site: x",
	[4] = "  mac: 02:00:5e:10:00:0a",
	[5] = "  vtep: 198.51.100.2",
	[6] = "dataplane:",
	[7] = "  cpus: 1",
	[8] = "  control-cpu: 0",
	[9] = "control:",
	[10] = "  listen: 192.0.2.10:7411",
	[11] = "  controllers:",
	[12] = "    - name: clc",
	[13] = "      key: " KEY_C,
	[14] = "drain:",
	[15] = "  min: 1h",
	[16] = "  max: 24h",
	[17] = "ports:",
	[18] = "  - name: wan0",
	[19] = "    device: d0",
	[20] = "    role: wan",
	[21] = "    address: 198.51.100.2/30",
	[22] = "  - name: dc0",
	[23] = "    device: d1",
	[24] = "    role: dc",
	[25] = "segments:",
	[26] = "  - name: seg1",
	[27] = "    vni: 7001",
	[28] = "    prefix: 10.0.0.0/24",
	[29] = "    gateway:",
	[30] = "      address: 10.0.0.1",
	[31] = "      mac: 02:00:5e:10:00:01",
	[32] = "    attachments:",
	[33] = "      - port: dc0",
	[34] = "  - name: seg2",
	[35] = "    vni: 7002",
	[36] = "    prefix: 10.0.2.0/24",
	[37] = "    gateway:",
	[38] = "      address: 10.0.2.1",
	[39] = "      mac: 02:00:5e:10:00:01",
	[40] = "    access: routed",
	[41] = "    attachments:",
	[42] = "      - port: dc0",
	[43] = "        vlan: 102",
	[44] = "    exits:",
	[45] = "      - port: wan0",
	[46] = "pools:",
	[47] = "  - name: p1",
	[48] = "    prefix: 203.0.113.0/26",
	[49] = "  - name: p2",
	[50] = "    prefix: 203.0.113.64/26",
	[51] = "peers:",
	[52] = "  - name: r-y",
	[53] = "    key: " KEY_Y,
	[54] = "    address: 192.0.2.11:7411",
	[55] = "    vtep: 198.51.100.6",
	[56] = "    mac: 02:00:5e:10:00:0b",
	[57] = "  - name: r-z",
	[58] = "    key: " KEY_Z,
	[59] = "    address: 192.0.2.12:7411",
	[60] = "    vtep: 198.51.100.10",
	[61] = "    mac: 02:00:5e:10:00:0c",
	[62] = "routes:",
	[63] = "  - prefix: 0.0.0.0/0",
	[64] = "    via: 198.51.100.1",
};
#define GOOD_LINES (sizeof(good) / sizeof(good[0]))

struct change {
	size_t line;
	const char *text;
};

struct fault_case {
	struct change change;
	int line, column;
	const char *path, *text; /* text: part of it */
};

static int
load_text(const char *text, size_t len, struct config *c, struct faults *f)
{
	int fd = memfd_create("config", 0);
	char file[64];
	int rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), (ssize_t)len);
	snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);
	rc = config_load(file, c, f);
	close(fd);
	return rc;
}

static int
load_changed(const struct change *changes, size_t n, struct config *c, struct faults *f)
{
	char text[8192];
	size_t len = 0;

	for (size_t i = 1; i < GOOD_LINES; i++) {
		const char *line = good[i];

		for (size_t j = 0; j < n; j++)
			if (changes[j].line == i)
				line = changes[j].text;
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n", line);
	}
	return load_text(text, len, c, f);
}

static void
expect_fault(const struct fault *x, const struct fault_case *e)
{
	if (x->line != e->line || x->column != e->column || strcmp(x->path, e->path) != 0 ||
		strstr(x->text, e->text) == NULL)
		fail_msg("expected %d:%d: %s: ...%s..., got %d:%d: %s: %s", e->line, e->column, e->path,
			e->text, x->line, x->column, x->path, x->text);
}

static void
expect_one(const struct fault_case *e)
{
	struct config c;
	struct faults f;

	faults_init(&f);
	if (load_changed(&e->change, 1, &c, &f) != -EINVAL)
		fail_msg("line %zu as \"%s\" was accepted", e->change.line, e->change.text);
	if (f.n != 1) {
		faults_print(&f, "config", stderr);
		fail_msg("line %zu as \"%s\": %zu faults", e->change.line, e->change.text, f.n);
	}
	expect_fault(&f.items[0], e);
	faults_fini(&f);
}

#define EXPECT_EACH(cases)                                                 \
	for (size_t i_ = 0; i_ < sizeof(cases) / sizeof((cases)[0]); i_++) \
	expect_one(&(cases)[i_])

static void
good_file_has_no_fault(void **state)
{
	struct config c;
	struct faults f;

	(void)state;
	faults_init(&f);
	if (load_changed(NULL, 0, &c, &f) != 0)
		faults_print(&f, "config", stderr);
	assert_int_equal(f.n, 0);
	assert_string_equal(c.router.name, "r-x");
	assert_int_equal(c.segments.n, 2);
	assert_int_equal(list_at(c.segments, struct conf_segment, 1)->access, ACCESS_ROUTED);
	assert_int_equal(list_at(c.segments, struct conf_segment, 0)->mtu, 1500);
	assert_int_equal(c.drain.max_ms, 86400000);
	assert_int_equal(c.limits.vms, 16384);
	assert_true(list_at(c.segments, struct conf_segment, 0)->suppress_arp);
	kind_fini(&kind_config, &c);
}

static void
value_that_is_not_allowed_is_told_with_what_is(void **state)
{
	static const struct fault_case cases[] = {
		{{2, "  name: r x"}, 2, 9, "router.name",
			"\"r x\" is not allowed; allowed: a name of 1 to 31"},
		{{2, "  name: \"\""}, 2, 9, "router.name", "a name of 1 to 31"},
		{{2, "  name: aaaaaaaaaabbbbbbbbbbccccccccccdd"}, 2, 9, "router.name", "a name of 1 to 31"},
		{{2, "  name:"}, 2, 3, "router.name", "is empty; allowed: a name"},
		{{2, "  name: [a]"}, 2, 9, "router.name", "is a list; allowed: a name"},
		{{2, "  name: {a: b}"}, 2, 9, "router.name", "is a mapping; allowed: a name"},
		{{4, "  mac: 02-00-5e-10-00-0a"}, 4, 8, "router.mac", "such as 02:00:5e:10:00:01"},
		{{4, "  mac: 03:00:5e:10:00:0a"}, 4, 8, "router.mac", "is not a unicast address"},
		{{4, "  mac: 00:00:00:00:00:00"}, 4, 8, "router.mac", "is not a unicast address"},
		{{5, "  vtep: 198.51.100"}, 5, 9, "router.vtep", "an IPv4 address of a host"},
		{{5, "  vtep: 224.0.0.1"}, 5, 9, "router.vtep", "not an address that a host may have"},
		{{7, "  transit: on"}, 7, 3, "dataplane.transit",
			"unknown key; allowed: a mapping with: cpus"},
		{{8, "  control-cpu: 1024"}, 8, 16, "dataplane.control-cpu", "a number from 0 to 1023"},
		{{8, "  control-cpu: -1"}, 8, 16, "dataplane.control-cpu", "a number from 0 to 1023"},
		{{8, "  control-cpu: 00"}, 8, 16, "dataplane.control-cpu", "a number from 0 to 1023"},
		{{8, "  control-cpu: 1.5"}, 8, 16, "dataplane.control-cpu", "a number from 0 to 1023"},
		{{8, "  control-cpu: 99999999999999999999"}, 8, 16, "dataplane.control-cpu",
			"is out of range"},
		{{8, "  poll: lazy"}, 8, 9, "dataplane.poll", "one of: busy, adaptive"},
		{{10, "  listen: 192.0.2.10"}, 10, 11, "control.listen", "an IPv4 address and a port"},
		{{10, "  listen: 192.0.2.10:0"}, 10, 11, "control.listen", "an IPv4 address and a port"},
		{{10, "  listen: 192.0.2.10:65536"}, 10, 11, "control.listen", "an IPv4 address and a port"},
		{{13, "      key: c2VjcmV0"}, 13, 12, "control.controllers[0].key",
			"is no key; allowed: a key: 32 bytes"},
		{{15, "  min: 1 h"}, 15, 8, "drain.min", "a duration from 0ms to 30d"},
		{{15, "  min: 1w"}, 15, 8, "drain.min", "such as 500ms, 30s, 90m, 1h or 1d"},
		{{15, "  min: 31d"}, 15, 8, "drain.min", "is out of range"},
		{{19, "    device: \"d\\x01\""}, 19, 13, "ports[0].device", "has a control character"},
		{{20, "    role: lan"}, 20, 11, "ports[0].role", "one of: wan, dc"},
		{{21, "    address: 198.51.100.2"}, 21, 14, "ports[0].address", "lacks the prefix length"},
		{{21, "    address: 198.51.100.2/33"}, 21, 14, "ports[0].address",
			"an IPv4 address and its prefix length"},
		{{27, "    vni: 0"}, 27, 10, "segments[0].vni", "a number from 1 to 16777215"},
		{{27, "    vni: 16777216"}, 27, 10, "segments[0].vni", "a number from 1 to 16777215"},
		{{28, "    prefix: 10.0.0.1/24"}, 28, 13, "segments[0].prefix",
			"has bits set behind the prefix length"},
		{{28, "    prefix: 10.0.0.0/31"}, 28, 13, "segments[0].prefix", "of length 8 to 30"},
		{{28, "    prefix: 0.0.0.0/0"}, 28, 13, "segments[0].prefix", "of length 8 to 30"},
		{{43, "        vlan: 4095"}, 43, 15, "segments[1].attachments[0].vlan",
			"a number from 0 to 4094"},
		{{24, "    role: dc\n    mtu: 575"}, 25, 10, "ports[1].mtu", "a number from 576 to 9600"},
		{{24, "    role: dc\n    mtu: 9601"}, 25, 10, "ports[1].mtu", "a number from 576 to 9600"},
		{{33, "      - dc0"}, 33, 9, "segments[0].attachments[0]",
			"is text; allowed: a mapping with: port, vlan"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
section_of_the_wrong_shape_is_one_fault(void **state)
{
	static const struct change dataplane[] = {{6, "dataplane: 7"}, {7, ""}, {8, ""}};
	static const struct change pools[] = {{46, "pools: none"}, {47, ""}, {48, ""}, {49, ""}, {50, ""}};
	static const struct fault_case expected[] = {
		{{0}, 6, 12, "dataplane", "is text; allowed: a mapping with: cpus"},
		{{0}, 46, 8, "pools", "is text; allowed: a list of 0 to 32 items"},
	};
	struct config c;
	struct faults f;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		faults_init(&f);
		load_changed(i == 0 ? dataplane : pools, i == 0 ? 3 : 5, &c, &f);
		assert_int_equal(f.n, 1);
		expect_fault(&f.items[0], &expected[i]);
		faults_fini(&f);
	}
}

static void
unknown_key_is_told_with_the_nearest_name(void **state)
{
	static const struct fault_case cases[] = {
		{{3, "  site: x\n  transitt: on"}, 4, 3, "router.transitt", "did you mean \"transit\"?"},
		{{7, "  control_cpu: 0"}, 7, 3, "dataplane.control_cpu", "did you mean \"control-cpu\"?"},
		{{40, "    access: routed\n    supress-arp: off"}, 41, 5, "segments[1].supress-arp",
			"did you mean \"suppress-arp\"?"},
		{{64, "    via: 198.51.100.1\n    metric: 5"}, 65, 5, "routes[0].metric",
			"unknown key; allowed: a mapping with: prefix, via, port, blackhole"},
		{{1, "rooter: {}\nrouter:"}, 1, 1, "rooter", "did you mean \"router\"?"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
missing_key_is_told_at_the_mapping_that_lacks_it(void **state)
{
	static const struct fault_case cases[] = {
		{{3, ""}, 2, 3, "router.site", "missing; must be a name"},
		{{19, ""}, 18, 5, "ports[0].device", "missing; must be text of 1 to 255 bytes"},
		{{20, ""}, 18, 5, "ports[0].role", "missing; must be one of: wan, dc"},
		{{30, ""}, 31, 7, "segments[0].gateway.address", "missing; must be an IPv4 address"},
		{{53, ""}, 52, 5, "peers[0].key", "missing; must be a key"},
		{{5, ""}, 2, 3, "router.vtep", "missing; with peers"},
		{{10, ""}, 11, 3, "control.listen", "missing; controllers and peers need"},
		{{64, ""}, 63, 5, "routes[0]", "a route needs via, port or blackhole: on"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
wan_port_without_address_is_a_fault(void **state)
{
	static const struct fault_case cases[] = {
		{{21, ""}, 18, 5, "ports[0].address", "missing; a port with role: wan needs an address"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

#define WAN0_ADDRESS "    address: 198.51.100.2/30\n"

static void
punt_is_checked_with_name_rate_and_role(void **state)
{
	static const struct fault_case cases[] = {
		{{24, "    role: dc\n    punt: on"}, 25, 11, "ports[1].punt", "is not allowed with role: dc"},
		{{21, WAN0_ADDRESS "    punt-name: x"}, 22, 16, "ports[0].punt-name",
			"does nothing without punt: on"},
		{{21, WAN0_ADDRESS "    punt-rate: 5"}, 22, 16, "ports[0].punt-rate",
			"does nothing without punt: on"},
		{{21, WAN0_ADDRESS "    punt: on\n    punt-rate: 0"}, 23, 16, "ports[0].punt-rate",
			"a number from 1 to 1000000"},
		{{21, WAN0_ADDRESS "    punt: on\n    punt-name: a234567890123456"}, 23, 16,
			"ports[0].punt-name", "\"a234567890123456\" is longer than the 15 bytes"},
		{{21, WAN0_ADDRESS "    punt: on\n    punt-name: a/b"}, 23, 16, "ports[0].punt-name",
			"a name of 1 to 31 letters"},
		{{22, "    punt: on\n  - name: wan-by-carrier\n    device: d7\n    role: wan\n"
		      "    address: 198.51.100.17/30\n    punt: on\n  - name: dc0"},
			27, 11, "ports[1].punt", "\"nw-wan-by-carrier\" is longer than the 15 bytes"},
		{{22, "    punt: on\n  - name: wan1\n    device: d7\n    role: wan\n"
		      "    address: 198.51.100.17/30\n    punt: on\n    punt-name: nw-wan0\n  - name: dc0"},
			27, 11, "ports[1].punt", "its interface \"nw-wan0\" is that of port \"wan0\" too"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
control_channel_keeps_off_the_prefix_of_a_port_that_punts(void **state)
{
	struct change on = {22, "  - name: wan1\n    device: d7\n    role: wan\n    address: 192.0.2.9/30\n"
				"    punt: on\n  - name: dc0"};
	static const struct fault_case expected[] = {
		{{0}, 10, 11, "control.listen",
			"192.0.2.10 is on the prefix of port \"wan1\", which has punt"},
		{{0}, 59, 14, "peers[0].address", "192.0.2.11 is on the prefix of port \"wan1\""},
	};
	struct config c;
	struct faults f;

	(void)state;
	faults_init(&f);
	assert_int_equal(load_changed(&on, 1, &c, &f), -EINVAL);
	assert_int_equal(f.n, 2);
	expect_fault(&f.items[0], &expected[0]);
	expect_fault(&f.items[1], &expected[1]);
	faults_fini(&f);
}

static void
punt_interface_is_named_after_its_port(void **state)
{
	struct change on = {21, WAN0_ADDRESS "    punt: on"};
	char name[PUNT_NAME_LEN + 1];
	struct config c;
	struct faults f;

	(void)state;
	faults_init(&f);
	assert_int_equal(load_changed(&on, 1, &c, &f), 0);
	assert_true(list_at(c.ports, struct conf_port, 0)->punt);
	assert_int_equal(list_at(c.ports, struct conf_port, 0)->punt_rate, 1000);
	assert_true(conf_punt_name(list_at(c.ports, struct conf_port, 0), name));
	assert_string_equal(name, "nw-wan0");
	assert_false(list_at(c.ports, struct conf_port, 1)->punt);
	kind_fini(&kind_config, &c);
}

static void
duplicates_are_told_where_the_second_stands(void **state)
{
	static const struct fault_case cases[] = {
		{{3, "  site: x\n  site: y"}, 4, 3, "", "duplicate key \"site\""},
		{{22, "  - name: wan1\n    device: d7\n    role: dc\n  - name: wan1\n    device: d8\n    "
		      "role: dc\n"
		      "  - name: dc0"},
			25, 5, "ports[2]", "name wan1 is there already, as item 1 of this list"},
		{{23, "    device: d0"}, 23, 13, "ports[1].device", "is the device of port \"wan0\" too"},
		{{34, "  - name: seg1"}, 34, 5, "segments[1]", "name seg1 is there already"},
		{{35, "    vni: 7001"}, 35, 10, "segments[1].vni", "7001 is the VNI of segment \"seg1\" too"},
		{{43, "        vlan: 0"}, 42, 9, "segments[1].attachments[0]",
			"port \"dc0\" with vlan 0 belongs to segment \"seg1\" already"},
		{{43, "        vlan: 102\n      - port: dc0\n        vlan: 102"}, 44, 9,
			"segments[1].attachments[1]", "port dc0, vlan 102 is there already"},
		{{49, "  - name: p1"}, 49, 5, "pools[1]", "name p1 is there already"},
		{{57, "  - name: r-y"}, 57, 5, "peers[1]", "name r-y is there already"},
		{{57, "  - name: r-x"}, 57, 11, "peers[1].name", "\"r-x\" is this router"},
		{{12, "    - name: r-y"}, 12, 13, "control.controllers[0].name", "\"r-y\" is peers[0] too"},
		{{58, "    key: " KEY_Y}, 58, 10, "peers[1].key", "is the key of peers[0] too"},
		{{13, "      key: " KEY_Z}, 13, 12, "control.controllers[0].key",
			"is the key of peers[1] too"},
		{{58, "    key: " KEY_Z "\n    old-key: " KEY_Y}, 59, 14, "peers[1].old-key",
			"is the key of peers[0] too"},
		{{58, "    key: " KEY_Z "\n    old-key: " KEY_Z}, 59, 14, "peers[1].old-key",
			"is its key too"},
		{{53, "    key: " KEY_Y "\n    old-key: " KEY_C}, 13, 12, "control.controllers[0].key",
			"is the old-key of peers[0] too"},
		{{13, "      key: " KEY_C "\n  observers:\n    - name: eye\n      key: " KEY_C}, 16, 12,
			"control.observers[0].key", "is the key of control.controllers[0] too"},
		{{13, "      key: " KEY_C "\n  observers:\n    - name: clc\n      key: " KEY_O}, 15, 13,
			"control.observers[0].name", "\"clc\" is control.controllers[0] too"},
		{{60, "    vtep: 198.51.100.6"}, 60, 11, "peers[1].vtep", "is the VTEP of peer \"r-y\" too"},
		{{60, "    vtep: 198.51.100.2"}, 60, 11, "peers[1].vtep", "is an address of this router"},
		{{61, "    mac: 02:00:5e:10:00:0b"}, 61, 10, "peers[1].mac",
			"is the MAC of peer \"r-y\" too"},
		{{61, "    mac: 02:00:5e:10:00:0a"}, 61, 10, "peers[1].mac", "is router.mac too"},
		{{64, "    via: 198.51.100.1\n  - prefix: 0.0.0.0/0\n    blackhole: on"}, 65, 5, "routes[1]",
			"prefix 0.0.0.0/0 is there already"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
gateway_must_be_a_host_of_its_segment(void **state)
{
	static const struct fault_case cases[] = {
		{{30, "      address: 10.0.1.1"}, 30, 16, "segments[0].gateway.address",
			"10.0.1.1 is not inside 10.0.0.0/24"},
		{{30, "      address: 10.0.0.0"}, 30, 16, "segments[0].gateway.address",
			"network or broadcast address"},
		{{30, "      address: 10.0.0.255"}, 30, 16, "segments[0].gateway.address",
			"network or broadcast address"},
		{{31, "      mac: 02:00:5e:10:00:0a"}, 31, 12, "segments[0].gateway.mac",
			"is router.mac too"},
	};
	static const struct fault_case of_peer = {
		{0}, 56, 10, "peers[0].mac", "is the gateway MAC of segment \"seg1\""};
	static const struct change gateway_mac = {31, "      mac: 02:00:5e:10:00:0b"};
	struct config c;
	struct faults f;

	(void)state;
	EXPECT_EACH(cases);
	faults_init(&f);
	load_changed(&gateway_mac, 1, &c, &f);
	assert_int_equal(f.n, 1);
	expect_fault(&f.items[0], &of_peer);
	faults_fini(&f);
}

static void
references_must_name_a_port_of_the_right_role(void **state)
{
	static const struct fault_case cases[] = {
		{{33, "      - port: dc9"}, 33, 15, "segments[0].attachments[0].port",
			"there is no port \"dc9\""},
		{{33, "      - port: wan0"}, 33, 15, "segments[0].attachments[0].port",
			"port \"wan0\" has role: wan; name one with role: dc"},
		{{45, "      - port: dc0"}, 45, 15, "segments[1].exits[0].port", "name one with role: wan"},
		{{45, "      - port: lost"}, 45, 15, "segments[1].exits[0].port",
			"there is no port \"lost\""},
		{{64, "    port: dc0"}, 64, 11, "routes[0].port", "port \"dc0\" has role: dc"},
		{{64, "    port: lost"}, 64, 11, "routes[0].port", "there is no port \"lost\""},
		{{5, "  vtep: 198.51.100.99"}, 5, 9, "router.vtep",
			"is not the address of a port with role: wan"},
		{{24, "    role: dc\n    address: 192.0.2.1/24"}, 25, 14, "ports[1].address",
			"is not allowed with role: dc"},
		{{40, "    access: nat"}, 45, 7, "segments[1].exits", "is not allowed with access: nat"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
prefixes_must_not_overlap(void **state)
{
	static const struct fault_case cases[] = {
		{{24, "    role: dc\n  - name: wan1\n    device: d2\n    role: wan\n    address: "
		      "198.51.100.5/29"},
			28, 14, "ports[2].address",
			"198.51.100.0/29 overlaps 198.51.100.0/30 of port \"wan0\""},
		{{50, "    prefix: 203.0.113.32/27"}, 50, 13, "pools[1].prefix",
			"overlaps 203.0.113.0/26 of pool \"p1\""},
		{{50, "    prefix: 10.0.2.64/26"}, 50, 13, "pools[1].prefix",
			"overlaps 10.0.2.0/24 of segment \"seg2\""},
		{{50, "    prefix: 198.51.100.0/31"}, 50, 13, "pools[1].prefix",
			"of port \"wan0\"; use mode: on-link"},
		{{50, "    prefix: 198.51.100.2/32\n    mode: on-link"}, 50, 13, "pools[1].prefix",
			"holds the own address 198.51.100.2"},
		{{50, "    prefix: 203.0.113.64/26\n    mode: on-link"}, 50, 13, "pools[1].prefix",
			"is not part of the connected prefix of a wan port"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
segments_must_not_overlap_segments_or_ports(void **state)
{
	static const struct change both[] = {
		{36, "    prefix: 10.0.0.0/16"}, {38, "      address: 10.0.0.2"}};
	static const struct change wan[] = {
		{36, "    prefix: 198.51.0.0/16"}, {38, "      address: 198.51.0.1"}};
	static const struct fault_case expected[] = {
		{{0}, 36, 13, "segments[1].prefix", "10.0.0.0/16 overlaps 10.0.0.0/24 of segment \"seg1\""},
		{{0}, 36, 13, "segments[1].prefix",
			"198.51.0.0/16 overlaps 198.51.100.0/30 of port \"wan0\""},
	};
	struct config c;
	struct faults f;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		faults_init(&f);
		assert_int_equal(load_changed(i == 0 ? both : wan, 2, &c, &f), -EINVAL);
		assert_int_equal(f.n, 1);
		expect_fault(&f.items[0], &expected[i]);
		faults_fini(&f);
	}
}

static void
own_address_must_be_a_host_of_its_prefix(void **state)
{
	static const struct change changes[] = {
		{21, "    address: 198.51.100.3/30"}, {5, "  vtep: 198.51.100.3"}};
	static const struct fault_case expected = {
		{0}, 21, 14, "ports[0].address", "network or broadcast address"};
	struct config c;
	struct faults f;

	(void)state;
	faults_init(&f);
	load_changed(changes, 2, &c, &f);
	assert_int_equal(f.n, 1);
	expect_fault(&f.items[0], &expected);
	faults_fini(&f);
}

static void
routes_must_be_usable(void **state)
{
	static const struct fault_case cases[] = {
		{{64, "    via: 192.0.2.77"}, 64, 10, "routes[0].via",
			"is not on the connected prefix of a wan port"},
		{{64, "    via: 198.51.100.2"}, 64, 10, "routes[0].via", "is an address of this router"},
		{{64, "    via: 198.51.100.1\n    blackhole: on"}, 65, 16, "routes[0].blackhole",
			"neither via nor port"},
		{{63, "  - prefix: 198.51.100.0/30"}, 63, 13, "routes[0].prefix",
			"is the connected prefix of port \"wan0\""},
		{{63, "  - prefix: 10.0.2.0/24"}, 63, 13, "routes[0].prefix",
			"is the prefix of segment \"seg2\""},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
control_listens_on_a_management_address_only(void **state)
{
	static const struct fault_case cases[] = {
		{{10, "  listen: 0.0.0.0:7411"}, 10, 11, "control.listen", "take a management address"},
		{{10, "  listen: 198.51.100.2:7411"}, 10, 11, "control.listen",
			"is the address of data port \"wan0\""},
		{{10, "  listen: 10.0.0.9:7411"}, 10, 11, "control.listen", "is inside segment \"seg1\""},
		{{10, "  listen: 192.0.2.10:7411\n  metrics: 0.0.0.0:9464"}, 11, 12, "control.metrics",
			"take a management address"},
		{{10, "  listen: 192.0.2.10:7411\n  metrics: 198.51.100.2:9464"}, 11, 12, "control.metrics",
			"is the address of data port \"wan0\""},
		{{10, "  listen: 192.0.2.10:7411\n  metrics: 10.0.0.9:9464"}, 11, 12, "control.metrics",
			"is inside segment \"seg1\""},
		{{10, "  listen: 192.0.2.10:7411\n  metrics: 192.0.2.10:7411"}, 11, 12, "control.metrics",
			"is control.listen already"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
workers_and_drain_must_make_sense(void **state)
{
	static const struct fault_case cases[] = {
		{{7, "  cpus: 1-"}, 7, 9, "dataplane.cpus", "is not a list of CPUs"},
		{{7, "  cpus: 3-2"}, 7, 9, "dataplane.cpus", "is not a list of CPUs"},
		{{7, "  cpus: 1,1"}, 7, 9, "dataplane.cpus", "is not a list of CPUs"},
		{{7, "  cpus: 0-2"}, 8, 16, "dataplane.control-cpu", "0 is one of cpus"},
		{{15, "  min: 25h"}, 15, 8, "drain.min", "25h is more than drain.max (1d)"},
		{{32, "    mtu: 1501\n    attachments:"}, 32, 10, "segments[0].mtu",
			"1501 is more than the mtu of its port \"dc0\" (1500)"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
all_faults_of_a_file_are_told_at_once_in_order(void **state)
{
	static const struct change changes[] = {
		{3, "  site: x\n  site: y"},
		{4, "  mac: nonsense"},
		{15, "  min: forever"},
		{20, "    rolle: wan"},
		{35, "    vni: 7001"},
		{50, "    prefix: 203.0.113.0/26"},
		{64, "    via: 1.2.3"},
	};
	static const struct fault_case expected[] = {
		{{0}, 4, 3, "", "duplicate key"},
		{{0}, 5, 8, "router.mac", "unicast MAC"},
		{{0}, 16, 8, "drain.min", "a duration"},
		{{0}, 19, 5, "ports[0].role", "missing"},
		{{0}, 21, 5, "ports[0].rolle", "did you mean \"role\"?"},
		{{0}, 36, 10, "segments[1].vni", "VNI of segment"},
		{{0}, 51, 13, "pools[1].prefix", "overlaps"},
		{{0}, 65, 10, "routes[0].via", "an IPv4 address"},
	};
	struct config c;
	struct faults f;

	(void)state;
	faults_init(&f);
	assert_int_equal(load_changed(changes, 7, &c, &f), -EINVAL);
	if (f.n != 8)
		faults_print(&f, "config", stderr);
	assert_int_equal(f.n, 8);
	for (size_t i = 0; i < 8; i++)
		expect_fault(&f.items[i], &expected[i]);
	faults_fini(&f);
}

static void
secret_keys_are_never_repeated(void **state)
{
	static const struct change change = {13, "      key: hunter2hunter2"};
	struct config c;
	struct faults f;

	(void)state;
	faults_init(&f);
	load_changed(&change, 1, &c, &f);
	assert_int_equal(f.n, 1);
	assert_null(strstr(f.items[0].text, "hunter2"));
	faults_fini(&f);
}

static void
file_that_cannot_be_read_is_a_fault(void **state)
{
	struct config c;
	struct faults f;

	(void)state;
	faults_init(&f);
	assert_int_equal(config_load("/nowhere/nearway.yaml", &c, &f), -EINVAL);
	assert_int_equal(f.n, 1);
	assert_string_equal(f.items[0].text, "cannot be read: No such file or directory");
	faults_fini(&f);
}

static void
route_at_run_time_is_checked_like_one_of_the_file(void **state)
{
	struct route r = {.prefix = {0x0a000005, 32}, .via = 0xc6336401};
	struct config c;
	struct faults f;
	struct err e;

	(void)state;
	faults_init(&f);
	assert_int_equal(load_changed(NULL, 0, &c, &f), 0);
	assert_int_equal(config_check_route(&c, &r, &e), 0);
	r.via = 0xcb007101;
	assert_int_equal(config_check_route(&c, &r, &e), -EINVAL);
	strcpy(r.port, "wan0");
	assert_int_equal(config_check_route(&c, &r, &e), 0);
	r.blackhole = true;
	assert_int_equal(config_check_route(&c, &r, &e), -EINVAL);
	r = (struct route){.prefix = {0x0a000000, 24}, .blackhole = true};
	assert_int_equal(config_check_route(&c, &r, &e), -EINVAL);
	kind_fini(&kind_config, &c);
}

#define VTEP_AT	 "      - vtep: "
#define PER_SITE "      mac: 02:00:5e:10:00:01\n      mode: per-site\n"

static void
a_local_vtep_is_no_port_no_peer_and_not_twice_there(void **state)
{
	static const struct fault_case cases[] = {
		{{33, VTEP_AT "198.51.100.9\n        port: dc0"}, 33, 15, "segments[0].attachments[0].vtep",
			"is not allowed with port"},
		{{33, VTEP_AT "198.51.100.9\n        vlan: 7"}, 34, 15, "segments[0].attachments[0].vlan",
			"the VNI tells the segment"},
		{{33, VTEP_AT "198.51.100.6"}, 33, 15, "segments[0].attachments[0].vtep",
			"the VTEP of a peer"},
		{{33, VTEP_AT "198.51.100.2"}, 33, 15, "segments[0].attachments[0].vtep",
			"is an address of this router"},
		{{33, VTEP_AT "198.51.100.9\n" VTEP_AT "198.51.100.9"}, 34, 15,
			"segments[0].attachments[1].vtep", "is attachment 0 already"},
		{{33, "      - {}"}, 33, 9, "segments[0].attachments[0]",
			"needs a port with role: dc, or a vtep"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
a_gateway_s_mode_fits_its_macs_and_the_extension(void **state)
{
	static const struct fault_case cases[] = {
		{{32, "    extension: external\n    attachments:"}, 32, 16, "segments[0].extension",
			"needs gateway.mode: per-site"},
		{{31, PER_SITE}, 30, 7, "segments[0].gateway", "needs peers"},
		{{31, "      mac: 02:00:5e:10:00:01\n      peers: [{peer: r-y, mac: 02:00:5e:10:00:02}]"}, 32,
			14, "segments[0].gateway.peers", "is not allowed with mode: shared"},
		{{31, PER_SITE "      peers: [{peer: r-q, mac: 02:00:5e:10:00:02}]"}, 33, 22,
			"segments[0].gateway.peers[0].peer", "there is no peer \"r-q\""},
		{{31, PER_SITE "      peers: [{peer: r-y, mac: 02:00:5e:10:00:01}]"}, 33, 32,
			"segments[0].gateway.peers[0].mac", "is gateway.mac too"},
		{{31, PER_SITE "      peers: [{peer: r-y, mac: 02:00:5e:10:00:0a}]"}, 33, 32,
			"segments[0].gateway.peers[0].mac", "is router.mac too"},
	};

	(void)state;
	EXPECT_EACH(cases);
}

static void
nat_prefixes_of_different_vrfs_may_overlap_and_no_others(void **state)
{
	static const struct change tenants[] = {{36, "    prefix: 10.0.0.0/24\n    vrf: b"},
		{38, "      address: 10.0.0.1"}, {40, "    access: nat"}, {44, ""}, {45, ""}};
	static const struct change routed[] = {
		{36, "    prefix: 10.0.0.0/24\n    vrf: b"}, {38, "      address: 10.0.0.1"}};
	struct config c;
	struct faults f;

	(void)state;
	faults_init(&f);
	if (load_changed(tenants, 5, &c, &f) != 0)
		faults_print(&f, "config", stderr);
	assert_int_equal(f.n, 0);
	kind_fini(&kind_config, &c);
	assert_int_equal(load_changed(routed, 2, &c, &f), -EINVAL);
	assert_int_equal(f.n, 1);
	assert_non_null(strstr(f.items[0].text, "only nat segments of different vrfs may"));
	faults_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_file_has_no_fault),
		cmocka_unit_test(a_local_vtep_is_no_port_no_peer_and_not_twice_there),
		cmocka_unit_test(a_gateway_s_mode_fits_its_macs_and_the_extension),
		cmocka_unit_test(nat_prefixes_of_different_vrfs_may_overlap_and_no_others),
		cmocka_unit_test(value_that_is_not_allowed_is_told_with_what_is),
		cmocka_unit_test(section_of_the_wrong_shape_is_one_fault),
		cmocka_unit_test(unknown_key_is_told_with_the_nearest_name),
		cmocka_unit_test(missing_key_is_told_at_the_mapping_that_lacks_it),
		cmocka_unit_test(wan_port_without_address_is_a_fault),
		cmocka_unit_test(punt_is_checked_with_name_rate_and_role),
		cmocka_unit_test(control_channel_keeps_off_the_prefix_of_a_port_that_punts),
		cmocka_unit_test(punt_interface_is_named_after_its_port),
		cmocka_unit_test(duplicates_are_told_where_the_second_stands),
		cmocka_unit_test(gateway_must_be_a_host_of_its_segment),
		cmocka_unit_test(references_must_name_a_port_of_the_right_role),
		cmocka_unit_test(prefixes_must_not_overlap),
		cmocka_unit_test(segments_must_not_overlap_segments_or_ports),
		cmocka_unit_test(own_address_must_be_a_host_of_its_prefix),
		cmocka_unit_test(routes_must_be_usable),
		cmocka_unit_test(control_listens_on_a_management_address_only),
		cmocka_unit_test(workers_and_drain_must_make_sense),
		cmocka_unit_test(all_faults_of_a_file_are_told_at_once_in_order),
		cmocka_unit_test(secret_keys_are_never_repeated),
		cmocka_unit_test(file_that_cannot_be_read_is_a_fault),
		cmocka_unit_test(route_at_run_time_is_checked_like_one_of_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
