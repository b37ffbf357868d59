// Conversations and their messages, kept true to the server over lost connections.
//
// Owns what the page knows of talks: who is in them, history, what is unread, what became of each message sent. The
// order is the server's: by timestamp, with what has none yet at the end. It knows no elements; `change` events say that
// something is to be drawn anew, `arrived` that somebody else spoke, `trouble` carries what went wrong.

import { Cmd, Direction, Op } from './wire.js';
import { Lost, randomHex } from './session.js';

export const LOBBY = 'lobby';
const PAGE = 20;
// The SDKs' typed messages: JSON with a type below zero for those that they define.
const TEXT = -1;
const RECALLED = -127;

/**
 * `talks`: by conversation id `{ cid, kind: 'room' | 'pair' | 'group', title, unread, messages, loaded, more }`.
 * A message: `{ key, id?, from, mine, kind: 'text' | 'recalled' | 'other', text, timestamp?, status, error?, live }`.
 * `status` of one's own: waiting (for a connection), sending, sent, delivered, read, failed.
 */
export class Chat extends EventTarget {
  talks = new Map();
  current = null;
  #session;
  #learning = new Map();

  constructor(session) {
    super();
    this.#session = session;
    session.addEventListener('state', () => session.state === 'open' && this.#attempt(() => this.#resume()));
    session.addEventListener('command', ({ detail }) => this.#attempt(() => this.#hear(detail)));
  }

  get me() {
    return this.#session.name;
  }

  // ---- Opening ----

  /** The one conversation of two, made where there is none. */
  async openWith(name) {
    const started = await this.#conv(Op.start, { m: [this.me, name], unique: true });
    await this.open(this.#keep({ objectId: started.cid, m: [this.me, name] }));
  }

  /** The chat room that all pages share: the oldest of its name, so that two who make it at once still meet. */
  async openLobby() {
    const find = async () => (await this.#query({ name: LOBBY, tr: true }, { sort: 'createdAt', limit: 1 }))[0];
    let room = await find();
    if (!room) {
      await this.#conv(Op.start, { transient: true, attr: json({ name: LOBBY }) });
      room = await find();
    }
    await this.open(this.#keep(room));
  }

  async open(talk) {
    this.current = talk;
    this.#changed();
    if (talk.kind === 'room') await this.#conv(Op.add, { cid: talk.cid, m: [this.me] });
    if (talk.loaded) await this.#catchUp(talk);
    else await this.earlier(talk);
    this.seen();
  }

  /** One more page of history, from the oldest message that is known. */
  async earlier(talk) {
    const oldest = talk.messages.find((message) => message.id);
    const logs = await this.#logs(talk, { t: oldest?.timestamp, mid: oldest?.id });
    talk.loaded = true;
    talk.more = logs.length === PAGE;
    this.#changed();
  }

  // ---- Speaking ----

  say(talk, text) {
    const message = { key: randomHex(), from: this.me, mine: true, kind: 'text', text, status: 'sending', live: true };
    talk.messages.push(message);
    return this.send(talk, message);
  }

  /** Sends or sends again: its key tells the server that it is the same message. */
  async send(talk, message) {
    message.status = 'sending';
    message.error = null;
    this.#changed();
    const msg = JSON.stringify({ _lctype: TEXT, _lctext: message.text });
    try {
      const direct = { cid: talk.cid, msg, dt: message.key, r: talk.kind !== 'room' };
      const { ackMessage } = await this.#session.request({ cmd: Cmd.direct, directMessage: direct });
      // Its answer may have been lost, and its history come first.
      talk.messages = talk.messages.filter((other) => other.id !== ackMessage.uid);
      Object.assign(message, { id: ackMessage.uid, timestamp: ackMessage.t, status: 'sent' });
      sort(talk);
    } catch (error) {
      message.status = error instanceof Lost ? 'waiting' : 'failed';
      message.error = error;
    }
    this.#changed();
  }

  /** All of the current talk has been looked at. */
  seen() {
    const talk = this.current;
    if (!talk || document.hidden) return;
    const last = talk.messages.findLast((message) => message.id && !message.mine);
    if (last && talk.kind !== 'room' && last.id !== talk.readTo) {
      talk.readTo = last.id;
      this.#session.tell({ cmd: Cmd.read, readMessage: { convs: [{ cid: talk.cid, timestamp: last.timestamp, mid: last.id }] } });
    }
    if (talk.unread) {
      talk.unread = 0;
      this.#changed();
    }
  }

  // ---- Hearing ----

  async #hear({ cmd, op, directMessage, rcpMessage, unreadMessage, convMessage, errorMessage }) {
    if (cmd === Cmd.direct) await this.#receive(directMessage);
    else if (cmd === Cmd.rcp) this.#receipt(rcpMessage);
    else if (cmd === Cmd.unread) {
      for (const { cid, unread } of unreadMessage.convs) {
        const talk = await this.#learn(cid);
        if (talk && talk !== this.current) talk.unread = unread;
      }
    } else if (cmd === Cmd.conv && op === Op.joined) await this.#learn(convMessage.cid);
    else if (cmd === Cmd.conv && op === Op.left) this.#forget(convMessage.cid);
    else if (cmd === Cmd.error) throw Object.assign(new Error(), { code: errorMessage.code, name: errorMessage.reason });
    this.#changed();
  }

  async #receive(direct) {
    const talk = await this.#learn(direct.cid);
    if (!talk || talk.messages.some((message) => message.id === direct.id)) return;
    const message = this.#message({ ...direct, from: direct.fromPeerId, data: direct.msg, live: true });
    talk.messages.push(message);
    sort(talk);
    if (message.mine) return;
    if (talk.kind !== 'room' && !direct.transient) {
      this.#session.tell({ cmd: Cmd.ack, ackMessage: { cid: direct.cid, mid: direct.id } });
    }
    if (talk !== this.current || document.hidden) talk.unread += 1;
    else this.seen();
    this.dispatchEvent(new CustomEvent('arrived', { detail: { talk, message } }));
  }

  #receipt({ cid, id, read }) {
    const messages = this.talks.get(cid)?.messages ?? [];
    const to = messages.findIndex((message) => message.id === id);
    messages.forEach((message, at) => {
      if (!message.mine || !message.id || message.status === 'read') return;
      if (read && at <= to) message.status = 'read';
      else if (at === to) message.status = 'delivered';
    });
  }

  // ---- Staying true ----

  async #resume() {
    const rows = await this.#query(undefined, { limit: 50 });
    rows.forEach((row) => this.#keep(row));
    this.#changed();
    if (this.current?.loaded) await this.open(this.current);
    for (const talk of this.talks.values()) {
      for (const message of talk.messages) if (message.status === 'waiting') this.send(talk, message);
    }
  }

  /** What was said since the last message that is known. */
  async #catchUp(talk) {
    for (let full = true; full;) {
      const last = talk.messages.findLast((message) => message.id);
      if (!last) return this.earlier(talk);
      full = (await this.#logs(talk, { t: last.timestamp, mid: last.id, direction: Direction.NEW })).length === PAGE;
    }
    this.#changed();
  }

  async #logs(talk, from) {
    const asked = { cid: talk.cid, limit: PAGE, ...from };
    const { logsMessage } = await this.#session.request({ cmd: Cmd.logs, logsMessage: asked });
    const logs = logsMessage?.logs ?? [];
    const known = new Set(talk.messages.map(({ id }) => id));
    const fresh = logs.filter(({ msgId }) => !known.has(msgId));
    talk.messages.push(...fresh.map((item) => this.#message({ ...item, id: item.msgId, live: false })));
    sort(talk);
    return logs;
  }

  #message({ id, from, data, bin, binaryMsg, timestamp, ackAt, readAt, live }) {
    const mine = from === this.me;
    const body = bin || binaryMsg ? { kind: 'other', text: '' } : content(data);
    return { key: id, id, from, mine, timestamp, live, status: readAt ? 'read' : ackAt ? 'delivered' : 'sent', ...body };
  }

  /** The talk of this id, asked of the server where it is new; undefined where there is none for us. */
  async #learn(cid) {
    if (this.talks.has(cid)) return this.talks.get(cid);
    // Asked once, however many of its messages come meanwhile.
    if (!this.#learning.has(cid)) {
      this.#learning.set(cid, this.#query({ objectId: cid }, { limit: 1 }).finally(() => this.#learning.delete(cid)));
    }
    const [row] = await this.#learning.get(cid);
    return row && this.#keep(row);
  }

  #keep({ objectId, m = [], name, tr }) {
    let talk = this.talks.get(objectId);
    if (!talk) {
      const others = m.filter((member) => member !== this.me);
      const kind = tr ? 'room' : others.length === 1 ? 'pair' : 'group';
      const title = kind === 'pair' ? others[0] : name || others.join(', ') || this.me;
      talk = { cid: objectId, kind, title, unread: 0, messages: [], loaded: false, more: false, readTo: null };
      this.talks.set(objectId, talk);
    }
    return talk;
  }

  #forget(cid) {
    if (this.current?.cid === cid) this.current = null;
    this.talks.delete(cid);
  }

  async #query(where, { sort: order, limit }) {
    const results = (await this.#conv(Op.query, { where: where && json(where), sort: order, limit })).results;
    return JSON.parse(results?.data ?? '[]');
  }

  async #conv(op, convMessage) {
    return (await this.#session.request({ cmd: Cmd.conv, op, convMessage })).convMessage ?? {};
  }

  async #attempt(what) {
    try {
      await what();
    } catch (error) {
      // The state of the connection is shown elsewhere, and what was asked is asked again when it is back.
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

/** What a body says to a person. Text that is no typed message is shown as it is. */
function content(data) {
  let typed;
  try {
    typed = JSON.parse(data);
  } catch { /* not JSON: somebody's plain text */ }
  if (typed?._lctype === undefined) return { kind: 'text', text: data ?? '' };
  if (typed._lctype === RECALLED) return { kind: 'recalled', text: '' };
  return { kind: typed._lctype === TEXT ? 'text' : 'other', text: String(typed._lctext ?? '') };
}
