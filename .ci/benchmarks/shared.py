"""Redis as what processes share, against GETs over the same client alone; neither with HTTP around."""

from sides import CLIENT_CORE, CONNECTIONS, Side, alternate, free_port, own_rate


def measure(options, programs, home, sides, log, figures):
    port = free_port()
    redis = Side("redis", [programs.redis / "redis-server", "--port", port, "--save", "", "--dir", home], port,
                 cores=CLIENT_CORE).start(log)
    sides.append(redis)
    ask = lambda how: own_rate([programs.ask_redis, f"redis://127.0.0.1:{port}", how, CONNECTIONS, options.seconds])
    print("links from Redis")
    rates = alternate({"shared memory": lambda: ask("shared"), "client alone": lambda: ask("alone")}, options.rounds)
    figures.add("P-11", f"links from Redis, against GETs over its client alone, {CONNECTIONS} at a time",
                f"{rates['shared memory'] / rates['client alone']:.2f} ({rates['shared memory']:,.0f}/s)", "≥ 0.6")
    redis.stop()
