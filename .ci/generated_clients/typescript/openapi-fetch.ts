// Walks a link's whole life with openapi-fetch, over the types that openapi-typescript generates.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import { address, adminKey, done, refused, take, walk } from "./check";
import type { components, paths } from "./generated/openapi-typescript";

type Schemas = components["schemas"];

const me = "openapi-fetch";

function clientFor(key: string) {
  return createClient<paths>({ baseUrl: address, headers: { "X-API-Key": key } });
}

const client = clientFor(adminKey);

async function claims(): Promise<string> {
  const body: Schemas["Claim"] = {
    url: "https://example.com/openapi-fetch?a=1",
    alias: `${me}.link`,
    title: "Fetch",
    tags: [me],
    redirect: 308,
  };
  const params = { header: { "Idempotency-Key": `${me}-1` } };
  const answer = await client.POST("/api/v1/links", { params, body });
  const made = take(answer, 201);
  const outcome: "created" | "existing" | "reactivated" = made.outcome;
  assert.equal(outcome, "created");
  assert.equal(made.code, `${me}.link`);
  assert.equal(made.state, "active");
  assert.equal(made.redirect, 308);
  assert.equal(made.expires_at, null);
  assert.equal(answer.response.headers.get("ETag"), '"1"');
  assert.equal(answer.response.headers.get("Location"), `/api/v1/links/${made.code}`);

  const again = take(await client.POST("/api/v1/links", { body }), 200);
  assert.equal(again.outcome, "existing");
  assert.equal(again.id, made.id);

  const path = { code: made.code };
  const read = take(await client.GET("/api/v1/links/{code}", { params: { path } }), 200);
  assert.equal(read.url, body.url);
  assert.deepEqual(read.tags, [me]);

  const other = { url: "https://example.com/openapi-fetch/other", alias: made.code };
  refused(await client.POST("/api/v1/links", { body: other }), 409, "alias-taken");
  return made.code;
}

async function batch(): Promise<void> {
  const links = [
    { url: "https://example.com/openapi-fetch/1", tags: [me] },
    { url: "ftp://example.com/openapi-fetch/2", tags: [me] },
    { url: "https://example.com/openapi-fetch/3", tags: [me] },
  ];
  const { summary, results } = take(await client.POST("/api/v1/links/batch", { body: { links } }), 200);
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
    const query = { tag: me, state: "active", sort: "created_at", limit: 2, cursor } as const;
    const answer = await client.GET("/api/v1/links", { params: { query } });
    const page = take(answer, 200);
    codes.push(...page.items.map((link) => link.code));
    assert.equal(answer.response.headers.has("Link"), page.next_cursor !== null);
    if (page.next_cursor === null) break;
    cursor = page.next_cursor;
  }
  assert.equal(codes[0], code);
  assert.equal(new Set(codes).size, 3);
  assert.equal(codes.length, 3);
  const query = { cursor: "x" };
  refused(await client.GET("/api/v1/links", { params: { query } }), 400, "invalid-cursor");
}

async function changes(code: string): Promise<void> {
  const path = { code };
  const body: Schemas["Edit"] = { title: null, tags: [me, "edited"] };
  const first = { path, header: { "If-Match": '"1"' } };
  const answer = await client.PATCH("/api/v1/links/{code}", { params: first, body });
  const edited = take(answer, 200);
  assert.equal(edited.title, null);
  assert.equal(edited.generation, 2);
  assert.equal(answer.response.headers.get("ETag"), '"2"');
  refused(await client.PATCH("/api/v1/links/{code}", { params: first, body }), 412, "stale");

  const second = { path, header: { "If-Match": '"2"' } };
  const deleted = take(await client.DELETE("/api/v1/links/{code}", { params: second }), 200);
  assert.equal(deleted.state, "deleted");
  assert.notEqual(deleted.deleted_at, null);
  refused(await client.PATCH("/api/v1/links/{code}", { params: { path }, body }), 409, "link-deleted");
  const back = take(await client.POST("/api/v1/links/{code}/reactivate", { params: { path } }), 200);
  assert.equal(back.state, "active");
  assert.notEqual(back.reactivated_at, null);

  const page = take(await client.GET("/api/v1/links/{code}/history", { params: { path } }), 200);
  const events: ("created" | "edited" | "deleted" | "reactivated")[] = page.items.map((item) => item.event);
  assert.deepEqual(events, ["reactivated", "deleted", "edited", "created"]);
  assert.equal(page.next_cursor, null);
}

