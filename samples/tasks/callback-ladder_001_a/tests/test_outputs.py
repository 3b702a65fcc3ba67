import json
import subprocess

import pytest

# The run (that of /app or of the release) has a process of its own, in which nothing is measured: it gets the time, wakes and answers one by one, and says what it calls, sleeps
# and writes. The clock, the partner and what is noted of them are here, beyond its reach.
RUNNER = r''''use strict';
const { readSync, writeSync } = require('fs');
let heard = ''; let said = []; let time = 0; let number = 0; let play = 0; let writes = 0;
const waiting = new Map();
const say = (...what) => said.push(JSON.stringify(what));
process.on('unhandledRejection', (error) => say('wrong', `unhandled rejection: ${error}`));
const turn = setImmediate;
for (const timers of [globalThis, require('timers'), require('timers/promises')]) {
  for (const name of ['setTimeout', 'setInterval', 'setImmediate']) timers[name] = () => say('wrong', `waits with ${name}`);
}
const wait = (...what) => new Promise((resolve, reject) => {
  waiting.set(number += 1, [resolve, reject]);
  say(what[0], number, ...what.slice(1));
});

function next() {
  const block = Buffer.alloc(65536);
  while (!heard.includes('\n')) {
    const size = readSync(3, block);
    if (!size) process.exit();
    heard += block.toString('latin1', 0, size);
  }
  const end = heard.indexOf('\n') + 1;
  const line = heard.slice(0, end);
  heard = heard.slice(end);
  return JSON.parse(line);
}

function start({ runPayout, PayoutError }, { batch, full }) {
  const mine = play += 1;
  writes = 0;
  const clock = { now: () => time, sleep: (ms) => wait('sleep', ms) };
  const partner = { request: (method, path, body) => wait('call', method, path, body) };
  const journal = { write: (entry) => {
    if ((writes += 1) === full) throw new Error('no space left');
    say('entry', entry);
  } };
  runPayout(batch, { partner, clock, journal }).then((report) => say('end', mine, { report }),
    (error) => say('end', mine, { error: [error.constructor.name, error instanceof PayoutError, error.code, error.line, error.message] }));
}

(async () => {
  const code = require(`${process.argv[2]}/src/run.js`);
  for (;;) {
    const order = next();
    time = order.time;
    if (order.batch) {
      start(code, order);
    } else {
      const [resolve, reject] = waiting.get(order.wake);
      waiting.delete(order.wake);
      if (order.lost) reject(Object.assign(new Error('the line is dead'), { code: order.lost }));
      else resolve(order.answer);
    }
    await new Promise((resolve) => turn(resolve));
    const bytes = Buffer.from(`[${said.join()}]\n`);
    for (let at = 0; at < bytes.length;) at += writeSync(3, bytes, at);
    said = [];
  }
})();
'''

