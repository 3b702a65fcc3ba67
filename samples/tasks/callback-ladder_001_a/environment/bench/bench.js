'use strict';

const { runPayout } = require('../src/run');
const { MemoryJournal } = require('../src/journal');
const { KINDS, make } = require('./batches');
const { Clock, Partner } = require('./sim');

const TODAY = { mixed: 13310, 'few-pots': 13130, rates: 13810 };

async function main() {
  for (const kind of Object.keys(KINDS)) {
    const clock = new Clock();
    const partner = new Partner(clock);
    const run = runPayout(make(kind, 7), { partner, clock, journal: new MemoryJournal() });
    await clock.run(run);
    await run;
    const share = TODAY[kind] ? `, ${((100 * clock.now()) / TODAY[kind]).toFixed(1)} % of ${TODAY[kind]} ms` : '';
    console.log(`${kind}: ${clock.now()} ms, ${partner.calls.length} calls, at most ${partner.most} at a time${share}`);
  }
}

main();
