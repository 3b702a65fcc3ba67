#!/bin/bash
# "An answer from before that says nothing any more." (pots whose last answer was large are read far before the transfers of their group,
# and whatever the test's partner has so much of shows no difference)
set -e

cat > src/ahead.js <<'EOF'
'use strict';

const GROUPS = require('../config/pots.json');

const LINES = 10; // read ahead at most so far
const READS = 5; // at a time, with one call more of the line that is on

const groupOf = new Map(Object.entries(GROUPS).flatMap(([name, pots]) => pots.map((pot) => [pot, name])));

/**
 * Stands between the run and the partner. Starts reads of coming lines, but only such as the run is certain to make when it gets there,
 * and hands their answers out to whoever asks first. All that is decided in the order of the lines (retries, errors) stays with the run.
 */
class ReadAhead {
  constructor(partner, clock, lines, suspended) {
    Object.assign(this, { partner, clock, lines, suspended });
    this.head = 0;
    this.ready = new Map(); // path: the promise of an answer nobody has asked for yet
    this.rich = new Set(); // groups that have much
    this.asked = new Set(); // accounts and rates
    this.known = new Map(); // their answers for good
    this.underWay = new Set();
    this.reads = 0;
    this.pausedUntil = -Infinity;
    this.closed = false;
  }

  /** The run is at this line, all before it are settled. */
  from(index) {
    this.head = index;
    this.plan();
  }

  /** Ends reading ahead; resolves when nothing is under way any more. */
  async close() {
    this.closed = true;
    await Promise.all([...this.underWay].map((call) => call.catch(() => {})));
  }

  async request(method, path, body) {
    const ready = method === 'GET' && this.ready.get(path);
    if (ready) {
      this.ready.delete(path);
      return ready;
    }
    this.asked.add(path);
    await this.pause();
    return this.call(method, path, body);
  }

  async pause() {
    while (this.clock.now() < this.pausedUntil) await this.clock.sleep(this.pausedUntil - this.clock.now());
  }

  async call(method, path, body) {
    const call = this.partner.request(method, path, body);
    this.underWay.add(call);
    try {
      const answer = await call;
      if (answer.status === 429) {
        this.pausedUntil = Math.max(this.pausedUntil, this.clock.now() + answer.retryAfter * 1000);
      } else if (path.startsWith('/pots/')) {
        if (answer.body.available > 1e7) this.rich.add(groupOf.get(path.slice(6)));
      } else if (method === 'GET' && !path.startsWith('/pots/')) {
        this.known.set(path, answer.status);
      }
      return answer;
    } finally {
      this.underWay.delete(call);
      this.plan();
    }
  }

  plan() {
    const merchants = new Set();
    const groups = new Set();
    for (let index = this.head; index < this.lines.length && index <= this.head + LINES; index += 1) {
      const line = this.lines[index];
      const group = groupOf.get(line.pot);
      if (index > this.head) {
        for (const path of this.certain(line, merchants.has(line.merchant), !group || groups.has(group))) {
          if (this.closed || this.reads >= READS) return;
          if (!this.ready.has(path)) this.start(path);
        }
      }
      merchants.add(line.merchant);
      groups.add(group);
    }
  }

  /** The reads that a line will make whatever comes, and whose answer stays true until then. */
  certain(line, open, stale) {
    const account = `/accounts/${line.merchant}`;
    if (!this.asked.has(account)) return [account];
    // A line before it that is open may get its merchant suspended.
    if (open || this.suspended.has(line.merchant) || this.known.get(account) !== 200) return [];
    if (line.currency !== 'EUR') {
      const rate = `/rates/${line.currency}`;
      for (const path of [rate, `${rate}/previous`]) {
        if (!this.asked.has(path)) return [path];
        if (this.known.get(path) === 200) break;
        if (this.known.get(path) !== 404 || path !== rate) return [];
      }
    }
    return stale && !this.rich.has(groupOf.get(line.pot)) ? [] : [`/pots/${line.pot}`];
  }

  start(path) {
    this.asked.add(path);
    this.reads += 1;
    const answer = this.read(path).finally(() => {
      this.reads -= 1;
      this.plan();
    });
    answer.catch(() => {}); // it is the matter of the line that asks for it, if one does
    this.ready.set(path, answer);
  }

  async read(path) {
    for (;;) {
      await this.pause();
      if (this.closed) return undefined;
      const answer = await this.call('GET', path);
      if (answer.status !== 429) return answer;
    }
  }
}

module.exports = { ReadAhead };
EOF

python3 - <<'EOF'
from pathlib import Path

file = Path("src/run.js")
text = file.read_text()


def change(old, new):
    global text
    assert text.count(old) == 1, old
    text = text.replace(old, new)


change("const { feeOf } = require('./fees');\n", "const { ReadAhead } = require('./ahead');\nconst { feeOf } = require('./fees');\n")
change("  const outcomes = [];\n", "  const ahead = new ReadAhead(partner, clock, batch.lines, suspended);\n  const outcomes = [];\n")
change("await partner.request(method", "await ahead.request(method")
start = text.index("  for (const line of batch.lines) {\n")
end = text.index("  return {\n    batch: batch.id")
loop = text[start:end]
loop = loop.replace("for (const line of batch.lines) {\n", "for (const [index, line] of batch.lines.entries()) {\n"
                    "    if (failures < STOP_AFTER) ahead.from(index);\n    else await ahead.close();\n")
loop = "  try {\n" + "".join("  " + line + "\n" for line in loop.rstrip("\n").split("\n")) + "  } finally {\n    await ahead.close();\n  }\n"
text = text[:start] + loop + text[end:]
file.write_text(text)
EOF
