# Lists the recipes.
default:
    @just --list

# Starts Slipway on this machine: API, worker and pages in one process.
up *arguments:
    cargo run --bin slipway -- up {{arguments}}

# The same with a project to try, in a folder that git ignores.
demo:
    cargo run --bin slipway -- up --demo --data target/demo

# Runs the tests with private services; arguments select tests.
test *arguments:
    deploy/test.sh {{arguments}}

# Checks formatting and lints.
lint:
    cargo fmt --all --check && cargo clippy --workspace --all-targets --locked -- -D warnings

# Formats the code.
fmt:
    cargo fmt --all

# Exactly what must pass before a change goes in.
ci:
    .ci/run
