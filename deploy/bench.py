#!/usr/bin/env python3
"""Measures Slipway from outside and prints one JSON line; progress goes to standard error.

  deploy/bench.sh                        every part, once
  deploy/bench.sh --only accept,drain    some parts
  deploy/bench.sh --reference DIR        a peer's bench beside it, in turn, and the ratios

The peer is a folder with a `bench.mjs` that prints the same keys (accept, read, latency, drain,
crash, dualwrite) and takes MYSQL_PORT, MYSQL_PASS, REDIS_PORT and ONLY from its environment. Both
use the same private MariaDB (a durable commit for each transaction) and Redis (append-only file,
synced each second), which are started here on free loopback ports and ended again.

Slipway is measured on its real path: a bearer token, an Idempotency-Key of its own for each request,
rights, log storage. Figures of different machines do not compare; ratios of one run do.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PARTS = ["idle", "accept", "read", "latency", "drain", "crash", "dualwrite"]
TARGETS = 100
PASSWORD = "a password for measurements"
STEP = "after:\n  - {{ name: only, run: '{command}' }}\n"
# A condition that is never true leaves a deployment without any process.
NO_STEP = "after:\n  - { name: only, run: 'true', when: \"branch == 'nowhere'\" }\n"

WRK = """
-- One JSON line for wrk: the same figures as the peer's script prints.
local method, token = os.getenv('HIT_METHOD'), os.getenv('HIT_TOKEN')
local targets, run = tonumber(os.getenv('HIT_TARGETS')), os.getenv('HIT_RUN')
local headers = { ['Authorization'] = 'Bearer ' .. token }
local n = 0
function request()
  if method == 'GET' then return wrk.format('GET', nil, headers) end
  n = n + 1
  headers['Content-Type'] = 'application/json'
  headers['Idempotency-Key'] = run .. '-' .. n
  return wrk.format('POST', nil, headers, '{"target":"t' .. n % targets .. '"}')
end
function done(s, l)
  io.write(string.format(
    '{"req":%d,"rps":%.1f,"p50_ms":%.3f,"p90_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f,' ..
    '"non2xx":%d,"sock_err":%d,"timeout":%d}\\n',
    s.requests, s.requests / (s.duration / 1e6), l:percentile(50) / 1e3, l:percentile(90) / 1e3,
    l:percentile(99) / 1e3, l.max / 1e3, s.errors.status,
    s.errors.connect + s.errors.read + s.errors.write, s.errors.timeout))
end
"""


def note(*words):
    print("#", *words, file=sys.stderr, flush=True)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(what, look, seconds=60, pause=0.02):
    """The first answer of `look` that is not None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        answer = look()
        if answer is not None:
            return answer
        time.sleep(pause)
    raise SystemExit(f"{what}: not within {seconds} s")


def quantile(values, part):
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))], 2)


def summary(values):
    return {"n": len(values), "p50_ms": quantile(values, 0.5), "p99_ms": quantile(values, 0.99),
            "min_ms": round(min(values), 2)}


def status_of(process, field):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", text)[1])


def megabytes(process, field="VmRSS"):
    return round(status_of(process, field) / 1024, 1)


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


