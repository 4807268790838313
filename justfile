# The tasks of this workspace; each is also a plain command that can be typed without `just`.

# List the tasks.
default:
    @just --list

# Every gate, exactly as CI runs them.
check:
    bash .ci/run

# All tests; arguments go to cargo.
test *args:
    cargo test --workspace --no-fail-fast {{args}}

# Format every crate.
fmt:
    cargo fmt --all

# Roll a real cluster of processes through the release train; arguments go to `rehearse`.
rehearse *args:
    cargo run --release -- rehearse {{args}}
