#!/bin/bash
# new modules store.js and handler.js: offsets in memory, events read from the file for each page, writes in a promise queue, a map of ids for each source, refusals as exceptions
set -e
cd /app
rm -f lib/journal.js lib/signature.js lib/events.js lib/body.js
cat > server.js <<'END_OF_FILE'
'use strict';

const http = require('node:http');
const { Store } = require('./lib/store');
const { createHandler } = require('./lib/handler');

const { PORT = '8080', DATA_DIR = 'data', HOOK_SECRET = '' } = process.env;

async function main() {
  const store = await Store.open(DATA_DIR);
  const handler = createHandler(store, HOOK_SECRET);
  const server = http.createServer(handler).on('checkExpectation', handler);
  server.on('clientError', (error, socket) => {
    if (!socket.writable) return socket.destroy();
    return socket.end('HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nConnection: close\r\n'
      + 'Content-Length: 19\r\n\r\n{"error":"request"}');
  });
  server.on('connect', (request, socket) => {
    socket.on('error', () => {});
    socket.end('HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: close\r\n'
      + 'Content-Length: 16\r\n\r\n{"error":"path"}');
  });
  server.listen(Number(PORT), '127.0.0.1');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
END_OF_FILE
cat > lib/store.js <<'END_OF_FILE'
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { promisify } = require('node:util');

const read = promisify(fs.read);
const write = promisify(fs.write);
const truncate = promisify(fs.ftruncate);
const LF = 10;

/** The journal: offsets in memory, the events themselves only in the file. Writes wait for each other. */
class Store {
  static async open(folder) {
    fs.mkdirSync(folder, { recursive: true });
    const store = new Store(fs.openSync(path.join(folder, 'journal.ndjson'), fs.constants.O_RDWR | fs.constants.O_CREAT, 0o644));
    await store.scan();
    return store;
  }

  constructor(fd) {
    this.fd = fd;
    this.end = 0;
    this.index = [];           // {seq, source, at, size}
    this.bySource = new Map(); // source -> Map(id -> promise of seq)
    this.tail = Promise.resolve();
  }

  async scan() {
    const block = Buffer.alloc(1 << 20);
    let rest = Buffer.alloc(0);
    let at = 0;
    for (;;) {
      const { bytesRead } = await read(this.fd, block, 0, block.length, at);
      if (!bytesRead) break;
      at += bytesRead;
      rest = Buffer.concat([rest, block.subarray(0, bytesRead)]);
      let from = 0;
      for (let stop; (stop = rest.indexOf(LF, from)) >= 0; from = stop + 1) {
        if (stop > from) {
          const { seq, source, id } = JSON.parse(rest.toString('utf8', from, stop));
          this.index.push({ seq, source, at: this.end, size: stop - from });
          const ids = this.ids(source);
          if (!ids.has(id)) ids.set(id, Promise.resolve(seq));
        }
        this.end += stop + 1 - from;
      }
      rest = Buffer.from(rest.subarray(from));
    }
    if (at > this.end) await truncate(this.fd, this.end);
  }

  ids(source) {
    let ids = this.bySource.get(source);
    if (!ids) this.bySource.set(source, ids = new Map());
    return ids;
  }

  async put(source, id, text) {
    const ids = this.ids(source);
    const pending = ids.get(id);
    if (pending) return { seq: await pending, duplicate: true };
    const stored = this.tail.then(() => this.append(source, id, text));
    this.tail = stored.catch(() => {});
    ids.set(id, stored);
    try {
      return { seq: await stored, duplicate: false };
    } catch (error) {
      ids.delete(id);
      throw error;
    }
  }

  async append(source, id, text) {
    const last = this.index[this.index.length - 1];
    const seq = last ? last.seq + 1 : 1;
    const line = Buffer.from(`{"seq": ${seq}, "source": ${JSON.stringify(source)}, "id": ${JSON.stringify(id)}, "body": ${text}}\n`);
    try {
      for (let done = 0; done < line.length;) {
        done += (await write(this.fd, line, done, line.length - done, this.end + done)).bytesWritten;
      }
    } catch (error) {
      await truncate(this.fd, this.end);
      throw error;
    }
    this.index.push({ seq, source, at: this.end, size: line.length - 1 });
    this.end += line.length;
    return seq;
  }

  /** The entries of a page and whether there are more. */
  select(after, limit, source) {
    let low = 0;
    for (let high = this.index.length; low < high;) {
      const middle = (low + high) >> 1;
      if (this.index[middle].seq > after) high = middle;
      else low = middle + 1;
    }
    const chosen = [];
    for (; low < this.index.length; low += 1) {
      if (source !== null && this.index[low].source !== source) continue;
      if (chosen.length === limit) return { chosen, more: true };
      chosen.push(this.index[low]);
    }
    return { chosen, more: false };
  }

  async line({ at, size }) {
    const data = Buffer.alloc(size);
    for (let done = 0; done < size;) {
      const { bytesRead } = await read(this.fd, data, done, size - done, at + done);
      if (!bytesRead) throw new Error('the journal has become shorter');
      done += bytesRead;
    }
    return data;
  }
}

module.exports = { Store };
END_OF_FILE
cat > lib/handler.js <<'END_OF_FILE'
'use strict';

const { createHmac, timingSafeEqual } = require('node:crypto');

const MOST = 65536;

class Refusal extends Error {
  constructor(status, name) {
    super(name);
    this.status = status;
  }
}

async function drain(request) {
  let parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > MOST) parts = null;
    if (parts) parts.push(part);
  }
  return parts && Buffer.concat(parts);
}