class Services:
    """A MariaDB and a Redis of our own."""

    def __init__(self, folder):
        self.folder = folder
        self.named = {}
        self.mysql_password = secrets.token_hex(8)

    def start(self):
        self.mysql_port, self.redis_port = free_port(), free_port()
        data = self.folder / "mariadb"
        user = subprocess.check_output(["id", "-un"], text=True).strip()
        subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={user}",
                        "--auth-root-authentication-method=normal", "--skip-test-db"],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        init = self.folder / "init.sql"
        init.write_text(
            f"ALTER USER root@localhost IDENTIFIED BY '{self.mysql_password}';\n"
            f"CREATE OR REPLACE USER root@127.0.0.1 IDENTIFIED BY '{self.mysql_password}';\n"
            "GRANT ALL ON *.* TO root@127.0.0.1 WITH GRANT OPTION;\n")
        self.run("mariadb", ["mariadbd", "--no-defaults", f"--user={user}", f"--datadir={data}",
                             f"--socket={self.folder}/mariadb.sock", "--bind-address=127.0.0.1",
                             f"--port={self.mysql_port}", f"--init-file={init}",
                             "--innodb-flush-log-at-trx-commit=1", "--innodb-buffer-pool-size=512M",
                             "--max-connections=400", "--skip-name-resolve"])
        redis = self.folder / "redis"
        redis.mkdir()
        self.run("redis", ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1",
                           "--dir", str(redis), "--save", "", "--appendonly", "yes",
                           "--appendfsync", "everysec", "--maxmemory-policy", "noeviction"])
        eventually("MariaDB answers", lambda: self.try_sql("SELECT 1"))
        eventually("Redis answers", lambda: self.redis("PING") or None)

    def run(self, name, command):
        log = open(self.folder / f"{name}.log", "wb")
        self.named[name] = subprocess.Popen(command, stdout=log, stderr=log)

    def client(self, database):
        return ["mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--batch",
                "--skip-column-names", f"--port={self.mysql_port}", "--user=root",
                f"--database={database}"]

    def secret(self):
        return {**os.environ, "MYSQL_PWD": self.mysql_password}

    def try_sql(self, statement, database="mysql"):
        done = subprocess.run(self.client(database) + [f"--execute={statement}"],
                              env=self.secret(), capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    def sql(self, statement, database):
        answer = self.try_sql(statement, database)
        if answer is None:
            raise SystemExit(f"MariaDB refused: {statement}")
        return answer

    @contextlib.contextmanager
    def watch(self, database):
        """Answers questions of one row over one connection, as the peer's bench does: asking the
        API would measure the asking."""
        with subprocess.Popen(self.client(database) + ["--unbuffered"], env=self.secret(),
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            def ask(question):
                client.stdin.write(question + ";\n")
                client.stdin.flush()
                return client.stdout.readline().rstrip("\n").split("\t")

            client.stdin.write("SET time_zone = '+00:00';\n")
            yield ask
            client.stdin.close()

    def redis(self, *words):
        done = subprocess.run(["redis-cli", "-p", str(self.redis_port), *words],
                              capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    def stop(self):
        for process in self.named.values():
            process.terminate()
        for process in self.named.values():
            process.wait()


class Slipway:
    """One installation on a database of its own, with the processes that run on it."""

    def __init__(self, services, bench, settings=()):
        self.services, self.bench = services, bench
        self.name = f"bench_{secrets.token_hex(4)}"
        self.prefix = "{" + self.name + "}"
        self.processes = []
        self.port = free_port()
        key = lambda: subprocess.check_output([bench.program("slipway"), "keys", "generate"],
                                              text=True).strip()
        self.environment = {
            "SLIPWAY_ENV": "production", "DB_HOST": "127.0.0.1", "DB_USER": "root",
            "DB_PASSWORD": services.mysql_password, "REDIS_HOST": "127.0.0.1", "REDIS_PASSWORD": "",
            "ENCRYPTION_KEY": key(), "SESSION_SECRET": key(),
            "SLIPWAY_ADMIN_EMAIL": "admin@example.com", "SLIPWAY_ADMIN_PASSWORD": PASSWORD,
            "SLIPWAY__SERVER__HOST": "127.0.0.1", "SLIPWAY__SERVER__PORT": str(self.port),
            "SLIPWAY__DATABASE__PORT": str(services.mysql_port),
            "SLIPWAY__DATABASE__DATABASE": self.name,
            "SLIPWAY__REDIS__PORT": str(services.redis_port), "SLIPWAY__REDIS__TLS": "false",
            "SLIPWAY__REDIS__PREFIX": self.prefix, "SLIPWAY__LOGGING__LEVEL": "warn",
            "SLIPWAY__QUEUE__BACKLOG_LIMIT": "1000000",
            "SLIPWAY__WORKER__DIR": str(bench.folder / self.name), **dict(settings)}
        services.sql(f"CREATE DATABASE {self.name}", "mysql")
        subprocess.run([bench.program("slipway"), "migrate"], env=self.full_environment(), cwd=ROOT,
                       check=True, stdout=subprocess.DEVNULL)
        self.local = threading.local()
        self.token = None
        self.start_api()
        self.set_up()

    def full_environment(self, extra=()):
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SLIPWAY")}
        return {**kept, **self.environment, **dict(extra)}

    def start(self, program, extra=()):
        log = open(self.bench.folder / f"{program}.log", "ab")
        process = subprocess.Popen([self.bench.program(program)], env=self.full_environment(extra),
                                   cwd=ROOT, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def start_api(self):
        self.api = self.start("slipway-api")
        eventually("the API answers", self.answers)

    def answers(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return True if self.call("GET", "/health/ready")[0] == 200 else None
        return None

    def start_worker(self, concurrency=5):
        worker = self.start("slipway-worker",
                            [("SLIPWAY__QUEUE__MAX_CONCURRENCY", str(concurrency))])
        eventually("the worker waits for work", self.is_awaited)
        return worker

    def is_awaited(self):
        """A worker that waits for work blocks on a list."""
        return True if "cmd=blpop" in self.services.redis("CLIENT", "LIST") else None

    def stop(self, process, how=signal.SIGKILL):
        process.send_signal(how)
        process.wait()
        self.processes.remove(process)

    def stop_all(self):
        for process in list(self.processes):
            self.stop(process)
        self.services.sql(f"DROP DATABASE {self.name}", "mysql")

    def call(self, method, path, body=None, headers=()):
        """One request on this thread's own connection."""
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.connect()
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.local.connection = connection
        sent = {"Content-Type": "application/json", **dict(headers)}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        try:
            connection.request(method, path, None if body is None else json.dumps(body), sent)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException):
            self.local.connection = None
            raise
        return answer.status, answer, text

    def must(self, method, path, body=None, headers=()):
        status, answer, text = self.call(method, f"/api/v1{path}", body, headers)
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {text.decode()}")
        return json.loads(text) if text else None, answer

    def set_up(self):
        _, answer = self.must("POST", "/auth/login",
                              {"email": "admin@example.com", "password": PASSWORD})
        cookie = answer.getheader("Set-Cookie").split(";")[0]
        token, _ = self.must("POST", "/me/tokens", {"name": "bench"}, [("Cookie", cookie)])
        self.token = token["token"]
        self.must("POST", "/projects", {"slug": "bench"})
        self.set_step(NO_STEP)
        for number in range(TARGETS):
            self.must("POST", "/projects/bench/targets",
                      {"slug": f"t{number}", "kind": "local",
                       "path": str(self.bench.folder / self.name / f"t{number}")})

    def set_step(self, source):
        self.must("PUT", "/projects/bench/pipeline", {"source": source})

    def deploy(self, number):
        body = {"target": f"t{number % TARGETS}"}
        key = [("Idempotency-Key", secrets.token_hex(8))]
        return self.must("POST", "/projects/bench/deployments", body, key)[0]["id"]

    def enqueue(self, count):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(self.deploy, range(count)))

    def wrk(self, connections, method, path, seconds=None):
        environment = {**os.environ, "HIT_METHOD": method, "HIT_TOKEN": self.token,
                       "HIT_TARGETS": str(TARGETS), "HIT_RUN": secrets.token_hex(4)}
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds or self.bench.seconds}s", "-s",
                   str(self.bench.script), f"http://127.0.0.1:{self.port}{path}"]
        watched = {"api": self.api, **self.services.named}
        before = {name: cpu_seconds(process) for name, process in watched.items()}
        text = subprocess.run(command, env=environment, check=True, capture_output=True,
                              text=True).stdout
        result = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
        with contextlib.suppress(OSError):
            result["cpu_us"] = {
                name: round((cpu_seconds(process) - before[name]) / max(1, result["req"]) * 1e6)
                for name, process in watched.items()}
        return result

    def count(self, condition):
        return int(self.services.sql(f"SELECT COUNT(*) FROM deployments WHERE {condition}",
                                     self.name))

    def unrecorded_runs(self):
        """Deployments with more runs than were charged or noted as interrupted."""
        return int(self.services.sql(
            "SELECT COUNT(*) FROM deployments JOIN (SELECT deployment_id, COUNT(DISTINCT fence) "
            "AS runs FROM steps GROUP BY deployment_id) seen ON deployment_id = deployments.id "
            "WHERE runs > attempt + interruptions", self.name))


class Bench:
    """The parts, each on installations of its own."""

    def __init__(self, arguments, folder, services):
        self.folder, self.services = folder, services
        self.seconds, self.drain_n, self.latency_n = (arguments.seconds, arguments.drain,
                                                      arguments.latency)
        self.binaries = pathlib.Path(arguments.binaries)
        self.script = folder / "hit.lua"
        self.script.write_text(WRK)

    def program(self, name):
        return str(self.binaries / name)

    @contextlib.contextmanager
    def slipway(self, *settings):
        installation = Slipway(self.services, self, settings)
        try:
            yield installation
        finally:
            installation.stop_all()

    def idle(self):
        with self.slipway() as slipway:
            worker = slipway.start_worker()
            time.sleep(3)
            before = cpu_seconds(worker) + cpu_seconds(slipway.api)
            time.sleep(3)
            used = cpu_seconds(worker) + cpu_seconds(slipway.api) - before
            return {"server_rss_mb": megabytes(slipway.api), "worker_rss_mb": megabytes(worker),
                    "cpu_pct": round(used / 3 * 100, 1)}

    def accept(self):
        path = "/api/v1/projects/bench/deployments"
        result = {}
        for connections in (1, 8, 64):
            with self.slipway() as slipway:
                result[f"c{connections}"] = slipway.wrk(connections, "POST", path)
                result["server_rss_mb"] = megabytes(slipway.api)
            note("accept", connections, result[f"c{connections}"])
        with self.slipway() as slipway:
            slipway.set_step(STEP.format(command="true"))
            slipway.start_worker()
            result["c8_while_draining"] = slipway.wrk(8, "POST", path)
            result["drained_meanwhile"] = slipway.count("status = 'succeeded'")
        return result

    def read(self):
        with self.slipway() as slipway:
            slipway.enqueue(200)
            result = {}
            for name, path in (("list", "/api/v1/deployments?limit=50"), ("health", "/health/live")):
                for connections in (1, 64):
                    result[f"{name}_c{connections}"] = slipway.wrk(connections, "GET", path)
            return result

    def latency(self):
        result = {}
        for name, step in (("/bin/true", STEP.format(command="true")), ("no_process", NO_STEP)):
            with self.slipway() as slipway:
                slipway.set_step(step)
                slipway.start_worker()
                accept, start, finish = [], [], []
                with slipway.services.watch(slipway.name) as watch:
                    for number in range(self.latency_n):
                        sent, begun = time.time() * 1e3, time.perf_counter()
                        identity = slipway.deploy(number)
                        accept.append((time.perf_counter() - begun) * 1e3)
                        started, finished = eventually(
                            "a deployment ends", lambda: self.ended(watch, identity), pause=0.002)
                        start.append(started - sent)
                        finish.append(finished - sent)
                result[name] = {"accept": summary(accept), "start": summary(start),
                                "finish": summary(finish)}
        return result

    @staticmethod
    def ended(watch, identity):
        """When it started and ended, in milliseconds since 1970; nothing while it has not ended."""
        since = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {}) / 1e3"
        status, started, finished = watch(
            f"SELECT status, {since.format('started_at')}, {since.format('finished_at')} "
            f"FROM deployments WHERE id = {identity}")
        if status in ("queued", "running"):
            return None
        if status != "succeeded":
            raise SystemExit(f"deployment {identity} is {status}")
        return float(started), float(finished)

    def drain(self):
        rows = []
        for workers, concurrency, step in ((1, 5, "/bin/true"), (1, 50, "/bin/true"),
                                           (2, 25, "/bin/true"), (1, 5, ""), (1, 50, ""),
                                           (2, 25, "")):
            with self.slipway() as slipway:
                slipway.set_step(STEP.format(command="true") if step else NO_STEP)
                slipway.enqueue(self.drain_n)
                running = [slipway.start("slipway-worker",
                                         [("SLIPWAY__QUEUE__MAX_CONCURRENCY", str(concurrency)),
                                          ("SLIPWAY__WORKER__DIR",
                                           str(self.folder / f"{slipway.name}-{number}"))])
                           for number in range(workers)]
                eventually("all are done",
                           lambda: True if slipway.count("status = 'succeeded'") >= self.drain_n
                           else None, seconds=120)
                spent = float(slipway.services.sql(
                    "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(started_at), MAX(finished_at)) / 1e6 "
                    "FROM deployments", slipway.name))
                rows.append({
                    "workers": workers, "concurrency": concurrency, "step": step or "no process",
                    "ok": True, "s": round(spent, 2), "per_s": round(self.drain_n / spent, 1),
                    "worker_cpu_s": round(sum(map(cpu_seconds, running)), 2),
                    "worker_peak_rss_mb": [megabytes(worker, "VmHWM") for worker in running]})
                note("drain", rows[-1])
        return rows

    def crash(self):
        rows = []
        # The lease as it comes, and the shorter one that the peer's tuned run has.
        for lease in ("30000", "5000"):
            with self.slipway(("SLIPWAY__QUEUE__LEASE_MS", lease)) as slipway:
                slipway.set_step(STEP.format(command="sleep 0.2"))
                slipway.enqueue(200)
                worker = slipway.start("slipway-worker")
                time.sleep(2.5)
                before = slipway.count("status = 'succeeded'")
                slipway.stop(worker)
                began = time.monotonic()
                worker = slipway.start("slipway-worker")
                eventually("all are done", lambda: True if slipway.count("status = 'succeeded'")
                           >= 200 else None, seconds=120)
                rows.append({
                    "lock_ms": lease, "before_kill": before, "all_done": True,
                    "done": slipway.count("status = 'succeeded'"),
                    "run_twice": slipway.unrecorded_runs(),
                    "reruns_recorded": slipway.count("interruptions > 0"),
                    "stuck": slipway.count("status <> 'succeeded'"),
                    "s_after_restart": round(time.monotonic() - began, 1),
                    "ideal_s": round((200 - before) / 5 * 0.2, 1)})
                note("crash", rows[-1])
        return rows

    def dualwrite(self):
        total = {"rounds": 0, "rows": 0, "orphans": 0, "orphans_at_the_kill": 0,
                 "worst_s_until_none": 0.0}
        path = "/api/v1/projects/bench/deployments"
        for _ in range(5):
            with self.slipway() as slipway:
                load = threading.Thread(target=slipway.wrk, args=(64, "POST", path, 2))
                load.start()
                time.sleep(0.7)
                slipway.stop(slipway.api)
                load.join()
                rows = slipway.count("1 = 1")
                orphans = lambda: slipway.count("status = 'queued'") - int(
                    slipway.services.redis("HLEN", f"{slipway.prefix}:job") or 0)
                total["orphans_at_the_kill"] += orphans()
                slipway.start_api()
                began = time.monotonic()
                with contextlib.suppress(SystemExit):
                    eventually("no row is without its job",
                               lambda: True if orphans() == 0 else None, seconds=10)
                total["worst_s_until_none"] = max(total["worst_s_until_none"],
                                                  round(time.monotonic() - began, 2))
                total["rounds"] += 1
                total["rows"] += rows
                total["orphans"] += orphans()
        note("dualwrite", total)
        return total

    def run(self, parts):
        out = {"what": "slipway", "drain_n": self.drain_n}
        for part in parts:
            out[part] = getattr(self, part)()
            note(part, json.dumps(out[part]))
        return out


