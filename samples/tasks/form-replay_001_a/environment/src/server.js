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

function signed(body, signature) {
  if (!signature) return true;
  return settings.bankSecrets.some((secret) =>
    crypto.createHmac('sha256', secret).update(JSON.stringify(body)).digest('hex') === signature);
}

async function answer(request, response) {
  const { pathname } = new URL(request.url, 'http://payd');
  const route = `${request.method} ${pathname}`;
  const raw = await read(request);

  if (route === 'POST /bank/callback') {
    const body = parse(raw);
    if (!body || !signed(body, request.headers['x-bank-signature'])) return send(response, 401, { error: 'signature' });
    payments.callback(body);
    return send(response, 204);
  }

  const merchant = accounts.merchant(request.headers.authorization);
  if (merchant === undefined) return send(response, 401, { error: 'token' });

  if (route === 'GET /account') return send(response, 200, accounts.view(merchant));

  if (route === 'POST /payments') {
    const key = request.headers['idempotency-key'];
    const body = parse(raw);
    if (!key || !body || !payments.valid(body)) return send(response, 400, { error: 'key or body' });
    const { payment, replayed } = await payments.create(merchant, key, body);
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
}).listen(settings.port, '127.0.0.1', () => console.log(`payd on ${settings.port}`));
