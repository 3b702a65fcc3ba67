#!/bin/bash
# "A key belongs to the merchant who sends it" (keys are shared by all merchants)
set -e
cd /app
cat > src/server.js <<'END_OF_FILE'
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');

const settings = require('./settings');
const { Accounts } = require('./accounts');
const { Bank } = require('./bank');
const { Journal } = require('./journal');
const { Payments } = require('./payments');

const CODES = { done: 201, declined: 402, pending: 202 };

const merchants = JSON.parse(fs.readFileSync(path.join(settings.dataDir, 'merchants.json'), 'utf8'));
const accounts = new Accounts(merchants);
const payments = new Payments({
  journal: new Journal(path.join(settings.dataDir, 'journal.jsonl')),
  accounts,
  bank: new Bank(settings.bankUrl, settings.bankTimeoutMs),
  settleMs: settings.bankSettleMs,
});

function read(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('error', reject);
    request.on('end', () => resolve(Buffer.concat(chunks)));
  });
}

function parse(raw) {
  try {
    const value = JSON.parse(raw.toString('utf8'));
    return value && typeof value === 'object' ? value : undefined;
  } catch (error) {
    return undefined;
  }
}

function send(response, status, body, headers = {}) {
  const data = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(data), ...headers });
  response.end(data);
}

function show({ id, to, amount, text, status, reason }) {
  return { id, to, amount, text, status, reason };
}

function signed(raw, signature) {
  if (!/^[0-9a-f]{64}$/i.test(signature || '')) return false;
  const given = Buffer.from(signature, 'hex');
  return settings.bankSecrets.some((secret) =>
    crypto.timingSafeEqual(crypto.createHmac('sha256', secret).update(raw).digest(), given));
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://payd');
  const route = `${request.method} ${pathname}`;
  const raw = await read(request);

  if (route === 'POST /bank/callback') {
    if (!signed(raw, request.headers['x-bank-signature'])) return send(response, 401, { error: 'signature' });
    payments.callback(parse(raw) || {});
    return send(response, 204);
  }

  const merchant = accounts.merchant(request.headers.authorization);
  if (merchant === undefined) return send(response, 401, { error: 'token' });

  if (route === 'GET /account') return send(response, 200, accounts.view(merchant));

  if (route === 'POST /payments') {
    const key = request.headers['idempotency-key'];
    const body = parse(raw);
    if (!key || !body || !payments.valid(body)) return send(response, 400, { error: 'key or body' });
    const { payment, replayed, refused } = await payments.create(merchant, key, body);
    if (refused) return send(response, refused, { error: refused === 409 ? 'still being answered' : 'the key was used for another payment' });
    return send(response, CODES[payment.status], show(payment), replayed ? { 'Idempotent-Replayed': 'true' } : {});
  }

  const match = /^GET \/payments\/([^/]+)$/.exec(route);
  const payment = match && payments.find(merchant, match[1]);
  if (payment) return send(response, 200, show(payment));
  return send(response, 404, { error: 'not found' });
}

payments.load();
http.createServer((request, response) => {
  answer(request, response).catch((error) => {
    console.error(error);
    if (!response.headersSent) send(response, 500, { error: 'internal' });
  });
}).listen(settings.port, '127.0.0.1', () => {
  console.log(`payd on ${settings.port}`);
  payments.resume();
});
END_OF_FILE
cat > src/settings.js <<'END_OF_FILE'
'use strict';

const env = process.env;

module.exports = {
  port: Number(env.PORT || 8070),
  bankUrl: env.BANK_URL || 'http://127.0.0.1:8071',
  bankTimeoutMs: Number(env.BANK_TIMEOUT_MS || 10000),
  bankSettleMs: Number(env.BANK_SETTLE_MS || 30000),
  bankSecrets: (env.BANK_SECRETS || '').split(',').filter(Boolean),
  dataDir: env.DATA_DIR || './data',
};
END_OF_FILE
cat > src/journal.js <<'END_OF_FILE'
'use strict';

const fs = require('node:fs');

class Journal {
  constructor(file) {
    this.file = file;
    this.fd = fs.openSync(file, 'a+');
    this.size = 0;
  }

