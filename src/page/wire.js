// The wire: commands as plain objects to protobuf bytes and back.
//
// Owns what this page speaks of src/protocol/schema/messages.proto (tests/page/wire.test.mjs compares the two). It knows
// no sockets and no meaning.

export const Cmd = { session: 0, conv: 1, direct: 2, ack: 3, rcp: 4, unread: 5, logs: 6, error: 7, read: 11, echo: 14, goaway: 21 };
export const Op = { open: 1, add: 2, close: 4, closed: 6, query: 7, start: 30, joined: 32 };
export const Direction = { OLD: 1, NEW: 2 };

// `name number type`. An `int` is any number or truth, a `string` text or bytes; `[]` repeats: always an array once decoded.
const MESSAGES = {
  GenericCommand: `cmd 1 int, op 2 int, appId 3 string, peerId 4 string, i 5 int, sessionMessage 102 SessionCommand,
    errorMessage 103 ErrorCommand, directMessage 104 DirectCommand, ackMessage 105 AckCommand,
    unreadMessage 106 UnreadCommand, readMessage 107 ReadCommand, rcpMessage 108 RcpCommand,
    logsMessage 109 LogsCommand, convMessage 110 ConvCommand`,
  ErrorCommand: 'code 1 int, reason 2 string, appCode 3 int, detail 4 string, appMsg 6 string',
  SessionCommand: `ua 4 string, r 5 int, deviceId 7 string, st 10 string, code 12 int, reason 13 string,
    detail 16 string, configBitmap 19 int`,
  ConvCommand: `m 1 string[], transient 2 int, unique 3 int, cid 4 string, sort 7 string, limit 8 int,
    results 100 JsonObjectMessage, where 101 JsonObjectMessage, attr 103 JsonObjectMessage`,
  JsonObjectMessage: 'data 1 string',
  DirectCommand: `msg 1 string, fromPeerId 3 string, timestamp 4 int, r 10 int, cid 11 string, id 12 string,
    transient 13 int, dt 14 string, binaryMsg 19 string`,
  AckCommand: 'code 1 int, reason 2 string, mid 3 string, cid 4 string, t 5 int, uid 6 string, appCode 11 int, appMsg 12 string',
  RcpCommand: 'id 1 string, cid 2 string, read 4 int',
  LogsCommand: 'cid 1 string, limit 3 int, t 4 int, mid 7 string, direction 10 int, logs 105 LogItem[]',
  LogItem: 'from 1 string, data 2 string, timestamp 3 int, msgId 4 string, ackAt 5 int, readAt 6 int, bin 10 int',
  UnreadCommand: 'convs 1 UnreadTuple[]',
  UnreadTuple: 'cid 1 string, unread 2 int',
  ReadCommand: 'convs 3 ReadTuple[]',
  ReadTuple: 'cid 1 string, timestamp 2 int, mid 3 string',
};

export const SCHEMA = Object.fromEntries(Object.entries(MESSAGES).map(([message, fields]) => [
  message,
  fields.split(/,\s+/).map((field) => {
    const [name, number, type] = field.split(' ');
    return { name, number: Number(number), kind: type.replace('[]', ''), many: type.endsWith('[]') };
  }),
]));

const VARINT = 0, LENGTH = 2;

/** The bytes of a message, without what is undefined or null. */
export function encode(message, type = 'GenericCommand') {
  const out = [];
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined || value === null) continue;
    const { number, kind, many } = SCHEMA[type].find((field) => field.name === name) ?? fail(`${type} has no ${name}`);
    for (const one of many ? value : [value]) {
      if (kind === 'int') {
        putVarint(out, number << 3 | VARINT);
        putVarint(out, Number(one));
      } else {
        const bytes = kind === 'string' ? new TextEncoder().encode(one) : encode(one, kind);
        putVarint(out, number << 3 | LENGTH);
        putVarint(out, bytes.length);
        out.push(...bytes);
      }
    }
  }
  return Uint8Array.from(out);
}

/** The message in these bytes; fields not listed are skipped. Throws where they are no protobuf. */
export function decode(bytes, type = 'GenericCommand') {
  const message = {};
  for (const { name, many } of SCHEMA[type]) if (many) message[name] = [];
  let at = 0;
  const take = (length) => (length <= bytes.length - at ? bytes.subarray(at, at += length) : fail('cut short'));
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const [byte] = take(1);
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    return fail('a number without end');
  };

  while (at < bytes.length) {
    const key = Number(varint());
    const wire = key & 7;
    const raw = wire === VARINT ? varint()
      : wire === LENGTH ? take(Number(varint()))
      : wire === 1 ? take(8)
      : wire === 5 ? take(4)
      : fail('no such wire type');
    const field = SCHEMA[type].find(({ number }) => number === key >>> 3);
    if (!field || wire !== (field.kind === 'int' ? VARINT : LENGTH)) continue;
    const value = valueOf(field.kind, raw);
    if (field.many) message[field.name].push(value);
    else message[field.name] = value;
  }
  return message;
}

function valueOf(kind, raw) {
  if (kind === 'int') return Number(BigInt.asIntN(64, raw));
  return kind === 'string' ? new TextDecoder().decode(raw) : decode(raw, kind);
}

function putVarint(out, number) {
  let value = BigInt.asUintN(64, BigInt(number));
  for (; value > 127n; value >>= 7n) out.push(Number(value & 127n) | 128);
  out.push(Number(value));
}

function fail(what) {
  throw new Error(`wire: ${what}`);
}
