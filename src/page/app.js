// The page: who is logged in, the list of talks, the open one, and the line to write on.
//
// Owns all elements of index.html and draws them from a Session and a Chat. The name stays with the tab, so that a
// reload is the same person and a new tab another one.

import { Session, Refused } from './session.js';
import { Chat, LOBBY } from './chat.js';
import { journeyOf, lookUpHistory } from './journey.js';
import { make, the } from './make.js';
import { language, say } from './words.js';

const NAME = 'tidegate-name';
const OPENED = 'tidegate-opened';

let session = null;
let chat = null;
// What is drawn of the open talk: message key to its item.
let drawn = new Map();
let drawnTalk = null;

// ---- Coming and going ----

function enter(name) {
  sessionStorage.setItem(NAME, name);
  document.title = `${name} · Tidegate`;
  the('me').textContent = name;
  trouble(null);
  session = new Session(name);
  chat = new Chat(session);
  session.addEventListener('state', drawState);
  chat.addEventListener('change', draw);
  chat.addEventListener('trouble', ({ detail }) => trouble(detail));
  chat.addEventListener('arrived', ({ detail: { talk, message } }) => {
    if (talk === chat.current) the('aloud').textContent = say('says', message.from, words(message));
  });
  session.connect();
  // Where this tab was before a reload, as soon as there is a connection.
  const opened = sessionStorage.getItem(OPENED);
  if (opened) session.addEventListener('state', () => session.state === 'open' && open(opened), { once: false, signal: first(session) });
  show(true);
  draw();
  the(matchMedia('(pointer: fine)').matches ? 'other' : 'scroll').focus();
}

/** A signal that ends with the session's first `open`. */
function first(of) {
  const once = new AbortController();
  of.addEventListener('state', () => of.state === 'open' && queueMicrotask(() => once.abort()));
  return once.signal;
}

function leave(error) {
  sessionStorage.removeItem(NAME);
  sessionStorage.removeItem(OPENED);
  document.title = 'Tidegate';
  session = chat = null;
  show(false);
  trouble(error);
  the('name').focus();
}

function show(inside) {
  the('door').hidden = inside;
  the('talk').hidden = the('who').hidden = !inside;
}

/** Opens the talk with this name, or the lobby. */
function open(name) {
  sessionStorage.setItem(OPENED, name);
  attempt(() => (name === LOBBY ? chat.openLobby() : chat.openWith(name)));
}

async function attempt(what) {
  trouble(null);
  try {
    await what();
    if (matchMedia('(pointer: fine)').matches) the('text').focus();
  } catch (error) {
    trouble(error);
  }
}

// ---- Drawing ----

function drawState() {
  const { state, error, waitMs } = session;
  const word = say(`state${state[0].toUpperCase()}${state.slice(1)}`, Math.max(1, Math.round(waitMs / 1000)));
  the('state').textContent = error ? `${word} (${named(error)})` : word;
  the('state').dataset.state = state;
  the('now').hidden = state !== 'waiting';
  if (state === 'ended') leave(error);
}

function draw() {
  if (!chat) return;
  drawTalks();
  drawTalk();
}

function drawTalks() {
  const talks = [...chat.talks.values()].filter(({ kind }) => kind !== 'room');
  const rooms = [...chat.talks.values()].filter(({ kind }) => kind === 'room');
  if (!rooms.length) rooms.push({ title: LOBBY, kind: 'room', unread: 0 });
  const items = [...rooms, ...talks].map((talk) => {
    const button = make('button', { type: 'button', onclick: () => goTo(talk) }, titleOf(talk));
    if (talk === chat.current) button.setAttribute('aria-current', 'true');
    if (talk.unread) button.append(make('b', { textContent: talk.unread, ariaLabel: say('unread', talk.unread) }));
    return make('li', {}, button);
  });
  const at = [...the('talks').querySelectorAll('button')].indexOf(document.activeElement);
  the('talks').replaceChildren(...items);
  if (at >= 0) items[at]?.firstChild.focus();
}

function goTo(talk) {
  if (talk.kind === 'room' && !talk.cid) return open(LOBBY);
  if (talk.kind !== 'group') sessionStorage.setItem(OPENED, talk.title);
  attempt(() => chat.open(talk));
}

