"""Rolling restarts: each process in turn ends and begins again, while requests come through every proxy."""

import json
import random
import signal
import threading
import time

from asking import Ask, Broken, Connection, Tally, together
from mixed import LINKS, Mix

CLIENTS = 4  # of each configuration
RUSHING = 8
DRAIN = 5  # seconds, as `http.drain` is by default
# nginx leaves an upstream that failed alone for 10 s, by default: the other one must not go before that.
SETTLE = 11


class Load:
    """Clients that ask until they are told to stop. Some go on and on; others pause, so that proxies keep connections
    that are not used."""

    def __init__(self, configuration, port, stock):
        self.tally, self.port, self.stock = Tally(configuration.name), port, stock
        self.stopped, self.begun = threading.Event(), time.monotonic()
        self.threads = [threading.Thread(target=self.run, args=(number,), daemon=True) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, number):
        connection, mix, dice = Connection(self.port), Mix(self.stock, number), random.Random(number)
        while not self.stopped.is_set():
            self.tally.ask(connection, mix.next())
            self.stopped.wait(0.03 if number % 2 == 0 or dice.random() > 0.05 else 6 * dice.random())
        connection.close()

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()
        print(self.tally.line(time.monotonic() - self.begun), flush=True)
        return self.tally


def measure(processes, fronts, stock, rounds):
    """Restarts every process so many times; the tallies."""
    loads = [Load(configuration, front.port, stock) for configuration, front in fronts if configuration.rolls]
    drains, rush = Tally("answers of a process that drains"), Tally("connections while the listener closes")
    begun = time.monotonic()
    time.sleep(2)
    last = rounds * len(processes) - 1
    for number in range(last + 1):
        restart(processes[number % len(processes)], stock, drains, rush)
        time.sleep(SETTLE if number < last else 2)
    tallies = [load.stop() for load in loads]
    for tally in (drains, rush):
        print(tally.line(time.monotonic() - begun), flush=True)
    return [*tallies, drains, rush]


def restart(process, stock, tally, rush):
    watched = [Watched(process, ask) for ask in asks_while_draining(stock)]
    half = HalfSent(process, stock.key, "begun before the drain")
    begun = time.monotonic()
    process.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    half.finish(tally)
    # Connections that were open before, and new ones.
    for before, ask in zip(watched, asks_while_draining(stock)):
        before.judge(tally)
        if time.monotonic() > begun + DRAIN - 1:
            tally.fail(f"the answers took too long: `{ask.name}` was the last that was asked for")
            break
        Watched(process, ask).judge(tally)
    late = HalfSent(process, stock.key, "begun in the drain and finished after it")
    time.sleep(max(0, begun + DRAIN - 0.1 - time.monotonic()))
    together(RUSHING, lambda _: connect_until_refused(process, rush))
    time.sleep(max(0, begun + DRAIN + 1 - time.monotonic()))
    if process.listens():
        tally.fail(f"{process.name} listens {DRAIN + 1} s after SIGTERM")
    late.finish(tally)
    status = process.stop()
    took = time.monotonic() - begun
    if status != 0 or took > DRAIN + 5:
        tally.fail(f"{process.name} ended with {status} after {took:.1f} s")
    process.start()


def connect_until_refused(process, tally):
    """As proxies do that know nothing of the drain. Where a connection came about, its request has to be answered."""
    ask = Ask("liveness", "GET", "/livez", 200)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        connection = Connection(process.port)
        try:
            connection.open()
        except Broken:
            return
        tally.ask(connection, ask)
        connection.close()


class Watched:
    """A connection straight to a process that is about to end."""

    def __init__(self, process, ask):
        self.ask, self.connection = ask, Connection(process.port).open()

    def judge(self, tally):
        connection = self.connection
        answer = tally.ask(Held(connection), self.ask)
        if answer is None:
            return
        if answer.fields.get("connection", "").lower() != "close":
            tally.fail(f"{self.ask.name}: no `Connection: close` while draining: {answer}")
        elif not connection.ends():
            tally.fail(f"{self.ask.name}: the connection does not end after `Connection: close`")
        connection.close()


class Held:
    """Leaves the connection open, to see whether the server ends it."""

    def __init__(self, connection):
        self.connection, self.write_broke = connection, False

    def send(self, ask, fields):
        closing, self.connection.close = self.connection.close, lambda: None
        try:
            return self.connection.send(ask, fields)
        finally:
            self.connection.close = closing


class HalfSent:
    """A claim of which half is sent."""

    def __init__(self, process, key, name):
        self.name = name
        body = json.dumps({"url": f"https://example.com/half/{time.monotonic_ns()}"}).encode()
        self.rest = body[10:]
        self.connection = Connection(process.port).open()
        head = (f"POST {LINKS} HTTP/1.1\r\nHost: sho.rt\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n").encode()
        self.connection.socket.sendall(head + body[:10])
        time.sleep(0.2)

    def finish(self, tally):
        ask = Ask(f"claim {self.name}", "POST", LINKS, 201)
        try:
            self.connection.socket.sendall(self.rest)
            answer = self.connection.receive("POST")
        except (OSError, ValueError, Broken) as error:
            tally.count(ask, broken=1, failure=f"{type(error).__name__}: {error}")
            return
        tally.count(ask)
        if answer.status != 201:
            tally.fail(f"{ask.name}: {answer}")
        if answer.fields.get("connection", "").lower() != "close":
            tally.fail(f"{ask.name}: no `Connection: close`: {answer}")
        self.connection.close()


def asks_while_draining(stock):
    """One of each kind."""
    mix = Mix(stock, 0)
    kinds = (mix.redirect, mix.head, mix.unknown, mix.gone, mix.preview, mix.claim, mix.batch, mix.read,
             mix.read_unchanged, mix.list, mix.options, mix.malformed, mix.no_key, mix.document)
    asks = [kind() for kind in kinds]
    asks.append(Ask("liveness", "GET", "/livez", 200))
    asks.append(Ask("readiness", "GET", "/readyz", 503))
    return asks
