// Walks a link's whole life with the client that @hey-api/openapi-ts generates.

import assert from "node:assert/strict";
import { address, adminKey, done, refused, take, walk } from "./check";
import * as api from "./generated/hey-api";
import { client } from "./generated/hey-api/client.gen";
import { createClient } from "./generated/hey-api/client";

const me = "hey-api";

// This client sends the key in both ways that the document names.
client.setConfig({ baseUrl: address, auth: adminKey });

function clientFor(key: string) {
  return createClient({ baseUrl: address, auth: key });
}

async function claims(): Promise<string> {
  const body: api.Claim = {
    url: "https://example.com/hey-api?a=1",
    alias: `${me}.link`,
    title: "Hey",
    tags: [me],
    redirect: 308,
  };
  const answer = await api.claimLink({ body, headers: { "Idempotency-Key": `${me}-1` } });
  const made = take(answer, 201);
  const outcome: "created" | "existing" | "reactivated" = made.outcome;
  assert.equal(outcome, "created");
  assert.equal(made.code, `${me}.link`);
  assert.equal(made.state, "active");
  assert.equal(made.redirect, 308);
  assert.equal(made.expires_at, null);
  assert.equal(answer.response.headers.get("ETag"), '"1"');
  assert.equal(answer.response.headers.get("Location"), `/api/v1/links/${made.code}`);

  const again = take(await api.claimLink({ body }), 200);
  assert.equal(again.outcome, "existing");
  assert.equal(again.id, made.id);

  const read = take(await api.getLink({ path: { code: made.code } }), 200);
  assert.equal(read.url, body.url);
  assert.deepEqual(read.tags, [me]);

  const other = { url: "https://example.com/hey-api/other", alias: made.code };
  refused(await api.claimLink({ body: other }), 409, "alias-taken");
  return made.code;
}

async function batch(): Promise<void> {
  const links: api.Claim[] = [
    { url: "https://example.com/hey-api/1", tags: [me] },
    { url: "ftp://example.com/hey-api/2", tags: [me] },
    { url: "https://example.com/hey-api/3", tags: [me] },
  ];
  const { summary, results } = take(await api.claimLinks({ body: { links } }), 200);
  assert.deepEqual([summary.created, summary.failed], [2, 1]);
  assert.equal(results[0]?.outcome, "created");
  assert.deepEqual(results[0]?.link?.tags, [me]);
  assert.equal(results[1]?.link, undefined);
  assert.equal(results[1]?.problem?.code, "validation-failed");
  assert.equal(results[2]?.outcome, "created");
}

async function pages(code: string): Promise<void> {
  const codes: string[] = [];
  let cursor: string | undefined;
  for (;;) {
    const query: api.ListLinksData["query"] = { tag: me, state: "active", sort: "created_at", limit: 2, cursor };
    const answer = await api.listLinks({ query });
    const page: api.LinkPage = take(answer, 200);
    codes.push(...page.items.map((link) => link.code));
    assert.equal(answer.response.headers.has("Link"), page.next_cursor !== null);
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  assert.equal(codes[0], code);
  assert.equal(new Set(codes).size, 3);
  assert.equal(codes.length, 3);
  refused(await api.listLinks({ query: { cursor: "x" } }), 400, "invalid-cursor");
}

async function changes(code: string): Promise<void> {
  const path = { code };
  const body: api.Edit = { title: null, tags: [me, "edited"] };
  const answer = await api.editLink({ path, body, headers: { "If-Match": '"1"' } });
  const edited = take(answer, 200);
  assert.equal(edited.title, null);
  assert.equal(edited.generation, 2);
  assert.equal(answer.response.headers.get("ETag"), '"2"');
  refused(await api.editLink({ path, body, headers: { "If-Match": '"1"' } }), 412, "stale");

  const deleted = take(await api.deleteLink({ path, headers: { "If-Match": '"2"' } }), 200);
  assert.equal(deleted.state, "deleted");
  assert.notEqual(deleted.deleted_at, null);
  refused(await api.editLink({ path, body }), 409, "link-deleted");
  const back = take(await api.reactivateLink({ path }), 200);
  assert.equal(back.state, "active");
  assert.notEqual(back.reactivated_at, null);

  const page = take(await api.listLinkEvents({ path }), 200);
  const events: ("created" | "edited" | "deleted" | "reactivated")[] = page.items.map((item) => item.event);
  assert.deepEqual(events, ["reactivated", "deleted", "edited", "created"]);
  assert.equal(page.next_cursor, null);
}

async function problems(): Promise<void> {
  const wrong = await api.claimLink({ body: { url: "http://localhost/hey-api" } });
  const problem = refused(wrong, 422, "validation-failed");
  assert.deepEqual(problem.errors?.map(({ pointer, code }) => [pointer, code]), [["/url", "internal-name"]]);

  refused(await api.getLink({ path: { code: "missing" } }), 404, "not-found");
  refused(await api.listLinks({ client: clientFor("sgn_wrong") }), 401, "unauthenticated");
}

async function keys(): Promise<void> {
  const issued = take(await api.createKey({ body: { name: me, owner: me, scopes: ["links:read"] } }), 201);
  assert.match(issued.key, /^sgn_/);
  assert.deepEqual(issued.scopes, ["links:read"]);
  const limited = clientFor(issued.key);
  assert.deepEqual(take(await api.listLinks({ client: limited }), 200).items, []);
  const claim = { url: "https://example.com/" };
  refused(await api.claimLink({ client: limited, body: claim }), 403, "forbidden");

  const path = { id: issued.id };
  assert.equal(take(await api.getKey({ path }), 200).revoked_at, null);
  done(await api.revokeKey({ path }), 204);
  assert.notEqual(take(await api.getKey({ path }), 200).revoked_at, null);
  refused(await api.listLinks({ client: limited }), 401, "unauthenticated");
}

async function blocks(): Promise<void> {
  const body: api.NewBlock = { kind: "host", value: `${me}.example`, reason: "A test." };
  const block = take(await api.createBlock({ body }), 201);
  assert.equal(block.lifted_at, null);
  assert.equal(take(await api.createBlock({ body }), 200).id, block.id);
  refused(await api.claimLink({ body: { url: `https://www.${me}.example/` } }), 422, "validation-failed");

  done(await api.liftBlock({ path: { id: block.id } }), 204);
  // `state` is any text to this generator, since the document gives it a pattern and no `enum`.
  const page = take(await api.listBlocks({ query: { state: "all" } }), 200);
  assert.notEqual(page.items.find((held) => held.id === block.id)?.lifted_at ?? null, null);
}

// What has to be refused before anything runs. This is compiled, and never called.
export async function neverCalled(link: api.Link, claimed: api.ClaimedLink): Promise<void> {
  // @ts-expect-error: a batch holds claims
  await api.claimLinks({ body: { links: [7] } });
  // @ts-expect-error: a claim needs a target
  await api.claimLink({ body: { alias: "without-url" } });
  // @ts-expect-error: a code is needed
  await api.deleteLink({});
  // @ts-expect-error: there is no such order
  await api.listLinks({ query: { sort: "title" } });
  // @ts-expect-error: there is no such state
  if (link.state === "gone") return;
  // @ts-expect-error: there is no such outcome
  if (claimed.outcome === "updated") return;
  // @ts-expect-error: a title may be missing
  link.title.trim();
  // @ts-expect-error: there is no such code of a problem
  refused(await api.listLinks(), 404, "missing");
}

walk({ claims, batch, pages, changes, problems, keys, blocks });
