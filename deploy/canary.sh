#!/usr/bin/env bash
# Runs tests with known secrets, then searches for them in everything that was left behind.
#
#   deploy/canary.sh                  all tests of whole installations (processes, MariaDB, Redis)
#   deploy/canary.sh ARGUMENT...      arguments go to `cargo nextest run`, for example
#                                     deploy/canary.sh -E 'test(retry)'
#   deploy/canary.sh --plant          leaks one on purpose; the search has to find it
#
# Services of its own keep every statement that MariaDB and every command that Redis ever got. Each
# project of each test has the secret `CANARY`. Searched, raw, in base64 and in hex: those two
# records, the temporary folder of all tests, what the tests printed, and the process table.
set -euo pipefail

die() { printf 'deploy/canary.sh: %s\n' "$1" >&2; exit 2; }

case "${1:-}" in
  -h | --help) sed -n '2,13s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac
plant=no
if [ "${1:-}" = --plant ]; then plant=yes; shift; fi
[ $# -gt 0 ] || set -- -E 'package(slipway) & (test(/^fleet/) | test(/^up_demo/) | test(/^audit/))'

cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/slipway-canary.XXXXXX")
services=
leave() {
  local status=$?
  trap - EXIT
  [ -z "$services" ] || { kill "$services" 2>/dev/null || true; wait "$services" 2>/dev/null || true; }
  rm -rf "$work"
  exit "$status"
}
trap leave EXIT

deploy/test.sh --services >"$work/services" 2>"$work/services.log" &
services=$!
until grep -q SLIPWAY_TEST_REDIS_CA "$work/services"; do
  kill -0 "$services" 2>/dev/null || { cat "$work/services.log" >&2; die "the services did not start"; }
  sleep 0.2
done
# shellcheck disable=SC1091 # made above
. "$work/services"

mkdir "$work/kept" "$work/tmp"
chmod 777 "$work" "$work/kept"
address=${SLIPWAY_TEST_MYSQL_URL#mysql://slipway:}
password=${address%@*}
port=${address##*:}
mysql() { MYSQL_PWD=$password mariadb --no-defaults --protocol=tcp --host=127.0.0.1 --port="$port" --user=slipway "$@"; }
mysql --execute "SET GLOBAL general_log_file = '$work/kept/statements.log'; SET GLOBAL general_log = ON"
redis_port=${SLIPWAY_TEST_REDIS_URL##*:}
redis_port=${redis_port%%/*}
redis-cli -p "$redis_port" config set dir "$work/kept" >/dev/null
redis-cli -p "$redis_port" config set appendonly yes >/dev/null

canary=canary-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
status=0
SLIPWAY_TEST_CANARY=$canary TMPDIR=$work/tmp deploy/test.sh --use-environment "$@" >"$work/kept/printed.log" 2>&1 || status=$?
tail -n 3 "$work/kept/printed.log"
if [ "$plant" = yes ]; then
  mysql --execute "SELECT TO_BASE64('x$canary')" >/dev/null
fi

redis_password=${SLIPWAY_TEST_REDIS_TLS_URL#rediss://default:}
printf '%s %s\n' \
  every-project "$canary" \
  database-password "$password" \
  redis-password "${redis_password%@*}" \
  admin-password "a password for tests only" \
  up-secret k9vQ-mango-7Zt4-harbour-X2 |
  target/debug/testkit-canary "$work/kept" "$work/tmp" || status=1
exit "$status"