async function problems(): Promise<void> {
  const body = { url: "http://localhost/openapi-fetch" };
  const problem = refused(await client.POST("/api/v1/links", { body }), 422, "validation-failed");
  assert.deepEqual(problem.errors?.map(({ pointer, code }) => [pointer, code]), [["/url", "internal-name"]]);

  const path = { code: "missing" };
  refused(await client.GET("/api/v1/links/{code}", { params: { path } }), 404, "not-found");
  refused(await clientFor("sgn_wrong").GET("/api/v1/links"), 401, "unauthenticated");
}

async function keys(): Promise<void> {
  const body: Schemas["NewApiKey"] = { name: me, owner: me, scopes: ["links:read"] };
  const issued = take(await client.POST("/api/v1/keys", { body }), 201);
  assert.match(issued.key, /^sgn_/);
  assert.deepEqual(issued.scopes, ["links:read"]);
  const limited = clientFor(issued.key);
  assert.deepEqual(take(await limited.GET("/api/v1/links"), 200).items, []);
  const claim = { url: "https://example.com/" };
  refused(await limited.POST("/api/v1/links", { body: claim }), 403, "forbidden");

  const params = { path: { id: issued.id } };
  assert.equal(take(await client.GET("/api/v1/keys/{id}", { params }), 200).revoked_at, null);
  done(await client.DELETE("/api/v1/keys/{id}", { params }), 204);
  assert.notEqual(take(await client.GET("/api/v1/keys/{id}", { params }), 200).revoked_at, null);
  refused(await limited.GET("/api/v1/links"), 401, "unauthenticated");
}

async function blocks(): Promise<void> {
  const body: Schemas["NewBlock"] = { kind: "host", value: `${me}.example`, reason: "A test." };
  const block = take(await client.POST("/api/v1/blocks", { body }), 201);
  assert.equal(block.lifted_at, null);
  assert.equal(take(await client.POST("/api/v1/blocks", { body }), 200).id, block.id);
  const claim = { url: `https://www.${me}.example/` };
  refused(await client.POST("/api/v1/links", { body: claim }), 422, "validation-failed");

  done(await client.DELETE("/api/v1/blocks/{id}", { params: { path: { id: block.id } } }), 204);
  // `state` is any text to this generator, since the document gives it a pattern and no `enum`.
  const page = take(await client.GET("/api/v1/blocks", { params: { query: { state: "all" } } }), 200);
  assert.notEqual(page.items.find((held) => held.id === block.id)?.lifted_at ?? null, null);
}

// What has to be refused before anything runs. This is compiled, and never called.
export async function neverCalled(link: Schemas["Link"], claimed: Schemas["ClaimedLink"]): Promise<void> {
  // @ts-expect-error: a batch holds claims
  await client.POST("/api/v1/links/batch", { body: { links: [7] } });
  // @ts-expect-error: a claim needs a target
  await client.POST("/api/v1/links", { body: { alias: "without-url" } });
  // @ts-expect-error: a code is needed
  await client.DELETE("/api/v1/links/{code}");
  // @ts-expect-error: there is no such order
  await client.GET("/api/v1/links", { params: { query: { sort: "title" } } });
  // @ts-expect-error: there is no such state
  if (link.state === "gone") return;
  // @ts-expect-error: there is no such outcome
  if (claimed.outcome === "updated") return;
  // @ts-expect-error: a title may be missing
  link.title.trim();
  // @ts-expect-error: there is no such code of a problem
  refused(await client.GET("/api/v1/links"), 404, "missing");
}

walk({ claims, batch, pages, changes, problems, keys, blocks });
