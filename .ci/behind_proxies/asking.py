"""Asking: connections that are kept open and hide nothing, and the count of what came of it."""

import collections
import datetime
import itertools
import socket
import threading

PATIENCE = 30  # seconds
BODY_PIECE = 16 * 1024
WITHOUT_BODY = (204, 304)
GATEWAY_FAILURES = (502, 503, 504)


class Broken(Exception):
    """The connection ended where an answer should be, or in the middle of one."""


class Ask:
    """A request, and what has to come of it."""

    def __init__(self, name, method, path, status, body=None, chunked=False, check=None, **fields):
        self.name, self.method, self.path, self.status = name, method, path, status
        self.body, self.chunked, self.check = body, chunked, check
        self.fields = {field.replace("_", "-"): value for field, value in fields.items()}


class Answer:
    def __init__(self, status, fields, body, closes):
        self.status, self.fields, self.body, self.closes = status, fields, body, closes

    def __str__(self):
        told = ", ".join(f"{field}: {value}" for field, value in self.fields.items())
        return f"{self.status} {{{told}}} {self.body[:300]!r}"


class Connection:
    """A connection to a port of this machine. It is opened again only where an answer said that it ends: a server that
    ends it at any other time breaks it. A request is written to its end before anything is read."""

    def __init__(self, port):
        self.port, self.socket, self.file = port, None, None
        self.asked = 0  # over the connection that is open
        self.write_broke = False

    def open(self):
        if self.socket is None:
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
            except OSError as error:
                raise Broken(f"no connection: {error}") from error
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.file = self.socket.makefile("rb", 64 * 1024)
            self.asked = 0
        return self

    def close(self):
        if self.socket is not None:
            self.file.close()
            self.socket.close()
            self.socket = None

    def send(self, ask, fields):
        """Writes it, and gives the answer, also where the whole of it could not be written."""
        self.open()
        self.asked += 1
        try:
            self.write_broke = False
            try:
                self.socket.sendall(encoded(ask, fields))
            except (BrokenPipeError, ConnectionResetError):
                self.write_broke = True
            answer = self.receive(ask.method)
        except (OSError, ValueError, Broken) as error:
            self.close()
            raise Broken(f"{type(error).__name__}: {error}; request {self.asked} of its connection") from error
        if answer.closes or self.write_broke:
            self.close()
        return answer

    def receive(self, method):
        while True:
            line = self.file.readline(64 * 1024)
            if not line:
                raise Broken("ended without an answer")
            version, status, *_ = line.decode("latin-1").split(" ", 2)
            if not version.startswith("HTTP/1."):
                raise Broken(f"no status line: {line[:100]!r}")
            status, fields = int(status), {}
            for line in iter(lambda: self.file.readline(64 * 1024).rstrip(b"\r\n"), b""):
                name, _, value = line.decode("latin-1").partition(":")
                fields[name.lower()] = value.strip()
            if status == 101 or status >= 200:
                break
        closes = "close" in fields.get("connection", "").lower()
        if method == "HEAD" or status in WITHOUT_BODY:
            body = b""
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            body = self.receive_chunks()
        elif "content-length" in fields:
            body = self.receive_exactly(int(fields["content-length"]))
        else:
            body, closes = self.file.read(), True
        return Answer(status, fields, body, closes)

    def receive_chunks(self):
        chunks = []
        while True:
            size = int(self.file.readline(100).partition(b";")[0], 16)
            chunks.append(self.receive_exactly(size))
            if self.file.readline(100) != b"\r\n":
                raise Broken("a chunk without its end")
            if not size:
                return b"".join(chunks)

    def receive_exactly(self, size):
        body = self.file.read(size)
        if len(body) < size:
            raise Broken(f"ended after {len(body)} of {size} bytes")
        return body

    def ends(self, patience=5):
        """Whether the server ends the connection, with nothing more to say."""
        self.socket.settimeout(patience)
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True
        except OSError:
            return False


def encoded(ask, fields):
    lines = [f"{ask.method} {ask.path} HTTP/1.1", "Host: sho.rt"]
    lines += [f"{name}: {value}" for name, value in {**ask.fields, **fields}.items()]
    body = ask.body or b""
    if ask.chunked:
        lines.append("Transfer-Encoding: chunked")
        pieces = (body[at:at + BODY_PIECE] for at in range(0, len(body), BODY_PIECE))
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif ask.body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Tally:
    """What came of many requests, from several threads."""

    numbers = itertools.count(1)

    def __init__(self, name):
        self.name, self.lock = name, threading.Lock()
        self.asked = self.gateway = self.broken = self.wrong = self.late = 0
        self.kinds = collections.Counter()
        self.failures = []

    def ask(self, connection, ask):
        """Asks, and judges. `None` if there was no answer."""
        # The name comes back with the answer: one that belongs to another request is told by it.
        name = f"proxies-{next(self.numbers)}"
        try:
            answer = connection.send(ask, {"X-Request-Id": name})
        except Broken as error:
            self.count(ask, broken=1, failure=f"{name}: {error}")
            return None
        complaint = None
        if answer.status in GATEWAY_FAILURES and answer.status != ask.status:
            self.count(ask, gateway=1, failure=f"{name}: {answer}")
            return answer
        if answer.status != ask.status:
            complaint = f"{ask.status} was expected: {answer}"
        elif answer.fields.get("x-request-id") != name:
            complaint = f"this is the answer to another request: {answer}"
        elif ask.check:
            complaint = ask.check(answer)
        if complaint:
            self.count(ask, wrong=1, failure=f"{name}: {complaint}")
        else:
            self.count(ask, late=int(connection.write_broke))
        return answer

    def count(self, ask, broken=0, gateway=0, wrong=0, late=0, failure=None):
        with self.lock:
            self.asked += 1
            self.broken += broken
            self.gateway += gateway
            self.wrong += wrong
            self.late += late
            self.kinds[f"{ask.name} {ask.status}"] += 1
            if failure:
                self.note(f"{ask.name}, {ask.method} {ask.path}: {failure}")

    def fail(self, complaint):
        """Something beside the requests is not as it has to be."""
        with self.lock:
            self.wrong += 1
            self.note(complaint)

    def note(self, complaint):
        # By the clock of the logs.
        now = datetime.datetime.now(datetime.timezone.utc)
        self.failures.append(f"{now:%H:%M:%S.%f} {self.name}: {complaint}")

    def line(self, seconds):
        late = f", {self.late} answers after a write that broke" if self.late else ""
        return (f"  {self.name:<44} {self.asked:>7,} in {seconds:5.1f} s: {self.gateway} x 502/503/504, "
                f"{self.broken} broken, {self.wrong} wrong{late}")


def together(count, work):
    """Runs `work(number)` in so many threads; a failure of one is a failure of all."""
    failures = []

    def run(number):
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001: it is raised again below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
