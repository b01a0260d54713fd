"""Refusals of large bodies: the status has to arrive, however the body is sent."""

import http.client
import itertools
import json
import time

from asking import Answer, Ask, Broken, Connection, Tally, together

KIB, MIB = 1024, 1024 * 1024
LINKS, BATCH = "/api/v1/links", "/api/v1/links/batch"
SINGLE_LIMIT, BATCH_LIMIT = 64 * KIB, MIB
CLIENTS = 4
# Too large by how much.
TOO_LARGE = ((LINKS, SINGLE_LIMIT + 1), (BATCH, BATCH_LIMIT + 1), (LINKS, 5 * MIB), (BATCH, 5 * MIB),
             (LINKS, 100 * KIB), (BATCH, BATCH_LIMIT + 100 * KIB))


def within_limits():
    """Paths and lengths of bodies that are read."""
    return ((LINKS, SINGLE_LIMIT), (BATCH, BATCH_LIMIT), (BATCH, 100 * KIB), (BATCH, 500 * KIB), (BATCH, SINGLE_LIMIT))


def padded(text, length):
    return text + b" " * (length - len(text))


def claim(length):
    return padded(b'{"url":"https://example.com/refused"}', length)


class Keys:
    """Who asks: an administrator, and one that may only read."""

    def __init__(self, server, admin):
        self.admin = admin
        made = server.call("POST", "/api/v1/keys", 201, admin, {"name": "reader", "scopes": ["links:read"]})
        self.reader = made["key"]


def refusals(keys):
    """What is refused, by turns, and whether by the process with limits: pairs of `Ask` and that."""
    json_type = {"Content_Type": "application/json"}
    cases = {status: [] for status in (401, 403, 404, 413, 415, 422, 429)}
    for path, length in within_limits():
        body = claim(length)
        cases[401].append((Ask("no valid key", "POST", path, 401, body, X_API_Key="sgn_none", **json_type), False))
        cases[403].append((Ask("not allowed", "POST", path, 403, body, X_API_Key=keys.reader, **json_type), False))
        cases[415].append((Ask("no JSON", "POST", path, 415, body, X_API_Key=keys.admin, Content_Type="text/plain"), False))
        wrong = json.dumps({"url" if path == LINKS else "links": "x"}).encode()
        wrong = wrong[:-1] + b',"colour":"' + b"x" * (length - len(wrong) - 12) + b'"}'
        cases[422].append((Ask("invalid", "POST", path, 422, wrong, X_API_Key=keys.admin, **json_type), False))
        cases[429].append((Ask("too often", "POST", path, 429, body, X_API_Key=keys.admin, **json_type), True))
    for method, path in (("POST", "/api/v1/nothing"), ("POST", "/nothing/here"), ("PATCH", f"{LINKS}/no-such-link"),
                         ("POST", f"{LINKS}/no-such-link/reactivate")):
        body = padded(b'{"title":"x"}', SINGLE_LIMIT)
        cases[404].append((Ask("not there", method, path, 404, body, X_API_Key=keys.admin, **json_type), False))
    for path, length in TOO_LARGE:
        cases[413].append((Ask("too large", "POST", path, 413, claim(length), X_API_Key=keys.admin, **json_type), False))
    turns = [itertools.cycle(case) for case in cases.values()]
    for number, turn in enumerate(itertools.cycle(turns)):
        ask, limited = next(turn)
        # Every other round in chunks, whose length is not told before.
        chunked = number // len(turns) % 2 == 1
        yield Ask(ask.name, ask.method, ask.path, ask.status, ask.body, chunked, **ask.fields), limited


def spend_quotas(server, key):
    """Asks the process with limits until it refuses."""
    server.call("POST", LINKS, 201, key, {"url": "https://example.com/the/only/claim"})
    server.call("POST", LINKS, 429, key, {"url": "https://example.com/one/too/many"})
    for status in 200, 429:
        server.call("POST", BATCH, status, key, {"links": [{"url": "no url"}] * 1_000})


LIMITED = {"limits__enabled": "true", "limits__claim__burst": "1", "limits__claim__per_second": "0.0001",
           "limits__batch__burst": "1000", "limits__batch__per_second": "0.0001"}


def measure(name, port, limited_port, keys, count, connect=Connection, abandons=False):
    """So many refusals, and after each a request that is none: on the same connection, unless it was said that it ends, or
    the proxy ends it without a word."""
    tally, begun, source = Tally(name), time.monotonic(), refusals(keys)
    asks = list(itertools.islice(source, count))

    def client(number):
        to = {False: connect(port), True: connect(limited_port)}
        for ask, limited in asks[number::CLIENTS]:
            tally.ask(to[limited], ask)
            if abandons and ask.status == 413:
                to[limited].close()
            tally.ask(to[limited], Ask("afterwards", "GET", "/livez", 200))
        for connection in to.values():
            connection.close()

    together(CLIENTS, client)
    print(tally.line(time.monotonic() - begun), flush=True)
    return tally


class Library:
    """Asks with the HTTP client of Python's library, which writes all before it reads."""

    def __init__(self, port):
        self.client, self.write_broke = http.client.HTTPConnection("127.0.0.1", port, timeout=30), False

    def send(self, ask, fields):
        fields = {**ask.fields, **fields}
        body, self.write_broke = ask.body, False
        if ask.chunked:
            fields["Transfer-Encoding"] = "chunked"
            body = iter([body[at:at + 16 * KIB] for at in range(0, len(body), 16 * KIB)])
        try:
            try:
                self.client.request(ask.method, ask.path, body, fields, encode_chunked=ask.chunked)
            except (BrokenPipeError, ConnectionResetError):
                # As those libraries do that are built on it.
                self.write_broke = True
            got = self.client.getresponse()
            answer = Answer(got.status, {name.lower(): value for name, value in got.getheaders()}, got.read(),
                            got.will_close)
        except (OSError, http.client.HTTPException) as error:
            self.client.close()
            raise Broken(f"{type(error).__name__}: {error}") from error
        if self.write_broke:
            self.client.close()
        return answer

    def close(self):
        self.client.close()
