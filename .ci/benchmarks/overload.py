"""Overload: five times as many claims as can be served, in an open loop over thousands of connections."""

import json
import resource
import signal
import subprocess
import time

import postgres
from sides import CLIENT_CORE, Side, claims_script, free_port, ready, signpost, wrk

FACTOR = 5
CONNECTIONS = 2_000


def measure(options, programs, home, sides, log, figures):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    folder = home / "overload"
    folder.mkdir()
    database = postgres.Postgres(programs, folder, log)
    sides.append(database.side)
    for store, url in {"PostgreSQL": database.url, "the embedded default": None}.items():
        data, port = folder / store.split()[0], free_port()
        # Links are remembered as they are claimed, which is no growth by overload.
        settings = {"cache__capacity": 10_000, **({"store__url": url} if url else {})}
        lines = open(folder / f"{port}.log", "w")
        own = Side("signpost", signpost(programs.signpost, data, port, **settings), port).start(lines)
        sides.append(own)
        ready(own.port)
        overload(options, programs, folder, store, own, (data / "admin.key").read_text().strip(), lines.name, figures)
        own.stop()
    database.side.stop(signal.SIGINT)


def overload(options, programs, folder, store, own, key, lines, figures):
    print(f"overload on {store}")
    own.script = claims_script(folder, f"claim-{own.port}", key, "'https://example.com/' .. run .. '/' .. at")
    peak = max(wrk(own, options.seconds)[0] for _ in range(2))
    asked = int(FACTOR * peak)
    seconds = 5 * options.seconds
    bodies = folder / f"bodies-{own.port}"
    with open(bodies, "w") as file:
        for number in range(asked * seconds):
            file.write(f'{{"url":"https://example.com/over/{number}"}}\n')
    before = own.resident()
    begun = time.time()
    command = ["taskset", "-c", CLIENT_CORE, str(programs.oha), "--no-tui", "--output-format", "json", "-m", "POST",
               "-H", f"X-API-Key: {key}", "-T", "application/json", "-Z", str(bodies), "-c", str(CONNECTIONS),
               "-q", str(asked), "-z", f"{seconds}s", "-w", f"http://127.0.0.1:{own.port}/api/v1/links"]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    took = time.time() - begun
    grown = own.resident() - before
    recovered, deadline = None, time.monotonic() + 10
    begun = time.monotonic()
    while recovered is None and time.monotonic() < deadline:
        if wrk(own, 1)[1] == 0:
            recovered = time.monotonic() - begun
    # The store has grown by then: what it can do lies between.
    after = max(wrk(own, options.seconds)[0] for _ in range(2))
    peak = (peak + after) / 2
    statuses = {int(status): count for status, count in told["statusCodeDistribution"].items()}
    served = sum(count for status, count in statuses.items() if status < 300)
    print(f"  peak {peak:,.0f}/s ({after:,.0f}/s afterwards); asked for {asked:,}/s; answers {statuses}; errors {told['errorDistribution']}")
    durations = sorted(accepted(lines))
    p99 = durations[len(durations) * 99 // 100] * 1000
    figures.add("D-11", f"{FACTOR} × as many claims as can be served, on {store}: goodput, slowest accepted, growth, recovery",
                f"{served / took / peak:.2f}; {p99:.0f} ms; {grown / 2**20:.0f} MiB; {recovered or 99:.0f} s",
                "≥ 0.8; < 250 ms; < 64 MiB; ≤ 5 s")


def accepted(lines):
    """How long the claims took that were served, as the server saw it."""
    for line in open(lines):
        if not line.startswith("{"):
            continue  # the first key, for a person at the terminal
        told = json.loads(line)
        if told.get("http.request.method") == "POST" and told["http.response.status_code"] < 300:
            yield told["duration_s"]
