#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The demo is a test, too: with the controller, both methods, and every claim of its tables.
#
#   user --- wan or R_U ---20 ms--- R_X --- DC X        VM moves from DC X to DC Y
#                  `---------------- R_Y --- DC Y
cd "$(dirname "$0")/../.." || exit 1
out=$(/usr/bin/python3 tests/lab/demo.py 2>&1)
if [ $? = 0 ]; then
	echo "ok every claim of the demo's tables holds"
else
	echo "not ok every claim of the demo's tables holds"
	printf '%s\n' "$out"
	exit 1
fi
