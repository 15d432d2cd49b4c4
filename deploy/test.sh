#!/usr/bin/env bash
# Runs the tests with services of their own.
#
#   deploy/test.sh [ARGUMENT...]      all tests; arguments go to `cargo nextest run`, for example
#                                     deploy/test.sh -E 'package(slipway-core)'
#   deploy/test.sh --services         keep the services up and print how to reach them
#   deploy/test.sh --use-environment  use the services that SLIPWAY_TEST_* already name
#
# Starts one MariaDB and two Redis servers (one plain, one with TLS and a password) on free
# loopback ports, with data in a temporary folder, and ends exactly those. Services that already
# run on this machine are left alone. What is missing is installed first where that is possible
# (Debian and Ubuntu, as root or with passwordless sudo); otherwise the missing packages are named
# and the script ends with status 2.
#
# With arguments only the tests they select run; without, the documentation's examples run too.
# shellcheck disable=SC2317 # functions are reached by name and through traps
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cd "$root"
export PATH="$PATH:/usr/sbin:/sbin"

services_only=no
own_services=yes
case "${1:-}" in
  --services) services_only=yes; shift ;;
  --use-environment) own_services=no; shift ;;
  -h | --help) sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
esac

work=
job=
pids=()
policy=/usr/sbin/policy-rc.d
policy_state=untouched
as_root=()

say() { printf 'deploy/test.sh: %s\n' "$*" >&2; }
die() { say "$1"; exit "${2:-1}"; }

# --- what the tests need -----------------------------------------------------------------------

have() { command -v "$1" >/dev/null 2>&1; }

missing_packages() {
  have mariadbd && have mariadb-install-db && have mariadb-admin || echo mariadb-server
  have redis-server && have redis-cli || echo redis-server
  have sshd || echo openssh-server
  have ssh-keygen || echo openssh-client
  have git || echo git
  have chromium || have chromium-browser || have google-chrome || echo chromium
  have chromedriver || echo chromium-driver
  /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || echo python3-aiosmtpd
}

# Debian's packages start their daemon when they are installed; a test command must not.
forbid_service_starts() {
  if [ -e "$policy" ] || [ -L "$policy" ]; then
    "${as_root[@]}" mv "$policy" "$policy.slipway-saved"
    policy_state=saved
  else
    policy_state=added
  fi
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
}

restore_service_starts() {
  case "$policy_state" in
    saved) "${as_root[@]}" mv "$policy.slipway-saved" "$policy" ;;
    added) "${as_root[@]}" rm -f "$policy" ;;
  esac
  policy_state=untouched
}

# Ubuntu has the browser and its driver under other names.
package_here() {
  if apt-cache show "$1" >/dev/null 2>&1; then
    echo "$1"
    return
  fi
  case "$1" in
    chromium) echo chromium-browser ;;
    chromium-driver) echo chromium-chromedriver ;;
    *) echo "$1" ;;
  esac
}

