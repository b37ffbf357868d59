// Two clients talk: both ways, with receipts, history, mentions, and unread counts for the one who was away.

'use strict';

const {
  Event,
  assert, binary, event, eventually, fresh, login, run, text,
} = require('./check');

const [TOM, JERRY] = [fresh('tom'), fresh('jerry')];
let tom, jerry, talk, jerrys;

/** Sends and waits until the other side has it. */
async function say(conversation, message, receiver, options) {
  const arrives = event(receiver, Event.MESSAGE, (it) => it.cid === conversation.id);
  const sent = await conversation.send(message, options);
  const [got, where] = await arrives;
  return { sent, got, where };
}

run({
  'two clients log in': async () => {
    [tom, jerry] = await Promise.all([login(TOM), login(JERRY)]);
    assert.equal(tom.id, TOM);
    assert.deepEqual(await tom.ping([JERRY, 'nobody-at-all']), [JERRY]);
  },

  'one makes a conversation and the other is invited': async () => {
    const invited = event(jerry, Event.INVITED);
    talk = await tom.createConversation({ members: [JERRY], name: 'Tom & Jerry', unique: false, mood: 'fine' });
    const [payload, where] = await invited;
    assert.equal(payload.invitedBy, TOM);
    assert.equal(where.id, talk.id);
    jerrys = await jerry.getConversation(talk.id);
    assert.equal(jerrys.name, 'Tom & Jerry');
    assert.equal(jerrys.creator, TOM);
    assert.equal(jerrys.get('mood'), 'fine');
    assert.deepEqual([...jerrys.members].sort(), [JERRY, TOM].sort());
    assert.ok(!jerrys.lastMessageAt);
    assert.equal(await talk.count(), 2);
  },

  'they talk both ways': async () => {
    const there = await say(talk, text(talk, 'Morning, Jerry.').setAttributes({ tone: 'kind' }), jerry);
    assert.equal(there.got.text, 'Morning, Jerry.');
    assert.deepEqual(there.got.getAttributes(), { tone: 'kind' });
    assert.equal(there.got.from, TOM);
    assert.equal(there.got.id, there.sent.id);
    assert.equal(+there.got.timestamp, +there.sent.timestamp);
    assert.equal(there.sent.status, tom.copy.MessageStatus.SENT);
    assert.equal(there.where, jerrys);
    const back = await say(jerrys, text(jerrys, '早上好，汤姆 🐭'), tom);
    assert.equal(back.got.text, '早上好，汤姆 🐭');
    assert.ok(back.got.timestamp > there.got.timestamp);
  },

  'bytes arrive as bytes': async () => {
    const bytes = Uint8Array.from({ length: 256 }, (_, n) => n);
    const { got } = await say(talk, binary(talk, bytes.buffer), jerry);
    assert.deepEqual(new Uint8Array(got.buffer), bytes);
  },

  'a mention is known as one': async () => {
    const { got } = await say(talk, text(talk, '@jerry').setMentionList([JERRY]), jerry);
    assert.deepEqual(got.getMentionList(), [JERRY]);
    assert.equal(got.mentioned, true);
    assert.equal((await say(jerrys, text(jerrys, '@all').mentionAll(), tom)).got.mentioned, true);
  },

  'receipts come back: delivered, then read': async () => {
    const delivered = event(talk, Event.LAST_DELIVERED_AT_UPDATE);
    const { sent, got } = await say(talk, text(talk, 'Did you get this?'), jerry, { receipt: true });
    await delivered;
    await eventually('the message to be delivered', () => sent.status === tom.copy.MessageStatus.DELIVERED);
    assert.ok(sent.deliveredAt >= sent.timestamp);
    const read = event(talk, Event.LAST_READ_AT_UPDATE);
    await jerrys.read();
    await read;
    assert.ok(talk.lastReadAt >= got.timestamp);
    await talk.fetchReceiptTimestamps();
    assert.ok(talk.lastReadAt >= got.timestamp && talk.lastDeliveredAt >= got.timestamp);
  },

  'a transient message arrives and is not kept': async () => {
    const { got } = await say(talk, text(talk, 'typing…'), jerry, { transient: true });
    assert.equal(got.text, 'typing…');
    const kept = await talk.queryMessages({ limit: 100 });
    assert.ok(kept.every((message) => message.id !== got.id));
  },

  'history comes page by page, each strictly older': async () => {
    for (let n = 1; n <= 25; n += 1) await say(n % 2 ? talk : jerrys, text(n % 2 ? talk : jerrys, `line ${n}`), n % 2 ? jerry : tom);
    const pages = talk.createMessagesIterator({ limit: 10 });
    const all = [];
    for (;;) {
      const { value, done } = await pages.next();
      if (value) {
        assert.ok(value.every((it, at) => at === 0 || value[at - 1].timestamp < it.timestamp), 'a page ascends');
        assert.ok(!all.length || !value.length || value.at(-1).timestamp < all[0].timestamp, 'a page is older');
        all.unshift(...value);
      }
      if (done) break;
    }
    const lines = all.filter((it) => it.text && it.text.startsWith('line ')).map((it) => it.text);
    assert.deepEqual(lines, Array.from({ length: 25 }, (_, n) => `line ${n + 1}`));
    assert.equal(new Set(all.map((it) => it.id)).size, all.length);
    assert.equal(all[0].text, 'Morning, Jerry.');
  },

  'history takes bounds, a direction and a type': async () => {
    const all = await talk.queryMessages({ limit: 100 });
    const [first, third] = [all[0], all[2]];
    const ids = (messages) => messages.map((it) => it.id);
    const newer = await talk.queryMessages({
      startTime: first.timestamp, startMessageId: first.id, limit: 2, direction: tom.copy.MessageQueryDirection.OLD_TO_NEW,
    });
    assert.deepEqual(ids(newer), ids(all.slice(1, 3)));
    const closed = await talk.queryMessages({
      startTime: first.timestamp, startMessageId: first.id, startClosed: true,
      endTime: third.timestamp, endMessageId: third.id, endClosed: true,
      limit: 100, direction: tom.copy.MessageQueryDirection.OLD_TO_NEW,
    });
    assert.deepEqual(ids(closed), ids(all.slice(0, 3)));
    assert.deepEqual(await talk.queryMessages({ limit: 0 }), []);
    assert.deepEqual(await talk.queryMessages({ beforeTime: new Date(1) }), []);
    assert.deepEqual(await talk.queryMessages({ afterTime: new Date('2099-01-01') }), []);
    assert.deepEqual(await talk.queryMessages({ type: 1000 }), []);
    const typed = await talk.queryMessages({ type: -1, limit: 100 });
    assert.ok(typed.length > 0 && typed.every((it) => it.type === -1));
  },

  'who was away learns what is unread, and reads it everywhere': async () => {
    // The SDK tells the server what was read at most once a second.
    const newest = (await talk.queryMessages({ limit: 1 }))[0];
    await jerrys.read();
    await eventually('the server to know', async () => (await talk.fetchReceiptTimestamps()).lastReadAt >= newest.timestamp);
    await jerry.close();
    await eventually('jerry to be away', async () => !(await tom.ping([JERRY])).length);
    for (const words of ['one', 'two']) await talk.send(text(talk, words));
    const last = await talk.send(text(talk, '@jerry three').setMentionList([JERRY]));

    const counted = (client) =>
      event(client, Event.UNREAD_MESSAGES_COUNT_UPDATE, (them) => them.some((it) => it.id === talk.id));
    const phone = await login(JERRY);
    const [[onPhone]] = await counted(phone);
    assert.equal(onPhone.unreadMessagesCount, 3);
    assert.equal(onPhone.unreadMessagesMentioned, true);
    assert.equal(onPhone.lastMessage.id, last.id);
    const desk = await login(JERRY);
    const [[onDesk]] = await counted(desk);
    assert.equal(onDesk.unreadMessagesCount, 3);

    const missed = await onDesk.queryMessages({ limit: 3 });
    assert.deepEqual(missed.map((it) => it.text), ['one', 'two', '@jerry three']);
    const cleared = counted(phone);
    await onDesk.read();
    await cleared;
    assert.equal(onPhone.unreadMessagesCount, 0);
    assert.equal(onPhone.lastMessage.id, last.id);
    await Promise.all([phone.close(), desk.close()]);
  },
});