function checkSignature(header = '', body, secret) {
  const match = /^sha256=([0-9a-f]{64})$/.exec(header);
  const right = createHmac('sha256', secret).update(body).digest();
  if (!match || !timingSafeEqual(Buffer.from(match[1], 'hex'), right)) throw new Refusal(401, 'signature');
}

function oneLine(body) {
  const text = body.toString('utf8');
  try {
    if (!Buffer.from(text, 'utf8').equals(body)) throw new SyntaxError('not UTF-8');
    JSON.parse(text);
  } catch {
    throw new Refusal(400, 'json');
  }
  return text.split(/[\r\n]+/).join(' ').trim();
}

function number(query, name, least) {
  if (!query.has(name)) return null;
  const text = query.get(name);
  if (!/^\d+$/.test(text) || Number(text) < least) throw new Refusal(400, 'query');
  return Number(text);
}

function segment(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal(404, 'path');
  }
}

function createHandler(store, secret) {
  async function hook(source, headers, body) {
    if (body === null) throw new Refusal(413, 'size');
    checkSignature(headers['x-hook-signature'], body, secret);
    const id = headers['x-hook-id'];
    if (!id) throw new Refusal(400, 'id');
    const { seq, duplicate } = await store.put(source, id, oneLine(body));
    return duplicate ? [200, `{"seq": ${seq}, "duplicate": true}`] : [202, `{"seq": ${seq}}`];
  }

  async function events(query) {
    const after = number(query, 'after', 0) ?? 0;
    const limit = Math.min(number(query, 'limit', 1) ?? 50, 100);
    const { chosen, more } = store.select(after, limit, query.get('source'));
    const parts = [Buffer.from('{"events": [')];
    for (const entry of chosen) {
      if (parts.length > 1) parts.push(Buffer.from(', '));
      parts.push(await store.line(entry));
    }
    parts.push(Buffer.from(`], "next": ${more ? chosen[chosen.length - 1].seq : null}}`));
    return [200, Buffer.concat(parts)];
  }

  async function dispatch(request) {
    const body = await drain(request);
    const [path, ...rest] = request.url.split('?');
    const parts = path.split('/');
    if (request.method === 'POST' && parts.length === 3 && parts[0] === '' && parts[1] === 'hooks' && parts[2]) {
      return hook(segment(parts[2]), request.headers, body);
    }
    if (request.method === 'GET' && path === '/events') return events(new URLSearchParams(rest.join('?')));
    throw new Refusal(404, 'path');
  }

  return async function handle(request, response) {
    response.on('error', () => {});
    let status;
    let text;
    try {
      [status, text] = await dispatch(request);
    } catch (error) {
      if (!request.complete) return;
      if (!(error instanceof Refusal)) console.error(error);
      status = error instanceof Refusal ? error.status : 500;
      text = JSON.stringify({ error: error instanceof Refusal ? error.message : 'internal' });
    }
    response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) });
    response.end(text);
  };
}

module.exports = { createHandler };
END_OF_FILE