install_missing() {
  local packages=() here=() package
  mapfile -t packages < <(missing_packages)
  [ ${#packages[@]} -gt 0 ] || return 0
  have apt-get || die "missing: ${packages[*]} (Debian package names); install them and run again" 2
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || die "missing: run  sudo apt-get install ${packages[*]}" 2
    as_root=(sudo -n)
  fi
  say "installing ${packages[*]}"
  "${as_root[@]}" apt-get update -qq
  for package in "${packages[@]}"; do here+=("$(package_here "$package")"); done
  forbid_service_starts
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${here[@]}" >&2
  restore_service_starts
  mapfile -t packages < <(missing_packages)
  [ ${#packages[@]} -eq 0 ] || die "still missing after installing: ${packages[*]}" 2
}

# --- starting and ending -----------------------------------------------------------------------

# A process group of its own for each child: Ctrl-C then reaches this script alone, and the
# services outlive the tests that are still tidying up.
in_background() { set -m; "$@" </dev/null & set +m; }

in_foreground() {
  in_background "$@"
  job=$!
  local status=0
  wait "$job" || status=$?
  job=
  return "$status"
}

stop_services() {
  local pid
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  pids=()
}

leave() {
  local status=$?
  trap - EXIT INT TERM HUP
  restore_service_starts
  stop_services
  [ -z "$work" ] || rm -rf "$work"
  exit "$status"
}

interrupted() {
  trap '' INT TERM HUP
  if [ -n "$job" ]; then
    kill -s "$1" -- "-$job" 2>/dev/null || true
    wait "$job" 2>/dev/null || true
  fi
  exit "$2"
}

trap leave EXIT
trap 'interrupted INT 130' INT
trap 'interrupted TERM 143' TERM
trap 'interrupted HUP 129' HUP

random_hex() { od -An -N16 -tx1 /dev/urandom | tr -d ' \n'; }

# Below the range that the kernel hands out for outgoing connections.
free_port() {
  local port
  while :; do
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
  done
  echo "$port"
}

# start NAME CHECK START: calls START PORT until CHECK PORT succeeds; another port each time,
# because somebody else may take one between looking and listening. Leaves the port in `port`.
start() {
  local name=$1 check=$2 run=$3 attempt pid
  for attempt in 1 2 3; do
    port=$(free_port)
    "$run" "$port"
    pid=$!
    for _ in $(seq 300); do
      kill -0 "$pid" 2>/dev/null || break
      if "$check" "$port" >/dev/null 2>&1; then
        pids+=("$pid")
        return 0
      fi
      sleep 0.1
    done
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    say "$name did not come up on port $port (attempt $attempt)"
  done
  tail -n 20 "$work/$name.log" >&2 || true
  die "cannot start $name"
}

# --- MariaDB -----------------------------------------------------------------------------------

run_mariadb() {
  # Durability is what these settings give up, and nothing of a test run is worth keeping.
  in_background mariadbd --no-defaults --user="$(id -un)" \
    --datadir="$work/mariadb" --socket="$work/mariadb.sock" --pid-file="$work/mariadb.pid" \
    --bind-address=127.0.0.1 --port="$1" --skip-name-resolve --init-file="$work/mariadb.sql" \
    --innodb-flush-log-at-trx-commit=0 --innodb-doublewrite=0 --innodb-flush-method=nosync \
    --character-set-server=utf8mb4 --innodb-buffer-pool-size=256M --max-connections=500 --log-error="$work/mariadb.log" \
    >/dev/null 2>&1
}

mariadb_answers() {
  MYSQL_PWD=$mysql_password mariadb-admin --no-defaults --protocol=tcp \
    --host=127.0.0.1 --port="$1" --user=slipway status
}

start_mariadb() {
  mysql_password=$(random_hex)
  # Only the socket's owner may be the server's root, so no port has an account without password.
  mariadb-install-db --no-defaults --datadir="$work/mariadb" --user="$(id -un)" \
    --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)" \
    --skip-test-db >"$work/mariadb.log" 2>&1 || { cat "$work/mariadb.log" >&2; die "cannot prepare MariaDB"; }
  cat >"$work/mariadb.sql" <<SQL
CREATE OR REPLACE USER 'slipway'@'127.0.0.1' IDENTIFIED BY '$mysql_password';
GRANT ALL ON *.* TO 'slipway'@'127.0.0.1' WITH GRANT OPTION;
SQL
  start mariadb mariadb_answers run_mariadb
  export SLIPWAY_TEST_MYSQL_URL="mysql://slipway:$mysql_password@127.0.0.1:$port"
}

# --- Redis -------------------------------------------------------------------------------------

# redis_settings NAME: what both servers share; the rest comes on standard input.
redis_settings() {
  mkdir -p "$work/$1"
  {
    printf 'bind 127.0.0.1\ndaemonize no\nsave ""\nappendonly no\nmaxmemory-policy noeviction\n'
    printf 'dir %s\nlogfile %s\n' "$work/$1" "$work/$1.log"
    cat
  } >"$work/$1.conf"
}

run_redis() { in_background redis-server "$work/redis.conf" --port "$1" >/dev/null 2>&1; }

redis_answers() { [ "$(redis-cli -h 127.0.0.1 -p "$1" ping)" = PONG ]; }

start_redis() {
  redis_settings redis </dev/null
  start redis redis_answers run_redis
  export SLIPWAY_TEST_REDIS_URL="redis://127.0.0.1:$port"
}

run_redis_tls() {
  in_background redis-server "$work/redis-tls.conf" --port 0 --tls-port "$1" >/dev/null 2>&1
}

redis_tls_answers() {
  [ "$(REDISCLI_AUTH=$redis_password redis-cli -h 127.0.0.1 -p "$1" \
    --tls --cacert "$work/certs/ca.pem" --no-auth-warning ping)" = PONG ]
}

start_redis_tls() {
  redis_password=$(random_hex)
  "$built/testkit-certs" "$work/certs"
  redis_settings redis-tls <<CONF
tls-cert-file $work/certs/server.pem
tls-key-file $work/certs/server.key
tls-ca-cert-file $work/certs/ca.pem
tls-auth-clients no
requirepass $redis_password
CONF
  start redis-tls redis_tls_answers run_redis_tls
  export SLIPWAY_TEST_REDIS_TLS_URL="rediss://default:$redis_password@127.0.0.1:$port"
  export SLIPWAY_TEST_REDIS_CA="$work/certs/ca.pem"
}

# --- the run -----------------------------------------------------------------------------------

variables=(SLIPWAY_TEST_MYSQL_URL SLIPWAY_TEST_REDIS_URL SLIPWAY_TEST_REDIS_TLS_URL SLIPWAY_TEST_REDIS_CA)

start_services() {
  # Only its owner may enter: it holds passwords and a private key.
  work=$(mktemp -d "${TMPDIR:-/tmp}/slipway-test.XXXXXX")
  start_mariadb
  start_redis
  start_redis_tls
}

keep_services() {
  local name
  for name in "${variables[@]}"; do printf 'export %s=%q\n' "$name" "${!name}"; done
  say "services are up; Ctrl-C ends them"
  wait -n "${pids[@]}" || true
  die "a service has ended by itself; its log was in $work"
}

run_tests() {
  if ! cargo nextest --version >/dev/null 2>&1; then
    say "cargo-nextest is not installed; using cargo test"
    in_foreground cargo test --workspace --locked "$@"
    return
  fi
  in_foreground cargo nextest run --workspace --locked "$@" || return
  if [ $# -eq 0 ]; then
    in_foreground cargo test --workspace --locked --doc --quiet
  fi
}

for tool in cargo cc; do
  have "$tool" || die "$tool is missing: install Rust (https://rustup.rs) and a C compiler first" 2
done
began=$SECONDS
install_missing

# Tests start the workspace's own binaries, and the TLS server needs its certificates.
in_foreground cargo build --workspace --locked
built=$(cargo metadata --format-version 1 --no-deps --locked | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')/debug

if [ "$own_services" = yes ]; then
  start_services
else
  for name in "${variables[@]}"; do
    [ -n "${!name:-}" ] || die "--use-environment: $name is not set" 2
  done
fi
[ "$services_only" = no ] || keep_services

status=0
run_tests "$@" || status=$?
if [ "$status" = 0 ]; then verdict=passed; else verdict="FAILED with status $status"; fi
say "$verdict in $((SECONDS - began)) s ($([ "$own_services" = yes ] && echo "own" || echo "given") services, $(cargo --version | cut -d' ' -f1,2))"
exit "$status"
