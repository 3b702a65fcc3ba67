#!/bin/bash
# a ledger whose state is the replay of its events, and a clerk who asks for all open payments in rounds; fingerprints of the contents
set -e
cd /app
rm -f src/accounts.js src/bank.js src/journal.js src/payments.js
cat > src/ledger.js <<'END_OF_FILE'
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { createHash, randomBytes } = require('node:crypto');

const FINAL = new Set(['done', 'declined']);

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, member]) => ({ name, member: sorted(member) }));
}

/** What a key stands for: the same for bodies with the same JSON values. */
function fingerprint(body) {
  return createHash('sha256').update(JSON.stringify(sorted(body))).digest('base64');
}

/** All that has to outlive a kill. State changes only by `replay` of an event, which `record` writes down first. */
class Ledger {
  constructor(folder) {
    this.merchants = new Map();
    for (const [name, { token, opening }] of Object.entries(JSON.parse(fs.readFileSync(path.join(folder, 'merchants.json'), 'utf8')))) {
      this.merchants.set(name, { token, balance: opening, reserved: 0, payments: new Map(), keys: new Map() });
    }
    this.open = new Map();      // ref -> payment that is pending
    this.file = fs.openSync(path.join(folder, 'journal.jsonl'), 'a+');
    const bytes = fs.readFileSync(this.file);
    let start = 0;
    for (let end = bytes.indexOf('\n'); end >= 0; end = bytes.indexOf('\n', start)) {
      if (end > start) this.replay(JSON.parse(bytes.toString('utf8', start, end)));
      start = end + 1;
    }
    this.length = start;
    if (start < bytes.length) fs.ftruncateSync(this.file, start);
  }

  record(event) {
    const line = Buffer.from(`${JSON.stringify(event)}\n`);
    let written = 0;
    try {
      while (written < line.length) written += fs.writeSync(this.file, line, written);
    } catch (error) {
      fs.ftruncateSync(this.file, this.length);
      throw error;
    }
    this.length += line.length;
    return this.replay(event);
  }

  merchant(name) {
    // one that the office has taken out of merchants.json still has payments
    if (!this.merchants.has(name)) this.merchants.set(name, { balance: 0, reserved: 0, payments: new Map(), keys: new Map() });
    return this.merchants.get(name);
  }

  replay(event) {
    if (event.type === 'payment') {
      const { type, merchant, ...payment } = event;
      const owner = this.merchant(merchant);
      owner.payments.set(payment.id, payment);
      if (payment.status === 'done') owner.balance -= payment.amount;
      return payment;
    }
    if (event.type === 'order') {
      const { id, to, amount, text } = event;
      const owner = this.merchant(event.merchant);
      const payment = { id, to, amount, text, status: event.declined ? 'declined' : 'pending', reason: event.declined };
      owner.payments.set(id, payment);
      owner.keys.set(event.key, { print: event.print, payment });
      if (!event.declined) {
        owner.reserved += amount;
        this.open.set(id, { owner, payment });
      }
      return payment;
    }
    if (event.type === 'end' && this.open.has(event.ref)) {
      const { owner, payment } = this.open.get(event.ref);
      this.open.delete(event.ref);
      owner.reserved -= payment.amount;
      if (event.state === 'done') owner.balance -= payment.amount;
      payment.status = event.state;
      payment.reason = event.state === 'declined' ? 'bank' : undefined;
    }
    return undefined;
  }

  byToken(authorization = '') {
    const [, token] = /^Bearer (\S+)$/.exec(authorization) || [];
    if (token === undefined) return undefined;
    for (const [name, { token: own }] of this.merchants) if (own === token) return name;
    return undefined;
  }

  used(name, key) {
    return this.merchants.get(name).keys.get(key);
  }

  take(name, key, body) {
    const { balance, reserved } = this.merchants.get(name);
    const { to, amount, text = '' } = body;
    return this.record({
      type: 'order', id: `t${randomBytes(12).toString('hex')}`, merchant: name, key, print: fingerprint(body), to, amount, text,
      declined: balance - reserved < amount ? 'funds' : undefined,
    });
  }

  /** What the bank says, by whichever way; only the first that says something counts. */
  told(ref, state) {
    if (FINAL.has(state) && this.open.has(ref)) this.record({ type: 'end', ref, state });
  }
}

module.exports = { Ledger, fingerprint };
END_OF_FILE
cat > src/clerk.js <<'END_OF_FILE'
'use strict';

const http = require('node:http');

const PAUSE = 500;

/** One exchange with the bank; calls back exactly once, with (status, text), or with () if it told nothing in time. */
function exchange(method, url, body, limit, callback) {
  let open = true;
  let sent;
  const close = (...answer) => {
    if (!open) return;
    open = false;
    clearTimeout(timer);
    callback(...answer);
    if (sent) sent.destroy();
  };
  const timer = setTimeout(close, limit);
  try {
    sent = http.request(url, { method, agent: false, headers: body ? { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) } : {} });
  } catch (error) {
    setImmediate(close);
    return;
  }
  sent.on('error', () => close());
  sent.on('close', () => close());
  sent.on('response', (answer) => {
    let text = '';
    answer.setEncoding('utf8');
    answer.on('error', () => close());
    answer.on('data', (part) => { text += part; });
    answer.on('end', () => close(answer.statusCode, text));
  });
  sent.end(body);
}

