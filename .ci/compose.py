"""Checks docker-compose.yml without Docker: structure, references, secrets and published ports."""

import re
import sys

import yaml


def variables(text):
    """Names of the variables that the file takes from the environment; $$ is a literal dollar."""
    return set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))


def problems(compose, text, offered):
    services = compose["services"]
    for name, service in services.items():
        if "image" not in service and "build" not in service:
            yield f"{name}: neither image nor build"
        for other, how in service.get("depends_on", {}).items():
            if other not in services:
                yield f"{name}: depends on {other}, which does not exist"
            elif how["condition"] == "service_healthy" and "healthcheck" not in services[other]:
                yield f"{name}: waits for the health of {other}, which has no check"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if not source.startswith((".", "/")) and source not in compose.get("volumes", {}):
                yield f"{name}: volume {source} is not declared"
        for network in service.get("networks", []):
            if network not in compose.get("networks", {}):
                yield f"{name}: network {network} is not declared"
        for port in service.get("ports", []):
            if not port.startswith("127.0.0.1:"):
                yield f"{name}: port {port} is published beyond this machine"
    for name in sorted(variables(text) - offered):
        yield f"{name} is used but .env.example does not offer it"
    for name in sorted(offered - variables(text)):
        yield f"{name} is offered by .env.example but never used"


def main(compose_file, example_file):
    with open(compose_file, encoding="utf-8") as file:
        text = file.read()
    with open(example_file, encoding="utf-8") as file:
        lines = [line for line in file.read().splitlines() if line and not line.startswith("#")]
    offered = {line.split("=")[0] for line in lines}
    found = [f"{line} has a value that people would keep" for line in lines
             if not line.endswith("=") and re.search("PASSWORD|KEY|SECRET", line.split("=")[0])]
    found += problems(yaml.safe_load(text), text, offered)
    for problem in found:
        print(f"{compose_file}: {problem}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
