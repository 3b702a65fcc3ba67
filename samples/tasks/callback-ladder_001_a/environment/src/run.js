'use strict';

const { feeOf } = require('./fees');

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
  const paidTo = new Map();
  const outcomes = [];
  let retries = RETRIES;
  let failures = 0;

  async function ask(line, method, path, body) {
    for (;;) {
      let answer;
      try {
        answer = await partner.request(method, path, body);
      } catch (error) {
        if (error.code !== 'ECONNRESET') throw error;
        answer = { status: 0, body: {} };
      }
      if (answer.status === 401) throw new PayoutError('unauthorized', line.id);
      if (answer.status !== 429) return answer;
      await clock.sleep(answer.retryAfter * 1000);
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

  for (const line of batch.lines) {
    const result = failures === STOP_AFTER ? { outcome: 'not attempted' } : await pay(line);
    if (result.outcome === 'failed') failures += 1;
    else if (result.outcome === 'paid' || result.outcome === 'deferred') failures = 0;
    outcomes.push({ line: line.id, ...result });
    journal.write({ line: line.id, ...result });
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
