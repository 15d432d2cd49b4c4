#!/usr/bin/env bash
# Tries long and hard to get a secret past the redactor, and measures it.
#
#   deploy/redact.sh                                  1,000 secrets, 5,000,000 random streams, speed
#   deploy/redact.sh --secrets 5000 --seed 7          that many secrets, from that seed on
#   deploy/redact.sh --streams 100000000              that many random streams
#
# Each secret is written in 38 spellings and split at every place in three ways; the random streams
# are compared with an oracle; 1 GiB of text without secrets must not change. Needs no services.
# Short forms of all but the speed are part of the tests.
set -euo pipefail

die() { printf 'deploy/redact.sh: %s\n' "$1" >&2; exit 2; }
number() { [[ "${2:-}" =~ ^[0-9]+$ ]] || die "$1 wants a whole number, not '${2:-}'"; }

secrets=1000
streams=5000000
seed=1
while [ $# -gt 0 ]; do
  case "$1" in
    --secrets) number "$1" "${2:-}"; secrets=$2; shift 2 ;;
    --streams) number "$1" "${2:-}"; streams=$2; shift 2 ;;
    --seed) number "$1" "${2:-}"; seed=$2; shift 2 ;;
    -h | --help) sed -n '2,11s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) die "unknown argument '$1'; see --help" ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SLIPWAY_TEST_REDACT_SECRETS=$secrets SLIPWAY_TEST_REDACT_SEED=$seed
export SLIPWAY_TEST_REDACT_ROUNDS=$((streams / 50)) SLIPWAY_TEST_REDACT_CLEAN_MB=1024
exec cargo test --release --package slipway-redact --test torture -- --include-ignored --nocapture --test-threads 1
