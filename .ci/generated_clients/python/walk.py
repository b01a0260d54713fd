"""Walks a link's whole life with the client that openapi-python-client generates.

Checked by `mypy --strict` before it runs: what it says of types is part of the test, and each `type: ignore` is an
error that has to be there.
"""

import os
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from signpost_client import AuthenticatedClient
from signpost_client.api.blocks import create_block, lift_block, list_blocks
from signpost_client.api.keys import create_key, get_key, revoke_key
from signpost_client.api.links import (
    claim_link,
    claim_links,
    delete_link,
    edit_link,
    get_link,
    list_link_events,
    list_links,
    reactivate_link,
)
from signpost_client.models import (
    ApiKey,
    Batch,
    BatchAnswer,
    Block,
    BlockKind,
    BlockPage,
    BlockState,
    Claim,
    ClaimedLink,
    Edit,
    HistoryPage,
    IssuedKey,
    Link,
    LinkEventKind,
    LinkPage,
    LinkSort,
    LinkState,
    NewApiKey,
    NewBlock,
    Outcome,
    Problem,
    ProblemCode,
    RedirectStatus,
    Scope,
)
from signpost_client.types import UNSET, Response, Unset

ADDRESS = os.environ["SIGNPOST_ADDRESS"]
ADMIN_KEY = os.environ["SIGNPOST_ADMIN_KEY"]
ME = "python"

Parsed = TypeVar("Parsed")
Wanted = TypeVar("Wanted")


def take(answer: Response[Parsed], status: int, wanted: type[Wanted]) -> Wanted:
    """What an answer holds, if it has this status and is of this type."""
    assert answer.status_code == status, f"{answer.status_code} instead of {status}: {answer.content!r}"
    assert isinstance(answer.parsed, wanted), f"{answer.parsed!r} is no {wanted}"
    return answer.parsed


def refused(answer: Response[Parsed], status: int, code: ProblemCode) -> Problem:
    """The problem an answer holds, if it is the expected one."""
    problem = take(answer, status, Problem)
    assert problem.code is code, f"{problem.code!r} instead of {code!r}"
    assert problem.status == status
    assert answer.headers["X-Request-Id"] == problem.request_id
    return problem


def claims(client: AuthenticatedClient) -> str:
    claim = Claim(
        url="https://example.com/python?a=1",
        alias=f"{ME}.link",
        title="Python",
        tags=[ME],
        redirect=RedirectStatus(308),
    )
    answer = claim_link.sync_detailed(client=client, body=claim, idempotency_key=f"{ME}-1")
    made = take(answer, 201, ClaimedLink)
    outcome: Outcome = made.outcome
    assert outcome is Outcome.CREATED
    assert made.code == f"{ME}.link" and made.state is LinkState.ACTIVE and made.redirect is RedirectStatus(308)
    identity: UUID = made.id
    created_at: datetime = made.created_at
    assert identity.version == 7 and created_at.tzinfo is not None and made.expires_at is None
    assert answer.headers["Location"] == f"/api/v1/links/{made.code}" and answer.headers["ETag"] == '"1"'

    again = take(claim_link.sync_detailed(client=client, body=claim), 200, ClaimedLink)
    assert again.outcome is Outcome.EXISTING and again.id == made.id

    read = take(get_link.sync_detailed(made.code, client=client), 200, Link)
    assert read.url == claim.url and read.title == "Python" and read.tags == [ME]

    other = Claim(url="https://example.com/python/other", alias=made.code)
    refused(claim_link.sync_detailed(client=client, body=other), 409, ProblemCode.ALIAS_TAKEN)
    return made.code


def batch(client: AuthenticatedClient) -> None:
    batch = Batch(
        links=[
            Claim(url="https://example.com/python/1", tags=[ME]),
            Claim(url="ftp://example.com/python/2", tags=[ME]),
            Claim(url="https://example.com/python/3", tags=[ME]),
        ]
    )
    answer = take(claim_links.sync_detailed(client=client, body=batch), 200, BatchAnswer)
    assert (answer.summary.created, answer.summary.failed) == (2, 1)
    first, second, third = answer.results
    assert first.outcome is Outcome.CREATED and third.outcome is Outcome.CREATED
    assert not isinstance(first.link, Unset) and first.link.tags == [ME]
    assert isinstance(second.link, Unset) and isinstance(second.outcome, Unset)
    assert not isinstance(second.problem, Unset) and second.problem.code is ProblemCode.VALIDATION_FAILED


def pages(client: AuthenticatedClient, code: str) -> None:
    codes: list[str] = []
    cursor: str | Unset = UNSET
    while True:
        answer = list_links.sync_detailed(
            client=client, tag=ME, state=LinkState.ACTIVE, sort=LinkSort.OLDEST_FIRST, limit=2, cursor=cursor
        )
        page = take(answer, 200, LinkPage)
        codes += [link.code for link in page.items]
        assert (page.next_cursor is None) == ("Link" not in answer.headers)
        if page.next_cursor is None:
            break
        cursor = page.next_cursor
    assert len(codes) == 3 and codes[0] == code and len(set(codes)) == 3, codes
    refused(list_links.sync_detailed(client=client, cursor="x"), 400, ProblemCode.INVALID_CURSOR)


