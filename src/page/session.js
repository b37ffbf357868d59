// A session: one name logged in over a WebSocket that comes back by itself.
//
// Owns the socket, the log-in, requests and their answers, the heartbeat and the waits between attempts (wire.md 2 and
// 3.1). Everything the server says unasked is passed on as a `command` event. It knows no conversations and no page.

import { Cmd, Op, decode, encode } from './wire.js';

const APP = 'tidegate-dev';
const SUBPROTOCOL = 'lc.protobuf2.3';
const ANSWER_WITHIN_MS = 20_000;
const HEARTBEAT_MS = 60_000;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
// What we understand: edits, acknowledged transient messages, partial failures (wire.md 3.1.1).
const UNDERSTOOD = 1 | 8 | 32;
// Refusals that another attempt would only meet again.
const FINAL = new Set([4100, 4102, 4103, 4106, 4110, 4111, 4113, 4115]);

/** What the server refused: its code, its name for it and, where it says more, the detail. */
export class Refused extends Error {
  constructor({ code, reason, detail, appCode, appMsg }) {
    super(`${code} ${reason}`);
    this.code = code;
    this.name = reason || 'UNNAMED';
    this.detail = detail ?? (appCode === undefined ? appMsg : `${appCode} ${appMsg ?? ''}`.trim());
  }
}

/** The connection went before the answer came. What was asked may have happened. */
export class Lost extends Error {}

/**
 * Events: `state` whenever `state` changes, `command` with a command nobody asked for.
 * `state` is `connecting`, `open`, `waiting` (for the next attempt, `waitMs` away) or `ended`; `error` says why, where known.
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
  #lastPatch = Date.now();
  // A device is a page load: two tabs are two devices though a browser may copy one tab's storage to another.
  #device = randomHex();
  #awake = () => this.state === 'waiting' && !document.hidden && this.connect();

  constructor(name) {
    super();
    this.name = name;
    addEventListener('online', this.#awake);
    document.addEventListener('visibilitychange', this.#awake);
  }

  connect() {
    this.#drop(new Lost('connecting anew'));
    const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/`, SUBPROTOCOL);
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
      if (this.#socket?.readyState !== WebSocket.OPEN) return reject(new Lost('not connected'));
      const i = ++this.#lastAsked;
      const late = () => this.#asked.delete(i) && reject(new Refused({ code: 0, reason: 'COMMAND_TIMEOUT' }));
      this.#asked.set(i, { resolve, reject, timer: setTimeout(late, ANSWER_WITHIN_MS) });
      this.#send({ ...command, i });
    });
  }

  /** Says what has no answer. Said to nobody while there is no connection. */
  tell(command) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#send(command);
  }

  /** Logs out, and is of no use any more. */
  async leave() {
    await this.request({ cmd: Cmd.session, op: Op.close }).catch(() => {});
    this.#end(null);
  }

  #send(command) {
    this.#socket.send(encode({ appId: APP, peerId: this.name, ...command }));
  }

  async #logIn(socket) {
    const reopening = this.#token !== undefined;
    try {
      const { sessionMessage, serverTs } = await this.request({
        cmd: Cmd.session,
        op: Op.open,
        sessionMessage: {
          ua: 'tidegate-page/1', r: reopening, st: this.#token, deviceId: this.#device,
          configBitmap: UNDERSTOOD, lastPatchTime: this.#lastPatch,
        },
      });
      this.#token = sessionMessage?.st;
      this.#lastPatch = serverTs ?? this.#lastPatch;
      this.#failures = 0;
      this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
      this.#become('open');
    } catch (error) {
      if (this.#socket !== socket) return;
      if (error.code === 4112 && reopening) {
        this.#token = undefined;
        this.#logIn(socket);
      } else {
        this.#lose(error instanceof Refused ? error : null);
      }
    }
  }

  #receive(data) {
    let command;
    try {
      command = decode(new Uint8Array(data));
    } catch {
      return this.#lose(new Refused({ code: 4114, reason: 'UNPARSEABLE_RAW_MESSAGE' }));
    }
    const { cmd, op, i, errorMessage, ackMessage, sessionMessage } = command;
    const refusal = [errorMessage, ackMessage, sessionMessage].find((part) => part?.code !== undefined);
    const asked = this.#asked.get(i);
    if (asked) {
      this.#asked.delete(i);
      clearTimeout(asked.timer);
      if (refusal) asked.reject(new Refused(refusal));
      else asked.resolve(command);
    } else if (cmd === Cmd.goaway) {
      this.connect();
    } else if (cmd === Cmd.session && op === Op.closed) {
      this.#end(refusal ? new Refused(refusal) : null);
    } else if (i === undefined) {
      this.dispatchEvent(new CustomEvent('command', { detail: command }));
    }
  }

  // A browser does not show pings, and a cable can go without a word: only an answer proves the line.
  #beat() {
    const socket = this.#socket;
    this.request({ cmd: Cmd.echo }).catch((error) => this.#socket === socket && this.#lose(error instanceof Refused ? error : null));
  }

  #lose(error) {
    if (FINAL.has(error?.code)) return this.#end(error);
    this.#drop(new Lost('connection lost'));
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.#failures++, LONGEST_WAIT_MS);
    // Not all at once, after a restart.
    this.waitMs = wait * (0.75 + Math.random() / 2);
    this.#timer = setTimeout(() => this.connect(), this.waitMs);
    this.#become('waiting', error);
  }

  #end(error) {
    this.#drop(new Lost('session ended'));
    removeEventListener('online', this.#awake);
    document.removeEventListener('visibilitychange', this.#awake);
    this.#become('ended', error);
  }

  #drop(why) {
    clearTimeout(this.#timer);
    clearInterval(this.#heartbeat);
    if (this.#socket) {
      this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
      this.#socket.close();
      this.#socket = null;
    }
    for (const { reject, timer } of this.#asked.values()) {
      clearTimeout(timer);
      reject(why);
    }
    this.#asked.clear();
  }

  #become(state, error = null) {
    this.state = state;
    this.error = error;
    this.dispatchEvent(new Event('state'));
  }
}

/** 32 random digits, also where the page came over plain HTTP from another machine (no `randomUUID` there). */
export function randomHex() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
