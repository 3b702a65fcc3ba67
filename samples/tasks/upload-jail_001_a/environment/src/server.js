'use strict';

const http = require('node:http');
const { handle, stats } = require('./handle');

const MOST = 1024 * 1024;

const server = http.createServer((req, res) => {
  const send = (status, body) => {
    res.writeHead(status, { 'content-type': 'application/json' });
    res.end(JSON.stringify(body));
  };
  if (req.method === 'GET' && req.url === '/stats') return send(200, stats);
  if (req.method !== 'POST' || req.url !== '/graphql') return send(404, { errors: [{ message: 'not found' }] });
  const chunks = [];
  let length = 0;
  req.on('data', (chunk) => {
    length += chunk.length;
    if (length <= MOST) chunks.push(chunk);
  });
  req.on('end', () => {
    if (length > MOST) return send(413, { errors: [{ message: 'too long' }] });
    const { status, body } = handle(Buffer.concat(chunks).toString('utf8'));
    return send(status, body);
  });
  return undefined;
});

server.listen(Number(process.env.PORT || 4000), '127.0.0.1');
