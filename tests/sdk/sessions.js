// Who is logged in where: tags, names made by the server, signatures, and coming back by a token after the server
// itself was gone.

'use strict';

const {
  Event, SIGNED,
  askFor, assert, event, eventually, fresh, login, refusal, run, signatures, text,
} = require('./check');

let signed = 0;
const counting = {
  ...signatures,
  signatureFactory: (client) => {
    signed += 1;
    return signatures.signatureFactory(client);
  },
};

run({
  'a second device with the same tag takes over': async () => {
    const id = fresh('tagged');
    const first = await login(id, { tag: 'mobile' });
    const conflict = event(first, Event.CONFLICT);
    const second = await login(id, { tag: 'mobile' });
    await conflict;
    const other = await login(id, { tag: 'desk' });
    assert.deepEqual(await second.ping([id]), [id]);
    await Promise.all([second.close(), other.close()]);
  },

  'a client without a name gets one': async () => {
    const somebody = await login();
    assert.ok(somebody.id);
    assert.deepEqual(await somebody.ping([somebody.id]), [somebody.id]);
    await somebody.close();
  },

  'without a signature nobody gets in where one is required': async () => {
    const error = await refusal(login(fresh('stranger'), {}, SIGNED), 'a log-in without a signature');
    assert.equal(error.code, 4102);
  },

  'with signatures all goes well': async () => {
    const [tom, jerry] = [fresh('tom'), fresh('jerry')];
    const client = await login(tom, signatures, SIGNED);
    const talk = await client.createConversation({ members: [jerry], unique: false });
    assert.deepEqual((await talk.add([fresh('spike')])).successfulClientIds.length, 1);
    assert.deepEqual((await talk.remove([jerry])).successfulClientIds, [jerry]);
    const bare = await login(fresh('bare'), { signatureFactory: signatures.signatureFactory }, SIGNED);
    const error = await refusal(bare.createConversation({ members: [jerry], unique: false }), 'a start without one');
    assert.equal(error.code, 4302);
    await Promise.all([client.close(), bare.close()]);
  },

  'after a restart of the server both come back by their tokens and go on': async () => {
    const [TOM, JERRY] = [fresh('tom'), fresh('jerry')];
    signed = 0;
    const [tom, jerry] = await Promise.all([TOM, JERRY].map((id) => login(id, counting, SIGNED)));
    const talk = await tom.createConversation({ members: [JERRY], unique: false });
    const jerrys = await jerry.getConversation(talk.id);
    let heard = event(jerry, Event.MESSAGE);
    await talk.send(text(talk, 'before'));
    await heard;

    const back = [event(tom, Event.RECONNECT), event(jerry, Event.RECONNECT)];
    await askFor('restart');
    await Promise.all(back);
    assert.equal(signed, 2, 'a log-in by token needs no new signature');

    heard = event(jerry, Event.MESSAGE, (message) => message.text === 'after');
    await talk.send(text(talk, 'after'));
    await heard;
    heard = event(tom, Event.MESSAGE);
    await jerrys.send(text(jerrys, 'welcome back'));
    assert.equal((await heard)[0].text, 'welcome back');
    const kept = await eventually('the history', () => talk.queryMessages({ limit: 10 }));
    assert.deepEqual(kept.map((message) => message.text), ['before', 'after', 'welcome back']);
  },
});
