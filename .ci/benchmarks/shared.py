"""Redis as what processes share, against GETs over the same client alone."""

import signal
import subprocess
import time

import postgres
from sides import CLIENT_CORE, CONNECTIONS, Side, alternate, fill, free_port, own_rate, paths_script, signpost, wrk

LINKS = 20_000


def measure(options, programs, home, sides, log, figures):
    folder = home / "shared"
    folder.mkdir()
    database = postgres.Postgres(programs, folder, log)
    sides.append(database.side)
    redis_port, port = free_port(), free_port()
    redis = Side("redis", [programs.redis / "redis-server", "--port", redis_port, "--save", "", "--dir", folder],
                 redis_port, cores=CLIENT_CORE).start(log)
    sides.append(redis)
    url = f"redis://127.0.0.1:{redis_port}"
    command = signpost(programs.signpost, folder / "data", port, store__url=database.url, redis__url=url,
                       cache__capacity=100)
    own = Side("signpost", command, port).start(log)
    sides.append(own)
    postgres.ready(own, folder / "data/admin.key")
    codes = fill(port, (folder / "data/admin.key").read_text().strip(), LINKS)
    own.script = paths_script(folder, "cold", [f"/{code}" for code in codes])
    cli = [programs.redis / "redis-cli", "-p", str(redis_port)]
    keys = []
    deadline = time.monotonic() + 60
    while len(keys) < LINKS:
        assert time.monotonic() < deadline, f"only {len(keys)} links are in Redis"
        wrk(own, 1)
        keys = subprocess.run([*cli, "KEYS", "signpost:*:????????"], check=True, capture_output=True, text=True)
        keys = keys.stdout.split()
    (folder / "keys").write_text("\n".join(keys))
    print("cold redirects from Redis")
    raw = lambda: own_rate([programs.raw_redis, url, CONNECTIONS, options.seconds, folder / "keys"])
    rates = alternate({"signpost": lambda: wrk(own, options.seconds), "client": raw}, options.rounds)
    figures.add("P-11", f"cold redirects from Redis, against {CONNECTIONS} GETs at a time over its client alone",
                f"{rates['signpost'] / rates['client']:.2f} ({rates['signpost']:,.0f}/s)", "≥ 0.6")
    own.stop()
    redis.stop()
    database.side.stop(signal.SIGINT)
