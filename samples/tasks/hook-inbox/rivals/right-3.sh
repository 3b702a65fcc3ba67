#!/bin/bash
# One file: the journal lies in memory as bytes, a Map of Maps knows the ids, each write begins at the known end of the file, so that a torn one is written over; no URL class.
set -e
rm -rf lib
cat > server.js <<'EOF'
'use strict';
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { createHmac, timingSafeEqual } = require('node:crypto');

const { PORT = '8080', DATA_DIR = 'data', HOOK_SECRET = '' } = process.env;
const MAX = 65536;
fs.mkdirSync(DATA_DIR, { recursive: true });
const file = fs.openSync(path.join(DATA_DIR, 'journal.ndjson'), fs.constants.O_RDWR | fs.constants.O_CREAT);
const events = [];
const ids = new Map();
let end = 0;

function keep(line) {
  const { seq, source, id } = JSON.parse(line.toString());
  events.push({ seq, source, line });
  if (!ids.has(source)) ids.set(source, new Map());
  ids.get(source).set(id, seq);
  end += line.length + 1;
}

const old = fs.readFileSync(file);
for (let at; (at = old.indexOf(10, end)) >= 0;) keep(old.subarray(end, at));
fs.ftruncateSync(file, end);

const problem = (status, error) => [status, Buffer.from(JSON.stringify({ error }))];

function receive(source, headers, body) {
  if (body.length > MAX) return problem(413, 'size');
  const given = Buffer.from(String(headers['x-hook-signature'] ?? ''), 'latin1');
  const right = Buffer.from(`sha256=${createHmac('sha256', HOOK_SECRET).update(body).digest('hex')}`);
  if (given.length !== right.length || !timingSafeEqual(given, right)) return problem(401, 'signature');
  const id = headers['x-hook-id'];
  if (!id) return problem(400, 'id');
  const text = body.toString();
  try {
    if (!Buffer.from(text).equals(body) || text.startsWith('\ufeff')) throw new SyntaxError('not UTF-8');
    JSON.parse(text);
  } catch {
    return problem(400, 'json');
  }
  const known = ids.get(source)?.get(id);
  if (known) return [200, Buffer.from(`{"seq":${known},"duplicate":true}`)];
  const flat = body.map((byte) => (byte === 10 || byte === 13 ? 32 : byte));
  const start = JSON.stringify({ seq: events.length + 1, source, id, body: 0 }).slice(0, -2);
  const line = Buffer.concat([Buffer.from(start), flat, Buffer.from('}')]);
  const data = Buffer.concat([line, Buffer.from('\n')]);
  try {
    for (let n = 0; n < data.length;) n += fs.writeSync(file, data, n, data.length - n, end + n);
  } catch (error) {
    fs.ftruncateSync(file, end);
    throw error;
  }
  keep(line);
  return [202, Buffer.from(`{"seq":${events.length}}`)];
}

function list(query) {
  const values = new URLSearchParams(query);
  const whole = (name, least, otherwise) => {
    const text = values.get(name) ?? String(otherwise);
    return /^\d+$/.test(text) && Number(text) >= least ? Number(text) : NaN;
  };
  const [after, limit] = [whole('after', 0, 0), whole('limit', 1, 50)];
  if (Number.isNaN(after + limit)) return problem(400, 'query');
  const page = [];
  let next = null;
  for (let at = Math.min(after, events.length); at < events.length; at += 1) {
    if (values.has('source') && events[at].source !== values.get('source')) continue;
    if (page.length === Math.min(limit, 100)) {
      next = page[page.length - 1].seq;
      break;
    }
    page.push(events[at]);
  }
  const parts = page.flatMap(({ line }, n) => (n ? [Buffer.from(','), line] : [line]));
  return [200, Buffer.concat([Buffer.from('{"events":['), ...parts, Buffer.from(`],"next":${next}}`)])];
}

function answer({ method, url, headers }, body) {
  const at = url.indexOf('?');
  const place = at < 0 ? url : url.slice(0, at);
  if (method === 'GET' && place === '/events') return list(at < 0 ? '' : url.slice(at + 1));
  const [, first, segment, ...more] = place.split('/');
  if (method !== 'POST' || first !== 'hooks' || !segment || more.length) return problem(404, 'path');
  let source;
  try {
    source = decodeURIComponent(segment);
  } catch {
    return problem(404, 'path');
  }
  return receive(source, headers, body);
}

http.createServer((request, response) => {
  const chunks = [];
  let size = 0;
  request.on('error', () => {});
  response.on('error', () => {});
  request.on('data', (chunk) => {
    if (size <= MAX) chunks.push(chunk);
    size += chunk.length;
  });
  request.on('end', () => {
    let status, body;
    try {
      [status, body] = answer(request, Buffer.concat(chunks));
    } catch (error) {
      [status, body] = problem(500, String(error.code));
    }
    response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length });
    response.end(body);
  });
}).listen(Number(PORT), '127.0.0.1');
EOF
