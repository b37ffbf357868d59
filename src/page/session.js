// A session: one name logged in over a WebSocket that comes back by itself.
//
// Owns the socket, the log-in, requests and their answers, the heartbeat and the waits between attempts. It knows no
// conversations and no page.

import { Cmd, Op, decode, encode } from './wire.js';

const ANSWER_WITHIN_MS = 20_000;
const HEARTBEAT_MS = 60_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
// Refusals that another attempt would only meet again.
const FINAL = new Set([4100, 4102, 4103, 4106, 4110, 4111, 4113, 4115]);

/** What the server refused, in its own code and words. */
export class Refused extends Error {
  constructor({ code, reason, detail, appCode, appMsg }) {
    super([code, reason, detail, appCode, appMsg].filter(Boolean).join(' '));
    this.code = code;
  }
}

/** The connection went before the answer came: what was asked may have happened. */
export class Lost extends Error {}

/**
 * Events: `state`, `command` with what the server says unasked.
 * `state` is connecting, connected, waiting (`waitMs` for the next attempt) or ended; `error` says why, where known.
 */
export class Session extends EventTarget {
  state = 'connecting';
  error = null;
  waitMs = 0;
  #socket = null;
  #asked = new Map();
  #lastAsked = 0;
  #failures = 0;
  #timer;
  #heartbeat;
  #token;
  // Not kept: a browser may copy one tab's storage to another, and two tabs are two devices.
  #device = randomHex();

  constructor(name) {
    super();
    this.name = name;
    addEventListener('online', () => this.state === 'waiting' && this.connect());
  }

  connect() {
    this.#drop();
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/`, 'lc.protobuf2.3');
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.#logIn(socket);
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => this.#lose(code >= 4000 ? new Refused({ code, reason }) : null);
    this.#socket = socket;
    this.#become('connecting', this.error);
  }

  /** Resolves with the answer; rejects with Refused, or with Lost where the connection goes first. */
  request(command) {
    return new Promise((resolve, reject) => {
      const i = ++this.#lastAsked;
      if (!this.tell({ ...command, i })) return reject(new Lost());
      const late = () => this.#asked.delete(i) && reject(new Refused({ reason: 'COMMAND_TIMEOUT' }));
      this.#asked.set(i, { resolve, reject, timer: setTimeout(late, ANSWER_WITHIN_MS) });
    });
  }

  /** Says what has no answer; false without a connection. */
  tell(command) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(encode({ appId: 'tidegate-dev', peerId: this.name, ...command }));
    return true;
  }

  /** Logs out, for good. */
  async leave() {
    await this.request({ cmd: Cmd.session, op: Op.close }).catch(() => {});
    this.#end(null);
  }

  async #logIn(socket) {
    const st = this.#token;
    const open = { ua: 'tidegate-page/1', r: Boolean(st), st, deviceId: this.#device };
    try {
      const { sessionMessage } = await this.request({ cmd: Cmd.session, op: Op.open, sessionMessage: open });
      this.#token = sessionMessage.st;
      this.#failures = 0;
      // A line can go without a word: only an answer proves it.
      const beat = () => this.request({ cmd: Cmd.echo }).catch((error) => this.#socket === socket && this.#lose(error));
      this.#heartbeat = setInterval(beat, HEARTBEAT_MS);
      this.#become('connected');
    } catch (error) {
      if (this.#socket !== socket) return;
      // A token may have expired: the next attempt does without.
      this.#token = undefined;
      this.#lose(error);
    }
  }

  #receive(data) {
    const command = decode(new Uint8Array(data));
    const refusal = [command.errorMessage, command.ackMessage, command.sessionMessage].find((part) => part?.code !== undefined);
    const asked = this.#asked.get(command.i);
    if (asked) {
      this.#asked.delete(command.i);
      clearTimeout(asked.timer);
      if (refusal) asked.reject(new Refused(refusal));
      else asked.resolve(command);
    } else if (command.cmd === Cmd.goaway) {
      this.connect();
    } else if (command.cmd === Cmd.session && command.op === Op.closed) {
      this.#end(refusal && new Refused(refusal));
    } else if (command.i === undefined) {
      this.dispatchEvent(new CustomEvent('command', { detail: command }));
    }
  }

  #lose(error) {
    if (FINAL.has(error?.code)) return this.#end(error);
    this.#drop();
    // Not all pages at once, after a restart.
    this.waitMs = Math.min(FIRST_WAIT_MS * 2 ** this.#failures++, LONGEST_WAIT_MS) * (0.75 + Math.random() / 2);
    this.#timer = setTimeout(() => this.connect(), this.waitMs);
    this.#become('waiting', error);
  }

  #end(error) {
    this.#drop();
    this.#become('ended', error);
  }

  #drop() {
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    if (this.#socket) this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket?.close();
    this.#socket = null;
    for (const { reject, timer } of this.#asked.values()) {
      clearTimeout(timer);
      reject(new Lost());
    }
    this.#asked.clear();
  }

  #become(state, error = null) {
    this.state = state;
    this.error = error;
    this.dispatchEvent(new Event('state'));
  }
}

/** 32 random digits. (`randomUUID` is missing where a page came over plain HTTP.) */
export function randomHex() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
