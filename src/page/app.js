// The page: who is logged in, the list of talks, the open one, and the line to write on.
//
// Owns the elements of index.html. The name stays with the tab: a reload is the same person, a new tab another one.

import { Refused, Session } from './session.js';
import { Chat, LOBBY } from './chat.js';
import { journeyOf } from './journey.js';
import { make, the } from './make.js';
import { language, say } from './words.js';

const NAME = 'tidegate-name';
const OPENED = 'tidegate-opened';

let session = null;
let chat = null;
// By talk, what is drawn of it: message key to item.
const drawn = new WeakMap();

// Coming and going

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
  chat.addEventListener('heard', ({ detail }) => {
    the('aloud').textContent = say('says', detail.from, words(detail));
  });
  session.connect();
  show(true);
  draw();
  the('other').focus();
}

function leave(error) {
  sessionStorage.clear();
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
  await chat.attempt(what);
  the('text').focus();
}

// Drawing

function drawState() {
  const { state, error, waitMs } = session;
  const word = say(state, Math.ceil(waitMs / 1000));
  the('state').textContent = error ? `${word} (${error.message})` : word;
  the('state').dataset.state = state;
  the('now').hidden = state !== 'waiting';
  // After a reload, back to where this tab was.
  const opened = sessionStorage.getItem(OPENED);
  if (state === 'connected' && opened && !chat.current) open(opened);
  if (state === 'ended') leave(error);
}

function draw() {
  if (!chat) return;
  drawTalks();
  drawTalk(chat.current);
}

function drawTalks() {
  const talks = [...chat.talks.values()];
  if (!talks.some(isLobby)) talks.push({ title: LOBBY, kind: 'room' });
  talks.sort((a, b) => isLobby(b) - isLobby(a));
  const focused = [...the('talks').children].findIndex((item) => item.contains(document.activeElement));
  the('talks').replaceChildren(...talks.map((talk) => {
    const button = make('button', { onclick: () => goTo(talk), ariaCurrent: talk === chat.current }, titleOf(talk));
    if (talk.unread) button.append(make('b', {}, say('unread', talk.unread)));
    return make('li', {}, button);
  }));
  the('talks').children[focused]?.firstChild.focus();
}

function goTo(talk) {
  if (isLobby(talk) || talk.kind === 'pair') open(talk.title);
  else attempt(() => chat.open(talk));
}

function drawTalk(talk) {
  the('head').hidden = the('write').hidden = !talk;
  the('empty').textContent = !talk ? say('nobody') : !talk.loaded ? say('loading') : talk.messages.length ? '' : say('silence');
  if (!talk) return the('log').replaceChildren();
  the('title').textContent = titleOf(talk);
  the('text').placeholder = the('text').ariaLabel = say('write', titleOf(talk));

  if (!drawn.has(talk)) drawn.set(talk, new Map());
  const known = drawn.get(talk);
  const items = talk.messages.map((message) => {
    const item = known.get(message.key) ?? itemOf();
    known.set(message.key, item);
    update(item, message, talk);
    return item;
  });
  const log = the('log');
  // What is put back would lose its focus.
  items.forEach((item, at) => log.children[at] !== item && log.insertBefore(item, log.children[at] ?? null));
  while (log.children.length > items.length) log.lastChild.remove();
}

function itemOf() {
  const by = make('p', { className: 'by' }, make('b'), ' ', make('time'), ' ', make('span', { className: 'status' }));
  return make('li', {}, by, make('p', { className: 'body' }));
}

function update(item, message, talk) {
  const [who, time, status] = item.firstChild.children;
  item.className = message.mine ? 'mine' : '';
  who.textContent = message.mine ? say('you') : message.from;
  time.textContent = when(message.timestamp);
  item.children[1].textContent = words(message);
  if (message.id && item.children.length === 2) item.append(journeyOf(message.id, message.live));
  if (message.mine && status.dataset.status !== message.status) {
    status.dataset.status = message.status;
    status.textContent = `· ${say(message.status, message.error?.message)}`;
    const again = () => chat.send(talk, message);
    if (message.status === 'failed') status.append(' ', make('button', { onclick: again }, say('again')));
  }
}

function trouble(error) {
  the('trouble').hidden = !error;
  if (error) the('trouble').textContent = say(error instanceof Refused ? 'refused' : 'broken', error.message);
}

const isLobby = ({ kind, title }) => kind === 'room' && title === LOBBY;
const titleOf = (talk) => (isLobby(talk) ? say('lobby') : talk.title);
const words = ({ kind, text }) => text || (kind === 'text' ? '' : say(kind));

function when(timestamp) {
  if (!timestamp) return '';
  const date = new Date(timestamp);
  const today = date.toDateString() === new Date().toDateString();
  return date.toLocaleString(language, { dateStyle: today ? undefined : 'medium', timeStyle: 'short' });
}

// Hands on

document.documentElement.lang = language;
the('logo').src = the('icon').href;
for (const element of document.querySelectorAll('[data-say]')) element.textContent = say(element.dataset.say);
the('other').placeholder = the('other').ariaLabel = say('with');

function onSubmit(form, take) {
  the(form).onsubmit = (event) => {
    event.preventDefault();
    const input = the(form).elements[0];
    const text = input.value.trim();
    if (text) take(text);
    input.value = '';
  };
}

onSubmit('door', enter);
onSubmit('find', open);
onSubmit('write', (text) => {
  the('scroll').scrollTop = 0;
  chat.say(chat.current, text);
});
the('leave').onclick = () => session.leave();
the('now').onclick = () => session.connect();
// Enter sends, Shift and Enter begins a line; not while an input method is composing.
the('text').onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  the('write').requestSubmit();
};
addEventListener('visibilitychange', () => chat?.seen());

const name = sessionStorage.getItem(NAME);
if (name) enter(name);
else leave(null);