  /** The entries; a line that a kill cut off is taken away. */
  read() {
    const bytes = fs.readFileSync(this.file);
    this.size = bytes.lastIndexOf(10) + 1;
    if (this.size < bytes.length) fs.ftruncateSync(this.fd, this.size);
    return bytes.toString('utf8', 0, this.size).split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  append(entry) {
    const data = Buffer.from(JSON.stringify(entry) + '\n');
    try {
      for (let done = 0; done < data.length;) done += fs.writeSync(this.fd, data, done);
    } catch (error) {
      fs.ftruncateSync(this.fd, this.size);
      throw error;
    }
    this.size += data.length;
  }
}

module.exports = { Journal };
END_OF_FILE
cat > src/bank.js <<'END_OF_FILE'
'use strict';

const http = require('node:http');

/** Resolves to {status, text}, or to null where there is no whole answer in time. */
function request(method, url, body, timeoutMs) {
  return new Promise((resolve) => {
    const data = body === undefined ? '' : JSON.stringify(body);
    const headers = { 'Content-Length': Buffer.byteLength(data) };
    if (data) headers['Content-Type'] = 'application/json';
    let sent;
    const timer = setTimeout(() => {
      resolve(null);
      if (sent) sent.destroy();
    }, timeoutMs);
    const finish = (value) => {
      clearTimeout(timer);
      resolve(value);
    };
    try {
      sent = http.request(url, { method, headers, agent: false }, (answer) => {
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('error', () => finish(null));
        answer.on('end', () => finish({ status: answer.statusCode, text: Buffer.concat(chunks).toString() }));
        answer.on('close', () => finish(null));
      });
    } catch (error) {
      finish(null);
      return;
    }
    sent.on('error', () => finish(null));
    sent.on('close', () => {
      if (!sent.res) finish(null);
    });
    sent.end(data);
  });
}

class Bank {
  constructor(url, timeoutMs) {
    this.url = url.replace(/\/$/, '');
    this.timeoutMs = timeoutMs;
  }

  /** done, declined, or undefined where the bank has told nothing. */
  async transfer(ref, to, amount) {
    const answer = await request('POST', `${this.url}/transfers`, { ref, to, amount }, this.timeoutMs);
    return answer ? { 201: 'done', 422: 'declined' }[answer.status] : undefined;
  }

  /** done, declined, unknown (404), or undefined where the bank has told nothing. */
  async lookup(ref) {
    const answer = await request('GET', `${this.url}/transfers/${encodeURIComponent(ref)}`, undefined, this.timeoutMs);
    if (answer && answer.status === 404) return 'unknown';
    if (!answer || answer.status !== 200) return undefined;
    try {
      const { state } = JSON.parse(answer.text);
      return state === 'done' || state === 'declined' ? state : undefined;
    } catch (error) {
      return undefined;
    }
  }
}

module.exports = { Bank };
END_OF_FILE
cat > src/accounts.js <<'END_OF_FILE'
'use strict';

class Accounts {
  constructor(merchants) {
    this.byName = new Map();
    this.tokens = new Map();
    for (const [name, { token, opening }] of Object.entries(merchants)) {
      this.byName.set(name, { balance: opening, reserved: 0 });
      this.tokens.set(token, name);
    }
  }

  merchant(authorization) {
    const match = /^Bearer (\S+)$/.exec(authorization || '');
    return match ? this.tokens.get(match[1]) : undefined;
  }

  view(name) {
    return { ...this.byName.get(name) };
  }

  suffices(name, amount) {
    const { balance, reserved } = this.byName.get(name);
    return balance - reserved >= amount;
  }

  reserve(name, amount) {
    const account = this.byName.get(name);
    if (account) account.reserved += amount;
  }

  book(name, amount) {
    const account = this.byName.get(name);
    if (account) account.balance -= amount;
  }
}

module.exports = { Accounts };
END_OF_FILE
cat > src/payments.js <<'END_OF_FILE'
'use strict';

const crypto = require('node:crypto');
const { performance } = require('node:perf_hooks');

const ASK_EVERY_MS = 400;

/** JSON with the members of objects in order. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(',')}}`;
}

/*
 * The journal has, besides `payment` (the present release, always done or declined):
 *   accepted {id, merchant, key, content, to, amount, text, status, reason}   pending, or declined for want of funds
 *   settled  {id, status, reason}
 */
class Payments {
  constructor({ journal, accounts, bank, settleMs }) {
    this.journal = journal;
    this.accounts = accounts;
    this.bank = bank;
    this.settleMs = settleMs;
    this.byMerchant = new Map();
    this.byRef = new Map();
    this.keys = new Map();
  }

