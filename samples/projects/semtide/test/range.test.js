'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { satisfies, latest } = require('../index.js');

test('comparators', () => {
  assert.ok(satisfies('1.2.3', '>=1.2.0 <2.0.0'));
  assert.ok(!satisfies('2.0.0', '>=1.2.0 <2.0.0'));
  assert.ok(satisfies('1.2.3', '1.2.3'));
});

test('a space after the operator', () => {
  assert.ok(satisfies('1.2.3', '>= 1.2.0'));
});

test('caret', () => {
  assert.ok(satisfies('1.9.0', '^1.2.3'));
  assert.ok(!satisfies('2.0.0', '^1.2.3'));
});

test('tilde', () => {
  assert.ok(satisfies('1.2.9', '~1.2.3'));
  assert.ok(!satisfies('1.3.0', '~1.2.3'));
});

test('star takes everything', () => {
  assert.ok(satisfies('0.0.1', '*'));
});

test('latest', () => {
  assert.strictEqual(latest(['1.2.0', '1.10.0', '2.0.0'], '^1.0.0'), '1.10.0');
  assert.strictEqual(latest(['2.0.0'], '^1.0.0'), null);
});
