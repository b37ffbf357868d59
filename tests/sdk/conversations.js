// Conversations as things: unique ones, queries, changes and who is told of them, members, muting, chat rooms.

'use strict';

const {
  Event,
  assert, event, eventually, fresh, login, realtime, refusal, run, text, version,
} = require('./check');

const [TOM, JERRY, SPIKE] = [fresh('tom'), fresh('jerry'), fresh('spike')];
const run_of = fresh('run');
let tom, jerry, spike, talk;

run({
  'three clients log in': async () => {
    [tom, jerry, spike] = await Promise.all([login(TOM), login(JERRY), login(SPIKE)]);
  },

  'a unique conversation is one, however often it is made': async () => {
    const first = await tom.createConversation({ members: [JERRY], unique: true, name: 'first' });
    const second = await jerry.createConversation({ members: [TOM], unique: true, name: 'second' });
    const third = await tom.createConversation({ members: [JERRY], unique: false });
    assert.equal(first.id, second.id);
    assert.notEqual(first.id, third.id);
    assert.equal((await spike.getConversation(first.id)).name, 'first');
    assert.match(first.id, /^[0-9a-f]{24}$/);
  },

  'queries find what they ask for': async () => {
    const made = [];
    for (const [name, level, members] of [
      [`${run_of}-Alpha`, 1, [JERRY]], [`${run_of}-beta`, 2, [JERRY, SPIKE]], [`${run_of}-gamma`, 3, [SPIKE]],
    ]) {
      made.push(await tom.createConversation({ members, name, unique: false, level, attr: { of: run_of } }));
    }
    made[1] = await tom.getConversation(made[1].id, true);
    const find = async (shape) => {
      const query = tom.getQuery().equalTo('attr.of', run_of);
      shape(query);
      return (await query.limit(100).find()).map((it) => it.name.slice(run_of.length + 1)).sort();
    };
    assert.deepEqual(await find(() => {}), ['Alpha', 'beta', 'gamma']);
    assert.deepEqual(await find((q) => q.equalTo('level', 2)), ['beta']);
    assert.deepEqual(await find((q) => q.notEqualTo('level', 2)), ['Alpha', 'gamma']);
    assert.deepEqual(await find((q) => q.greaterThan('level', 1).lessThan('level', 3)), ['beta']);
    assert.deepEqual(await find((q) => q.greaterThanOrEqualTo('level', 2)), ['beta', 'gamma']);
    assert.deepEqual(await find((q) => q.lessThanOrEqualTo('level', 2)), ['Alpha', 'beta']);
    assert.deepEqual(await find((q) => q.containedIn('level', [1, 3, 9])), ['Alpha', 'gamma']);
    assert.deepEqual(await find((q) => q.notContainsIn('level', [1, 3, 9])), ['beta']);
    assert.deepEqual(await find((q) => q.exists('level')), ['Alpha', 'beta', 'gamma']);
    assert.deepEqual(await find((q) => q.doesNotExist('level')), []);
    assert.deepEqual(await find((q) => q.containsMembers([SPIKE])), ['beta', 'gamma']);
    assert.deepEqual(await find((q) => q.withMembers([SPIKE], true)), ['gamma']);
    assert.deepEqual(await find((q) => q.sizeEqualTo('m', 3)), ['beta']);
    assert.deepEqual(await find((q) => q.startsWith('name', `${run_of}-A`)), ['Alpha']);
    assert.deepEqual(await find((q) => q.endsWith('name', 'eta')), ['beta']);
    assert.deepEqual(await find((q) => q.contains('name', '-g')), ['gamma']);
    assert.deepEqual(await find((q) => q.matches('name', /ALPHA/i)), ['Alpha']);
    assert.deepEqual(await find((q) => q.matches('name', /-[bc]eta$/)), ['beta']);
    assert.deepEqual(await find((q) => q.greaterThan('createdAt', made[1].createdAt)), ['gamma']);
    assert.deepEqual(await find((q) => q.containedIn('objectId', [made[0].id, '5'.repeat(24)])), ['Alpha']);

    if (version === 'rt5') {
      const { ConversationQuery } = tom.copy;
      const of = (name) => tom.getQuery().equalTo('name', `${run_of}-${name}`);
      const either = await ConversationQuery.or(of('Alpha'), of('gamma')).find();
      assert.deepEqual(either.map((it) => it.id).sort(), [made[0].id, made[2].id].sort());
      const both = await ConversationQuery.and(of('beta'), tom.getQuery().equalTo('level', 2)).find();
      assert.deepEqual(both.map((it) => it.id), [made[1].id]);
    }

    const sorted = async (shape) =>
      (await shape(tom.getQuery().equalTo('attr.of', run_of)).find()).map((it) => it.id);
    const ids = made.map((it) => it.id);
    assert.deepEqual(await sorted((q) => q.ascending('createdAt')), ids);
    assert.deepEqual(await sorted((q) => q.descending('createdAt')), [...ids].reverse());
    assert.deepEqual(await sorted((q) => q.ascending('createdAt').skip(1).limit(1)), [ids[1]]);
    assert.deepEqual(await sorted((q) => q.limit(0)), []);
    assert.equal(await tom.getConversation('5'.repeat(24)), null);

    await made[0].send(text(made[0], 'the last word'));
    const [compact] = await jerry.getQuery().equalTo('objectId', ids[0]).compact(true)
      .withLastMessagesRefreshed(true).find();
    assert.deepEqual(compact.members, []);
    assert.equal(compact.lastMessage.text, 'the last word');
    assert.equal(compact.lastMessage.from, TOM);
  },

  'a change of a conversation is told to the others': async () => {
    const named = (_, where) => where.name === 'before';
    // An SDK that hears of a conversation asks for it: what it is answered must not come behind the change.
    const started = [event(jerry, Event.INVITED, named), event(jerry, Event.MEMBERS_JOINED, named)];
    talk = await tom.createConversation({ members: [JERRY], name: 'before', unique: false, attr: { hat: 'red' } });
    await Promise.all(started);
    const jerrys = await jerry.getConversation(talk.id);
    const told = event(jerrys, Event.INFO_UPDATED);
    talk.name = 'after';
    talk.set('attr.shoes', 'blue');
    await talk.save();
    const [{ updatedBy }] = await told;
    assert.equal(updatedBy, TOM);
    assert.equal(jerrys.name, 'after');
    const seen = await spike.getConversation(talk.id, true);
    assert.deepEqual(seen.get('attr'), { hat: 'red', shoes: 'blue' });
    assert.equal(seen.name, 'after');
    assert.ok(seen.updatedAt >= seen.createdAt);

    const spikes = await spike.getConversation(talk.id);
    spikes.name = 'mine';
    assert.equal((await refusal(spikes.save(), 'a change by a stranger')).code, 4309);
  },

  'members come and go, and those concerned are told': async () => {
    const jerrys = await jerry.getConversation(talk.id);
    // Word of the conversation's start may still be on its way.
    const ofSpike = (told) => told.members.includes(SPIKE);
    let told = [
      event(spike, Event.INVITED, (_, where) => where.id === talk.id),
      event(jerry, Event.MEMBERS_JOINED, ofSpike),
      event(tom, Event.MEMBERS_JOINED, ofSpike),
    ];
    assert.deepEqual((await talk.add([SPIKE])).successfulClientIds, [SPIKE]);
    const [[invited, where], [joined], [seen]] = await Promise.all(told);
    assert.equal(invited.invitedBy, TOM);
    assert.equal(where.id, talk.id);
    assert.deepEqual([joined.members, joined.invitedBy], [[SPIKE], TOM]);
    assert.deepEqual(seen.members, [SPIKE]);
    assert.ok(jerrys.members.includes(SPIKE));

    told = [event(spike, Event.KICKED), event(jerry, Event.MEMBERS_LEFT, ofSpike)];
    await talk.remove([SPIKE]);
    const [[kicked], [left]] = await Promise.all(told);
    assert.equal(kicked.kickedBy, TOM);
    assert.deepEqual([left.members, left.kickedBy], [[SPIKE], TOM]);
    const foreign = await spike.getConversation(talk.id, true);
    assert.equal((await refusal(foreign.send(text(foreign, '?')), 'a message of one who is no member')).code, 4401);

    told = [event(tom, Event.MEMBERS_JOINED, ofSpike), event(jerry, Event.MEMBERS_JOINED, ofSpike)];
    const spikes = await spike.getConversation(talk.id, true);
    await spikes.join();
    assert.deepEqual((await told[0])[0].members, [SPIKE]);
    await told[1];
    const heard = event(tom, Event.MESSAGE, (message) => message.cid === talk.id);
    await spikes.send(text(spikes, 'I am here'));
    assert.equal((await heard)[0].text, 'I am here');

    told = [event(tom, Event.MEMBERS_LEFT, ofSpike), event(jerry, Event.MEMBERS_LEFT, ofSpike)];
    await spikes.quit();
    assert.deepEqual((await told[0])[0].members, [SPIKE]);
    await told[1];
    assert.equal(await talk.count(), 2);
  },

  'two add members at once, and both counts': async () => {
    const room = await tom.createConversation({ members: [JERRY], unique: false });
    const jerrys = await jerry.getConversation(room.id);
    const [left, right] = [fresh('left'), fresh('right')];
    await Promise.all([room.add([left]), jerrys.add([right])]);
    const seen = await spike.getConversation(room.id, true);
    assert.deepEqual([...seen.members].sort(), [TOM, JERRY, left, right].sort());
  },

  'push can be muted and unmuted': async () => {
    await talk.mute();
    assert.ok((await spike.getConversation(talk.id, true)).mutedMembers.includes(TOM));
    await talk.unmute();
    assert.ok(!((await spike.getConversation(talk.id, true)).mutedMembers || []).includes(TOM));
  },

  'a chat room hears those who send, and only those who joined hear it': async () => {
    const room = version === 'rt5'
      ? await tom.createChatRoom({ name: 'square' })
      : await tom.createConversation({ name: 'square', transient: true });
    assert.ok(!room.id.startsWith('_tmp:'));
    assert.equal(await room.count(), 1);
    const jerrys = await jerry.getConversation(room.id);
    assert.equal(jerrys.transient, true);
    await jerrys.join();
    assert.equal(await room.count(), 2);

    const spikes = await spike.getConversation(room.id);
    const inRoom = (message) => message.cid === room.id;
    const [toTom, toJerry] = [event(tom, Event.MESSAGE, inRoom), event(jerry, Event.MESSAGE, inRoom)];
    await spikes.send(text(spikes, 'anyone may shout'));
    assert.equal((await toTom)[0].text, 'anyone may shout');
    assert.equal((await toJerry)[0].text, 'anyone may shout');

    await jerrys.quit();
    await eventually('jerry to have left', async () => (await room.count()) === 1);
  },

  'many clients share one connection': async () => {
    const shared = realtime();
    const ids = Array.from({ length: 5 }, (_, n) => fresh(`guest${n}`));
    const guests = await Promise.all(ids.map((id) => shared.createIMClient(id)));
    for (const guest of guests) guest.copy = shared.copy;
    const party = await guests[0].createConversation({ members: ids, unique: false });
    // A conversation that is not cached is asked for first, and messages may overtake each other meanwhile.
    await Promise.all(guests.map((guest) => guest.getConversation(party.id)));
    const heard = guests.slice(1).map((guest) => event(guest, Event.MESSAGE));
    await party.send(text(party, 'welcome'));
    for (const [message] of await Promise.all(heard)) assert.equal(message.text, 'welcome');
  },

  'an error has its code and its name': async () => {
    const gone = await tom.parseConversation({ id: '5'.repeat(24) });
    const error = await refusal(gone.send(text(gone, 'anyone?')), 'a message to nowhere');
    assert.equal(error.code, 4401);
    assert.match(String(error.message), /INVALID_MESSAGING_TARGET/);
  },
});
