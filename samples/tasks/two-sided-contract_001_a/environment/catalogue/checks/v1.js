// What the tills rely on: node --test checks/v1.js
const assert = require("node:assert");
const { spawn } = require("node:child_process");
const path = require("node:path");
const { after, before, test } = require("node:test");

const port = 8000 + (process.pid % 1000);
const base = `http://127.0.0.1:${port}/v1`;
let service;

before(async () => {
  service = spawn(path.join(__dirname, "..", "bin", "serve"), [], {
    env: { ...process.env, PORT: String(port) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  await new Promise((resolve) => service.stdout.once("data", resolve));
});

after(() => service.kill());

async function send(method, url, body) {
  const answer = await fetch(base + url, {
    method,
    headers: { "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });
  return [answer.status, await answer.text()];
}

test("reads", async () => {
  assert.deepStrictEqual(await send("GET", "/articles/2"), [
    200,
    '{"id":2,"name":"Bonsai","price":9800,"currency":"JPY","tags":"garden","stock":1}',
  ]);
  assert.deepStrictEqual(await send("GET", "/articles/3"), [404, '{"error":"no such article"}']);
});

test("writes", async () => {
  const hoe = { name: "Hoe", price: 990, currency: "EUR", tags: "garden, tools" };
  assert.deepStrictEqual(await send("POST", "/articles", hoe), [
    201,
    '{"id":6,"name":"Hoe","price":990,"currency":"EUR","tags":"garden, tools","stock":0}',
  ]);
  assert.deepStrictEqual(await send("PUT", "/articles/6", { ...hoe, price: -1 }), [
    400,
    '{"error":"price is not a number of cents"}',
  ]);
  assert.strictEqual((await send("DELETE", "/articles/6"))[0], 204);
});
