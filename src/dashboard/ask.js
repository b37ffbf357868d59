// Questions to the admin API. What it refuses comes back as an error whose message is its own words.

import { say } from './words.js';

/** The server did not answer at all. */
export class Gone extends Error {}

async function ask(path, options) {
  const answer = await fetch(path, options).catch(() => {
    throw new Gone(say('gone'));
  });
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return body;
  throw Object.assign(new Error(body?.error ?? say('answered', answer.status)), { body });
}

/** Under this name changes are remembered. */
const BY = { 'tidegate-by': 'dashboard' };

export const get = (path) => ask(path);
export const post = (path) => ask(path, { method: 'POST', headers: BY });
export const send = (path, body) => ask(path, { method: 'POST', headers: BY, body: JSON.stringify(body) });
export const remove = (path) => ask(path, { method: 'DELETE', headers: BY });
export const patch = (path, wish) => ask(path, { method: 'PATCH', headers: BY, body: JSON.stringify(wish) });

/** Why the server wants no traffic, or what it needs soon: an answer is one of these however it stands. */
export const readiness = () => ask('readyz').catch((failed) => failed.body ?? Promise.reject(failed));
