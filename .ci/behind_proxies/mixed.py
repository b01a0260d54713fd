"""Mixed requests, as programs and browsers send them: what each has to be answered is known before."""

import itertools
import json
import random
import time
import uuid

from asking import Ask, Connection, Tally, together

JSON = "application/json"
LINKS = "/api/v1/links"
CLIENTS = 6
LARGE_BATCH = 500 * 1000  # bytes


class Stock:
    """Links that are there before anything is asked for."""

    def __init__(self, server, key, links=200, deleted=100):
        self.key = key
        run = uuid.uuid4().hex[:12]
        self.targets = {}
        for number in range(links):
            target = f"https://example.com/{run}/{number}"
            self.targets[server.call("POST", LINKS, 201, key, {"url": target})["code"]] = target
        self.codes = list(self.targets)
        self.alias = f"alias-{run}"
        server.call("POST", LINKS, 201, key, {"url": f"https://example.com/{run}/alias", "alias": self.alias})
        # Nothing has followed them, so that no process can remember them as they were.
        self.gone = []
        for number in range(deleted):
            code = server.call("POST", LINKS, 201, key, {"url": f"https://example.com/{run}/gone/{number}"})["code"]
            server.call("DELETE", f"{LINKS}/{code}", 200, key)
            self.gone.append(code)