DRIVER = r''''use strict';
const { spawn } = require('child_process');
const [, , part, place, runner] = process.argv;
const { KINDS, make } = require('/opt/payrun/bench/batches.js');
const GROUPS = require('/opt/payrun/config/pots.json');
const groupOf = (pot) => Object.keys(GROUPS).find((name) => GROUPS[name].includes(pot));

const child = spawn(process.execPath, [runner, place], { stdio: ['ignore', 'ignore', 'pipe', 'pipe'] });
let heard = []; let tell;
child.stderr.on('data', (text) => process.stderr.write(text));
child.on('exit', () => process.exit(3));
child.stdio[3].on('error', () => {});
child.stdio[3].on('data', (block) => {
  heard.push(block);
  if (block[block.length - 1] !== 10) return;
  const line = Buffer.concat(heard).toString();
  heard = [];
  tell(JSON.parse(line));
});
function order(what) {
  child.stdio[3].write(`${JSON.stringify(what)}\n`);
  return new Promise((resolve) => { tell = resolve; });
}

function random(seed) {
  let number = seed >>> 0;
  return (below) => {
    number = (Math.imul(number, 1664525) + 1013904223) >>> 0;
    return (number >>> 10) % below;
  };
}

let plays = 0;

// One run, with a partner that looks at what the run does.
async function play(batch, { script = {}, limits = {}, plans = {}, vary = 0, slow = 0, full = 0 }) {
  const left = Object.fromEntries(Object.keys(GROUPS).map((name) => [name, limits[name] ?? 1e9]));
  const asked = {}; const posts = []; const entries = []; const wrong = []; const calls = {}; const events = [];
  const applied = new Set();
  const readAt = {}; const changedAt = {};
  let time = 0; let steps = 0; let end = null; let after = 0;
  let underWay = 0; let posting = 0; let pausedUntil = 0;
  const mine = plays += 1;
  const at = (ms, act) => {
    const due = time + Math.max(0, Number(ms) || 0);
    const before = events.findIndex((event) => event.due > due);
    events.splice(before < 0 ? events.length : before, 0, { due, act });
  };
  const takes = (key, number) => {
    let ms = key.startsWith('POST') ? 90 : { pots: 80, rates: 60, accounts: 70 }[key.split('/')[1]];
    if (slow && !key.startsWith('POST')) ms = slow;
    if (vary) ms += [...`${key} ${number} ${vary}`].reduce((sum, each) => (sum * 31 + each.charCodeAt(0)) % 9973, 7) % 150;
    return ms;
  };
  const request = (id, method, path, body) => {
    const key = method === 'GET' ? `GET ${path}` : `POST ${body.merchant}`;
    const number = asked[key] || 0;
    asked[key] = number + 1;
    underWay += 1;
    steps += 1;
    const call = [time, null];
    (calls[key] = calls[key] || []).push(call);
    if (end) after += 1;
    if (underWay > 6) wrong.push(`${underWay} calls at a time`);
    if (time < pausedUntil) wrong.push(`${key} starts at ${time}, in the pause until ${pausedUntil}`);
    const [, kind, name] = path.split('/');
    const given = (script[key] || [])[number];
    const group = groupOf(method === 'GET' ? name : body.pot);
    let answer;
    if (method === 'GET') {
      if (kind === 'pots') readAt[name] = steps;
      const usual = { accounts: { plan: plans[name] || 'basic' }, rates: { rate: 0.6 + (name.charCodeAt(0) % 5) / 10 },
        pots: { available: left[group] } }[kind];
      answer = given || { status: 200, body: usual };
    } else {
      posts.push(body);
      const index = batch.lines.findIndex((line) => `${batch.id}:${line.id}` === body.key);
      const settled = entries.filter((entry) => entry.outcome).length;
      if (settled !== index) wrong.push(`the transfer of line ${index} starts with ${settled} lines in the journal`);
      if ((posting += 1) > 1) wrong.push('two transfers at a time');
      const [by, since] = changedAt[group] || [body.key, 0];
      if (by !== body.key && since > readAt[body.pot]) wrong.push(`${body.key} goes by an answer for ${body.pot} that is older than ${by}`);
      answer = given || { status: 201 };
    }
    at((given && given.ms) || takes(key, number), () => {
      underWay -= 1;
      call[1] = time;
      if (method === 'POST') {
        posting -= 1;
        changedAt[group] = [body.key, steps += 1];
        if (answer.status !== 403 && answer.status !== 429 && answer.status !== 401 && !applied.has(body.key)) {
          left[group] -= body.amount;
          applied.add(body.key);
        }
        answer = { body: { id: `T${body.key}` }, ...answer };
      }
      if (answer.status === 429) pausedUntil = Math.max(pausedUntil, time + answer.retryAfter * 1000);
      if (answer.status > 0) return { wake: id, answer: { retryAfter: answer.retryAfter, body: {}, ...answer } };
      return { wake: id, lost: answer.status ? 'EPROTO' : 'ECONNRESET' };
    });
  };
  const SAID = {
    call: request,
    sleep: (id, ms) => at(ms, () => ({ wake: id })),
    entry: (entry) => { entries.push(entry); },
    wrong: (what) => { wrong.push(what); },
    end: (of, result) => {
      if (of !== mine) return;
      end = { result, time };
      if (underWay) wrong.push(`${underWay} calls are under way at the end`);
    },
  };
  let what = { batch, full };
  for (let turns = 0; turns < 50000 && what; turns += 1) {
    for (const [name, ...rest] of await order({ time, ...what })) SAID[name](...rest);
    const event = events.shift();
    if (event) time = event.due;
    what = event && event.act();
  }
  if (!end || what) return { stuck: true };
  if (after) wrong.push(`${after} calls start after the end`);
  return { ...end, asked, calls, posts, wrong, entries };
}

async function compare(name, batch, spec, share) {
  console.log(JSON.stringify({ name, share, lines: batch.lines, ...await play(batch, spec) }));
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
      for (const [seed, length] of [[7, 60], [11, 60], [12, 60], [13, 60], [14, 80]]) {
        await compare(`${kind} ${seed}`, { ...make(kind, seed, length), id: 'B' }, { plans: { m1: 'plus', m2: 'plus' } }, 0.55);
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
    await compare('another error', lines(16), { script: { 'GET /accounts/m4': [{ status: -1, ms: 5 }], 'GET /accounts/m5': [{ status: -1, ms: 3 }], 'POST m2': answers(503) } });
    await compare('another error that is not reached', lines(16, { 6: { currency: 'USD' } }), { script: { 'GET /rates/USD': [{ status: -1 }], 'POST m3': [{ status: -1 }] } });
    for (const full of [3, 4]) await compare(`no journal ${full}`, lines(16), { full, slow: 300, script: { 'GET /accounts/m2': answers(503), 'POST m3': answers(503) } });
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
    await compare('stop after a long wait', lines(40), { script: Object.fromEntries([4, 5, 6].map((n) => [`POST m${n}`, [{ status: 422, ms: 2000 }]])) });
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
    for (let seed = 1; seed <= 100; seed += 1) {
      const below = random(seed * 7919);
      const kind = Object.keys(KINDS)[below(3)];
      const batch = { ...make(kind, seed, below(3) ? 12 + below(20) : 60, 6 + below(25)), id: 'B' };
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

(async () => {
  await compare('a batch without trouble', { ...make('mixed', 5), id: 'B' }, {}, 0.55);
  await PARTS[part]();
  child.removeAllListeners('exit').kill();
})();
'''


