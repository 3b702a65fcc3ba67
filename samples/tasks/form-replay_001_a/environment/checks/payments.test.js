'use strict';

const assert = require('node:assert');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { after, before, test } = require('node:test');

const orders = [];
let bank;
let payd;
let base;

before(async () => {
  bank = http.createServer((request, response) => {
    let data = '';
    request.on('data', (chunk) => { data += chunk; });
    request.on('end', () => {
      const order = JSON.parse(data);
      orders.push(order);
      response.writeHead(order.to === 'nobody' ? 422 : 201).end();
    });
  });
  await new Promise((done) => bank.listen(0, '127.0.0.1', done));
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'payd-'));
  fs.writeFileSync(path.join(folder, 'merchants.json'), JSON.stringify({ shop: { token: 't1', opening: 1000 } }));
  const port = 20000 + (process.pid % 20000);
  base = `http://127.0.0.1:${port}`;
  payd = spawn(process.execPath, [path.join(__dirname, '../src/server.js')], {
    env: { ...process.env, PORT: port, BANK_URL: `http://127.0.0.1:${bank.address().port}`, DATA_DIR: folder },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((done) => payd.stdout.once('data', done));
});

after(() => {
  payd.kill();
  bank.close();
});

function pay(key, body) {
  return fetch(`${base}/payments`, {
    method: 'POST', body: JSON.stringify(body), headers: { Authorization: 'Bearer t1', 'Idempotency-Key': key },
  });
}

test('pays once and shows it', async () => {
  const first = await pay('k1', { to: 'ann', amount: 300 });
  assert.strictEqual(first.status, 201);
  const again = await pay('k1', { to: 'ann', amount: 300 });
  assert.strictEqual(again.headers.get('idempotent-replayed'), 'true');
  assert.deepStrictEqual(await again.json(), await first.json());
  assert.strictEqual(orders.length, 1);
});

test('declines', async () => {
  assert.strictEqual((await pay('k2', { to: 'nobody', amount: 1 })).status, 402);
  assert.strictEqual((await (await pay('k3', { to: 'ann', amount: 5000 })).json()).reason, 'funds');
  assert.strictEqual((await pay('k4', { to: 'ann', amount: 0 })).status, 400);
});
