"""What deploy/units.sh does inside its container: installs Slipway as the units say, deploys, and kills,
freezes, restarts and stops what they run. Prints a line for each thing it looked at."""

import contextlib
import http.client
import json
import pathlib
import re
import secrets
import subprocess
import time

UNITS = pathlib.Path("/slipway")
CONFIG = pathlib.Path("/etc/slipway")
KEYS = [CONFIG / "keys/encryption_key_1", CONFIG / "session_secret"]
WORKERS = ["slipway-worker@1", "slipway-worker@2"]
TARGETS = ["a", "b", "c", "d"]
# Seconds that anything may take that is not meant to take long; only what hangs reaches it.
PATIENCE = 120
SECRET = f"known-{secrets.token_hex(12)}"
# A folder that the account may write, but for the unit.
OUTSIDE = pathlib.Path("/srv/git")
# What a step should not be able to do, in its own words.
STEP = rf"""
id -un; umask; nice
grep -E '^(CapBnd|NoNewPrivs):' /proc/self/status
cat /etc/slipway/*.env && echo settings are readable
cat /proc/[1-9]*/environ 2>/dev/null | tr '\0' '\n' | grep -c ENCRYPTION_KEY || echo no key in environments
find /run/credentials -type f -size +0 | grep . && echo keys are readable
touch {OUTSIDE}/was-here && echo anything is writable
echo "the value is $API_KEY"
sleep SECONDS
"""


def run(*command, check=True):
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.returncode} {done.stdout}{done.stderr}")
    return done.stdout.strip()


def journal(*units):
    chosen = [word for unit in units for word in ("-u", unit)]
    return run("journalctl", "--no-pager", "--output=cat", *chosen)


def started(unit):
    """Changes with each start of a unit."""
    return run("systemctl", "show", "--property=InvocationID", unit)


