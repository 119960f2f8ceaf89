#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# `ninja install` puts every file where it belongs, and systemd finds no fault in the unit. No namespaces.
cd "$(dirname "$0")/../.." || exit 1
build=${NEARWAY_BUILD:-build}
into=$(mktemp -d)
trap 'rm -rf "$into"' EXIT

failed=0
told() { # told RC SENTENCE OUTPUT
	if [ "$1" = 0 ]; then
		echo "ok $2"
	else
		echo "not ok $2"
		printf '%s\n' "$3"
		failed=1
	fi
}

out=$(meson install -C "$build" --no-rebuild --destdir "$into" 2>&1)
told $? "the build installs into a folder of its own" "$out"

wanted=(
	bin/nearwayd bin/nearway bin/nearway-clc
	share/man/man8/nearwayd.8 share/man/man1/nearway.1 share/man/man1/nearway-clc.1
	lib/systemd/system/nearwayd.service
	share/nearway/hooks/libvirt-qemu share/nearway/hooks/nearway-qmp share/nearway/hooks/qmp.py
)
for f in conf/*.yaml; do
	wanted+=("share/doc/nearway/examples/${f##*/}")
done
prefix=$(meson introspect "$build" --buildoptions | /usr/bin/python3 -c 'import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
out=$(diff <(printf '%s\n' "${wanted[@]}" | sort) <(cd "$into$prefix" && find . -type f | sed 's|^\./||' | sort))
told $? "programs, manual pages, the unit, the hooks and the examples are installed, and nothing else" "$out"

unit="the unit passes systemd-analyze verify"
if command -v systemd-analyze >/dev/null; then
	mkdir "$into/unit"
	sed "s|$prefix/bin/|$into$prefix/bin/|" "$into$prefix/lib/systemd/system/nearwayd.service" \
		>"$into/unit/nearwayd.service"
	out=$(systemd-analyze verify --man=no "$into/unit/nearwayd.service" 2>&1)
	rc=$?
	# It also complains of units of the machine that it reads on the way.
	grep -q nearwayd <<<"$out" && rc=1
	told $rc "$unit" "$out"
else
	echo "skip $unit: no systemd-analyze"
fi
exit $failed