def reference(folder, services, parts, arguments):
    """The peer's own bench, on the same servers."""
    environment = {**os.environ, "MYSQL_PORT": str(services.mysql_port),
                   "MYSQL_PASS": services.mysql_password, "REDIS_PORT": str(services.redis_port),
                   "REF_PORT": str(free_port()), "ONLY": ",".join(parts),
                   "DRAIN": str(arguments.drain), "LATENCY_N": str(arguments.latency),
                   "WRK_SECONDS": str(arguments.seconds)}
    text = subprocess.run(["node", "bench.mjs"], cwd=folder, env=environment, check=True,
                          stdout=subprocess.PIPE, text=True).stdout
    return json.loads(text.splitlines()[-1])


def best_drain(result, step):
    return max(row["per_s"] for row in result["drain"] if row["step"] == step)


# What a row compares, how to read it from a result, and what it must reach: at least `factor` times
# the peer's figure where more is better, at most that where less is.
ROWS = [
    ("1 accepted/s, 8 connections", lambda r: r["accept"]["c8"]["rps"], "more", 1.2),
    ("1 accepted/s, 64 connections", lambda r: r["accept"]["c64"]["rps"], "more", 1.2),
    ("2 accept p99 at 64, ms", lambda r: r["accept"]["c64"]["p99_ms"], "less", 1.0),
    ("3 accepted/s, 1 connection", lambda r: r["accept"]["c1"]["rps"], "more", 1.0),
    ("4 trigger to started, p50 ms", lambda r: r["latency"]["/bin/true"]["start"]["p50_ms"],
     "less", 1.0),
    ("5 trigger to started, p99 ms", lambda r: r["latency"]["/bin/true"]["start"]["p99_ms"],
     "less", 0.8),
    ("6 trigger to finished, p50 ms", lambda r: r["latency"]["/bin/true"]["finish"]["p50_ms"],
     "less", 1.0),
    ("7 drain with a process, /s", lambda r: best_drain(r, "/bin/true"), "more", 1.3),
    ("8 drain without a process, /s", lambda r: best_drain(r, "no process"), "more", 1.3),
    ("9 accepted/s beside a worker, 8", lambda r: r["accept"]["c8_while_draining"]["rps"], "more",
     1.2),
    ("10 idle memory, MB", lambda r: r["idle"]["server_rss_mb"] + r["idle"]["worker_rss_mb"],
     "less", 0.25),
    ("12 all done after a kill, s", lambda r: r["crash"][0]["s_after_restart"], "less", None),
    ("13 run twice unseen", lambda r: sum(row["run_twice"] for row in r["crash"]), "less", None),
    ("14 rows without a job", lambda r: r["dualwrite"]["orphans"], "less", None),
    ("15 lists/s, 64 connections", lambda r: r["read"]["list_c64"]["rps"], "more", 1.0),
]