class Mix:
    """The requests of one client, without end."""

    runs = itertools.count()

    def __init__(self, stock, seed):
        self.stock, self.random, self.run = stock, random.Random(seed), f"{uuid.uuid4().hex[:12]}-{next(self.runs)}"
        self.fields = {"X_API_Key": stock.key}
        self.numbers = itertools.count()
        self.own = []  # codes of this client that nothing has followed
        kinds = {
            self.redirect: 30, self.head: 6, self.upgrade: 4, self.unknown: 5, self.gone: 5, self.preview: 4,
            self.claim: 9, self.claim_in_chunks: 3, self.claim_again: 3, self.claim_once: 3, self.batch: 1,
            self.large_batch: 0.3, self.read: 5, self.read_unchanged: 2, self.read_missing: 2, self.list: 2,
            self.search: 1, self.history: 1, self.edit: 3, self.delete: 3, self.reactivate: 2, self.options: 3,
            self.malformed: 1, self.invalid: 1, self.taken: 1, self.stale: 1, self.no_key: 1, self.get_with_body: 1,
            self.page: 2, self.document: 0.5,
        }
        self.kinds, self.weights = list(kinds), list(kinds.values())

    def next(self):
        return self.random.choices(self.kinds, self.weights)[0]()

    def target(self):
        return f"https://example.com/{self.run}/{next(self.numbers)}"

    def code(self):
        return self.random.choice(self.stock.codes)

    def call(self, name, method, path, status, body=None, check=None, **more):
        fields = dict(self.fields, **more)
        if body is not None:
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
            fields.setdefault("Content_Type", JSON)
        return Ask(name, method, path, status, body, check=check, **fields)

    # --- Visitors ---

    def follow(self, name, method="GET", **fields):
        code = self.code()
        target = self.stock.targets[code]
        return Ask(name, method, f"/{code}", 302, check=has_field("location", target), **fields)

    def redirect(self):
        return self.follow("redirect", User_Agent="Mozilla/5.0", Accept="*/*")

    def head(self):
        return self.follow("HEAD of a redirect", "HEAD")

    def upgrade(self):
        """An offer that Signpost does not take up."""
        offers = {"h2c": {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2_Settings": "AAMAAABkAAQAAP__"},
                  "websocket": {"Connection": "Upgrade", "Upgrade": "websocket", "Sec_WebSocket_Version": "13",
                                "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ=="}}
        offer = self.random.choice(list(offers))
        return self.follow(f"offer of {offer}", **offers[offer])

    def unknown(self):
        return Ask("unknown code", "GET", f"/none-{self.run}-{next(self.numbers)}", 404, check=is_problem("not-found"))

    def gone(self):
        return Ask("deleted link", "GET", f"/{self.random.choice(self.stock.gone)}", 410, check=is_problem("gone"))

    def preview(self):
        code = self.code()
        kind = self.random.choice(["text/html", JSON])
        holds = self.stock.targets[code].encode()
        return Ask("preview", "GET", f"/{code}+", 200, Accept=kind,
                   check=lambda answer: None if holds in answer.body else f"{holds} is not in {answer}")

    def page(self):
        return Ask("page", "GET", self.random.choice(["/", "/docs", "/robots.txt", "/livez"]), 200)

    def document(self):
        """A long answer."""
        return Ask("OpenAPI document", "GET", "/openapi.json", 200,
                   check=lambda answer: None if json.loads(answer.body)["openapi"] else "no document")

    # --- Programs ---

    def claim(self, name="claim", body=None, status=201, **more):
        return self.call(name, "POST", LINKS, status, body or {"url": self.target()}, self.remember, **more)

    def remember(self, answer):
        code = told(answer).get("code")
        if code is None:
            return f"no code in {answer}"
        self.own.append(code)
        return None

    def claim_in_chunks(self):
        ask = self.claim("claim in chunks")
        ask.chunked = True
        return ask

    def claim_again(self):
        code = self.code()
        return self.call("claim of a known target", "POST", LINKS, 200, {"url": self.stock.targets[code]},
                         lambda answer: None if told(answer).get("code") == code else f"not {code}: {answer}")

    def claim_once(self):
        return self.claim("claim with an idempotency key", Idempotency_Key=f"{self.run}-{next(self.numbers)}")

    def batch(self, name="batch", claims=10, padding=0):
        targets = [f"{self.target()}?{'x' * padding}" for _ in range(claims)]

        def check(answer):
            results = [result["outcome"] for result in told(answer)["results"]]
            return None if results == ["created"] * claims else f"{results}"

        return self.call(name, "POST", f"{LINKS}/batch", 200, {"links": [{"url": target} for target in targets]}, check)

    def large_batch(self):
        claims = 80
        return self.batch("large batch", claims, LARGE_BATCH // claims - 100)

    def read(self):
        code = self.code()
        return self.call("read", "GET", f"{LINKS}/{code}", 200,
                         check=lambda answer: None if told(answer)["code"] == code else f"not {code}: {answer}")

    def read_unchanged(self):
        return self.call("read of what is known", "GET", f"{LINKS}/{self.code()}", 304, If_None_Match='"1"')

    def read_missing(self):
        return self.call("read of a missing link", "GET", f"{LINKS}/none-{next(self.numbers)}", 404)

    def list(self):
        return self.call("list", "GET", f"{LINKS}?limit=20", 200, check=lambda answer: None if told(answer) else "empty")

    def search(self):
        return self.call("search", "GET", f"{LINKS}?limit=5&q=example&state=active", 200)

    def history(self):
        return self.call("history", "GET", f"{LINKS}/{self.code()}/history", 200)

    def edit(self):
        if not self.own:
            return self.claim()
        title = f"Title {next(self.numbers)}"
        return self.call("edit", "PATCH", f"{LINKS}/{self.random.choice(self.own)}", 200, {"title": title},
                         lambda answer: None if told(answer)["title"] == title else f"not {title}: {answer}")

    def delete(self):
        if not self.own:
            return self.claim()
        return self.call("delete", "DELETE", f"{LINKS}/{self.own.pop()}", 200)

    def reactivate(self):
        return self.call("reactivate", "POST", f"{LINKS}/{self.code()}/reactivate", 200)

    def options(self):
        # `OPTIONS /` is what proxies probe: a process that drains answers 503.
        path = self.random.choice([LINKS, f"{LINKS}/batch", f"/{self.code()}", "/docs"])
        return Ask("OPTIONS", "OPTIONS", path, 204, check=lambda answer: None if "allow" in answer.fields else "no Allow")

    # --- Programs with mistakes ---

    def malformed(self):
        return self.call("malformed JSON", "POST", LINKS, 400, b'{"url":')

    def invalid(self):
        return self.call("invalid claim", "POST", LINKS, 422, {"url": "ftp://example.com", "alias": "api"})

    def taken(self):
        return self.call("alias that is taken", "POST", LINKS, 409, {"url": self.target(), "alias": self.stock.alias})

    def stale(self):
        return self.call("stale edit", "PATCH", f"{LINKS}/{self.code()}", 412, {"title": "late"}, If_Match='"7777"')

    def no_key(self):
        return self.call("no key", "POST", LINKS, 401, {"url": self.target()}, X_API_Key="sgn_none")

    def get_with_body(self):
        ask = self.follow("redirect with a body", Content_Type=JSON)
        ask.body = b"{}"
        return ask


def told(answer):
    return json.loads(answer.body)


def has_field(name, value):
    return lambda answer: None if answer.fields.get(name) == value else f"{name} is not {value}: {answer}"


def is_problem(code):
    return lambda answer: None if told(answer).get("code") == code else f"not {code}: {answer}"


def measure(configuration, port, stock, requests):
    """So many requests through one proxy."""
    tally, begun = Tally(configuration.name), time.monotonic()

    def client(number):
        connection, mix = Connection(port), Mix(stock, number)
        for _ in range(number, requests, CLIENTS):
            tally.ask(connection, mix.next())
        connection.close()

    together(CLIENTS, client)
    print(tally.line(time.monotonic() - begun), flush=True)
    return tally