def eventually(what, look):
    """The first answer of `look` that is not None."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError, TimeoutError, http.client.HTTPException):
            answer = look()
            if answer is not None:
                return answer
        time.sleep(0.05)
    raise SystemExit(f"{what}: not within {PATIENCE} s")


class Seen:
    def __init__(self):
        self.failed = 0
        # Nobody may ever write these down.
        self.secrets = [SECRET]

    def say(self, holds, what, seen):
        self.failed += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {what}: {seen}", flush=True)


class Client:
    def __init__(self):
        self.headers = {"Content-Type": "application/json"}

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", 3000, timeout=30)
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, self.headers)
        answer = connection.getresponse()
        return answer, answer.read().decode()

    def must(self, method, path, body=None):
        answer, text = self.ask(method, f"/api/v1{path}", body)
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        return answer, json.loads(text) if text.startswith("{") else text

    def sign_in(self):
        found = eventually("the first Admin is announced",
                           lambda: re.search(r"with password (\S+)", journal("slipway-api")))
        password = found[1]
        answer, _ = self.must("POST", "/auth/login",
                              {"email": "admin@localhost", "password": password})
        self.headers["Cookie"] = answer.getheader("Set-Cookie").split(";")[0]
        _, made = self.must("POST", "/me/tokens", {"name": "units"})
        del self.headers["Cookie"]
        self.headers["Authorization"] = f"Bearer {made['token']}"
        return made["token"]

    def is_ready(self):
        return self.ask("GET", "/health/ready")[0].status == 200 or None

    def set_step(self, seconds):
        step = {"name": "look", "run": STEP.replace("SECONDS", str(seconds))}
        source = json.dumps({"build": [step], "activate": {"keep": 3}})
        self.must("PUT", "/projects/app/pipeline", {"source": source})

    def deploy(self, target):
        body = {"target": target, "ref": "main"}
        return self.must("POST", "/projects/app/deployments", body)[1]["id"]

    def find(self, number):
        return self.must("GET", f"/deployments/{number}")[1]

    def deployed(self, target):
        """One deployment that has ended, and its log."""
        number = self.deploy(target)
        ended = self.ends([number])[0]
        return ended, self.must("GET", f"/deployments/{number}/log")[1]

    def start_all(self):
        numbers = [self.deploy(target) for target in TARGETS]
        for number in numbers:
            eventually("a deployment runs",
                       lambda number=number: self.find(number)["status"] == "running" or None)
        count = str(len(TARGETS))
        eventually("the steps run",
                   lambda: run("pgrep", "-xc", "sleep", check=False) == count or None)
        return numbers

    def end_of(self, number):
        """The ended deployment; nothing while it has not ended or the database is away."""
        answer, text = self.ask("GET", f"/api/v1/deployments/{number}")
        if answer.status >= 500:
            return None
        found = json.loads(text)
        return found if found["status"] not in ("queued", "running") else None

    def ends(self, numbers):
        return [eventually("a deployment ends", lambda number=number: self.end_of(number))
                for number in numbers]


def install():
    """As the comments of the units say; the password of the database is answered."""
    run("mariadb-install-db", "--user=mysql", "--datadir=/var/lib/mysql", "--skip-test-db")
    run("install", "-d", "-o", "redis", "-g", "redis", "/var/lib/redis")
    run("systemctl", "start", "mariadb", "redis-server")
    password = secrets.token_hex(8)
    run("mariadb", "-e", f"CREATE DATABASE deploy_orchestrator; CREATE USER slipway@127.0.0.1 IDENTIFIED "
        f"BY '{password}'; GRANT ALL ON deploy_orchestrator.* TO slipway@127.0.0.1")
    if "slipway:" not in pathlib.Path("/etc/passwd").read_text():
        run("useradd", "--system", "--home-dir", "/var/lib/slipway", "slipway")
    run("install", "-d", "-m", "0700", str(CONFIG), str(CONFIG / "keys"))
    for file in KEYS:
        private(file, secrets.token_hex(32))
    private(CONFIG / "worker.env",
            f"SLIPWAY__SECURITY__ENCRYPTION_KEY={KEYS[0].read_text()}\n")
    settings = (UNITS / "slipway.env.example").read_text()
    settings = settings.replace("DATABASE__PASSWORD=", f"DATABASE__PASSWORD={password}")
    settings = settings.replace("REDIS__TLS=true", "REDIS__TLS=false")
    private(CONFIG / "slipway.env", f"{settings}\nSLIPWAY__REPOSITORIES__LOCAL_PATHS={OUTSIDE}\n")
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.target")]:
        run("cp", str(unit), "/etc/systemd/system")
    allowed = pathlib.Path("/etc/systemd/system/slipway-worker@.service.d")
    allowed.mkdir()
    (allowed / "override.conf").write_text("[Service]\nReadWritePaths=/srv/www\n")
    run("install", "-d", "-o", "slipway", "/srv/www")
    make_repository()
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "slipway-api", *WORKERS)
    return password


def private(file, text):
    file.touch(0o400)
    file.write_text(text)


def make_repository():
    source = "/srv/source"
    run("git", "init", "--quiet", "--initial-branch=main", source)
    (pathlib.Path(source) / "index.html").write_text("hello\n")
    git = ["git", "-C", source, "-c", "user.name=a", "-c", "user.email=a@example.com"]
    run(*git, "add", "--all")
    run(*git, "commit", "--quiet", "--message=One")
    run("git", "clone", "--quiet", "--bare", source, f"{OUTSIDE}/app.git")
    run("chown", "-R", "slipway", str(OUTSIDE))


def set_up(client, seen):
    seen.secrets.append(client.sign_in())
    client.must("POST", "/projects", {"slug": "app", "repository": f"{OUTSIDE}/app.git"})
    client.must("PUT", "/projects/app/secrets/API_KEY", {"value": SECRET})
    for target in TARGETS:
        client.must("POST", "/projects/app/targets",
                    {"slug": target, "kind": "local", "path": f"/srv/www/{target}"})
    client.set_step(0)


def one(client, seen):
    """One deployment, and what its step could see and do."""
    ended, log = client.deployed("a")
    live = pathlib.Path("/srv/www/a/current/index.html")
    seen.say(ended["status"] == "succeeded" and live.read_text() == "hello\n",
             "a deployment to a folder of this host", ended["status"])
    lines = log.splitlines()
    expected = ["slipway", "0022", "10", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1",
                "no key in environments", "the value is [REDACTED]"]
    wrong = [line for line in expected if line not in lines]
    wrong += [line for line in lines if line.endswith("able")]
    wrong += [] if any("Read-only file system" in line for line in lines) else ["nothing is read-only"]
    seen.say(not wrong, "a step is the account slipway with nice 10, finds no key, reads no settings, "
             "writes nowhere else, and is masked", f"not so: {wrong}" if wrong else "by its own log")


def broken(client, seen, what, act, again, interruptions=0):
    """Does something while four deployments run after which exactly the units `again` start again."""
    numbers = client.start_all()
    before = {unit: started(unit) for unit in ["slipway-api", *WORKERS]}
    began = time.monotonic()
    act()
    ended = client.ends(numbers)
    took = time.monotonic() - began
    for unit in again:
        eventually(f"{unit} is started again",
                   lambda unit=unit: started(unit) != before[unit] or None)
    others = [unit for unit in before if unit not in again and started(unit) != before[unit]]
    held = all(it["status"] == "succeeded" and it["attempt"] == 1
               and it["interruptions"] == interruptions for it in ended)
    states = [it["status"] for it in ended]
    seen.say(held and not others, what,
             f"{states.count('succeeded')} of {len(ended)} succeeded after {took:.1f} s, attempts "
             f"{sorted({it['attempt'] for it in ended})}, interruptions "
             f"{sorted({it['interruptions'] for it in ended})}"
             + (f", and {others} were started again" if others else ""))


def signal(name, *units):
    return lambda: run("systemctl", "kill", f"--signal={name}", "--kill-whom=main", *units)


def stop_and_start():
    run("systemctl", "stop", "slipway-api", *WORKERS)
    left = run("pgrep", "-a", "-u", "slipway", check=False)
    if left:
        raise SystemExit(f"left behind by stopped units: {left}")
    run("systemctl", "start", "slipway-api", "slipway-worker.target", *WORKERS)


def outage():
    """The database is away when everybody has to start, and stays away for several tries."""
    run("systemctl", "stop", "mariadb")
    run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", "slipway-api", *WORKERS)
    eventually("the API is tried again and again", lambda: int(
        run("systemctl", "show", "--value", "--property=NRestarts", "slipway-api")) > 6 or None)
    run("systemctl", "start", "mariadb")


def break_it(client, seen):
    everybody = ["slipway-api", *WORKERS]
    client.set_step(4)
    broken(client, seen, "both workers killed", signal("KILL", *WORKERS), WORKERS, 1)
    broken(client, seen, "the API killed", signal("KILL", "slipway-api"), ["slipway-api"])
    broken(client, seen, "workers restarted through their target",
           lambda: run("systemctl", "restart", "slipway-worker.target"), WORKERS)
    broken(client, seen, "both workers frozen until the watchdog ends them",
           signal("STOP", *WORKERS), WORKERS, 1)
    broken(client, seen, "database and Redis restarted",
           lambda: run("systemctl", "restart", "mariadb", "redis-server"), [])
    broken(client, seen, "everything stopped, nothing left, and started", stop_and_start, everybody)
    broken(client, seen, "API and workers killed while the database is away", outage, everybody, 1)


def restart(client):
    run("systemctl", "restart", "slipway-api", "slipway-worker.target")
    eventually("the API answers", client.is_ready)


def rotate(client, seen):
    """A new master key, as the comments of the units say."""
    lines = (CONFIG / "slipway.env").read_text().splitlines()
    settings = [line for line in lines if line and not line.startswith("#")]
    settings += [f"SLIPWAY__SECURITY__KEYS_DIR={CONFIG}/keys",
                 f"SLIPWAY__SECURITY__SESSION_SECRET_FILE={KEYS[1]}"]
    slipway = ["env", *settings, "slipway", "keys"]
    worker = CONFIG / "worker.env"
    run(*slipway, "add")
    new = CONFIG / "keys/encryption_key_2"
    seen.secrets.append(new.read_text().strip())
    worker.write_text(f"{worker.read_text()}SLIPWAY__SECURITY__RETIRED_KEYS__2={seen.secrets[-1]}\n")
    restart(client)
    for words in (["activate", "2"], ["rewrap"], ["retire", "1"]):
        eventually(f"keys {words[0]}", lambda words=words: subprocess.run(
            [*slipway, *words], check=False, capture_output=True).returncode == 0 or None)
    KEYS[0].rename(UNITS / "retired")
    worker.write_text(f"SLIPWAY__SECURITY__ENCRYPTION_KEY={seen.secrets[-1]}\n"
                      "SLIPWAY__SECURITY__ENCRYPTION_KEY_VERSION=2\n")
    restart(client)
    client.set_step(0)
    ended, log = client.deployed("a")
    seen.say(ended["status"] == "succeeded" and "the value is [REDACTED]" in log,
             "a deployment with its secret under a new master key, the old one gone", ended["status"])


def look_back(seen):
    """Nothing stays down, and nobody wrote down what is secret."""
    units = ["slipway-api", *WORKERS, "slipway-worker.target"]
    states = {unit: run("systemctl", "is-active", unit, check=False) for unit in units}
    failed = run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "slipway*")
    seen.say(set(states.values()) == {"active"} and not failed, "units at the end", failed or states)
    enabled = run("systemctl", "is-enabled", "slipway-worker.target", check=False)
    seen.say(enabled == "enabled", "workers after the next boot", enabled)
    text = journal()
    seen.say(not any(value in text for value in seen.secrets),
             "keys, token, secret and the database's password in the journal",
             f"searched {len(text.splitlines())} lines for {len(seen.secrets)} values")


def main():
    seen = Seen()
    client = Client()
    seen.secrets += [install(), *(file.read_text() for file in KEYS)]
    eventually("the API answers", client.is_ready)
    version = run("systemctl", "--version").split("\n")[0]
    seen.say(True, "units installed and started", version)
    set_up(client, seen)
    one(client, seen)
    break_it(client, seen)
    rotate(client, seen)
    look_back(seen)
    if seen.failed:
        print(journal("slipway-api", *WORKERS)[-4000:])
    else:
        print("everything held")
    return seen.failed


if __name__ == "__main__":
    raise SystemExit(min(main(), 1))
