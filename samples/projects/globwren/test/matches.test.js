'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { matches } = require('../src/index.js');

test('star stays in its directory', () => {
  assert.ok(matches('src/*.js', 'src/index.js'));
  assert.ok(!matches('src/*.js', 'src/lib/index.js'));
});

test('question mark is one character', () => {
  assert.ok(matches('a?c', 'abc'));
  assert.ok(!matches('a?c', 'a/c'));
});

test('two stars go down', () => {
  assert.ok(matches('docs/**/*.md', 'docs/a/b/c.md'));
  assert.ok(!matches('docs/**/*.md', 'src/a/c.md'));
});

test('a dot is a dot', () => {
  assert.ok(!matches('a.js', 'axjs'));
});

test('characters and ranges', () => {
  assert.ok(matches('[abc].txt', 'b.txt'));
  assert.ok(matches('v[0-9].txt', 'v7.txt'));
  assert.ok(!matches('[abc].txt', 'd.txt'));
});

test('unclosed bracket', () => {
  assert.throws(() => matches('[abc', 'a'), /unclosed \[/);
});