def keys_of(line):
    """The calls that a line may make, each with what of the line it asks for."""
    merchant, currency, pot = ((name, line[name]) for name in ("merchant", "currency", "pot"))
    rate = f"GET /rates/{line['currency']}"
    return [(f"GET /accounts/{line['merchant']}", merchant), (f"POST {line['merchant']}", merchant), (rate, currency), (f"{rate}/previous", currency),
            (f"GET /pots/{line['pot']}", pot)]


def end_of(was):
    """The number of lines that the release came to."""
    settled = sum(entry.get("outcome") not in (None, "not attempted") for entry in was["entries"])
    return settled - 1 if was["result"].get("report", {}).get("stopped") else settled


def differences(was, now):
    if now.get("stuck"):
        return ["the run waits for something that does not come"]
    found = now["wrong"][:2]
    found += [f"{key} {json.dumps(now[key])[:200]} was {json.dumps(was[key])[:200]}" for key in ("result", "posts") if now[key] != was[key]]
    if now["entries"] != was["entries"]:
        at = next((n for n, (a, b) in enumerate(zip(was["entries"], now["entries"])) if a != b), -1)
        found.append(f"journal, {len(now['entries'])} entries, was {len(was['entries'])}: entry {at} is another")
    end = end_of(was)
    near = {key for line in was["lines"][end:end + 11] for key, _ in keys_of(line) if key.startswith("GET")}
    for key in was["asked"] | now["asked"]:
        before, after = was["asked"].get(key, 0), now["asked"].get(key, 0)
        if after < before or after > before and key not in near:
            found.append(f"{key} {after} times, was {before}")
    for key, (name, value) in ((key, told) for line in was["lines"] for key, told in keys_of(line)):
        if sum(line[name] == value for line in was["lines"]) == 1:  # no other line asks for it, so that each call is a repetition
            rests = [[b[0] - a[1] for a, b in zip(one["calls"].get(key, []), one["calls"].get(key, [])[1:])] for one in (was, now)]
            if any(after < before for before, after in zip(*rests)):
                found.append(f"{key} is repeated after {rests[1]} ms, was {rests[0]}")
    if "share" in was and now["time"] > was["share"] * was["time"]:
        found.append(f"takes {now['time'] / was['time']:.1%} of today's time")
    return found


@pytest.fixture
def play(tmp_path):
    for name, text in (("driver.js", DRIVER), ("runner.js", RUNNER)):
        (tmp_path / name).write_text(text)

    def runs(part, place):
        done = subprocess.run(["node", tmp_path / "driver.js", part, place, tmp_path / "runner.js"], cwd=tmp_path, capture_output=True, text=True, timeout=100)
        assert done.returncode == 0, f"the driver ends with {done.returncode}: {done.stderr[-800:]}"
        return [json.loads(line) for line in done.stdout.splitlines()]

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
