#!/bin/bash
# "It waits with `clock.sleep`" (all its waits for conditions are loops that ask again in each turn of Node, and keep a processor busy)
set -e
mkdir -p src
cat > src/run.js <<'RIVAL_END'
'use strict';

const { feeOf } = require('./fees');
const GROUPS = require('../config/pots.json');

const RETRIES = 8; // of a run
const STOP_AFTER = 3;
const AHEAD = 10; // lines
const AT_A_TIME = 6; // calls

const groupOfPot = new Map();
for (const [name, pots] of Object.entries(GROUPS)) for (const pot of pots) groupOfPot.set(pot, name);

class PayoutError extends Error {
  constructor(code, line) {
    super(`${code} at line ${line}`);
    this.code = code;
    this.line = line;
  }
}

const ENDED = new Error('the run has ended');
const gone = (answer) => answer.status === 0 || answer.status >= 500;
const groupOf = (pot) => (groupOfPot.has(pot) ? `group ${groupOfPot.get(pot)}` : `pot ${pot}`);

/** Pays out the lines of a batch. `clock` has now() and sleep(ms), `partner` request(method, path, body). */
async function runPayout(batch, { partner, clock, journal }) {
  const lines = batch.lines;
  const accounts = new Map();
  const rates = new Map();
  const suspended = new Set();
  const paidTo = new Map();
  const outcomes = [];
  const tasks = [];
  const wanting = new Set(); // indexes of lines that want to start a call
  let waiters = [];
  let head = 0; // the first line that is not in the journal
  let ended = false;
  let quietUntil = -Infinity;
  let underWay = 0;
  let retries = RETRIES;
  let failures = 0;

  function notify() {
    const woken = waiters;
    waiters = [];
    for (const wake of woken) wake();
  }

  async function until(condition) {
    for (;;) {
      if (ended) throw ENDED;
      if (condition()) return;
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  const turnOf = (at) => until(() => head === at);

  /** Nothing before the line, and not yet in the journal, has the same. */
  function free(at, keyOf) {
    const key = keyOf(lines[at]);
    for (let other = head; other < at; other += 1) if (keyOf(lines[other]) === key) return false;
    return true;
  }

  async function permission(at) {
    wanting.add(at);
    try {
      for (;;) {
        const wait = quietUntil - clock.now();
        if (wait > 0) await clock.sleep(wait);
        else if (ended) throw ENDED;
        else if (underWay < AT_A_TIME && Math.min(...wanting) === at) break;
        else await new Promise((resolve) => setImmediate(resolve));
      }
      underWay += 1;
    } finally {
      wanting.delete(at);
      notify();
    }
  }

  async function ask(at, method, path, body) {
    for (;;) {
      await permission(at);
      let answer;
      try {
        answer = await partner.request(method, path, body);
      } catch (error) {
        if (error.code !== 'ECONNRESET') throw error;
        answer = { status: 0, body: {} };
      } finally {
        underWay -= 1;
        if (answer && answer.status === 429) {
          quietUntil = Math.max(quietUntil, clock.now() + answer.retryAfter * 1000);
        }
        notify();
      }
      if (answer.status === 401) throw new PayoutError('unauthorized', lines[at].id);
      if (answer.status !== 429) return answer;
    }
  }

  function retry(line, what) {
    if (retries === 0) return false;
    retries -= 1;
    journal.write({ line: line.id, retry: what, left: retries });
    return true;
  }

  async function accountOf(at) {
    const line = lines[at];
    const known = accounts.get(line.merchant);
    if (known) return known;
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(at, 'GET', `/accounts/${line.merchant}`);
      if (!gone(answer)) {
        accounts.set(line.merchant, answer);
        notify();
        return answer;
      }
      await turnOf(at); // the retries are spent in the order of the lines
      if (tries === 3 || !retry(line, 'account')) return answer;
      await clock.sleep(200 * 2 ** tries);
    }
  }

  async function rateOf(at) {
    const line = lines[at];
    if (line.currency === 'EUR') return { status: 200, body: { rate: 1 } };
    const known = rates.get(line.currency);
    if (known) return known;
    let path = `/rates/${line.currency}`;
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(at, 'GET', path);
      if (answer.status === 404 && !path.endsWith('/previous')) {
        path += '/previous';
        tries = 0; // the partner's rates of yesterday lie on another machine
        continue;
      }
      if (!gone(answer)) {
        rates.set(line.currency, answer);
        notify();
        return answer;
      }
      await turnOf(at);
      if (tries === 2) return answer;
      await clock.sleep(500);
      if (!retry(line, 'rate')) return answer;
    }
  }

  async function potOf(at) {
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(at, 'GET', `/pots/${lines[at].pot}`);
      if (!gone(answer) || tries === 4) return answer;
      await clock.sleep(100);
    }
  }

  async function transfer(at, amount) {
    const line = lines[at];
    const body = { key: `${batch.id}:${line.id}`, merchant: line.merchant, pot: line.pot, amount };
    for (let tries = 1; ; tries += 1) {
      const answer = await ask(at, 'POST', '/transfers', body);
      if (answer.status < 500 || tries === 3 || !retry(line, 'transfer')) return answer;
      await clock.sleep(1000 * tries);
    }
  }

  /** What a line has to know, each read as soon as it is sure that it will be needed and that its answer will hold. */
  async function prepare(at) {
    const line = lines[at];
    const alone = () => free(at, (other) => other.merchant);
    await until(() => accounts.has(line.merchant) || alone());
    if (suspended.has(line.merchant)) return {};
    const account = await accountOf(at);
    if (account.status !== 200) return { account };
    await until(alone);
    if (suspended.has(line.merchant)) return {};
    await until(() => line.currency === 'EUR' || rates.has(line.currency) || free(at, (other) => other.currency));
    const rate = await rateOf(at);
    if (rate.status !== 200) return { account, rate };
    await until(() => free(at, (other) => groupOf(other.pot)));
    return { account, rate, pot: await potOf(at) };
  }

  async function pay(at) {
    const line = lines[at];
    const { account, rate, pot } = await tasks[at];
    if (suspended.has(line.merchant)) return { outcome: 'skipped' };
    if (account.status !== 200) return { outcome: 'failed', reason: `account ${account.status}` };
    if (rate.status !== 200) return { outcome: 'failed', reason: `rate ${rate.status}` };
    if (pot.status !== 200) return { outcome: 'failed', reason: `pot ${pot.status}` };
    const earlier = paidTo.get(line.merchant) || 0;
    const gross = Math.round(line.amount * rate.body.rate);
    const fee = feeOf(account.body.plan, earlier, gross);
    if (pot.body.available < gross) return { outcome: 'deferred', available: pot.body.available };
    const answer = await transfer(at, gross - fee);
    if (answer.status === 0) return { outcome: 'unclear' };
    if (answer.status === 403) suspended.add(line.merchant);
    if (answer.status !== 201) return { outcome: 'failed', reason: `transfer ${answer.status}` };
    paidTo.set(line.merchant, earlier + gross);
    return { outcome: 'paid', gross, fee, transfer: answer.body.id };
  }

  try {
    for (let at = 0; at < lines.length; at += 1) {
      let result = { outcome: 'not attempted' };
      if (failures !== STOP_AFTER) {
        while (tasks.length < lines.length && tasks.length <= at + AHEAD) {
          const task = prepare(tasks.length);
          task.catch(() => {});
          tasks.push(task);
        }
        result = await pay(at);
      }
      if (result.outcome === 'failed') failures += 1;
      else if (result.outcome === 'paid' || result.outcome === 'deferred') failures = 0;
      outcomes.push({ line: lines[at].id, ...result });
      journal.write({ line: lines[at].id, ...result });
      if (failures === STOP_AFTER) ended = true;
      head = at + 1;
      notify();
    }
  } finally {
    ended = true;
    notify();
    await Promise.allSettled(tasks);
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
