"""PostgreSQL, against its driver and pgbench alone: cold redirects, claims, growth, and a database that is frozen."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

from sides import (CLIENT_CORE, Side, alternate, claims_script, fill, free_port, own_rate, paths_script, ready, signpost, wrk,
                   zipf)

REDIRECT_CONNECTIONS = 8
POOL = 16
LINKS = 10_000


class Postgres:
    """A cluster of its own that loses nothing, on the core of the load generator."""

    def __init__(self, programs, home, log):
        self.bin, self.home, self.port, self.log = programs.postgresql, home / "postgres", free_port(), log
        self.who = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.home.mkdir()
        for folder in (home, home.parent):
            if folder.name.startswith(("signpost-bench-", "shared")):
                folder.chmod(0o711)
        if self.who:
            shutil.chown(self.home, "postgres", "postgres")
        self.run("initdb", "-D", self.home / "data", "-A", "trust", "-U", "signpost", "-E", "UTF8", "--locale=C.UTF-8")
        flags = {"port": self.port, "unix_socket_directories": self.home, "listen_addresses": "127.0.0.1",
                 "shared_buffers": "1GB", "max_connections": 200, "track_activity_query_size": 16384,
                 "max_wal_size": "8GB", "checkpoint_timeout": "30min"}
        options = [flag for name, value in flags.items() for flag in ("-c", f"{name}={value}")]
        self.side = Side("postgres", [self.bin / "postgres", "-D", self.home / "data", *options], self.port,
                         cores=CLIENT_CORE, cwd=self.home, **self.who).start(log)
        while subprocess.run([self.bin / "pg_isready", "-q", "-h", self.home, "-p", str(self.port)]).returncode:
            time.sleep(0.05)
        self.sql("CREATE DATABASE signpost", "postgres")

    @property
    def url(self):
        return f"postgres://signpost@/signpost?host={str(self.home).replace('/', '%2F')}&port={self.port}"

    def run(self, program, *arguments):
        subprocess.run([self.bin / program, *map(str, arguments)], check=True, stdout=self.log, stderr=self.log,
                       cwd=self.home, **self.who)

    def sql(self, text, database="signpost"):
        command = [self.bin / "psql", "-XqAtv", "ON_ERROR_STOP=1", "-U", "signpost", "-h", self.home, "-p",
                   str(self.port), "-d", database, "-c", text]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def family(self):
        first = self.side.process.pid
        children = pathlib.Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [first, *map(int, children)]

    def signal(self, how):
        for process in self.family():
            os.kill(process, how)

    def pgbench(self, script, seconds, clients=POOL):
        """Transactions a second of a script, asked from the server's core as we are."""
        command = ["taskset", "-c", "0", self.bin / "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "1",
                   "-T", str(seconds), "-f", str(script), "-U", "signpost", "-h", self.home, "-p", str(self.port),
                   "signpost"]
        told = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if told.returncode:
            sys.exit(f"bench: pgbench: {told.stderr}")
        return float(re.search(r"tps = ([\d.]+)", told.stdout)[1]), 0


def measure(options, programs, home, sides, log, figures):
    postgres = Postgres(programs, home, log)
    sides.append(postgres.side)
    port = free_port()
    settings = {"store__url": postgres.url, "store__pool_size": POOL,
                "store__redirect_pool_size": REDIRECT_CONNECTIONS}
    own = Side("signpost", signpost(programs.signpost, home / "pg-data", port, cache__capacity=100, **settings), port)
    sides.append(own)
    own.start(log)
    ready(own.port)
    key = (home / "pg-data/admin.key").read_text().strip()
    statement = claim_statement(postgres, port, key)
    codes = fill(port, key, LINKS)

    print("cold redirects")
    cold, raw = cold_redirects(options, programs, home, postgres, own, codes, "few")
    figures.add("P-4", f"cold redirects over PostgreSQL, against its driver alone on {REDIRECT_CONNECTIONS} connections",
                f"{cold / raw:.2f} ({cold:,.0f}/s)", "≥ 0.75")

    print("claims of new targets")
    fresh = pgbench_script(home, "fresh", statement, "random(1, 9000000000000000)")
    new_url = """'https://example.com/' .. run .. '/' .. at .. '?a=1'"""
    own.script = claims_script(home, "claim-new", key, new_url)
    new = claims(options, postgres, own, fresh)
    figures.add("P-5", f"claims of new targets, fsync on, against pgbench on {POOL} connections",
                f"{new['signpost'] / new['pgbench']:.2f} ({new['signpost']:,.0f}/s)", "≥ 0.7")

    print("claims of known targets")
    known = pgbench_script(home, "known", statement, "random(1, 1000)")
    postgres.pgbench(known, 2)
    own.script = claims_script(home, "claim-known", key, """'https://example.com/known/' .. at % 1000""")
    wrk(own, 2)
    existing = claims(options, postgres, own, known)
    figures.add("P-6", f"claims of existing targets, against pgbench on {POOL} connections",
                f"{existing['signpost'] / existing['pgbench']:.2f} ({existing['signpost']:,.0f}/s)", "≥ 0.7")

    if options.growth:
        growth(options, programs, home, postgres, own, key, codes, new_url, figures)
    own.stop()

    print("hot redirects, the database frozen and not")
    own = Side("signpost", signpost(programs.signpost, home / "pg-data", port, **settings), port,
               paths_script(home, "hot-pg", [f"/{code}" for code in zipf(codes, 100_000)]))
    sides.append(own)
    own.start(log)
    ready(own.port)
    wrk(own, 3)

    def frozen():
        postgres.signal(signal.SIGSTOP)
        try:
            return wrk(own, options.seconds)
        finally:
            postgres.signal(signal.SIGCONT)

    rates = alternate({"as usual": lambda: wrk(own, options.seconds), "frozen": frozen}, options.rounds)
    figures.add("P-12", "hot redirects with PostgreSQL frozen, against as usual",
                f"{rates['frozen'] / rates['as usual']:.2f} ({rates['frozen']:,.0f}/s)", "≥ 0.95")
    own.stop()
    postgres.side.stop(signal.SIGINT)


