"""The servers: a private PostgreSQL, processes of Signpost on it, proxies. Each is stopped by the id it was started with."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import time

from asking import Ask, Broken, Connection

# Where the system takes no port for a connection that it opens: a port stays free while its server restarts.
PORTS = range(20_000, 32_000)
START = 60  # seconds


class Server:
    """A program that listens on a port of this machine."""

    def __init__(self, name, command, port, log, **process):
        self.name, self.command, self.port, self.log = name, [str(part) for part in command], port, log
        self.options, self.process = process, None

    def start(self):
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT, **self.options)
        self.wait_until("does not listen", self.listens)
        return self

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def wait_until(self, complaint, condition):
        deadline = time.monotonic() + START
        while not condition():
            if self.process.poll() is not None:
                sys.exit(f"proxies: {self.name} ended with {self.process.returncode}, see {self.log}: {tail(self.log)}")
            if time.monotonic() > deadline:
                sys.exit(f"proxies: {self.name} {complaint}, see {self.log}: {tail(self.log)}")
            time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        """Its exit status."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(START)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def end(self):
        """When nothing is asked of it any more."""
        self.stop()


def tail(log):
    return pathlib.Path(log).read_text(errors="replace")[-2_000:]


def free_port():
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Postgres(Server):
    """A cluster of its own, which does not have to outlive a loss of power."""

    def __init__(self, programs, home, log):
        self.bin, self.home = programs, home / "postgres"
        # It refuses to run as root.
        who = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        self.home.mkdir()
        if who:
            shutil.chown(self.home, "postgres", "postgres")
        port, data = free_port(), self.home / "data"
        with open(log, "w") as lines:
            subprocess.run([self.bin / "initdb", "-D", data, "-A", "trust", "-U", "signpost", "-E", "UTF8", "--no-sync",
                            "--locale=C.UTF-8"], check=True, stdout=lines, stderr=lines, cwd=self.home, **who)
        settings = {"port": port, "unix_socket_directories": self.home, "listen_addresses": "127.0.0.1",
                    "max_connections": 200, "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off",
                    "dynamic_shared_memory_type": "mmap"}
        flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        super().__init__("PostgreSQL", [self.bin / "postgres", "-D", data, *flags], port, log, cwd=self.home, **who)

    def start(self):
        super().start()
        asked = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        self.wait_until("takes no connections", lambda: subprocess.run(asked).returncode == 0)
        return self

    @property
    def url(self):
        return f"postgres://signpost@127.0.0.1:{self.port}/postgres"

    def stop(self, how=signal.SIGINT):
        return super().stop(how)


class Signpost(Server):
    """A process of ours, away from any signpost.toml and from variables that configure it."""

    def __init__(self, name, binary, home, log, store_url, **settings):
        self.data, port = home / name, free_port()
        self.data.mkdir()
        given = {
            "data_dir": self.data, "http.bind": f"127.0.0.1:{port}", "public_url": "https://sho.rt",
            "store.url": store_url, "log.format": "json", "limits.enabled": "false", "proxies.trusted": "127.0.0.1",
            # A machine that is slow, or busy with something else, shows nothing about proxies.
            "http.request_timeout": "25s", "store.statement_timeout": "20s", "store.pool_timeout": "20s",
            "http.redirect_timeout": "20s",
            **{key.replace("__", "."): value for key, value in settings.items()},
        }
        flags = [flag for key, value in given.items() for flag in ("--set", f"{key}={value}")]
        super().__init__(name, [binary, *flags, "serve"], port, log, cwd=self.data, env={"PATH": os.environ["PATH"]})

    def start(self):
        super().start()
        self.wait_until("is not ready", self.is_ready)
        return self

    def is_ready(self):
        connection = Connection(self.port)
        try:
            return connection.send(Ask("ready", "GET", "/readyz", 200), {}).status == 200
        except Broken:
            return False
        finally:
            connection.close()

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            time.sleep(0.1)
        self.stop()  # the second signal, which ends the drain

    def call(self, method, path, status, key=None, body=None):
        """Asks it directly, for what has to go well before anything is measured."""
        fields = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {})}
        body = None if body is None else json.dumps(body).encode()
        connection = Connection(self.port)
        answer = connection.send(Ask("preparation", method, path, status, body), fields)
        connection.close()
        if answer.status != status:
            sys.exit(f"proxies: {method} {path} gave {answer}")
        return json.loads(answer.body) if answer.body else None
