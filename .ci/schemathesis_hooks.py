"""What no schema can say: which answers that look wrong to a robot are right, one by one and with the reason.

A failure is dropped only if the answer itself names a reason listed here. Any other refusal of a well-formed
request, and any acceptance of a malformed one, stays a failure.
"""

import os
from datetime import UTC, datetime
from itertools import count

import schemathesis
from hypothesis import strategies
from schemathesis.generation.meta import TestPhase
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.openapi.checks import (
    RejectedPositiveData,
    UnsupportedMethodResponse,
    UseAfterFree,
)

# Problems that depend on what the store holds, not on how the request looks.
STATEFUL_PROBLEMS = {
    "blocked": "the link was taken down",
    "domain-in-use": "links live on the short domain",
    "domain-taken": "the short domain exists",
    "gone": "the link was deleted, or has expired",
    "idempotency-key-reused": "the key came with another body before",
    "invalid-cursor": "the server seals cursors, a client cannot make one up",
    "stale": "If-Match has to name the generation that the link has now",
}

# Wrong fields that depend on the clock, on the configuration, or on the meaning of a parsed URL.
SEMANTIC_FAULTS = {
    "before-1970": "there are no statistics of earlier dates",
    "conflict": "what a field may say follows from another field",
    "forbidden-domain": "the short domains of a key stand in the store",
    "internal-name": "only the configuration tells which hosts are private",
    "no-logo": "only the configuration tells whether there is a logo",
    "not-a-host": "what a host name is stands in the WHATWG URL standard",
    "no-whole-hours": "whether a zone has the hours of UTC stands in the IANA database",
    "not-after-begin": "the end is compared with the begin",
    "not-of-that-kind": "what a value has to be follows from the kind beside it",
    "not-in-future": "an expiry is compared with the clock",
    "own-host": "only the configuration tells which hosts are ours",
    "private-address": "only the configuration tells which addresses are private",
    "refused-host": "what is blocked stands in the store",
    "retired-domain": "whether a short domain takes new links stands in the store",
    "too-many-parts": "how many parts a series has follows from three parameters",
    "unknown-domain": "the short domains stand in the store",
    "unknown-zone": "the names of time zones stand in the IANA database",
    "unreadable": "a colour is compared with its background",
    "reserved": "words that are routes are no aliases",
}

OWN_KEY = os.environ["SIGNPOST_ADMIN_KEY"].removeprefix("sgn_")[:12]
NO_KEY = "1" * 12
COUNTER = count(1)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    """A wrong claim fails alone, so a batch of anything is a good batch; clients are told what a good claim is."""
    links = raw_schema["components"]["schemas"]["Batch"]["properties"]["links"]
    links["items"] = {"anyOf": [links["items"], {}]}


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether the failure is one."""
    if isinstance(failure, RejectedPositiveData):
        return not is_refused_for_a_good_reason(response)
    if isinstance(failure, UseAfterFree):
        return not is_about_what_stays(case, response)
    if isinstance(failure, AcceptedNegativeData):
        return not any(value == "" for value in (case.query or {}).values())  # forms send what was left empty, too
    if isinstance(failure, UnsupportedMethodResponse):
        # Links with 307 or 308 redirect every method, so a link that is blocked or gone says so to every method.
        return case.operation.path != "/{code}" or response.status_code not in (404, 410, 451)
    return True


def is_refused_for_a_good_reason(response):
    if not response.content:  # HEAD does not say why; its twin does, and is judged by that
        return response.status_code in (400, 410, 422, 451)
    problem = response.json()
    if problem["code"] == "validation-failed":
        return all(fault["code"] in SEMANTIC_FAULTS or grew_too_long(fault) for fault in problem["errors"])
    return problem["code"] in STATEFUL_PROBLEMS


def grew_too_long(fault):
    """A URL may grow when it is serialised (`https://a` gets a slash), and a lifetime may end after the year 9999."""
    return fault["code"] == "too-long" and fault["pointer"].endswith(("/url", "_url", "/target", "/expires_in"))


def is_about_what_stays(case, response):
    """Deleting can be undone: a deleted link is read, with its history, deleted again, and brought back. Revoked keys are read."""
    path = case.operation.path
    if path == "/api/v1/keys/{id}" or not response.content:
        return True
    if path == "/api/v1/links/{code}":
        return response.status_code == 304 or response.json()["state"] == "deleted"
    if path == "/api/v1/links/{code}/reactivate":
        return response.json()["state"] == "active"
    return path == "/api/v1/links/{code}/history"


def moments(first_year, last_year):
    between = strategies.datetimes(datetime(first_year, 1, 1), datetime(last_year, 12, 31), timezones=strategies.just(UTC))
    return between.map(lambda moment: moment.isoformat().replace("+00:00", "Z"))


# Most times are in the future, because otherwise hardly any expiry would be accepted.
schemathesis.openapi.format("date-time", moments(1, 2020) | moments(2100, 2199) | moments(2200, 9998))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Turns aside what would spoil the run and show nothing."""
    if case.path_parameters.get("id") == OWN_KEY:
        case.path_parameters["id"] = NO_KEY  # the run would revoke the very key it calls with
    if case.meta.generation.mode.is_positive and case.meta.phase.name == TestPhase.COVERAGE:
        unite(case)


def unite(case):
    """Samples of combinations share one value for each field: one that is refused would refuse them all."""
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(next(COUNTER))
    if "If-Match" in case.headers:
        case.headers["If-Match"] = "*"
    if isinstance(case.body, dict) and case.body.get("expires_at") is not None:
        case.body["expires_at"] = "2999-12-31T23:59:59Z"
