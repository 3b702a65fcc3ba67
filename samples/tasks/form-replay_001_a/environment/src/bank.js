'use strict';

const http = require('node:http');

function request(method, url, body, timeoutMs) {
  return new Promise((resolve, reject) => {
    const data = body === undefined ? '' : JSON.stringify(body);
    const headers = { 'Content-Length': Buffer.byteLength(data) };
    if (data) headers['Content-Type'] = 'application/json';
    const sent = http.request(url, { method, headers, timeout: timeoutMs }, (answer) => {
      const chunks = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => resolve({ status: answer.statusCode, text: Buffer.concat(chunks).toString() }));
    });
    sent.on('timeout', () => sent.destroy(new Error('the bank does not answer')));
    sent.on('error', reject);
    sent.end(data);
  });
}

class Bank {
  constructor(url, timeoutMs) {
    this.url = url.replace(/\/$/, '');
    this.timeoutMs = timeoutMs;
  }

  async transfer(ref, to, amount) {
    const answer = await request('POST', `${this.url}/transfers`, { ref, to, amount }, this.timeoutMs);
    if (answer.status === 201) return 'done';
    if (answer.status === 422) return 'declined';
    throw new Error(`the bank answers ${answer.status}`);
  }

  async lookup(ref) {
    const answer = await request('GET', `${this.url}/transfers/${encodeURIComponent(ref)}`, undefined, this.timeoutMs);
    return answer.status === 200 ? JSON.parse(answer.text).state : null;
  }
}

module.exports = { Bank };