function drawTalk() {
  const talk = chat.current;
  the('title').textContent = talk ? titleOf(talk) : '';
  the('about').textContent = talk ? say(talk.kind) : '';
  the('head').hidden = the('write').hidden = !talk;
  the('text').placeholder = the('text').ariaLabel = talk ? say('write', titleOf(talk)) : '';
  the('earlier').hidden = !talk?.more;
  the('empty').textContent = !talk ? say('nobody') : !talk.loaded ? say('loading') : talk.messages.length ? '' : say('noMessages');

  if (talk !== drawnTalk) {
    drawn = new Map();
    drawnTalk = talk;
    the('log').replaceChildren();
  }
  const scroll = the('scroll');
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  const fromEnd = scroll.scrollHeight - scroll.scrollTop;

  const messages = talk?.messages ?? [];
  const keys = new Set(messages.map(({ key }) => key));
  for (const [key, item] of drawn) if (!keys.has(key)) drawn.delete(key), item.remove();
  messages.forEach((message, at) => {
    if (!drawn.has(message.key)) drawn.set(message.key, itemOf(message));
    const item = drawn.get(message.key);
    if (the('log').children[at] !== item) the('log').insertBefore(item, the('log').children[at] ?? null);
    update(item, message);
  });
  lookUpHistory();
  // New words are followed, older ones come in above without a jump.
  scroll.scrollTop = atEnd ? scroll.scrollHeight : scroll.scrollHeight - fromEnd;
}

function itemOf(message) {
  return make('li', { className: message.mine ? 'mine' : 'theirs' },
    make('p', { className: 'by' },
      make('b', { textContent: message.mine ? say('you') : message.from }), ' ', make('time'), ' ', make('span', { className: 'status' })),
    make('p', { className: 'body' }));
}

function update(item, message) {
  const body = item.querySelector('.body');
  body.textContent = words(message);
  body.dataset.kind = message.kind;
  if (message.timestamp) {
    const time = item.querySelector('time');
    time.dateTime = new Date(message.timestamp).toISOString();
    time.textContent = when(message.timestamp);
  }
  if (message.id && !item.querySelector('.journey')) item.append(journeyOf(message.id, message.live));

  const status = item.querySelector('.status');
  if (!message.mine || status.dataset.status === message.status) return;
  status.dataset.status = message.status;
  status.textContent = message.status === 'failed' ? say('failed', named(message.error)) : say(message.status);
  if (message.status === 'failed') {
    const talk = drawnTalk;
    status.append(' ', make('button', { type: 'button', textContent: say('again'), onclick: () => chat.send(talk, message) }));
  }
}

function trouble(error) {
  the('trouble').hidden = !error;
  if (!error) return;
  the('trouble').firstElementChild.textContent = error instanceof Refused ? say('trouble', named(error)) : error.message;
}

const titleOf = (talk) => (talk.kind === 'room' && talk.title === LOBBY ? say('lobby') : talk.title);
const words = ({ kind, text }) => (kind === 'recalled' ? say('recalled') : text || (kind === 'other' ? say('other') : ''));
const named = ({ code, name, detail }) => [code, name, detail && `(${detail})`].filter(Boolean).join(' ');

function when(timestamp) {
  const date = new Date(timestamp);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString(language, { ...(!today && { month: 'short', day: 'numeric' }), hour: '2-digit', minute: '2-digit' });
}

// ---- Hands on ----

document.documentElement.lang = language;
for (const element of document.querySelectorAll('[data-say]')) element.textContent = say(element.dataset.say);
for (const element of document.querySelectorAll('[data-label]')) element.ariaLabel = say(element.dataset.label);

the('door').onsubmit = (event) => {
  event.preventDefault();
  const name = the('name').value.trim();
  if (name) enter(name);
};

the('leave').onclick = () => session.leave();
the('now').onclick = () => session.connect();
the('earlier').onclick = () => attempt(() => chat.earlier(chat.current));
the('trouble').lastElementChild.onclick = () => trouble(null);

the('find').onsubmit = (event) => {
  event.preventDefault();
  const name = the('other').value.trim();
  the('other').setCustomValidity(name === session.name ? say('yourself') : '');
  if (!name || !the('other').reportValidity()) return;
  the('other').value = '';
  open(name);
};
the('other').oninput = () => the('other').setCustomValidity('');

the('write').onsubmit = (event) => {
  event.preventDefault();
  const text = the('text').value.trim();
  if (!text) return;
  the('text').value = '';
  chat.say(chat.current, text);
  the('scroll').scrollTop = the('scroll').scrollHeight;
};

// Enter sends, Shift and Enter begins a line; not while an input method is composing.
the('text').onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  the('write').requestSubmit();
};

document.addEventListener('visibilitychange', () => chat?.seen());

const name = sessionStorage.getItem(NAME);
if (name) enter(name);
else leave(null);
