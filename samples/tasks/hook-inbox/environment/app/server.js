'use strict';

const http = require('node:http');
const { readBody } = require('./lib/body');
const { isSigned } = require('./lib/signature');
const { Journal } = require('./lib/journal');
const { page } = require('./lib/events');

const { PORT = '8080', DATA_DIR = 'data', HOOK_SECRET = '' } = process.env;
const journal = new Journal(DATA_DIR);

function answer(response, status, value) {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(value) + '\n');
}

async function receive(request, response, source) {
  const body = await readBody(request);
  if (body === null) return answer(response, 413, { error: 'size' });
  if (!isSigned(body, request.headers['x-hook-signature'], HOOK_SECRET)) {
    return answer(response, 401, { error: 'signature' });
  }
  const id = request.headers['x-hook-id'];
  if (!id) return answer(response, 400, { error: 'id' });
  let value;
  try {
    value = JSON.parse(body);
  } catch {
    return answer(response, 400, { error: 'json' });
  }
  const { seq, duplicate } = await journal.add(source, id, value);
  if (duplicate) return answer(response, 200, { seq, duplicate });
  return answer(response, 202, { seq });
}

async function list(request, response, query) {
  await readBody(request);
  const result = page(await journal.all(), query);
  if (result === null) return answer(response, 400, { error: 'query' });
  return answer(response, 200, result);
}

async function route(request, response) {
  const url = new URL(request.url, 'http://inbox');
  const hook = /^\/hooks\/([^/]+)$/.exec(url.pathname);
  if (request.method === 'POST' && hook) return receive(request, response, hook[1]);
  if (request.method === 'GET' && url.pathname === '/events') {
    return list(request, response, url.searchParams);
  }
  await readBody(request);
  return answer(response, 404, { error: 'path' });
}

http.createServer(route).listen(Number(PORT), '127.0.0.1');
