// What both drivers share: it knows nothing of a generated client.

import assert from "node:assert/strict";

function setting(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set.`);
  return value;
}

export const address = setting("SIGNPOST_ADDRESS");
export const adminKey = setting("SIGNPOST_ADMIN_KEY");

/** What an answer holds, if it has this status. */
export function take<Data>(answer: { data?: Data; error?: unknown; response: Response }, status: number): Data {
  assert.equal(answer.response.status, status, JSON.stringify(answer.error));
  assert(answer.data !== undefined, "The answer holds nothing.");
  return answer.data;
}

/** That an answer without a body has this status. */
export function done(answer: { error?: unknown; response: Response }, status: number): void {
  assert.equal(answer.response.status, status, JSON.stringify(answer.error));
}

/** The problem an answer holds, if it is the expected one; `code` can only be one that the document names. */
export function refused<Problem extends { status: number; code: string; request_id: string }>(
  answer: { error?: Problem; response: Response },
  status: number,
  code: NoInfer<Problem["code"]>,
): Problem {
  const problem = answer.error;
  assert(problem !== undefined, `${answer.response.status} instead of ${status}`);
  assert.equal(problem.code, code);
  assert.equal(problem.status, status);
  assert.equal(answer.response.status, status);
  assert.equal(answer.response.headers.get("X-Request-Id"), problem.request_id);
  return problem;
}

/** The steps of a link's whole life, as a driver takes them. */
export interface Steps {
  claims(): Promise<string>;
  batch(): Promise<void>;
  pages(code: string): Promise<void>;
  changes(code: string): Promise<void>;
  problems(): Promise<void>;
  keys(): Promise<void>;
  blocks(): Promise<void>;
}

/** Takes them in order; the process fails where one does. */
export function walk(steps: Steps): void {
  const all = async (): Promise<void> => {
    const code = await steps.claims();
    await steps.batch();
    await steps.pages(code);
    await steps.changes(code);
    await steps.problems();
    await steps.keys();
    await steps.blocks();
  };
  all().catch((error: unknown) => {
    console.error(error);
    process.exitCode = 1;
  });
}