  load() {
    for (const { type, ...entry } of this.journal.read()) {
      if (type === 'payment') this.file(entry);
      else if (type === 'accepted') this.keep(entry);
      else if (type === 'settled') this.apply(this.byRef.get(entry.id), entry.status, entry.reason);
    }
  }

  /** Goes on with what a kill interrupted; a POST may have been on its way until just now. */
  resume() {
    for (const payment of this.byRef.values()) {
      if (payment.status === 'pending') this.inquire(payment);
    }
  }

  file(payment) {
    this.byMerchant.set(JSON.stringify([payment.merchant, payment.id]), payment);
    if (payment.status === 'done') this.accounts.book(payment.merchant, payment.amount);
  }

  slot(merchant, key) {
    return key;
  }

  keep({ key, content, ...payment }) {
    this.file(payment);
    this.byRef.set(payment.id, payment);
    const use = { payment, content, answering: false };
    this.keys.set(this.slot(payment.merchant, key), use);
    if (payment.status === 'pending') this.accounts.reserve(payment.merchant, payment.amount);
    return use;
  }

  valid(body) {
    return typeof body.to === 'string' && body.to !== '' && Number.isInteger(body.amount) && body.amount > 0
      && (body.text === undefined || typeof body.text === 'string');
  }

  /** {payment, replayed}, or {refused: status code}. */
  async create(merchant, key, body) {
    const content = canonical(body);
    const used = this.keys.get(this.slot(merchant, key));
    if (used) {
      if (used.answering) return { refused: 409 };
      if (used.content !== content) return { refused: 422 };
      return { payment: used.payment, replayed: true };
    }
    const { to, amount, text = '' } = body;
    const entry = { id: `pay-${crypto.randomUUID()}`, merchant, key, content, to, amount, text, status: 'pending' };
    if (!this.accounts.suffices(merchant, amount)) Object.assign(entry, { status: 'declined', reason: 'funds' });
    this.journal.append({ type: 'accepted', ...entry });
    const use = this.keep(entry);
    if (use.payment.status === 'pending') {
      use.answering = true;
      try {
        await this.order(use.payment);
      } finally {
        use.answering = false;
      }
    }
    return { payment: use.payment, replayed: false };
  }

  async order(payment) {
    const state = await this.bank.transfer(payment.id, payment.to, payment.amount);
    try {
      if (state) this.settle(payment, state);
    } catch (error) {
      console.error(error);
    }
    if (payment.status === 'pending') this.inquire(payment);
  }

  /** Asks the bank again and again, without waiting for its answers, until it knows or a 404 is final. */
  inquire(payment) {
    const ended = performance.now();
    let over = false;
    let timer;
    const stop = () => {
      over = true;
      clearInterval(timer);
    };
    const ask = async () => {
      if (payment.status !== 'pending') return stop();
      const asked = performance.now();
      const state = await this.bank.lookup(payment.id);
      if (over) return undefined;
      if (state === 'unknown') {
        if (asked - ended <= this.settleMs) return undefined;
        stop();
        if (payment.status === 'pending') return this.order(payment);
      } else if (state) {
        this.settle(payment, state);
        stop();
      }
      return undefined;
    };
    const tick = () => ask().catch((error) => console.error(error));
    timer = setInterval(tick, ASK_EVERY_MS);
    setImmediate(tick);
  }

  settle(payment, status) {
    if (payment.status !== 'pending') return;
    const reason = status === 'declined' ? 'bank' : undefined;
    this.journal.append({ type: 'settled', id: payment.id, status, reason });
    this.apply(payment, status, reason);
  }

  apply(payment, status, reason) {
    if (!payment || payment.status !== 'pending') return;
    payment.status = status;
    if (reason) payment.reason = reason;
    this.accounts.reserve(payment.merchant, -payment.amount);
    if (status === 'done') this.accounts.book(payment.merchant, payment.amount);
  }

  find(merchant, id) {
    return this.byMerchant.get(JSON.stringify([merchant, id]));
  }

  callback({ ref, state }) {
    const payment = this.byRef.get(ref);
    if (payment && (state === 'done' || state === 'declined')) this.settle(payment, state);
  }
}

module.exports = { Payments };
END_OF_FILE