def ratios(own, peer):
    """One line for each row that both sides have; medians over the rounds."""
    lines = []
    for name, read, better, factor in ROWS:
        try:
            mine = statistics.median(read(result) for result in own)
            theirs = statistics.median(read(result) for result in peer)
        except KeyError:
            continue
        if name.startswith("12"):
            # Held against the peer's tuned run, which is its last.
            theirs, factor = statistics.median(r["crash"][-1]["s_after_restart"] for r in peer), 1.0
        ratio = mine / theirs if theirs else None
        if factor is None:
            met = mine == 0
        elif ratio is None:
            met = better == "less" and mine == 0
        else:
            met = ratio >= factor if better == "more" else ratio <= factor
        lines.append({"row": name, "slipway": mine, "reference": theirs,
                      "ratio": None if ratio is None else round(ratio, 2),
                      "must": factor, "met": met})
    return lines


def arguments_of(words):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--reference", metavar="DIR", help="folder of a peer's bench.mjs")
    parser.add_argument("--rounds", type=int, default=None,
                        help="how often, in turn with the peer (default 3 with a peer, else 1)")
    parser.add_argument("--seconds", type=int, default=4, help="length of each load")
    parser.add_argument("--drain", type=int, default=1000, help="deployments of each drain")
    parser.add_argument("--latency", type=int, default=100, help="deployments timed one at a time")
    parser.add_argument("--binaries", default=str(ROOT / "target" / "release"),
                        help="folder of the programs")
    arguments = parser.parse_args(words)
    parts = arguments.only.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    arguments.parts = parts
    arguments.rounds = arguments.rounds or (3 if arguments.reference else 1)
    return arguments


def main(words):
    arguments = arguments_of(words)
    missing = [name for name in ("wrk", "mariadbd", "redis-server") if not shutil.which(name)]
    if missing:
        raise SystemExit(f"missing: {', '.join(missing)}; deploy/bench.sh installs them")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="slipway-bench."))
    services = Services(folder)
    own, peer = [], []
    try:
        services.start()
        for number in range(arguments.rounds):
            note(f"round {number + 1} of {arguments.rounds}")
            if arguments.reference:
                peer.append(reference(arguments.reference, services, arguments.parts, arguments))
            own.append(Bench(arguments, folder, services).run(arguments.parts))
    finally:
        services.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if not peer:
        print(json.dumps(own[0] if len(own) == 1 else own))
        return 0
    lines = ratios(own, peer)
    for line in lines:
        note(f"{line['row']:34} {line['slipway']:>10} {line['reference']:>10} "
             f"{line['ratio'] if line['ratio'] is not None else '-':>6}  must {line['must']}  "
             f"{'met' if line['met'] else 'MISSED'}")
    print(json.dumps({"slipway": own, "reference": peer, "ratios": lines}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
