# The tasks of a developer, one word each. Needs bash, as .ci/* does.

set positional-arguments

[private]
default:
    @just --list --unsorted

# Find or install what the tests need: the server programs of PostgreSQL and Redis, and a C compiler
setup:
    @.ci/provision

# Start the server from source: `just run --set codes.length=10`
run *arguments:
    cargo run --locked --package app -- "$@"

# Run all tests, on private servers of their own: `just test claim` runs those with `claim` in their names
test *arguments:
    #!/usr/bin/env bash
    set -euo pipefail
    exports=$(.ci/provision)
    eval "$exports"
    cargo test --workspace --locked "$@"

# Run the races, crashes, crowds and long lists of the tests as often and as large as was promised: many minutes
soak:
    #!/usr/bin/env bash
    set -euo pipefail
    exports=$(.ci/provision)
    eval "$exports"
    SIGNPOST_TEST_SOAK=100 cargo test --release --package app --test it --locked -- races crashes crowds failover linearizable limits memory shared deep_page a_walk

# Run a part of the soak tests for that many seconds, at a tenth of the way to full size: another part each day
soak-slice seconds="100" day="":
    @.ci/soak-slice "$@"

# Fuzz the parsers of untrusted input, each for that many seconds: `just fuzz 600`, or one: `just fuzz 60 cursor`
fuzz seconds="60" *targets:
    #!/usr/bin/env bash
    set -euo pipefail
    cargo fuzz --version >/dev/null 2>&1 || cargo install --locked cargo-fuzz
    cd crates/fuzz
    # New finds stay out of the repository. The seeds in corpus/ are written by hand.
    for target in ${2:-$(cargo +nightly fuzz list --fuzz-dir .)}; do
        mkdir -p target/found/"$target"
        cargo +nightly fuzz run --fuzz-dir . "$target" target/found/"$target" corpus/"$target" -- \
            -max_total_time="$1" -max_len=4096 -timeout=10 -print_final_stats=1
    done

# Write a software bill of materials for the binary: CycloneDX 1.5 in JSON
sbom:
    cargo cyclonedx --version >/dev/null 2>&1 || cargo install --locked cargo-cyclonedx
    cargo cyclonedx --manifest-path crates/app/Cargo.toml --format json --spec-version 1.5 --override-filename signpost.cdx
    mkdir -p target/sbom
    mv crates/app/signpost.cdx.json target/sbom/
    find crates -name signpost.cdx.json -delete
    @ls target/sbom/signpost.cdx.json

# Format the code
fmt:
    cargo fmt --all

# Check format, lints and documentation
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

# Check the dependencies against deny.toml: licences, bans, sources
deny:
    cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
    cargo fetch --locked
    cargo deny --offline check licenses bans sources

# Test the API with requests made from the OpenAPI document, on both stores: `just schemathesis --examples 500 --seed 7`
schemathesis *arguments:
    @.ci/schemathesis "$@"

# Benchmark against named baselines, side by side: `just bench --write` puts the table into docs/BENCHMARKS.md
bench *arguments:
    @.ci/bench "$@"

# Benchmark the steps of a redirect and of a claim one by one, against the last run
bench-steps *arguments:
    cargo bench --locked --package adapter-cache --bench hot_path -- "$@"

# Measure the line coverage of the crates that must be safe; fails below 90 %
coverage:
    @.ci/coverage

# Run mutation tests; fails if more than 5 % of the mutants are not caught. `just mutants domain 0/40`
mutants package="" shard="":
    @.ci/mutants "$@"

[private]
coverage-verdict report:
    #!/usr/bin/env python3
    import collections, json, re, sys
    floor = {"domain": 90, "adapter-postgres": 90, "adapter-sqlite": 90, "adapter-cache": 90, "adapter-redis": 90}
    lines = collections.defaultdict(lambda: [0, 0])
    for file in json.load(open(sys.argv[1]))["data"][0]["files"]:
        crate = re.search(r"/crates/([^/]+)/src/", file["filename"])
        if crate:
            lines[crate[1]][0] += file["summary"]["lines"]["covered"]
            lines[crate[1]][1] += file["summary"]["lines"]["count"]
    share = {crate: 100 * covered / max(count, 1) for crate, (covered, count) in sorted(lines.items())}
    for crate, percent in share.items():
        print(f"{crate:<20}{percent:6.1f} %{'  at least ' + str(floor[crate]) if crate in floor else ''}")
    sys.exit(any(share.get(crate, 0) < least for crate, least in floor.items()))

# Check compose.yaml with Docker's client, or without Docker whether it is consistent with itself and this repository
compose-check:
    #!/usr/bin/env bash
    set -euo pipefail
    if docker compose version >/dev/null 2>&1; then
        docker compose config --quiet
        echo "compose.yaml is what Docker understands"
        exit
    fi
    python=python3
    if ! "$python" -c 'import yaml' 2>/dev/null; then
        python=target/tools/schemathesis/bin/python # comes with a YAML parser
        [ -x "$python" ] || { echo "needs PyYAML: run \`just schemathesis\` once, which brings it" >&2 && exit 1; }
    fi
    "$python" - <<'CHECK'
    import pathlib, re, yaml
    compose = yaml.safe_load(pathlib.Path("compose.yaml").read_text())
    services, settings = compose["services"], pathlib.Path("docs/CONFIG.md").read_text()
    for name, service in services.items():
        for need, when in service.get("depends_on", {}).items():
            assert need in services, f"{name} waits for {need}, which is no service"
            assert when["condition"] != "service_healthy" or "healthcheck" in services[need], f"{need} has no check"
        for network in service.get("networks", []):
            assert network in compose["networks"], f"{name} is on {network}, which is no network"
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], f"{name} keeps {volume} in no volume"
    signpost = services["signpost"]
    for variable in signpost["environment"]:
        assert f"`{variable}`" in settings, f"{variable} is not in docs/CONFIG.md"
    assert signpost["read_only"] and signpost["cap_drop"] == ["ALL"] and "healthcheck" in signpost
    dockerfile = signpost["build"]["dockerfile_inline"]
    assert re.search(r"^USER [1-9]", dockerfile, re.MULTILINE), "it runs as root"
    for sources in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert pathlib.Path(source).exists(), f"{source} is not there to be copied"
    print("compose.yaml is consistent; Docker itself was not asked")
    CHECK

# Check the alert rules and the dashboards: they are valid, their tests pass, and every name in them exists
alerts:
    @.ci/alerts

# Check the lists of bots and browsers against public lists of user agents
agents:
    @.ci/agents

# Generate clients from the OpenAPI document and run each of them through the whole lifecycle of a link
clients *arguments:
    @.ci/clients "$@"

# Open all pages in a browser: narrow and wide, light and dark, with scripts and without
pages *arguments:
    @.ci/pages "$@"

# Test behind nginx, HAProxy and Caddy, with refused bodies and rolling restarts: `just proxies --requests 2000`
proxies *arguments:
    @.ci/proxies "$@"

# Run today's long check: user agents and coverage floors, a part of the soak tests, generated clients and pages, or proxies
turn day="":
    #!/usr/bin/env bash
    set -euo pipefail
    day=${1:-$(($(date -u +%s) / 86400))}
    case $((day % 4)) in
        0) just clients && just pages ;;
        1) just proxies ;;
        2) just agents && just coverage ;;
        3) just soak-slice 100 ;;
    esac

# Run every check that has to pass before a change is done
ci:
    .ci/run
