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

# The journal: read once, in memory from then on, written by one at a time.
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
    const whole = bytes.subarray(0, bytes.lastIndexOf(10) + 1);
    if (whole.length < bytes.length) fs.truncateSync(this.path, whole.length);
    this.events = whole.toString('utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
    this.known = new Map(this.events.map((event) => [this.key(event.source, event.id), event.seq]));
  }

  key(source, id) {
    return JSON.stringify([source, id]);
  }

  /** Return all events, oldest first. */
  async all() {
    return this.events;
  }

  /** Store an event unless it is known; return its number. Nothing is awaited: one after the other. */
  async add(source, id, body) {
    const key = this.key(source, id);
    if (this.known.has(key)) return { seq: this.known.get(key), duplicate: true };
    const event = { seq: this.events.length + 1, source, id, body };
    fs.appendFileSync(this.path, JSON.stringify(event) + '\n');
    this.events.push(event);
    this.known.set(key, event.seq);
    return { seq: event.seq, duplicate: false };
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

/** Return a page of events, or null where the query is malformed. */
function page(events, query) {
  const after = whole(query.get('after'), 0, 0);
  const limit = whole(query.get('limit'), 1, PAGE);
  if (after === null || limit === null) return null;
  const source = query.get('source');
  const rest = events.filter(
    (event) => event.seq > after && (source === null || event.source === source));
  const part = rest.slice(0, Math.min(limit, MAX_PAGE));
  return { events: part, next: part.length < rest.length ? part.at(-1).seq : null };
}

module.exports = { page };
END

# What is no UTF-8 is no JSON; a path that is no URL is no path of ours; one broken request does not end the server.
git apply <<'END'
--- a/server.js
+++ b/server.js
@@ -25,5 +25,5 @@ async function receive(request, response, source) {
   let value;
   try {
-    value = JSON.parse(body);
+    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
   } catch {
     return answer(response, 400, { error: 'json' });
@@ -41,6 +41,14 @@ async function list(request, response, query) {
 }
 
+function parse(target) {
+  try {
+    return new URL(target, 'http://inbox');
+  } catch {
+    return new URL('http://inbox');
+  }
+}
+
 async function route(request, response) {
-  const url = new URL(request.url, 'http://inbox');
+  const url = parse(request.url);
   const hook = /^\/hooks\/([^/]+)$/.exec(url.pathname);
   if (request.method === 'POST' && hook) return receive(request, response, hook[1]);
@@ -52,3 +60,13 @@ async function route(request, response) {
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
