// The page's codec against the server's schema: every name and number, and bytes exchanged with another protobuf.
//
// Run by `npm test`. protobufjs reads messages.proto as it is, so a field that is renamed or renumbered there fails here.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import protobuf from 'protobufjs';
import { Cmd, Direction, Op, SCHEMA, decode, encode } from '../../src/page/wire.js';

const source = readFileSync(new URL('../../src/protocol/schema/messages.proto', import.meta.url), 'utf8');
const schema = protobuf.parse(source, { keepCase: true }).root.lookup('push_server.messages2');
const theirs = schema.lookupType('GenericCommand');

test('every field has the name, number and type of the schema', () => {
  for (const [type, fields] of Object.entries(SCHEMA)) {
    for (const { name, number, kind, many } of fields) {
      const field = schema.lookupType(type).fields[name];
      assert.ok(field, `${type}.${name} is in the schema`);
      field.resolve();
      const varint = ['int32', 'int64', 'bool'].includes(field.type) || field.resolvedType instanceof protobuf.Enum;
      const theirKind = varint ? 'int' : field.type === 'bytes' ? 'string' : field.type;
      assert.deepEqual([number, kind, many], [field.id, theirKind, field.repeated], `${type}.${name}`);
    }
  }
});

test('every command and operation has the number of the schema', () => {
  const numbers = (ours, type) => {
    for (const [name, number] of Object.entries(ours)) assert.equal(number, type.values[name], name);
  };
  numbers(Cmd, schema.lookupEnum('CommandType'));
  numbers(Op, schema.lookupEnum('OpType'));
  numbers(Direction, schema.lookupEnum('LogsCommand.QueryDirection'));
});

const COMMANDS = [
  { cmd: Cmd.echo, i: 1 },
  { cmd: Cmd.session, op: Op.open, appId: 'tidegate-dev', peerId: '小明', i: 1, sessionMessage: { ua: 'x', r: 0, configBitmap: 41 } },
  { cmd: Cmd.direct, i: 7, directMessage: { cid: 'c', msg: '{"_lctype":-1,"_lctext":"潮 🌊"}', dt: 'k', r: 1 } },
  { cmd: Cmd.direct, directMessage: { cid: 'c', id: 'm', fromPeerId: 'a', timestamp: 1_763_900_000_123, msg: '' } },
  { cmd: Cmd.ack, i: 300, ackMessage: { uid: 'm', t: 1_763_900_000_123 } },
  { cmd: Cmd.conv, op: Op.start, i: 2 ** 31 - 1, convMessage: { m: ['a', 'b'], unique: 1 } },
  { cmd: Cmd.conv, op: Op.query, convMessage: { m: [], where: { data: '{"name":"lobby"}' }, limit: 0 } },
  { cmd: Cmd.error, i: -5, errorMessage: { code: 4401, reason: 'INVALID_MESSAGING_TARGET' } },
  { cmd: Cmd.logs, logsMessage: { logs: [{ msgId: '1', timestamp: 1, data: 'x' }, { msgId: '2', bin: 1, ackAt: 3 }] } },
  { cmd: Cmd.unread, unreadMessage: { convs: [{ cid: 'c', unread: 0 }, { cid: 'd', unread: 100 }] } },
];

test('what is encoded is decoded again', () => {
  for (const command of COMMANDS) assert.deepEqual(decode(encode(command)), command);
});

test('another protobuf reads what is encoded, and its bytes are read', () => {
  for (const command of COMMANDS) {
    const read = theirs.decode(encode(command));
    const again = theirs.encode(read).finish();
    assert.deepEqual(decode(again), command);
    const { msg } = read.directMessage ?? {};
    if (msg) assert.equal(new TextDecoder().decode(msg), command.directMessage.msg);
  }
});

test('fields that are not listed are skipped, whatever their type', () => {
  const bytes = theirs.encode({
    cmd: Cmd.direct, installationId: 'x', clientTs: 5, roomMessage: { roomId: 'r' },
    directMessage: { cid: 'c', mentionPids: ['a', 'b'], convType: 1 },
  }).finish();
  // Numbers 1000 and 1001 with eight and four bytes, which no field of the schema has.
  const fixed = [0xc1, 0x3e, 1, 2, 3, 4, 5, 6, 7, 8, 0xcd, 0x3e, 1, 2, 3, 4];
  assert.deepEqual(decode(Uint8Array.of(...fixed, ...bytes)), { cmd: Cmd.direct, directMessage: { cid: 'c' } });
});

test('truth is one and zero, undefined and null are left out, an unknown name is refused', () => {
  assert.deepEqual(encode({ sessionMessage: { r: true } }), encode({ sessionMessage: { r: 1 } }));
  assert.deepEqual(encode({ cmd: Cmd.echo, peerId: undefined, i: null }), Uint8Array.of(8, 14));
  assert.throws(() => encode({ cmd: Cmd.echo, pearId: 'x' }), /no pearId/);
});

test('bytes that end too early are refused at every length', () => {
  const whole = encode({ sessionMessage: { st: 'abc' } });
  for (let length = 1; length < whole.length; length++) {
    assert.throws(() => decode(whole.subarray(0, length)), /wire/, `cut at ${length}`);
  }
  assert.throws(() => decode(new Uint8Array(16).fill(255)), /wire/);
});
