#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# The demo is a test, too: with the controller, both methods, and every claim of its tables.
#
#   user --- wan or R_U ---20 ms--- R_X --- DC X        VM moves from DC X to DC Y
#                  `---------------- R_Y --- DC Y
cd "$(dirname "$0")/../.." || exit 1

failed=0
case_is() { # case_is SENTENCE COMMAND...
	local sentence=$1
	shift
	if "$@"; then
		echo "ok $sentence"
	else
		echo "not ok $sentence"
		failed=1
	fi
}

out=$(/usr/bin/python3 tests/lab/demo.py 2>&1)
held=$?
case_is "every claim of the demo's tables holds" [ $held = 0 ]
[ $held = 0 ] || printf '%s\n' "$out"
case_is "the demo takes less than 3 minutes ($SECONDS s)" [ $SECONDS -lt 180 ]
exit $failed
