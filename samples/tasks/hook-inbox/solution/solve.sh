#!/bin/bash
set -euo pipefail

# The body: bytes, and no more of them than are allowed.
cat > lib/body.js <<'END'
'use strict';

const MAX_BYTES = 65536;

/** Resolve to the bytes of a request's body, or to null where there are too many. */
function readBody(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let size = 0;
    request.on('data', (chunk) => {
      size += chunk.length;
      if (size <= MAX_BYTES) chunks.push(chunk);
    });
    request.on('end', () => resolve(size <= MAX_BYTES ? Buffer.concat(chunks) : null));
    request.on('error', reject);
  });
}

module.exports = { readBody };
END

# The signature: a malformed one is a wrong one.
cat > lib/signature.js <<'END'
'use strict';

const crypto = require('node:crypto');

/** Return whether a header is the signature of a body. */
function isSigned(body, header, secret) {
  const hex = crypto.createHmac('sha256', secret).update(body).digest('hex');
  const expected = Buffer.from('sha256=' + hex);
  const given = Buffer.from(header || '');
  return given.length === expected.length && crypto.timingSafeEqual(given, expected);
}

module.exports = { isSigned };
END

# The journal: read once, in memory from then on, written by one at a time; a body stays the text that it came as.
cat > lib/journal.js <<'END'
'use strict';

const fs = require('node:fs');
const path = require('node:path');

/** Hold the events of a folder, one line each. */
class Journal {
  constructor(folder) {
    fs.mkdirSync(folder, { recursive: true });
    this.path = path.join(folder, 'journal.ndjson');
    const bytes = fs.existsSync(this.path) ? fs.readFileSync(this.path) : Buffer.alloc(0);
    this.size = bytes.lastIndexOf(10) + 1;
    if (this.size < bytes.length) fs.truncateSync(this.path, this.size);
    this.events = [];
    this.known = new Map();
    for (const line of bytes.toString('utf8', 0, this.size).split('\n').filter(Boolean)) this.keep(line, JSON.parse(line));
  }

  key(source, id) {
    return JSON.stringify([source, id]);
  }

  keep(line, { seq, source, id }) {
    this.events.push({ seq, source, line });
    this.known.set(this.key(source, id), seq);
  }

  /** Store an event unless it is known; return its number. Nothing is awaited: one after the other. */
  add(source, id, body) {
    const known = this.known.get(this.key(source, id));
    if (known) return { seq: known, duplicate: true };
    const seq = this.events.length + 1;
    const start = JSON.stringify({ seq, source, id }).slice(0, -1);
    const line = `${start},"body":${body.replace(/[\r\n]+/g, ' ')}}`;
    try {
      fs.appendFileSync(this.path, line + '\n');
    } catch (error) {
      fs.truncateSync(this.path, this.size);
      throw error;
    }
    this.size += Buffer.byteLength(line) + 1;
    this.keep(line, { seq, source, id });
    return { seq, duplicate: false };
  }
}

module.exports = { Journal };
END

# Pages of events.
cat > lib/events.js <<'END'
'use strict';

const PAGE = 50;
const MAX_PAGE = 100;

function whole(text, least, otherwise) {
  if (text === null) return otherwise;
  return /^[0-9]+$/.test(text) && Number(text) >= least ? Number(text) : null;
}

/** Return a page of events as JSON, or null where the query is malformed. */
function page(events, query) {
  const after = whole(query.get('after'), 0, 0);
  const limit = whole(query.get('limit'), 1, PAGE);
  if (after === null || limit === null) return null;
  const source = query.get('source');
  const rest = events.filter(
    (event) => event.seq > after && (source === null || event.source === source));
  const part = rest.slice(0, Math.min(limit, MAX_PAGE));
  const next = part.length < rest.length ? part.at(-1).seq : null;
  return `{"events":[${part.map((event) => event.line).join()}],"next":${next}}`;
}

module.exports = { page };
END

# What is no UTF-8 is no JSON; a path that does not decode is no path of ours; one broken request does not end the server.
git apply <<'END'
--- a/server.js
+++ b/server.js
@@ -10,7 +10,11 @@
 const journal = new Journal(DATA_DIR);
 
-function answer(response, status, value) {
+function answerText(response, status, text) {
   response.writeHead(status, { 'Content-Type': 'application/json' });
-  response.end(JSON.stringify(value) + '\n');
+  response.end(text + '\n');
+}
+
+function answer(response, status, value) {
+  answerText(response, status, JSON.stringify(value));
 }
 
@@ -23,11 +27,12 @@
   const id = request.headers['x-hook-id'];
   if (!id) return answer(response, 400, { error: 'id' });
-  let value;
+  let text;
   try {
-    value = JSON.parse(body);
+    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(body);
+    JSON.parse(text);
   } catch {
     return answer(response, 400, { error: 'json' });
   }
-  const { seq, duplicate } = await journal.add(source, id, value);
+  const { seq, duplicate } = journal.add(source, id, text);
   if (duplicate) return answer(response, 200, { seq, duplicate });
   return answer(response, 202, { seq });
@@ -36,15 +41,24 @@
 async function list(request, response, query) {
   await readBody(request);
-  const result = page(await journal.all(), query);
+  const result = page(journal.events, query);
   if (result === null) return answer(response, 400, { error: 'query' });
-  return answer(response, 200, result);
+  return answerText(response, 200, result);
+}
+
+function decoded(segment) {
+  try {
+    return decodeURIComponent(segment);
+  } catch {
+    return null;
+  }
 }
 
 async function route(request, response) {
-  const url = new URL(request.url, 'http://inbox');
-  const hook = /^\/hooks\/([^/]+)$/.exec(url.pathname);
-  if (request.method === 'POST' && hook) return receive(request, response, hook[1]);
-  if (request.method === 'GET' && url.pathname === '/events') {
-    return list(request, response, url.searchParams);
+  const [path, ...query] = request.url.split('?');
+  const hook = /^\/hooks\/([^/]+)$/.exec(path);
+  const source = hook && decoded(hook[1]);
+  if (request.method === 'POST' && source !== null) return receive(request, response, source);
+  if (request.method === 'GET' && path === '/events') {
+    return list(request, response, new URLSearchParams(query.join('?')));
   }
   await readBody(request);
@@ -52,3 +66,13 @@
 }
 
-http.createServer(route).listen(Number(PORT), '127.0.0.1');
+async function serve(request, response) {
+  try {
+    await route(request, response);
+  } catch (error) {
+    if (!request.complete) return response.destroy();   // the client hung up: nobody listens
+    console.error(error);
+    if (!response.headersSent) answer(response, 500, { error: 'server' });
+  }
+}
+
+http.createServer(serve).listen(Number(PORT), '127.0.0.1');
END
