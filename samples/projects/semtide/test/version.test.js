'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { parse, format, compare, sort } = require('../index.js');

test('parse takes the parts apart', () => {
  assert.deepStrictEqual(parse('v1.2.3-rc.1+b7'), {
    major: 1, minor: 2, patch: 3, pre: ['rc', '1'], build: 'b7',
  });
});

test('parse refuses other text', () => {
  assert.throws(() => parse('1.2'), /not a version: "1.2"/);
});

test('format is the way back', () => {
  assert.strictEqual(format(parse('1.2.3-rc.1+b7')), '1.2.3-rc.1+b7');
});

test('numbers are compared as numbers', () => {
  assert.strictEqual(compare('1.2.0', '1.10.0'), -1);
});

test('a release comes after its pre-releases', () => {
  assert.strictEqual(compare('1.0.0', '1.0.0-rc.1'), 1);
});

test('build metadata has no say', () => {
  assert.strictEqual(compare('1.0.0+a', '1.0.0+b'), 0);
});

test('sort leaves its argument alone', () => {
  const versions = ['1.10.0', '1.2.0'];
  assert.deepStrictEqual(sort(versions), ['1.2.0', '1.10.0']);
  assert.deepStrictEqual(versions, ['1.10.0', '1.2.0']);
});
