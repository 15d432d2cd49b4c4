#!/usr/bin/env bash
# Runs the simulation of the queue: every seed is a small installation whose workers and API servers
# are killed, frozen and cut off, in simulated time.
#
#   deploy/simulate.sh                          seeds 1 to 1000
#   deploy/simulate.sh --seeds 5000 --from 1    that many, from that one on
#
# Uses every core, prints how far it is and what happened in all; about six seeds per second and
# core. A seed that fails prints what was violated, its last events, and the command that replays
# it. Needs no services.
set -euo pipefail

die() { printf 'deploy/simulate.sh: %s\n' "$1" >&2; exit 2; }
number() { [[ "${2:-}" =~ ^[0-9]+$ ]] || die "$1 wants a whole number, not '${2:-}'"; }

seeds=1000
from=1
while [ $# -gt 0 ]; do
  case "$1" in
    --seeds) number "$1" "${2:-}"; seeds=$2; shift 2 ;;
    --from) number "$1" "${2:-}"; from=$2; shift 2 ;;
    -h | --help) sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) die "unknown argument '$1'; see --help" ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SLIPWAY_TEST_SEEDS=$seeds SLIPWAY_TEST_FIRST_SEED=$from
exec cargo test --workspace --test simulation -- --ignored --nocapture as_many_seeds_as_wanted_hold
