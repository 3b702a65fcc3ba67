#!/bin/bash
# the modules as they were, each mended: lines kept in memory with one map of [source, id], each added by a synchronous write
set -e
cd /app
cat > server.js <<'END_OF_FILE'
'use strict';

const http = require('node:http');
const { readBody } = require('./lib/body');
const { isSigned } = require('./lib/signature');
const { Journal } = require('./lib/journal');
const { page } = require('./lib/events');
const { isJson } = require('./lib/json');

const { PORT = '8080', DATA_DIR = 'data', HOOK_SECRET = '' } = process.env;
const journal = new Journal(DATA_DIR);

function answerText(response, status, text) {
  const data = Buffer.from(text + '\n');
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': data.length });
  response.end(data);
}

function answer(response, status, value) {
  answerText(response, status, JSON.stringify(value));
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return null;
  }
}

async function receive(request, response, source) {
  const body = await readBody(request);
  if (body === null) return answer(response, 413, { error: 'size' });
  if (!isSigned(body, request.headers['x-hook-signature'], HOOK_SECRET)) {
    return answer(response, 401, { error: 'signature' });
  }
  const id = request.headers['x-hook-id'];
  if (!id) return answer(response, 400, { error: 'id' });
  const text = isJson(body);
  if (text === null) return answer(response, 400, { error: 'json' });
  const { seq, duplicate } = await journal.add(source, id, text);
  if (duplicate) return answer(response, 200, { seq, duplicate });
  return answer(response, 202, { seq });
}

async function list(request, response, query) {
  await readBody(request);
  const result = page(journal.events, query);
  if (result === null) return answer(response, 400, { error: 'query' });
  return answerText(response, 200, result);
}

async function route(request, response) {
  const cut = request.url.indexOf('?');
  const path = cut < 0 ? request.url : request.url.slice(0, cut);
  const hook = /^\/hooks\/([^/]+)$/.exec(path);
  const source = hook && decoded(hook[1]);
  if (request.method === 'POST' && source !== null) return receive(request, response, source);
  if (request.method === 'GET' && path === '/events') {
    return list(request, response, new URLSearchParams(cut < 0 ? '' : request.url.slice(cut + 1)));
  }
  await readBody(request);
  return answer(response, 404, { error: 'path' });
}

function serve(request, response) {
  response.on('error', () => {});
  route(request, response).catch((error) => {
    if (request.destroyed && !request.complete) return;
    console.error(error);
    if (!response.headersSent) answer(response, 500, { error: 'internal' });
  });
}

function raw(status, name) {
  const body = JSON.stringify({ error: name }) + '\n';
  return `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`;
}

const server = http.createServer(serve);
server.on('checkExpectation', serve);
server.on('clientError', (error, socket) => {
  if (socket.writable && error.code !== 'ECONNRESET') socket.end(raw('400 Bad Request', 'request'));
  else socket.destroy();
});
server.on('connect', (request, socket) => {
  socket.on('error', () => {});
  socket.end(raw('404 Not Found', 'path'));
});
server.listen(Number(PORT), '127.0.0.1');
END_OF_FILE
cat > lib/body.js <<'END_OF_FILE'
'use strict';

const LIMIT = 65536;

/** Resolve to the bytes of a request, or to null where they are too many. */
function readBody(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    request.on('data', (chunk) => {
      size += chunk.length;
      if (size <= LIMIT) chunks.push(chunk);
      else chunks.length = 0;
    });
    request.on('end', () => resolve(size > LIMIT ? null : Buffer.concat(chunks)));
    request.on('error', reject);
  });
}

module.exports = { readBody };
END_OF_FILE
cat > lib/signature.js <<'END_OF_FILE'
'use strict';

const crypto = require('node:crypto');

/** Return whether a header is the signature of a body. */
function isSigned(body, header, secret) {
  if (typeof header !== 'string') return false;
  const right = Buffer.from('sha256=' + crypto.createHmac('sha256', secret).update(body).digest('hex'), 'latin1');
  const given = Buffer.from(header, 'latin1');
  return given.length === right.length && crypto.timingSafeEqual(given, right);
}

module.exports = { isSigned };
END_OF_FILE
cat > lib/json.js <<'END_OF_FILE'
'use strict';

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Return the text of a body that is JSON in UTF-8, in one line; null for any other. */
function isJson(body) {
  try {
    const text = decoder.decode(body);
    JSON.parse(text);
    return text.replace(/[\r\n]/g, ' ').trim();
  } catch {
    return null;
  }
}

module.exports = { isJson };
END_OF_FILE
cat > lib/journal.js <<'END_OF_FILE'
'use strict';

const fs = require('node:fs');
const path = require('node:path');

function key(source, id) {
  return JSON.stringify([source, id]);
}

/** Hold the events of a folder, one line each; the lines are kept in memory as they are in the file. */
class Journal {
  constructor(folder) {
    fs.mkdirSync(folder, { recursive: true });
    this.file = fs.openSync(path.join(folder, 'journal.ndjson'), 'a+');
    this.events = [];
    this.known = new Map();
    const bytes = fs.readFileSync(this.file);
    this.size = bytes.lastIndexOf(10) + 1;
    if (this.size < bytes.length) fs.ftruncateSync(this.file, this.size);
    for (let at = 0; at < this.size;) {
      const end = bytes.indexOf(10, at);
      const line = bytes.toString('utf8', at, end);
      if (line.trim()) this.keep(JSON.parse(line), line);
      at = end + 1;
    }
  }

  keep({ seq, source, id }, line) {
    this.events.push({ seq, source, line });
    if (!this.known.has(key(source, id))) this.known.set(key(source, id), seq);
  }

  /** Store an event unless it is known; return its number. */
  async add(source, id, text) {
    const known = this.known.get(key(source, id));
    if (known !== undefined) return { seq: known, duplicate: true };
    const seq = this.events.length ? this.events[this.events.length - 1].seq + 1 : 1;
    const line = `{"seq":${seq},"source":${JSON.stringify(source)},"id":${JSON.stringify(id)},"body":${text}}`;
    this.write(Buffer.from(line + '\n'));
    this.keep({ seq, source, id }, line);
    return { seq, duplicate: false };
  }

  write(data) {
    try {
      for (let done = 0; done < data.length;) done += fs.writeSync(this.file, data, done);
      this.size += data.length;
    } catch (error) {
      fs.ftruncateSync(this.file, this.size);
      throw error;
    }
  }
}

module.exports = { Journal };
END_OF_FILE
cat > lib/events.js <<'END_OF_FILE'
'use strict';

function whole(query, name, least, otherwise) {
  const text = query.get(name);
  if (text === null) return otherwise;
  return /^[0-9]+$/.test(text) && Number(text) >= least ? Number(text) : NaN;
}

/** Return a page of events as JSON; null for a query that is not one. */
function page(events, query) {
  const after = whole(query, 'after', 0, 0);
  const limit = Math.min(whole(query, 'limit', 1, 50), 100);
  if (Number.isNaN(after) || Number.isNaN(limit)) return null;
  const source = query.get('source');
  const found = [];
  let next = null;
  for (const event of events) {
    if (event.seq <= after || (source !== null && event.source !== source)) continue;
    if (found.length === limit) {
      next = found[limit - 1].seq;
      break;
    }
    found.push(event);
  }
  return `{"events":[${found.map((event) => event.line).join(',')}],"next":${next}}`;
}

module.exports = { page };
END_OF_FILE