/** Gets the open payments of a ledger done. */
class Clerk {
  constructor(ledger, { bankUrl, bankTimeoutMs, bankSettleMs }) {
    this.ledger = ledger;
    this.url = `${bankUrl.replace(/\/$/, '')}/transfers`;
    this.limit = bankTimeoutMs;
    this.settle = BigInt(Math.round(bankSettleMs * 1e6));
    this.posted = new Map();    // ref -> when its last POST ended; none while one is running
  }

  start() {
    const now = process.hrtime.bigint();
    for (const ref of this.ledger.open.keys()) this.posted.set(ref, now);
    setInterval(() => this.round(), PAUSE);
    this.round();
  }

  round() {
    for (const ref of this.posted.keys()) {
      if (this.ledger.open.has(ref)) this.ask(ref);
      else this.posted.delete(ref);
    }
  }

  /** Resolves when the POST has ended, whatever has come of it. */
  order(ref) {
    const { to, amount } = this.ledger.open.get(ref).payment;
    this.posted.delete(ref);
    return new Promise((resolve) => {
      exchange('POST', this.url, JSON.stringify({ ref, to, amount }), this.limit, (status) => {
        try {
          if (status === 201) this.ledger.told(ref, 'done');
          if (status === 422) this.ledger.told(ref, 'declined');
        } catch (error) {
          console.error(error);
        }
        if (this.ledger.open.has(ref)) {
          this.posted.set(ref, process.hrtime.bigint());
          setImmediate(() => this.ask(ref));
        }
        resolve();
      });
    });
  }

  ask(ref) {
    const post = this.posted.get(ref);
    const asked = process.hrtime.bigint();
    exchange('GET', `${this.url}/${encodeURIComponent(ref)}`, undefined, this.limit, (status, text) => {
      try {
        if (status === 200) this.ledger.told(ref, JSON.parse(text).state);
      } catch (error) {
        console.error(String(error));
      }
      const final = status === 404 && post !== undefined && asked > post + this.settle;
      if (final && this.ledger.open.has(ref) && this.posted.get(ref) === post) this.order(ref);
    });
  }
}

module.exports = { Clerk };
END_OF_FILE
cat > src/server.js <<'END_OF_FILE'
'use strict';

const { createHmac, timingSafeEqual } = require('node:crypto');
const http = require('node:http');

const settings = require('./settings');
const { Ledger, fingerprint } = require('./ledger');
const { Clerk } = require('./clerk');

const ledger = new Ledger(settings.dataDir);
const clerk = new Clerk(ledger, settings);
const secrets = settings.bankSecrets.filter((secret) => secret !== '');
const answering = new Set();    // payments whose first request has no answer yet

function json(raw) {
  try {
    return JSON.parse(raw.toString('utf8')) || {};
  } catch (error) {
    return {};
  }
}

function payment({ id, to, amount, text, status, reason }) {
  return { id, to, amount, text, status, reason };
}

function wellFormed({ to, amount, text }) {
  return typeof to === 'string' && to.length > 0 && Number.isInteger(amount) && amount > 0 && ['undefined', 'string'].includes(typeof text);
}

function genuine(raw, header = '') {
  const given = Buffer.from(header.toLowerCase(), 'latin1');
  return secrets.some((secret) => {
    const right = Buffer.from(createHmac('sha256', secret).update(raw).digest('hex'), 'latin1');
    return given.length === right.length && timingSafeEqual(given, right);
  });
}

function shown(found, headers) {
  return [{ done: 201, declined: 402, pending: 202 }[found.status], payment(found), headers];
}

async function pay(name, key, body) {
  if (!key || !wellFormed(body)) return [400, { error: 'key or body' }];
  const used = ledger.used(name, key);
  if (used && answering.has(used.payment)) return [409, { error: 'being answered' }];
  if (used && used.print !== fingerprint(body)) return [422, { error: 'used key' }];
  if (used) return shown(used.payment, { 'Idempotent-Replayed': 'true' });
  const taken = ledger.take(name, key, body);
  if (taken.status === 'pending') {
    answering.add(taken);
    await clerk.order(taken.id);
    answering.delete(taken);
  }
  return shown(taken);
}

async function reply(request, raw) {
  const path = request.url.split('?')[0];
  const route = `${request.method} ${path}`;
  if (route === 'POST /bank/callback') {
    if (!genuine(raw, request.headers['x-bank-signature'])) return [401, { error: 'signature' }];
    const { ref, state } = json(raw);
    ledger.told(ref, state);
    return [204];
  }
  const name = ledger.byToken(request.headers.authorization);
  if (name === undefined) return [401, { error: 'token' }];
  const account = ledger.merchants.get(name);
  if (route === 'GET /account') return [200, { balance: account.balance, reserved: account.reserved }];
  if (route === 'POST /payments') return pay(name, request.headers['idempotency-key'], json(raw));
  if (request.method === 'GET' && path.startsWith('/payments/')) {
    const found = account.payments.get(path.slice('/payments/'.length));
    if (found) return [200, payment(found)];
  }
  return [404, { error: 'not found' }];
}

http.createServer(async (request, response) => {
  const chunks = [];
  let answer;
  response.on('error', () => {});
  try {
    for await (const chunk of request) chunks.push(chunk);
    answer = await reply(request, Buffer.concat(chunks));
  } catch (error) {
    if (!request.complete) return;
    console.error(error);
    answer = [500, { error: 'internal' }];
  }
  const [status, body, headers = {}] = answer;
  const text = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text), ...headers });
  response.end(text);
}).listen(settings.port, '127.0.0.1', () => {
  console.log(`payd on ${settings.port}`);
  clerk.start();
});
END_OF_FILE
