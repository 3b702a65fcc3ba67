#!/bin/bash
set -e
cat > src/journal.js <<'JS'
'use strict';

const fs = require('node:fs');

class Journal {
  constructor(file) {
    this.file = file;
  }

  /** All whole lines; what a kill has left of another one is cut off, so that the next line starts on its own. */
  read() {
    this.handle = fs.openSync(this.file, 'a+');
    const data = fs.readFileSync(this.file);
    const end = data.lastIndexOf(0x0a) + 1;
    let entries = data.subarray(0, end).toString('utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
    if (end < data.length) {
      let last;
      try {
        last = JSON.parse(data.subarray(end).toString('utf8'));
      } catch (error) {
        last = undefined;
      }
      if (last && typeof last === 'object') {
        fs.writeSync(this.handle, '\n');
        entries = [...entries, last];
      } else {
        fs.ftruncateSync(this.handle, end);
      }
      fs.fsyncSync(this.handle);
    }
    return entries;
  }

  append(entry) {
    const data = Buffer.from(JSON.stringify(entry) + '\n');
    for (let at = 0; at < data.length;) at += fs.writeSync(this.handle, data, at);
    fs.fsyncSync(this.handle);
  }
}

module.exports = { Journal };
JS
cat > src/bank.js <<'JS'
'use strict';

const http = require('node:http');

function request(method, url, body, timeoutMs) {
  return new Promise((resolve, reject) => {
    const data = body === undefined ? '' : JSON.stringify(body);
    const headers = { 'Content-Length': Buffer.byteLength(data) };
    if (data) headers['Content-Type'] = 'application/json';
    const sent = http.request(url, { method, headers, agent: false }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('error', fail);
      answer.on('end', () => {
        clearTimeout(timer);
        resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString() });
      });
    });
    // The whole exchange, and not only its pauses.
    const timer = setTimeout(() => sent.destroy(new Error('the bank does not answer')), timeoutMs);
    function fail(error) {
      clearTimeout(timer);
      reject(error);
    }
    sent.on('error', fail);
    sent.end(data);
  });
}

class Bank {
  constructor(url, timeoutMs) {
    this.url = url.replace(/\/$/, '');
    this.timeoutMs = timeoutMs;
  }

  /** done, declined or unknown */
  async transfer(ref, to, amount) {
    try {
      const answer = await request('POST', `${this.url}/transfers`, { ref, to, amount }, this.timeoutMs);
      return { 201: 'done', 422: 'declined' }[answer.status] || 'unknown';
    } catch (error) {
      return 'unknown';
    }
  }

  /** done, declined, none or unknown */
  async lookup(ref) {
    try {
      const answer = await request('GET', `${this.url}/transfers/${encodeURIComponent(ref)}`, undefined, this.timeoutMs);
      if (answer.status === 404) return 'none';
      const { state } = answer.status === 200 ? JSON.parse(answer.text) : {};
      return state === 'done' || state === 'declined' ? state : 'unknown';
    } catch (error) {
      return 'unknown';
    }
  }
}

module.exports = { Bank };
JS
cat > src/payments.js <<'JS'
'use strict';

const crypto = require('node:crypto');
const { performance } = require('node:perf_hooks');

const PAUSE_MS = 300;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** The same text for the same JSON value, whatever the order of the members. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (value && typeof value === 'object') {
    return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
  }
  return JSON.stringify(value);
}

class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// The journal: `payment` is a payment that is final (all there was up to 1.4), `intent` one that the bank may
// have got from then on, `outcome` what became of an intent.
class Payments {
  constructor({ journal, accounts, bank, settleMs }) {
    this.journal = journal;
    this.accounts = accounts;
    this.bank = bank;
    this.settleMs = settleMs;
    this.byId = new Map();
    this.byMerchant = new Map();  // ids up to 1.4 may be those of two merchants
    this.keys = new Map();
    this.running = new Set();
  }

  load() {
    for (const { type, ...entry } of this.journal.read()) {
      if (type === 'payment' || type === 'intent') this.keep(entry);
      else if (type === 'outcome') this.apply(this.byId.get(entry.id), entry.status);
    }
    // Whether the last run has ordered them is not known; if it has, its requests ended before now.
    for (const payment of this.byId.values()) {
      if (payment.status === 'pending') this.resolve(payment, performance.now());
    }
  }

  keep(payment) {
    this.byId.set(payment.id, payment);
    this.byMerchant.set(this.slot(payment.merchant, payment.id), payment);
    if (payment.key !== undefined) this.keys.set(this.slot(payment.merchant, payment.key), payment);
    if (payment.status === 'done') this.accounts.book(payment.merchant, payment.amount);
    if (payment.status === 'pending') this.accounts.reserve(payment.merchant, payment.amount);
    return payment;
  }

  slot(merchant, key) {
    return JSON.stringify([merchant, key]);
  }

  valid(body) {
    return typeof body.to === 'string' && body.to !== '' && Number.isSafeInteger(body.amount) && body.amount > 0
      && (body.text === undefined || typeof body.text === 'string');
  }

