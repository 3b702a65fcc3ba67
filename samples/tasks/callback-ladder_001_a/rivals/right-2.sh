#!/bin/bash
# the loop of today; a planner class sends the sure first attempts of the next ten lines, the loop uses their raw answers up
set -e
mkdir -p src
cat > src/run.js <<'RIVAL_END'
'use strict';

const { feeOf } = require('./fees');
const { Lookahead } = require('./lookahead');

const RETRIES = 8; // of a run
const STOP_AFTER = 3;

class PayoutError extends Error {
  constructor(code, line) {
    super(`${code} at line ${line}`);
    this.code = code;
    this.line = line;
  }
}

/** Pays out the lines of a batch. `clock` has now() and sleep(ms), `partner` request(method, path, body). */
async function runPayout(batch, { partner, clock, journal }) {
  const accounts = new Map();
  const rates = new Map();
  const suspended = new Set();
  const lookahead = new Lookahead(batch.lines, partner, clock, { accounts, rates, suspended });
  const paidTo = new Map();
  const outcomes = [];
  let retries = RETRIES;
  let failures = 0;

  async function ask(line, method, path, body) {
    for (;;) {
      const answer = await lookahead.next(method, path, body);
      if (answer.status === 401) throw new PayoutError('unauthorized', line.id);
      if (answer.status !== 429) return answer;
      await lookahead.quiet();
    }
  }

  const gone = (answer) => answer.status === 0 || answer.status >= 500;

  function retry(line, what) {
    if (retries === 0) return false;
    retries -= 1;
    journal.write({ line: line.id, retry: what, left: retries });
    return true;
  }

  async function accountOf(line) {
    const known = accounts.get(line.merchant);
    if (known) return known;
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(line, 'GET', `/accounts/${line.merchant}`);
      if (!gone(answer)) {
        accounts.set(line.merchant, answer);
        return answer;
      }
      if (tries === 3 || !retry(line, 'account')) return answer;
      await clock.sleep(200 * 2 ** tries);
    }
  }

  async function rateOf(line) {
    if (line.currency === 'EUR') return { status: 200, body: { rate: 1 } };
    const known = rates.get(line.currency);
    if (known) return known;
    let path = `/rates/${line.currency}`;
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(line, 'GET', path);
      if (answer.status === 404 && !path.endsWith('/previous')) {
        path += '/previous';
        tries = 0; // the partner's rates of yesterday lie on another machine
        continue;
      }
      if (!gone(answer)) {
        rates.set(line.currency, answer);
        return answer;
      }
      if (tries === 2) return answer;
      await clock.sleep(500);
      if (!retry(line, 'rate')) return answer;
    }
  }

  async function potOf(line) {
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(line, 'GET', `/pots/${line.pot}`);
      if (!gone(answer) || tries === 4) return answer;
      await clock.sleep(100);
    }
  }

  async function transfer(line, amount) {
    const body = { key: `${batch.id}:${line.id}`, merchant: line.merchant, pot: line.pot, amount };
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(line, 'POST', '/transfers', body);
      if (answer.status < 500 || tries === 3 || !retry(line, 'transfer')) return answer;
      await clock.sleep(1000 * tries);
    }
  }

  async function pay(line) {
    if (suspended.has(line.merchant)) return { outcome: 'skipped' };
    const account = await accountOf(line);
    if (account.status !== 200) return { outcome: 'failed', reason: `account ${account.status}` };
    const rate = await rateOf(line);
    if (rate.status !== 200) return { outcome: 'failed', reason: `rate ${rate.status}` };
    const earlier = paidTo.get(line.merchant) || 0;
    const gross = Math.round(line.amount * rate.body.rate);
    const fee = feeOf(account.body.plan, earlier, gross);
    const pot = await potOf(line);
    if (pot.status !== 200) return { outcome: 'failed', reason: `pot ${pot.status}` };
    if (pot.body.available < gross) return { outcome: 'deferred', available: pot.body.available };
    const answer = await transfer(line, gross - fee);
    if (answer.status === 0) return { outcome: 'unclear' };
    if (answer.status === 403) suspended.add(line.merchant);
    if (answer.status !== 201) return { outcome: 'failed', reason: `transfer ${answer.status}` };
    paidTo.set(line.merchant, earlier + gross);
    return { outcome: 'paid', gross, fee, transfer: answer.body.id };
  }

  try {
    for (const [index, line] of batch.lines.entries()) {
      const stopped = failures === STOP_AFTER;
      if (stopped) lookahead.over = true;
      else lookahead.moveTo(index);
      const result = stopped ? { outcome: 'not attempted' } : await pay(line);
      if (result.outcome === 'failed') failures += 1;
      else if (result.outcome === 'paid' || result.outcome === 'deferred') failures = 0;
      outcomes.push({ line: line.id, ...result });
      journal.write({ line: line.id, ...result });
    }
  } finally {
    await lookahead.end();
  }
  return {
    batch: batch.id,
    stopped: failures === STOP_AFTER,
    retriesLeft: retries,
    paid: Object.fromEntries(paidTo),
    lines: outcomes,
  };
}