def changes(client: AuthenticatedClient, code: str) -> None:
    body = Edit(title=None, tags=[ME, "edited"])
    answer = edit_link.sync_detailed(code, client=client, body=body, if_match='"1"')
    edited = take(answer, 200, Link)
    assert edited.title is None and edited.tags == [ME, "edited"] and edited.generation == 2
    assert answer.headers["ETag"] == '"2"'
    refused(edit_link.sync_detailed(code, client=client, body=body, if_match='"1"'), 412, ProblemCode.STALE)

    deleted = take(delete_link.sync_detailed(code, client=client, if_match='"2"'), 200, Link)
    assert deleted.state is LinkState.DELETED and deleted.deleted_at is not None
    refused(edit_link.sync_detailed(code, client=client, body=body), 409, ProblemCode.LINK_DELETED)
    back = take(reactivate_link.sync_detailed(code, client=client), 200, Link)
    assert back.state is LinkState.ACTIVE and back.deleted_at is None and back.reactivated_at is not None

    page = take(list_link_events.sync_detailed(code, client=client), 200, HistoryPage)
    assert [event.event for event in page.items] == [
        LinkEventKind.REACTIVATED,
        LinkEventKind.DELETED,
        LinkEventKind.EDITED,
        LinkEventKind.CREATED,
    ]
    assert page.next_cursor is None and page.items[0].actor.startswith("api_key:")


def problems(client: AuthenticatedClient) -> None:
    wrong = claim_link.sync_detailed(client=client, body=Claim(url="http://localhost/python"))
    problem = refused(wrong, 422, ProblemCode.VALIDATION_FAILED)
    assert not isinstance(problem.errors, Unset)
    assert [(error.pointer, error.code) for error in problem.errors] == [("/url", "internal-name")]

    refused(get_link.sync_detailed("missing", client=client), 404, ProblemCode.NOT_FOUND)

    stranger = AuthenticatedClient(base_url=ADDRESS, token="sgn_wrong")
    refused(list_links.sync_detailed(client=stranger), 401, ProblemCode.UNAUTHENTICATED)


def keys(client: AuthenticatedClient) -> None:
    body = NewApiKey(name=ME, owner=ME, scopes=[Scope.LINKS_READ])
    issued = take(create_key.sync_detailed(client=client, body=body), 201, IssuedKey)
    assert issued.key.startswith("sgn_") and issued.scopes == [Scope.LINKS_READ]
    limited = AuthenticatedClient(base_url=ADDRESS, token=issued.key)
    assert take(list_links.sync_detailed(client=limited), 200, LinkPage).items == []
    refused(
        claim_link.sync_detailed(client=limited, body=Claim(url="https://example.com/")), 403, ProblemCode.FORBIDDEN
    )

    assert take(get_key.sync_detailed(issued.id, client=client), 200, ApiKey).revoked_at is None
    assert revoke_key.sync_detailed(issued.id, client=client).status_code == 204
    assert take(get_key.sync_detailed(issued.id, client=client), 200, ApiKey).revoked_at is not None
    refused(list_links.sync_detailed(client=limited), 401, ProblemCode.UNAUTHENTICATED)


def blocks(client: AuthenticatedClient) -> None:
    body = NewBlock(kind=BlockKind.HOST, value=f"{ME}.example", reason="A test.")
    block = take(create_block.sync_detailed(client=client, body=body), 201, Block)
    assert block.kind is BlockKind.HOST and block.lifted_at is None
    assert take(create_block.sync_detailed(client=client, body=body), 200, Block).id == block.id
    held = claim_link.sync_detailed(client=client, body=Claim(url=f"https://www.{ME}.example/"))
    refused(held, 422, ProblemCode.VALIDATION_FAILED)

    assert lift_block.sync_detailed(block.id, client=client).status_code == 204
    page = take(list_blocks.sync_detailed(client=client, state=BlockState.ALL), 200, BlockPage)
    assert [held.lifted_at is not None for held in page.items if held.id == block.id] == [True]


def never_called(link: Link) -> None:
    """What has to be refused before anything runs."""
    Batch(links=[7])  # type: ignore[list-item]
    Claim(alias="without-url")  # type: ignore[call-arg]
    link.title.upper()  # type: ignore[union-attr]
    NewApiKey(name=ME, scopes=["admin"])  # type: ignore[list-item]


def main() -> None:
    client = AuthenticatedClient(base_url=ADDRESS, token=ADMIN_KEY)
    code = claims(client)
    batch(client)
    pages(client, code)
    changes(client, code)
    problems(client)
    keys(client)
    blocks(client)


main()
