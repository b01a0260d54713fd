"""Sides: servers under measurement, who asks them, and the figures that come out."""

import json
import os
import pathlib
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

SERVER_CORE, CLIENT_CORE = "0", "1"
CONNECTIONS = 64


class Side:
    """A server: how it is started, where it listens, what it is asked for."""

    def __init__(self, name, command, port, script=None, cores=SERVER_CORE, **process):
        self.name, self.command, self.port, self.script = name, command, port, script
        self.cores, self.options, self.process = cores, process, None

    def start(self, log):
        pinned = ["taskset", "-c", self.cores, *map(str, self.command)]
        self.process = subprocess.Popen(pinned, stdout=log, stderr=subprocess.STDOUT, **self.options)
        wait_for_port(self.port, self.process)
        return self

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def resident(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


class Figures:
    """The rows of the table."""

    def __init__(self):
        self.rows = []

    def add(self, row, what, figure, wanted):
        self.rows.append((row, what, figure, wanted))
        print(f"{row}: {what}: {figure} (must reach {wanted})", flush=True)

    def table(self):
        lines = [f"| {row} | {what} | {figure} | {wanted} |" for row, what, figure, wanted in sorted(self.rows, key=order)]
        return "\n".join(["| | what | figure | must reach |", "|---|---|---|---|", *lines])


def order(row):
    """P-1, P-2, P-10, then the rest."""
    letter, _, number = row[0].partition("-")
    return letter != "P", letter, int(number or 0)


def wait_for_port(port, process, patience=60):
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"bench: {process.args} ended with {process.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    sys.exit(f"bench: nothing listens on port {port}")


def ready(port, patience=30):
    """Waits until a server of ours is ready; its first key is there then."""
    deadline = time.monotonic() + patience
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"the server on port {port} is not ready"
            time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def signpost(binary, home, port, **settings):
    """The command of a server of ours with one worker, whose limits count but are wider than one client can ask."""
    given = {"data_dir": home, "http.bind": f"127.0.0.1:{port}", "http.workers": "1", "log.format": "json",
             "http.drain": "0s"}
    for policy in "redirect", "read", "claim", "batch", "unknown":
        given.update({f"limits.{policy}.per_second": "1000000", f"limits.{policy}.burst": "1000000"})
    given.update({name.replace("__", "."): value for name, value in settings.items()})
    flags = [flag for key, value in given.items() for flag in ("--set", f"{key}={value}")]
    return [str(binary), *flags, "serve"]


def request(port, method, path, key=None, body=None):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["X-API-Key"] = key
    data = json.dumps(body).encode() if body is not None else None
    call = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    with urllib.request.urlopen(call, timeout=60) as answer:
        return json.load(answer)


def target(number):
    return f"https://example.com/a/target/that/is/as/long/as/targets/usually/are/{number:08d}?a=1&b=2"


def fill(port, key, links):
    """Claims so many links, and gives their codes."""
    codes = []
    for begin in range(0, links, 1000):
        batch = {"links": [{"url": target(number)} for number in range(begin, min(begin + 1000, links))]}
        answer = request(port, "POST", "/api/v1/links/batch", key, batch)
        codes += [result["link"]["code"] for result in answer["results"]]
        if len(codes) % 50_000 == 0:
            print(f"  {len(codes):,} links", flush=True)
    return codes


# --- Who asks -----------------------------------------------------------------------------------------------------

def wrk(side, seconds, connections=CONNECTIONS):
    """Requests a second, and the answers that were no success and no redirect."""
    command = ["taskset", "-c", CLIENT_CORE, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
               "-s", str(side.script), f"http://127.0.0.1:{side.port}/"]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1]), int(errors[1]) if errors else 0


def oha(binary, side, urls, rate, seconds):
    """The 99th percentile in milliseconds at so many requests a second, come what may: an open loop."""
    command = ["taskset", "-c", CLIENT_CORE, str(binary), "--no-tui", "--output-format", "json", "--redirect", "0",
               "-c", str(CONNECTIONS), "-q", str(rate), "--latency-correction", "-z", f"{seconds}s", "-w",
               "--urls-from-file", str(urls)]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return told["latencyPercentiles"]["p99"] * 1000, told["summary"]["requestsPerSec"]


def own_rate(command):
    """What a program of ours printed, which asks by itself and on the server's core."""
    pinned = ["taskset", "-c", SERVER_CORE, *map(str, command)]
    return float(subprocess.run(pinned, capture_output=True, text=True, check=True).stdout), 0


def alternate(asks, rounds):
    """The rates of all sides by name, each the median of the rounds, in which they take turns."""
    rates = {name: [] for name in asks}
    for number in range(rounds):
        for name, ask in asks.items():
            rate, errors = ask()
            rates[name].append(rate)
            print(f"  round {number + 1}: {name:<36} {rate:>12,.1f}  {errors or ''}", flush=True)
    return {name: statistics.median(values) for name, values in rates.items()}


# --- What is asked for --------------------------------------------------------------------------------------------

def paths_script(folder, name, paths):
    """A script for wrk that asks for these paths, one after the other and round again, over all its runs."""
    file = folder / f"{name}.lua"
    quoted = ",\n".join(f'"{path}"' for path in paths)
    file.write_text(f"""local paths = {{
{quoted}
}}
local requests, at = {{}}, 0
function init(args)
  math.randomseed(os.time())
  for i, path in ipairs(paths) do requests[i] = wrk.format("GET", path) end
  paths = nil
  at = math.random(#requests)
end
function request()
  at = at % #requests + 1
  return requests[at]
end
""")
    return file


def fresh_script(folder, name):
    """A script for wrk that asks for another code each time."""
    file = folder / f"{name}.lua"
    file.write_text("""local at, run
function init(args)
  at, run = 0, os.time() % 65536
end
function request()
  at = at + 1
  return wrk.format("GET", string.format("/u%04x%07x", run, at))
end
""")
    return file


def claims_script(folder, name, key, url):
    """A script for wrk that claims links to targets which the Lua expression `url` makes."""
    file = folder / f"{name}.lua"
    file.write_text(f"""local headers = {{["Content-Type"] = "application/json", ["X-API-Key"] = "{key}"}}
local at, run
function init(args)
  at, run = 0, os.time()
end
function request()
  at = at + 1
  return wrk.format("POST", "/api/v1/links", headers, '{{"url":"' .. {url} .. '"}}')
end
""")
    return file


def zipf(codes, count):
    """So many codes, the popular ones more often: Zipf's law with exponent 1."""
    weights = [1 / rank for rank in range(1, len(codes) + 1)]
    return random.Random(7).choices(codes, weights, k=count)