module.exports = { runPayout, PayoutError };
RIVAL_END
mkdir -p src
cat > src/lookahead.js <<'RIVAL_END'
'use strict';

const GROUPS = require('../config/pots.json');

const LINES = 10;
const CALLS = 5; // the line that is paid has the sixth

const groups = new Map();
for (const [name, pots] of Object.entries(GROUPS)) for (const pot of pots) groups.set(pot, name);

/** All calls go through here; those that are sure to come may have been sent before they are asked for. */
class Lookahead {
  constructor(lines, partner, clock, known) {
    this.lines = lines;
    this.partner = partner;
    this.clock = clock;
    this.known = known;
    this.sent = new Map(); // path -> { promise, answer }
    this.open = new Set();
    this.quietUntil = -Infinity;
    this.current = 0;
    this.over = false;
  }

  /** One attempt; connection losses are answers, a 429 is taken note of as soon as it is there. */
  async attempt(method, path, body) {
    let answer;
    try {
      answer = await this.partner.request(method, path, body);
    } catch (error) {
      if (error.code !== 'ECONNRESET') throw error;
      return { status: 0, body: {} };
    }
    if (answer.status === 429) {
      this.quietUntil = Math.max(this.quietUntil, this.clock.now() + answer.retryAfter * 1000);
    }
    return answer;
  }

  async quiet() {
    for (;;) {
      const wait = this.quietUntil - this.clock.now();
      if (!(wait > 0)) return;
      await this.clock.sleep(wait);
    }
  }

  /** The next answer for this call. */
  async next(method, path, body) {
    const early = method === 'GET' ? this.sent.get(path) : undefined;
    if (early) {
      const outcome = await early.promise;
      this.sent.delete(path);
      if (outcome.error) throw outcome.error;
      return outcome.answer;
    }
    await this.quiet();
    const running = this.attempt(method, path, body);
    this.plan();
    return running;
  }

  send(path) {
    const call = { path, answer: null };
    call.promise = this.attempt('GET', path).then((answer) => ({ answer }), (error) => ({ error })).then((outcome) => {
      call.answer = outcome.answer || null;
      this.open.delete(call);
      this.plan();
      return outcome;
    });
    this.open.add(call);
    this.sent.set(path, call);
  }

  /** The answer that is known, else what was sent early brought, else undefined (and it is sent where that is `sure`). */
  peek(known, path, sure) {
    if (known) return known;
    const call = this.sent.get(path);
    if (call) return call.answer || undefined;
    if (sure && this.open.size < CALLS) this.send(path);
    return undefined;
  }

  moveTo(index) {
    this.current = index;
    this.plan();
  }

  plan() {
    if (this.over || this.quietUntil > this.clock.now()) return;
    const merchants = new Set();
    const currencies = new Set();
    const pots = new Set();
    const { accounts, rates, suspended } = this.known;
    const last = Math.min(this.current + LINES, this.lines.length - 1);
    for (let index = this.current; index <= last; index += 1) {
      const line = this.lines[index];
      const first = !merchants.has(line.merchant);
      const group = groups.has(line.pot) ? `group ${groups.get(line.pot)}` : `pot ${line.pot}`;
      if (index > this.current) {
        if (first && suspended.has(line.merchant)) continue; // it will be skipped
        const account = this.peek(accounts.get(line.merchant), `/accounts/${line.merchant}`, first);
        if (first && account && account.status === 200) {
          const rate = this.rate(line.currency, rates, !currencies.has(line.currency));
          if (rate && rate.status === 200) this.peek(undefined, `/pots/${line.pot}`, !pots.has(group));
        }
      }
      merchants.add(line.merchant);
      currencies.add(line.currency);
      pots.add(group);
    }
  }

  rate(currency, rates, sure) {
    if (currency === 'EUR') return { status: 200 };
    const path = `/rates/${currency}`;
    const rate = this.peek(rates.get(currency), path, sure);
    if (rate && rate.status === 404 && !rates.has(currency)) return this.peek(undefined, `${path}/previous`, sure);
    return rate;
  }

  /** Sends nothing more, and waits for what is under way. */
  async end() {
    this.over = true;
    await Promise.all([...this.open].map((call) => call.promise));
  }
}

module.exports = { Lookahead };
RIVAL_END
