'use strict';

const test = require('node:test');
const assert = require('node:assert');
const { filter } = require('../src/index.js');

const PATHS = ['./a.md', 'docs/b.md', 'drafts/c.md', 'src/d.js'];

test('one pattern', () => {
  assert.deepStrictEqual(filter(['docs/*'], PATHS), ['docs/b.md']);
});

test('a leading dot and slash', () => {
  assert.deepStrictEqual(filter(['*.md'], PATHS), ['./a.md']);
});

test('the last match decides', () => {
  assert.deepStrictEqual(filter(['*/*.md', '!drafts/*'], PATHS), ['docs/b.md']);
  assert.deepStrictEqual(filter(['!drafts/*', '*/*.md'], PATHS), ['docs/b.md', 'drafts/c.md']);
});
