// Conversations and their messages, kept true to the server over lost connections.
//
// Owns what the page knows of talks: history, what is unread, what became of each message sent. It knows no elements.
// Events: `change`, `heard` when somebody else spoke in the open talk, `trouble` with what went wrong.

import { Cmd, Direction, Op } from './wire.js';
import { Lost, Refused, randomHex } from './session.js';

export const LOBBY = 'lobby';
const PAGE = 100;
// The SDKs' typed messages are JSON with an `_lctype`.
const TEXT = -1;
const RECALLED = -127;

/**
 * A talk: `{ cid, kind: 'room' | 'pair' | 'group', title, unread, messages, loaded }`, messages by time.
 * A message: `{ key, id?, from, mine, kind: 'text' | 'recalled' | 'other', text, timestamp?, status, error?, live }`;
 * `status` is unsent (for want of a connection), sending, sent, delivered, read or failed.
 */
export class Chat extends EventTarget {
  talks = new Map();
  current = null;
  #session;

  constructor(session) {
    super();
    this.#session = session;
    this.me = session.name;
    session.addEventListener('state', () => session.state === 'connected' && this.attempt(() => this.#resume()));
    session.addEventListener('command', ({ detail }) => this.attempt(() => this.#hear(detail)));
  }

  // Opening

  /** The one conversation of two, made where there is none. */
  async openWith(name) {
    const m = [this.me, name];
    const { cid } = await this.#conv(Op.start, { m, unique: true });
    await this.open(this.#keep({ objectId: cid, m }));
  }

  /** The chat room of all pages: the oldest of its name, as two may make it at once. */
  async openLobby() {
    const find = async () => (await this.#query({ name: LOBBY, tr: true }, 1, 'createdAt'))[0];
    let room = await find();
    if (!room) {
      await this.#conv(Op.start, { transient: true, attr: json({ name: LOBBY }) });
      room = await find();
    }
    await this.open(this.#keep(room));
  }

  async open(talk) {
    this.current = talk;
    // Before anything new is heard.
    const last = talk.loaded ? talk.messages.findLast(({ id }) => id) : undefined;
    this.#changed();
    if (talk.kind === 'room') await this.#conv(Op.add, { cid: talk.cid, m: [this.me] });
    await this.#history(talk, last);
    talk.loaded = true;
    this.seen();
  }

  seen() {
    const talk = this.current;
    if (!talk || document.hidden) return this.#changed();
    const last = talk.messages.findLast(({ id, mine }) => id && !mine);
    if (last && talk.kind !== 'room' && last.id !== talk.readTo) {
      talk.readTo = last.id;
      const mark = { cid: talk.cid, timestamp: last.timestamp, mid: last.id };
      this.#session.tell({ cmd: Cmd.read, readMessage: { convs: [mark] } });
    }
    talk.unread = 0;
    this.#changed();
  }

  // Speaking

  say(talk, text) {
    const message = { key: randomHex(), from: this.me, mine: true, kind: 'text', text, live: true };
    talk.messages.push(message);
    this.send(talk, message);
  }

  /** Sends or sends again: the key tells the server that it is the same message. */
  async send(talk, message) {
    message.status = 'sending';
    this.#changed();
    const msg = JSON.stringify({ _lctype: TEXT, _lctext: message.text });
    const directMessage = { cid: talk.cid, msg, dt: message.key, r: talk.kind !== 'room' };
    try {
      const { ackMessage: { uid: id, t: timestamp } } = await this.#session.request({ cmd: Cmd.direct, directMessage });
      // After a lost answer, history may have brought it already.
      talk.messages = talk.messages.filter((other) => other.id !== id);
      Object.assign(message, { id, timestamp, status: 'sent' });
      sort(talk);
    } catch (error) {
      Object.assign(message, { error, status: error instanceof Lost ? 'unsent' : 'failed' });
    }
    this.#changed();
  }

  // Hearing

  async #hear({ cmd, op, directMessage, rcpMessage, unreadMessage, convMessage, errorMessage }) {
    if (cmd === Cmd.direct) await this.#receive(directMessage);
    else if (cmd === Cmd.rcp) this.#receipt(rcpMessage);
    else if (cmd === Cmd.conv && op === Op.joined) await this.#learn(convMessage.cid);
    else if (cmd === Cmd.error) throw new Refused(errorMessage);
    for (const { cid, unread } of unreadMessage?.convs ?? []) {
      const talk = await this.#learn(cid);
      if (talk && talk !== this.current) talk.unread = unread;
    }
    this.#changed();
  }

  async #receive({ cid, id, transient, ...direct }) {
    const talk = await this.#learn(cid);
    if (!talk || talk.messages.some((message) => message.id === id)) return;
    const message = this.#message({ ...direct, id, from: direct.fromPeerId, data: direct.msg, live: true });
    talk.messages.push(message);
    sort(talk);
    if (message.mine) return;
    if (talk.kind !== 'room' && !transient) this.#session.tell({ cmd: Cmd.ack, ackMessage: { cid, mid: id } });
    talk.unread += 1;
    if (talk !== this.current) return;
    this.seen();
    this.dispatchEvent(new CustomEvent('heard', { detail: message }));
  }

  #receipt({ cid, id, read }) {
    const messages = this.talks.get(cid)?.messages ?? [];
    const to = messages.findIndex((message) => message.id === id);
    if (read) for (const message of messages.slice(0, to + 1)) message.status = 'read';
    else if (messages[to]?.status === 'sent') messages[to].status = 'delivered';
  }

  // Staying true

  async #resume() {
    // What the others missed is read when they are opened.
    for (const talk of this.talks.values()) {
      if (talk !== this.current) Object.assign(talk, { loaded: false, messages: talk.messages.filter(({ id }) => !id) });
    }
    if (this.current) await this.open(this.current);
    (await this.#query(undefined, 50)).forEach((row) => this.#keep(row));
    this.#changed();
    for (const talk of this.talks.values()) {
      for (const message of talk.messages) if (message.status === 'unsent') this.send(talk, message);
    }
  }

  /** Reads into the talk all since this message, or the newest page. */
  async #history(talk, since) {
    const from = since && { t: since.timestamp, mid: since.id, direction: Direction.NEW };
    const { logsMessage } = await this.#session.request({ cmd: Cmd.logs, logsMessage: { cid: talk.cid, limit: PAGE, ...from } });
    const page = logsMessage.logs.map((item) => this.#message({ ...item, id: item.msgId }));
    const known = new Set(talk.messages.map(({ id }) => id));
    talk.messages.push(...page.filter(({ id }) => !known.has(id)));
    sort(talk);
    if (since && page.length === PAGE) await this.#history(talk, page.at(-1));
  }

  #message({ id, from, data, bin, binaryMsg, timestamp, ackAt, readAt, live = false }) {
    const body = bin || binaryMsg ? { kind: 'other', text: '' } : content(data);
    const status = readAt ? 'read' : ackAt ? 'delivered' : 'sent';
    return { key: id, id, from, mine: from === this.me, timestamp, live, status, ...body };
  }

  async #learn(cid) {
    const [row] = this.talks.has(cid) ? [{ objectId: cid }] : await this.#query({ objectId: cid }, 1);
    return row && this.#keep(row);
  }

  #keep({ objectId: cid, m = [], name, tr }) {
    if (!this.talks.has(cid)) {
      const others = m.filter((member) => member !== this.me);
      const kind = tr ? 'room' : others.length === 1 ? 'pair' : 'group';
      const title = kind === 'pair' ? others[0] : name || others.join(', ') || this.me;
      this.talks.set(cid, { cid, kind, title, unread: 0, messages: [], loaded: false });
    }
    return this.talks.get(cid);
  }

  async #query(where, limit, sort) {
    const { results } = await this.#conv(Op.query, { where: where && json(where), limit, sort });
    return JSON.parse(results.data);
  }

  async #conv(op, convMessage) {
    return (await this.#session.request({ cmd: Cmd.conv, op, convMessage })).convMessage;
  }

  /** Does this and tells of what went wrong. A lost connection is shown elsewhere and made good. */
  async attempt(what) {
    try {
      await what();
    } catch (error) {
      if (!(error instanceof Lost)) this.dispatchEvent(new CustomEvent('trouble', { detail: error }));
    }
  }

  #changed() {
    this.dispatchEvent(new Event('change'));
  }
}

const json = (value) => ({ data: JSON.stringify(value) });

function sort(talk) {
  talk.messages.sort((a, b) => (a.timestamp ?? Infinity) - (b.timestamp ?? Infinity) || 0);
}

function content(data = '') {
  let typed;
  try {
    typed = JSON.parse(data);
  } catch { /* plain text */ }
  if (typed?._lctype === undefined) return { kind: 'text', text: data };
  const kind = { [TEXT]: 'text', [RECALLED]: 'recalled' }[typed._lctype] ?? 'other';
  return { kind, text: kind === 'recalled' ? '' : String(typed._lctext ?? '') };
}
