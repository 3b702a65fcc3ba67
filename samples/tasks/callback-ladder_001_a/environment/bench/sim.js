'use strict';

const GROUPS = require('../config/pots.json');

/** Time that goes on to the next event as soon as nothing else is left to run. */
class Clock {
  constructor() {
    this.time = 0;
    this.events = [];
    this.count = 0;
  }

  now() {
    return this.time;
  }

  at(ms, act) {
    this.events.push({ time: this.time + ms, number: (this.count += 1), act });
    this.events.sort((a, b) => a.time - b.time || a.number - b.number);
  }

  sleep(ms) {
    return new Promise((resolve) => this.at(ms, resolve));
  }

  async run(promise) {
    let done = false;
    const end = () => { done = true; };
    promise.then(end, end);
    for (;;) {
      await new Promise((resolve) => setImmediate(resolve));
      if (done) return;
      const event = this.events.shift();
      if (!event) throw new Error('the run waits for nothing');
      this.time = event.time;
      event.act();
    }
  }
}

/** `script`: answers by "GET /path" or "POST merchant", the first for the first call and so on; then the usual ones. */
class Partner {
  constructor(clock, { script = {}, limits = {}, plans = {} } = {}) {
    this.clock = clock;
    this.script = script;
    this.plans = plans;
    this.left = Object.fromEntries(Object.keys(GROUPS).map((name) => [name, limits[name] ?? 1e9]));
    this.asked = new Map();
    this.calls = [];
    this.transfers = 0;
    this.underWay = 0;
    this.most = 0;
  }

  request(method, path, body) {
    const key = method === 'GET' ? `GET ${path}` : `POST ${body.merchant}`;
    const number = this.asked.get(key) || 0;
    this.asked.set(key, number + 1);
    this.calls.push({ time: this.clock.now(), key, body });
    this.underWay += 1;
    this.most = Math.max(this.most, this.underWay);
    const usual = this.usual(method, path, body);
    const answer = (this.script[key] || [])[number] || usual();
    return new Promise((resolve, reject) => {
      this.clock.at(answer.ms || this.takes(method, path), () => {
        this.underWay -= 1;
        if (answer.status === 0) reject(Object.assign(new Error('connection lost'), { code: 'ECONNRESET' }));
        else resolve({ status: answer.status, body: answer.body || {}, retryAfter: answer.retryAfter });
      });
    });
  }

  takes(method, path) {
    if (method === 'POST') return 90;
    return { accounts: 70, rates: 60, pots: 80 }[path.split('/')[1]];
  }

  usual(method, path, body) {
    const [, kind, name] = path.split('/');
    if (kind === 'accounts') return () => ({ status: 200, body: { plan: this.plans[name] || 'basic' } });
    if (kind === 'rates') return () => ({ status: 200, body: { rate: 0.5 + (name.charCodeAt(0) % 7) / 10 } });
    const pot = method === 'GET' ? name : body.pot;
    const group = Object.keys(GROUPS).find((each) => GROUPS[each].includes(pot));
    if (method === 'GET') {
      const available = this.left[group];
      return () => ({ status: 200, body: { available } });
    }
    return () => {
      this.left[group] -= body.amount;
      this.transfers += 1;
      return { status: 201, body: { id: `T${this.transfers}` } };
    };
  }
}

module.exports = { Clock, Partner };
