#!/usr/bin/env node
'use strict';

const { sort } = require('../lib/version.js');
const { satisfies, describe } = require('../lib/range.js');

const USAGE = 'usage: semtide sort VERSION... | check RANGE VERSION... | explain RANGE';

function main([command, ...rest]) {
  if (command === 'sort' && rest.length > 0) {
    console.log(sort(rest).join('\n'));
    return 0;
  }
  if (command === 'check' && rest.length > 1) {
    const [range, ...versions] = rest;
    const failing = versions.filter((version) => !satisfies(version, range));
    failing.forEach((version) => console.log(`${version} is outside ${range}`));
    return failing.length > 0 ? 1 : 0;
  }
  if (command === 'explain' && rest.length === 1) {
    console.log(describe(rest[0]));
    return 0;
  }
  console.error(USAGE);
  return 2;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  console.error(`semtide: ${error.message}`);
  process.exitCode = 2;
}
