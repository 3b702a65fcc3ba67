import json
import subprocess

import pytest

# Plays batches with one run, that of /app or that of the release, with a partner that answers by a script and in simulated time; writes down what the run does, a line each.
# Each run has a process of its own, and the test compares what they did: nothing that /app says of itself counts.
DRIVER = r''''use strict';
const { appendFileSync } = require('fs');
const [, , part, place, out] = process.argv;
const { KINDS, make } = require('/opt/payrun/bench/batches.js');
const GROUPS = require('/opt/payrun/config/pots.json');
let wrong = [];
process.on('unhandledRejection', (error) => wrong.push(`unhandled rejection: ${error}`));
const groupOf = (pot) => Object.keys(GROUPS).find((name) => GROUPS[name].includes(pot));
const turn = () => new Promise((resolve) => setImmediate(resolve));

function random(seed) {
  let number = seed >>> 0;
  return (below) => {
    number = (Math.imul(number, 1664525) + 1013904223) >>> 0;
    return (number >>> 10) % below;
  };
}

class Clock {
  constructor() { Object.assign(this, { time: 0, events: [] }); }
  now() { return this.time; }
  at(ms, act) {
    const due = this.time + ms;
    const place = this.events.findIndex((event) => event.due > due);
    this.events.splice(place < 0 ? this.events.length : place, 0, { due, act });
  }
  sleep(ms) { return new Promise((wake) => { this.at(ms, wake); }); }
  async run(done) {
    for (let steps = 0; ; steps += 1) {
      await turn();
      if (done()) return true;
      const event = steps < 200000 && this.events.shift();
      if (!event) return false;
      this.time = event.due;
      event.act();
    }
  }
}

// One run, with a partner that looks at what the run does.
async function play(run, batch, { script = {}, limits = {}, plans = {}, vary = 0, slow = 0 }) {
  const clock = new Clock();
  const left = Object.fromEntries(Object.keys(GROUPS).map((name) => [name, limits[name] ?? 1e9]));
  const asked = {}; const posts = []; const entries = [];
  wrong = [];
  const applied = new Set();
  let underWay = 0; let posting = 0; let pausedUntil = 0; let started = 0;
  const takes = (key, number) => {
    let ms = key.startsWith('POST') ? 90 : { pots: 80, rates: 60, accounts: 70 }[key.split('/')[1]];
    if (slow && !key.startsWith('POST')) ms = slow;
    if (vary) ms += [...`${key} ${number} ${vary}`].reduce((sum, each) => (sum * 31 + each.charCodeAt(0)) % 9973, 7) % 150;
    return ms;
  };
  const request = (method, path, body) => {
    const key = method === 'GET' ? `GET ${path}` : `POST ${body.merchant}`;
    const number = asked[key] || 0;
    asked[key] = number + 1;
    started += 1;
    underWay += 1;
    if (underWay > 6) wrong.push(`${underWay} calls at a time`);
    if (clock.now() < pausedUntil) wrong.push(`${key} starts at ${clock.now()}, in the pause until ${pausedUntil}`);
    const [, kind, name] = path.split('/');
    const given = (script[key] || [])[number];
    let answer;
    if (method === 'GET') {
      const usual = { accounts: { plan: plans[name] || 'basic' }, rates: { rate: 0.6 + (name.charCodeAt(0) % 5) / 10 },
        pots: { available: left[groupOf(name)] } }[kind];
      answer = given || { status: 200, body: usual };
    } else {
      posts.push(JSON.parse(JSON.stringify(body)));
      const index = batch.lines.findIndex((line) => `${batch.id}:${line.id}` === body.key);
      const settled = entries.filter((entry) => entry.outcome).length;
      if (settled !== index) wrong.push(`the transfer of line ${index} starts with ${settled} lines in the journal`);
      if ((posting += 1) > 1) wrong.push('two transfers at a time');
      answer = given || { status: 201 };
    }
    return new Promise((resolve, reject) => clock.at((given && given.ms) || takes(key, number), () => {
      underWay -= 1;
      if (method === 'POST') {
        posting -= 1;
        if (answer.status !== 403 && answer.status !== 429 && answer.status !== 401 && !applied.has(body.key)) {
          left[groupOf(body.pot)] -= body.amount;
          applied.add(body.key);
        }
        answer = { body: { id: `T${body.key}` }, ...answer };
      }
      if (answer.status === 429) pausedUntil = Math.max(pausedUntil, clock.now() + answer.retryAfter * 1000);
      if (!answer.status) reject(Object.assign(new Error('the line is dead'), { code: 'ECONNRESET' }));
      else resolve({ retryAfter: answer.retryAfter, body: {}, ...answer });
    }));
  };
  let end;
  const settle = (what) => {
    end = { ...what, time: clock.now(), started };
    if (underWay) wrong.push(`${underWay} calls are under way at the end`);
  };
  const journal = { write: (entry) => { entries.push(JSON.parse(JSON.stringify(entry))); } };
  run(batch, { partner: { request }, clock, journal }).then((report) => settle({ result: { report } }),
    (error) => settle({ result: { error: [error.constructor.name, error.code, error.line, error.message] } }));
  if (!await clock.run(() => end)) return { stuck: true };
  const { started: before } = end;
  await clock.run(() => !clock.events.length);
  if (started !== before) wrong.push(`${started - before} calls start after the end`);
  return { ...end, asked, posts, wrong, entries };
}

async function compare(name, batch, spec, share) {
  appendFileSync(out, `${JSON.stringify({ name, share, lines: batch.lines, ...await play(runPayout, batch, spec) })}\n`);
}

// Lines of one merchant each, but for those that are told: { 3: { merchant: 'x' } }
function lines(count, changes = {}) {
  const pots = ['oslo', 'porto', 'cork', 'brno', 'bonn', 'malta', 'chur', 'ulm'];
  return { id: 'B', lines: Array.from({ length: count }, (_, n) => ({
    id: `L${n}`, merchant: `m${n}`, currency: 'EUR', amount: 10000, pot: pots[n % 8], ...changes[n] })) };
}
const answers = (...list) => list.map((status) => (typeof status === 'object' ? status : { status }));
const later = (seconds, ms) => ({ status: 429, retryAfter: seconds, ms });

const PARTS = {
  async plain() {
    for (const kind of Object.keys(KINDS)) {
      for (const seed of [7, 11, 12, 13]) {
        await compare(`${kind} ${seed}`, make(kind, seed), { plans: { m1: 'plus', m2: 'plus' } }, 0.55);
      }
    }
    await compare('one line', lines(1), {});
    await compare('no line', lines(0), {});
  },
  async failures() {
    const x = { merchant: 'x' };
    await compare('account asked again', lines(14, { 2: x, 5: x, 9: { ...x, currency: 'USD' } }), {
      script: { 'GET /accounts/x': answers(503, 503, 500, 0, 200), 'GET /rates/USD': answers(503, 404) } });
    await compare('unknown accounts', lines(16, { 4: x, 5: x, 12: { ...x, currency: 'USD' }, 9: { merchant: 'y', currency: 'SEK' } }), {
      script: { 'GET /accounts/x': answers(404), 'GET /accounts/y': answers(403) } });
    for (const before of [1, 3, 8]) {
      await compare(`suspended ${before}`, lines(20, { [before]: x, [before + 1]: { ...x, currency: 'USD' },
        [before + 4]: { ...x, currency: 'SEK', pot: 'paxos' }, [before + 6]: { currency: 'SEK' } }), {
        script: { 'POST x': answers(201, 403), 'GET /accounts/m0': [{ status: 200, ms: 900, body: { plan: 'plus' } }] } });
      await compare(`suspended at once ${before}`, lines(20, { [before]: x, [before + 1]: { ...x, currency: 'USD' },
        [before + 4]: { ...x, currency: 'SEK', pot: 'paxos' } }), { script: { 'POST x': answers(503, 403) } });
    }
    await compare('rates of yesterday', lines(20, { 3: { currency: 'USD' }, 4: { currency: 'USD' }, 7: { currency: 'USD' }, 9: { currency: 'SEK' },
      10: { currency: 'SEK' }, 12: { currency: 'GBP' }, 14: { currency: 'GBP' } }), { script: {
      'GET /rates/USD': answers(404, 404, 503, 200), 'GET /rates/USD/previous': answers(503, 503, 0, 503),
      'GET /rates/SEK': answers(503, 404), 'GET /rates/GBP': answers(404), 'GET /rates/GBP/previous': answers(404) } });
    for (const slow of [0, 400]) {
      await compare(`budget ${slow}`, lines(16, { 9: { currency: 'USD' }, 12: { currency: 'USD' } }), { slow, script: {
        'POST m0': answers(503, 500), 'GET /accounts/m2': answers(503, 503), 'POST m3': answers(502, 503, 503), 'GET /accounts/m5': answers(503, 0),
        'GET /accounts/m6': answers(503), 'GET /accounts/m8': answers(503), 'GET /rates/USD': answers(503), 'GET /pots/bonn': answers(503, 503, 503),
        'GET /pots/malta': answers(0, 503, 503, 503) } });
    }
    await compare('lost connections', lines(16, { 5: x, 6: x }), { script: { 'POST x': answers(0, 0), 'POST m2': answers(500, 0),
      'GET /accounts/m9': answers(0), 'GET /pots/ulm': answers(0) } });
    const refused = { status: 401, ms: 5 };
    await compare('401 ahead', lines(16, { 4: { currency: 'USD' } }), { script: { 'GET /accounts/m6': [refused],
      'POST m2': answers(503, 503), 'GET /accounts/m5': answers(404) } });
    await compare('401 of a rate and of an account', lines(16, { 7: { currency: 'USD' } }), { script: { 'GET /rates/USD': [refused], 'GET /accounts/m8': [refused] } });
    await compare('401 of a pot', lines(16), { script: { 'GET /pots/malta': [refused] } });
    await compare('401 of a transfer', lines(25, { 12: { currency: 'USD' } }), { slow: 300, script: { 'POST m4': [refused] } });
    await compare('401 never reached', lines(30), { script: { 'GET /accounts/m1': answers(404), 'GET /accounts/m2': answers(404),
      'GET /accounts/m3': answers(404), 'GET /accounts/m5': [refused], 'GET /accounts/m9': [{ status: 0, ms: 3 }] } });
    await compare('stop', lines(40, { 6: { currency: 'USD' }, 15: { currency: 'SEK' }, 25: { currency: 'GBP' } }), { slow: 500, script: {
      'POST m2': answers(403), 'GET /accounts/m4': answers(404), 'POST m5': answers(422), 'POST m6': answers(422), 'GET /accounts/m12': [later(2)] } });
    await compare('stop with skipped and unclear lines', lines(30, { 4: x, 6: x, 7: x }), { script: {
      'POST x': answers(403), 'POST m5': answers(0), 'GET /accounts/m8': answers(404), 'GET /pots/cork': answers(200, 422, 422) } });
  },
  async partner() {
    const tight = { north: 25000, south: 30000 };
    const p = (...pots) => lines(pots.length, Object.fromEntries(pots.map((pot, n) => [n, { pot }])));
    await compare('one group', p('oslo', 'malmo', 'turku', 'oslo', 'malmo', 'cork'), { limits: tight });
    await compare('two groups', p('oslo', 'bari', 'turku', 'porto', 'malmo', 'bari', 'oslo', 'porto', 'cork', 'porto'), { limits: tight });
    await compare('far apart', p('oslo', 'cork', 'brno', 'turku', 'bonn', 'malta', 'malmo', 'chur', 'oslo', 'ulm', 'cork'), { limits: tight });
    await compare('transfers without an answer', p('oslo', 'turku', 'cork', 'malmo', 'bari', 'oslo', 'porto', 'bari', 'porto'), { limits: tight,
      script: { 'POST m0': answers(0), 'POST m1': answers(503, 422), 'POST m4': answers(422), 'POST m6': answers(500, 500, 500) } });
    for (const slow of [0, 250, 700]) {
      for (const ms of [10, 65, 200]) {
        await compare(`429 ahead ${slow} ${ms}`, lines(20, { 3: { currency: 'USD' }, 6: { currency: 'SEK' } }), { slow, script: {
          'GET /accounts/m2': [later(3, ms)], 'GET /accounts/m5': [later(1, ms + 40), later(2, ms)], 'GET /rates/USD': [later(1, ms)],
          'GET /pots/bonn': [later(1, ms), { status: 503 }, later(2, ms)], 'POST m4': [later(2, ms)], 'POST m9': [{ status: 503 }, later(1, ms)] } });
      }
      await compare(`429 and the end ${slow}`, lines(30), { slow, script: { 'GET /accounts/m1': answers(404), 'GET /accounts/m2': answers(404),
        'GET /accounts/m3': answers(404), 'GET /accounts/m6': [later(9, 30)], 'GET /accounts/m7': [{ status: 404, ms: 5000 }] } });
      await compare(`many at a time ${slow}`, make('rates', 21 + slow, 40, 90), { slow, vary: 3, script: {
        'GET /accounts/m5': answers(503, 503), 'POST m6': answers(503, 503), 'GET /pots/oslo': answers(503, 503, 503) } });
    }
  },
  async chance() {
    for (let seed = 1; seed <= 160; seed += 1) {
      const below = random(seed * 7919);
      const kind = Object.keys(KINDS)[below(3)];
      const batch = make(kind, seed, 12 + below(20), 6 + below(25));
      const script = {};
      const give = (key, ...lists) => { script[key] = answers(...lists[below(lists.length)]); };
      const wait = later(1 + below(3), 5 + below(150));
      for (const line of batch.lines) {
        if (!below(7)) give(`GET /accounts/${line.merchant}`, [404], [503], [503, 0, 503, 200], [wait], [503, wait, 500], [wait, wait, 404]);
        if (!below(9)) give(`GET /rates/${line.currency}`, [404], [503], [503, 503], [wait], [503, 404], [404, 404, 404, 200]);
        if (!below(9)) give(`GET /rates/${line.currency}/previous`, [404], [503], [503, 503], [wait, 503, 200]);
        if (!below(12)) give(`GET /pots/${line.pot}`, [503], [503, 503, 0, 503], [wait], [200, 503], [404]);
        if (!below(9)) give(`POST ${line.merchant}`, [403], [503], [0], [201, 403], [wait, 503, 503, 500], [422]);
        if (!below(90)) give(`GET /accounts/${line.merchant}`, [401], [503, 401]);
        if (!below(150)) give(`POST ${line.merchant}`, [401]);
      }
      for (const list of Object.values(script)) {
        for (const answer of list) if (answer.status === 200) answer.body = { plan: 'plus', rate: 1.1, available: 15000 };
      }
      const limits = Object.fromEntries(Object.keys(GROUPS).map((name) => [name, below(3) ? 1e9 : 20000 + below(120000)]));
      await compare(`${kind} ${seed}`, batch, { script, limits, vary: below(3) ? seed : 0, slow: below(4) ? 0 : 300, plans: { m3: 'plus' } });
    }
  },
};

const { runPayout } = require(`${place}/src/run.js`);
(async () => {
  await compare('a batch without trouble', make('mixed', 5), {}, 0.55);
  await PARTS[part]();
})();
'''


