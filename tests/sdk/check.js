// What the SDK programs share: the SDK to test, steps with names, and waits that end.
//
// Usage of every program: node PROGRAM rt5|rt4 SERVER [--base64]
// The SDK is told the server's address and nothing else about it.

'use strict';

const assert = require('node:assert/strict');
const { createHmac, randomUUID } = require('node:crypto');
const readline = require('node:readline');

const [version, server, ...flags] = process.argv.slice(2);
if (!['rt4', 'rt5'].includes(version) || !server) {
  console.error('usage: node PROGRAM rt5|rt4 SERVER [--base64]');
  process.exit(2);
}

const sdk = require(version);
const PATIENCE_MS = 20_000;

const DEVELOPMENT = { appId: 'tidegate-dev', appKey: 'development-only-app-key' };
// As the Rust side configures it, with signatures required.
const SIGNED = { appId: 'signed-app', appKey: 'key-of-signed-app' };
const SIGNED_MASTER_KEY = 'master-key-of-signed-app';

/** A connection of its own. Version 5 allows one for each app in a program, so each has its own copy of the module. */
function realtime(app = DEVELOPMENT) {
  delete require.cache[require.resolve(version)];
  const copy = require(version);
  return Object.assign(new copy.Realtime({ ...app, server, noBinary: flags.includes('--base64') }), { copy });
}

/** A client on a connection of its own. */
async function login(id, options, app) {
  const connection = realtime(app);
  return Object.assign(await connection.createIMClient(id, options), { copy: connection.copy });
}

/** A message that may be sent to this conversation: the copy of the module that made both must be one. */
function text(conversation, words) {
  return new conversation._client.copy.TextMessage(words);
}

function binary(conversation, bytes) {
  return new conversation._client.copy.BinaryMessage(bytes);
}

/** Names that no other run has. */
function fresh(name) {
  return `${name}-${randomUUID().slice(0, 8)}`;
}

function within(promise, what, ms = PATIENCE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms / 1000} s for ${what}`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The next event of which `isIt` holds, as the list of its arguments. Call before what causes it. */
function event(emitter, name, isIt = () => true) {
  let listener;
  const came = new Promise((resolve) => {
    listener = (...args) => isIt(...args) && resolve(args);
    emitter.on(name, listener);
  });
  return within(came, `the event "${name}"`).finally(() => emitter.off(name, listener));
}

/** Asks again and again until the answer is not false. */
async function eventually(what, ask) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > end) throw new Error(`waited ${PATIENCE_MS / 1000} s for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What a promise is refused with. */
async function refusal(promise, what) {
  try {
    await within(promise, what);
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: `${what} was to be refused` });
}

/** A signature for the app "signed-app", as its own server would make it. */
function signature(...middle) {
  const timestamp = Date.now();
  const nonce = randomUUID();
  const [ending] = middle.splice(-1);
  const text = [SIGNED.appId, ...middle, timestamp, nonce].join(':') + ending;
  return { signature: createHmac('sha1', SIGNED_MASTER_KEY).update(text).digest('hex'), timestamp, nonce };
}

const signatures = {
  signatureFactory: (client) => signature(client, '', ''),
  conversationSignatureFactory: (cid, client, members, action) => {
    const sorted = [...members].sort().join(':');
    return action === 'create'
      ? signature(client, sorted, '')
      : signature(client, cid, sorted, action === 'add' || action === 'invite' ? ':invite' : ':kick');
  },
};

// Words for the test that started this program, and its answers, a line each.
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function askFor(what) {
  console.log(`please: ${what}`);
  const { value } = await within(answers.next(), `"${what}" to be done`, 60_000);
  assert.equal(value, 'done');
}

/** Runs the steps in their order; the first that fails ends the program. */
async function run(steps) {
  process.on('unhandledRejection', (error) => {
    console.error(`not ok - a rejection that nobody handled\n${error && error.stack}`);
    process.exit(1);
  });
  const name = `${version}${flags.length ? ` ${flags.join(' ')}` : ''}`;
  for (const [step, action] of Object.entries(steps)) {
    try {
      await within(action(), step, 90_000);
      console.log(`ok - ${name}: ${step}`);
    } catch (error) {
      console.error(`not ok - ${name}: ${step}\n${(error && error.stack) || error}`);
      if (error && error.code) console.error(`code ${error.code}`);
      process.exit(1);
    }
  }
  process.exit(0);
}

module.exports = {
  ...sdk, SIGNED, assert, askFor, binary, event, eventually, fresh, login, realtime, refusal, run, signatures, text, version,
};
