'use strict';

// Ranges: text to a list of comparators that must all hold.

const { parse, format, compare } = require('./version.js');

const COMPARATOR = /^(\^|~|<=|>=|<|>|=)?\s*(\S+)$/;

const TESTS = {
  '=': (order) => order === 0,
  '<': (order) => order < 0,
  '<=': (order) => order <= 0,
  '>': (order) => order > 0,
  '>=': (order) => order >= 0,
};

function parseRange(text) {
  const parts = text.trim().replace(/(\^|~|<=|>=|<|>|=)\s+/g, '$1').split(/\s+/);
  if (parts.length === 1 && (parts[0] === '' || parts[0] === '*')) {
    return [];
  }
  return parts.flatMap(parseComparator);
}

function parseComparator(part) {
  const match = COMPARATOR.exec(part);
  if (!match) {
    throw new TypeError(`not a range: ${JSON.stringify(part)}`);
  }
  const operator = match[1] || '=';
  const version = parse(match[2]);
  if (operator === '^') {
    return between(version, { ...zero(), major: version.major + 1 });
  }
  if (operator === '~') {
    return between(version, { ...zero(), major: version.major, minor: version.minor + 1 });
  }
  return [{ operator, version }];
}

function zero() {
  return { major: 0, minor: 0, patch: 0, pre: [], build: '' };
}

// From `low` up to, and without, `high`.
function between(low, high) {
  return [{ operator: '>=', version: low }, { operator: '<', version: high }];
}

function satisfies(version, range) {
  const comparators = typeof range === 'string' ? parseRange(range) : range;
  const candidate = parse(version);
  return comparators.every(
    (item) => TESTS[item.operator](compare(candidate, item.version)));
}

// The highest of `versions` inside the range, or null.
function latest(versions, range) {
  const comparators = parseRange(range);
  return versions
    .filter((version) => satisfies(version, comparators))
    .reduce((best, one) => (best === null || compare(one, best) > 0 ? one : best), null);
}

function describe(range) {
  return parseRange(range).map((item) => item.operator + format(item.version)).join(' ') || '*';
}

module.exports = { parseRange, satisfies, latest, describe };
