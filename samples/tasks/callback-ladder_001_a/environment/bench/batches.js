'use strict';

const GROUPS = require('../config/pots.json');

function random(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >> 8) % below;
  };
}

const KINDS = {
  mixed: { merchants: 60, currencies: ['EUR', 'EUR', 'USD', 'GBP', 'SEK', 'CHF'], groups: 8 },
  'few-pots': { merchants: 60, currencies: ['EUR', 'USD'], groups: 3 },
  rates: { merchants: 45, currencies: 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'.split('').map((letter) => `${letter}ZZ`), groups: 8 },
};

/** A batch of a kind. */
function make(kind, seed, length = 60, merchants = KINDS[kind].merchants) {
  const { currencies, groups } = KINDS[kind];
  const below = random(seed);
  const names = Object.keys(GROUPS).slice(0, groups);
  let last = 0;
  const lines = [];
  for (let number = 1; number <= length; number += 1) {
    last = (last + 1 + below(groups - 1)) % groups; // neighbours have pots of different groups
    const pots = GROUPS[names[last]];
    lines.push({
      id: `L${number}`,
      merchant: `m${below(merchants)}`,
      currency: currencies[below(currencies.length)],
      amount: 1000 + below(40000),
      pot: pots[below(pots.length)],
    });
  }
  return { id: `${kind}-${seed}`, lines };
}

module.exports = { KINDS, make };
