#!/usr/bin/env bash
# Builds Slipway as it is released and breaks it on purpose: see `deploy/chaos.sh --help`.
#
#   deploy/chaos.sh --kills 1000 --deployments 10000      what the README claims, in some minutes
#   deploy/chaos.sh --faults all=5 --kills 20             every kind of fault
#   deploy/chaos.sh --scenario all                        the two shapes of load as well
#
# Starts its own MariaDB and Redis on free loopback ports with data in temporary folders, and ends
# exactly those. Needs mariadb-server and redis-server, which deploy/test.sh installs.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"

cargo build --release --workspace --locked
built=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release

# Only builds with debug assertions may hold fail points.
for binary in slipway slipway-api slipway-worker; do
  if grep -qaE 'SLIPWAY_FAIL_POINT|claim\.before_commit' "$built/$binary"; then
    echo "deploy/chaos.sh: $binary holds fail points" >&2
    exit 1
  fi
done
exec "$built/testkit-chaos" "$@"