  async create(merchant, key, body) {
    const content = crypto.createHash('sha256').update(canonical(body)).digest('hex');
    const known = this.keys.get(this.slot(merchant, key));
    if (known) {
      if (known.content !== content) throw new Refusal(422, 'key of another request');
      if (this.running.has(known.id)) throw new Refusal(409, 'still running');
      return { payment: known, replayed: true };
    }

    const { to, amount, text = '' } = body;
    const payment = { id: `p-${crypto.randomUUID()}`, merchant, key, content, to, amount, text, status: 'pending' };
    if (!this.accounts.suffices(merchant, amount)) {
      Object.assign(payment, { status: 'declined', reason: 'funds' });
      this.journal.append({ type: 'payment', ...payment });
      return { payment: this.keep(payment), replayed: false };
    }

    this.journal.append({ type: 'intent', ...payment });
    this.keep(payment);
    this.running.add(payment.id);
    try {
      await this.order(payment);
    } finally {
      this.running.delete(payment.id);
    }
    return { payment, replayed: false };
  }

  async order(payment) {
    this.hear(payment, await this.bank.transfer(payment.id, payment.to, payment.amount));
    if (payment.status === 'pending') this.resolve(payment, performance.now());
  }

  /** Ask until the payment is final, whether or not the questions before are answered, or the bank cannot have it any more: order again then. */
  async resolve(payment, ended) {
    let isOver = false;
    const ask = async () => {
      const asked = performance.now();
      const outcome = await this.bank.lookup(payment.id);
      this.hear(payment, outcome);
      if (isOver || payment.status !== 'pending' || outcome !== 'none' || asked - ended <= this.settleMs) return;
      isOver = true;
      this.order(payment);
    };
    while (payment.status === 'pending' && !isOver) {
      ask();
      await sleep(PAUSE_MS);
    }
  }

  hear(payment, outcome) {
    try {
      if (outcome === 'done' || outcome === 'declined') this.settle(payment, outcome);
    } catch (error) {
      console.error(error);  // not written down: it stays pending, and is asked for again
    }
  }

  settle(payment, status) {
    if (!payment || payment.status !== 'pending') return;
    this.journal.append({ type: 'outcome', id: payment.id, status });
    this.apply(payment, status);
  }

  apply(payment, status) {
    if (!payment || payment.status !== 'pending') return;
    this.accounts.reserve(payment.merchant, -payment.amount);
    payment.status = status;
    if (status === 'done') this.accounts.book(payment.merchant, payment.amount);
    else payment.reason = 'bank';
  }

  find(merchant, id) {
    return this.byMerchant.get(this.slot(merchant, id));
  }

  callback({ ref, state }) {
    if (state === 'done' || state === 'declined') this.settle(this.byId.get(ref), state);
  }
}

module.exports = { Payments, Refusal };
JS
python3 - <<'PY'
from pathlib import Path


def change(name, *pairs):
    path = Path("src") / name
    text = path.read_text()
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text)


change("settings.js", (".split(',')", ".split(',').map((one) => one.trim()).filter(Boolean)"))
change("accounts.js",
       ("    return this.byName.get(name).balance >= amount;",
        "    const { balance, reserved } = this.byName.get(name);\n    return balance - reserved >= amount;"),
       ("  book(name, amount) {",
        "  reserve(name, amount) {\n    const account = this.byName.get(name);\n"
        "    if (account) account.reserved += amount;\n  }\n\n  book(name, amount) {"))
change("server.js",
       ("const { Payments } =", "const { Payments, Refusal } ="),
       ("  bank: new Bank(settings.bankUrl, settings.bankTimeoutMs),\n",
        "  bank: new Bank(settings.bankUrl, settings.bankTimeoutMs),\n  settleMs: settings.bankSettleMs,\n"),
       ("function signed(body, signature) {\n  if (!signature) return true;\n"
        "  return settings.bankSecrets.some((secret) =>\n"
        "    crypto.createHmac('sha256', secret).update(JSON.stringify(body)).digest('hex') === signature);\n}",
        "function signed(raw, signature) {\n  if (!/^[0-9a-f]{64}$/i.test(signature || '')) return false;\n"
        "  const given = Buffer.from(signature, 'hex');\n"
        "  return settings.bankSecrets.some((secret) =>\n"
        "    crypto.timingSafeEqual(crypto.createHmac('sha256', secret).update(raw).digest(), given));\n}"),
       ("    const body = parse(raw);\n    if (!body || !signed(body, request.headers['x-bank-signature'])) return send(response, 401, { error: 'signature' });\n"
        "    payments.callback(body);\n",
        "    if (!signed(raw, request.headers['x-bank-signature'])) return send(response, 401, { error: 'signature' });\n"
        "    payments.callback(parse(raw) || {});\n"),
       ("    console.error(error);\n",
        "    if (error instanceof Refusal) return send(response, error.status, { error: error.message });\n"
        "    console.error(error);\n"))
PY