def end_of(was):
    """The number of lines that the release came to."""
    ids = [line["id"] for line in was["lines"]]
    if "error" in was["result"]:
        return ids.index(was["result"]["error"][2])
    if was["result"]["report"].get("stopped"):
        return sum(entry.get("outcome") not in (None, "not attempted") for entry in was["entries"]) - 1
    return len(ids)


def differences(was, now):
    if now.get("stuck"):
        return ["the run waits for something that does not come"]
    found = now["wrong"][:2]
    found += [f"{key} {json.dumps(now[key])[:200]} was {json.dumps(was[key])[:200]}" for key in ("result", "posts") if now[key] != was[key]]
    if now["entries"] != was["entries"]:
        at = next((n for n, (a, b) in enumerate(zip(was["entries"], now["entries"])) if a != b), -1)
        found.append(f"journal, {len(now['entries'])} entries, was {len(was['entries'])}: entry {at} is another")
    end, near = end_of(was), set()
    for line in was["lines"][end:end + 11]:
        near |= {f"GET /accounts/{line['merchant']}", f"GET /rates/{line['currency']}", f"GET /rates/{line['currency']}/previous", f"GET /pots/{line['pot']}"}
    for key in was["asked"] | now["asked"]:
        before, after = was["asked"].get(key, 0), now["asked"].get(key, 0)
        if after < before or after > before and key not in near:
            found.append(f"{key} {after} times, was {before}")
    if "share" in was and now["time"] > was["share"] * was["time"]:
        found.append(f"takes {now['time'] / was['time']:.1%} of today's time")
    return found


@pytest.fixture
def play(tmp_path):
    (tmp_path / "driver.js").write_text(DRIVER)

    def runs(part, place):
        out = tmp_path / f"{part}.{place.strip('/').replace('/', '-')}"
        done = subprocess.run(["node", tmp_path / "driver.js", part, place, out], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and out.exists(), f"the driver ends with {done.returncode}: {done.stderr[-800:]}"
        return [json.loads(line) for line in out.read_text().splitlines()]

    def play(part):
        was, now = runs(part, "/opt/payrun"), runs(part, "/app")
        assert [one["name"] for one in now] == [one["name"] for one in was]
        return [f"{one['name']}: {what}" for one, other in zip(was, now) for what in differences(one, other)][:12]

    return play


def test_fast_and_the_same(play):
    assert play("plain") == []


def test_failures_come_out_as_before(play):
    assert play("failures") == []


def test_the_partner_s_demands(play):
    assert play("partner") == []


def test_batches_by_chance(play):
    assert play("chance") == []
