// The wire: commands as plain objects to protobuf bytes and back.
//
// Owns the part of src/protocol/schema/messages.proto that this page speaks, under the same names and numbers
// (tests/page/wire.test.mjs holds the two together). Fields it does not list are skipped, as the protocol asks.
// It knows no sockets and no meaning.

export const Cmd = Object.freeze({
  session: 0, conv: 1, direct: 2, ack: 3, rcp: 4, unread: 5, logs: 6, error: 7, read: 11, echo: 14, goaway: 21,
});

export const Op = Object.freeze({
  open: 1, add: 2, close: 4, opened: 5, closed: 6, query: 7, start: 30, started: 31, joined: 32, left: 39,
});

export const Direction = Object.freeze({ OLD: 1, NEW: 2 });

// name: [number, type]. `int` is every varint number: all of the page's fit a double. `[]` is a repeated field, always an
// array once decoded. Bodies are `bytes` in the server's schema and text for us: the wire has no difference.
export const SCHEMA = {
  GenericCommand: {
    cmd: [1, 'int'], op: [2, 'int'], appId: [3, 'string'], peerId: [4, 'string'], i: [5, 'int'], serverTs: [9, 'int'],
    sessionMessage: [102, 'SessionCommand'], errorMessage: [103, 'ErrorCommand'], directMessage: [104, 'DirectCommand'],
    ackMessage: [105, 'AckCommand'], unreadMessage: [106, 'UnreadCommand'], readMessage: [107, 'ReadCommand'],
    rcpMessage: [108, 'RcpCommand'], logsMessage: [109, 'LogsCommand'], convMessage: [110, 'ConvCommand'],
  },
  ErrorCommand: { code: [1, 'int'], reason: [2, 'string'], appCode: [3, 'int'], detail: [4, 'string'], appMsg: [6, 'string'] },
  SessionCommand: {
    ua: [4, 'string'], r: [5, 'bool'], deviceId: [7, 'string'], st: [10, 'string'], stTtl: [11, 'int'], code: [12, 'int'],
    reason: [13, 'string'], detail: [16, 'string'], lastPatchTime: [18, 'int'], configBitmap: [19, 'int'],
  },
  ConvCommand: {
    m: [1, 'string[]'], transient: [2, 'bool'], unique: [3, 'bool'], cid: [4, 'string'], initBy: [6, 'string'],
    sort: [7, 'string'], limit: [8, 'int'], flag: [10, 'int'],
    results: [100, 'JsonObjectMessage'], where: [101, 'JsonObjectMessage'], attr: [103, 'JsonObjectMessage'],
  },
  JsonObjectMessage: { data: [1, 'string'] },
  DirectCommand: {
    msg: [1, 'string'], fromPeerId: [3, 'string'], timestamp: [4, 'int'], r: [10, 'bool'], cid: [11, 'string'],
    id: [12, 'string'], transient: [13, 'bool'], dt: [14, 'string'], binaryMsg: [19, 'bytes'],
  },
  AckCommand: {
    code: [1, 'int'], reason: [2, 'string'], mid: [3, 'string'], cid: [4, 'string'], t: [5, 'int'], uid: [6, 'string'],
    appCode: [11, 'int'], appMsg: [12, 'string'],
  },
  RcpCommand: { id: [1, 'string'], cid: [2, 'string'], t: [3, 'int'], read: [4, 'bool'], from: [5, 'string'] },
  LogsCommand: {
    cid: [1, 'string'], limit: [3, 'int'], t: [4, 'int'], mid: [7, 'string'], direction: [10, 'int'], logs: [105, 'LogItem[]'],
  },
  LogItem: {
    from: [1, 'string'], data: [2, 'string'], timestamp: [3, 'int'], msgId: [4, 'string'], ackAt: [5, 'int'],
    readAt: [6, 'int'], bin: [10, 'bool'],
  },
  UnreadCommand: { convs: [1, 'UnreadTuple[]'], notifTime: [2, 'int'] },
  UnreadTuple: { cid: [1, 'string'], unread: [2, 'int'] },
  ReadCommand: { convs: [3, 'ReadTuple[]'] },
  ReadTuple: { cid: [1, 'string'], timestamp: [2, 'int'], mid: [3, 'string'] },
};

const VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5;

/** The bytes of a message. Fields that are undefined or null are left out; an unknown name is our own mistake. */
export function encode(message, type = 'GenericCommand') {
  const out = [];
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined || value === null) continue;
    const [number, declared] = SCHEMA[type][name] ?? fail(`${type} has no ${name}`);
    const kind = declared.replace('[]', '');
    for (const one of declared === kind ? [value] : value) {
      if (kind === 'int' || kind === 'bool') {
        putVarint(out, number << 3 | VARINT);
        putVarint(out, Number(one));
      } else {
        const bytes = kind === 'string' ? new TextEncoder().encode(one) : kind === 'bytes' ? one : encode(one, kind);
        putVarint(out, number << 3 | LENGTH);
        putVarint(out, bytes.length);
        for (const byte of bytes) out.push(byte);
      }
    }
  }
  return Uint8Array.from(out);
}

/** The message in these bytes. Throws where they end too early or are no protobuf. */
export function decode(bytes, type = 'GenericCommand') {
  const fields = fieldsOf(type);
  const message = {};
  for (const { name, many } of fields.values()) if (many) message[name] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++] ?? fail('cut short');
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
    return fail('a number without end');
  };
  const take = (length) => (length <= bytes.length - at ? bytes.subarray(at, at += length) : fail('cut short'));

  while (at < bytes.length) {
    const key = Number(varint());
    const field = fields.get(key >>> 3);
    let value;
    switch (key & 7) {
      case VARINT: value = varint(); break;
      case FIXED64: take(8); continue;
      case LENGTH: value = take(Number(varint())); break;
      case FIXED32: take(4); continue;
      default: fail('no such wire type');
    }
    if (!field || field.scalar !== (typeof value === 'bigint')) continue;
    value = read(field.kind, value);
    if (field.many) message[field.name].push(value);
    else message[field.name] = value;
  }
  return message;
}

function read(kind, value) {
  switch (kind) {
    case 'int': return Number(BigInt.asIntN(64, value));
    case 'bool': return value !== 0n;
    case 'string': return new TextDecoder().decode(value);
    case 'bytes': return value.slice();
    default: return decode(value, kind);
  }
}

const byNumber = new Map();

function fieldsOf(type) {
  if (!byNumber.has(type)) {
    byNumber.set(type, new Map(Object.entries(SCHEMA[type]).map(([name, [number, declared]]) => {
      const kind = declared.replace('[]', '');
      return [number, { name, kind, many: kind !== declared, scalar: kind === 'int' || kind === 'bool' }];
    })));
  }
  return byNumber.get(type);
}

function putVarint(out, number) {
  let value = BigInt.asUintN(64, BigInt(number));
  for (; value > 127n; value >>= 7n) out.push(Number(value & 127n) | 128);
  out.push(Number(value));
}

function fail(what) {
  throw new Error(`wire: ${what}`);
}
