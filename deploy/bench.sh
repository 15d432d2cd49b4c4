#!/usr/bin/env bash
# Builds Slipway as it is released and measures it: see `deploy/bench.sh --help`.
#
#   deploy/bench.sh                                every part, one JSON line
#   deploy/bench.sh --reference DIR --rounds 3     a peer's bench.mjs in turn with it, and the ratios
#
# Starts its own MariaDB and Redis on free loopback ports with data in a temporary folder, and ends
# exactly those. Needs mariadb-server and redis-server, which deploy/test.sh installs, and wrk.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export PATH="$PATH:/usr/sbin:/sbin"

case " $* " in *" --help "* | *" -h "*) exec python3 deploy/bench.py --help ;; esac
if ! command -v wrk >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "deploy/bench.sh: installing wrk" >&2
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends wrk >&2
fi
cargo build --release --workspace --locked
built=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/release
exec python3 deploy/bench.py --binaries "$built" "$@"