def cold_redirects(options, programs, home, postgres, own, codes, name):
    """Each code after all others: what little is remembered is forgotten by then."""
    postgres.sql("VACUUM ANALYZE links")
    own.script = paths_script(home, f"cold-{name}", [f"/{code}" for code in codes])
    file = home / f"codes-{name}"
    file.write_text("\n".join(codes))
    raw = lambda: own_rate([programs.raw_postgres, postgres.url, REDIRECT_CONNECTIONS, options.seconds, file])
    rates = alternate({"signpost": lambda: wrk(own, options.seconds), "driver": raw}, options.rounds)
    return rates["signpost"], rates["driver"]


def claims(options, postgres, own, script):
    return alternate({"signpost": lambda: wrk(own, options.seconds),
                      "pgbench": lambda: postgres.pgbench(script, options.seconds)}, options.rounds)


def claim_statement(postgres, port, key):
    """The very statement, as PostgreSQL saw it last."""
    fill(port, key, 1)
    claim = claims_one(port, key)
    assert claim["outcome"] == "created"
    text = postgres.sql("SELECT query FROM pg_stat_activity WHERE query LIKE 'WITH input%' LIMIT 1")
    assert "$14" in text and "$15" not in text, text
    return text


def claims_one(port, key):
    from sides import request
    return request(port, "POST", "/api/v1/links", key, {"url": f"https://example.com/statement/{time.time_ns()}"})


def pgbench_script(home, name, statement, number):
    """The statement for targets with a number that this expression of pgbench draws."""
    given = {
        1: "gen_random_uuid()", 2: "left(md5((:drawn)::text), 12)", 3: "'pgbench'::text",
        4: "sha256((:number)::text::bytea)", 5: "('https://example.com/pgbench/' || :number)", 6: "302::smallint",
        7: "false", 8: "NULL::timestamptz", 9: "NULL::text", 10: "'{}'::text[]", 11: "true",
        12: "'system'::text", 13: "'request'::text", 14: "now()",
    }
    text = re.sub(r"\$(\d+)", lambda place: given[int(place[1])], statement)
    file = home / f"{name}.sql"
    file.write_text(f"\\set number {number}\n\\set drawn random(1, 9000000000000000)\n{' '.join(text.split())};\n")
    file.chmod(0o644)
    return file


def growth(options, programs, home, postgres, own, key, few, new_url, figures):
    """The same at many links as at few."""
    print(f"growth to {options.growth:,} links")
    own.script = claims_script(home, "claim-few", key, new_url)
    few_cold = alternate({"few": lambda: cold_once(options, home, own, few, "few")}, options.rounds)["few"]
    own.script = claims_script(home, "claim-few", key, new_url)
    few_claims = alternate({"few": lambda: wrk(own, options.seconds)}, options.rounds)["few"]
    step = 500_000
    for begin in range(0, options.growth, step):
        postgres.sql(f"""
            WITH made AS (
                INSERT INTO links (id, activation_id, code, owner_id, dedup_key, target, redirect, forward_query,
                    title, tags, deduplicated, state, generation, created_at, updated_at)
                SELECT id, id, 'g' || lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') , 'growth',
                    sha256(n::text::bytea), 'https://example.com/a/target/that/is/as/long/as/targets/usually/are/' || n,
                    302, false, NULL, '{{}}', true, 'active', 1, now(), now()
                FROM (SELECT n, gen_random_uuid() AS id FROM generate_series({begin}, {begin + step - 1}) n) numbers
                RETURNING id, created_at
            )
            INSERT INTO link_events (link_id, generation, kind, actor, request_id, at)
            SELECT id, 1, 'created', 'system', 'growth', created_at FROM made""")
        print(f"  {begin + step:,} links", flush=True)
    postgres.sql("VACUUM ANALYZE links")
    postgres.sql("CHECKPOINT")
    many = postgres.sql("SELECT code FROM links TABLESAMPLE SYSTEM (2) LIMIT 200000").split()
    many_cold = alternate({"many": lambda: cold_once(options, home, own, many, "many")}, options.rounds)["many"]
    own.script = claims_script(home, "claim-few", key, new_url)
    many_claims = alternate({"many": lambda: wrk(own, options.seconds)}, options.rounds)["many"]
    figures.add("P-7", f"cold redirects and new claims at {options.growth:,} links, against those at {LINKS:,}",
                f"{many_cold / few_cold:.2f}; {many_claims / few_claims:.2f}", "≥ 0.8")


def cold_once(options, home, own, codes, name):
    own.script = paths_script(home, f"growth-{name}", [f"/{code}" for code in codes])
    return wrk(own, options.seconds)
