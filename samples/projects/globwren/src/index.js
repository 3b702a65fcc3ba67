'use strict';

const { compile } = require('./compile.js');

const cache = new Map();
const CACHE_LIMIT = 200;

function compiled(pattern) {
  let regexp = cache.get(pattern);
  if (!regexp) {
    if (cache.size >= CACHE_LIMIT) {
      cache.delete(cache.keys().next().value); // a Map keeps insertion order: the oldest goes
    }
    regexp = compile(pattern);
    cache.set(pattern, regexp);
  }
  return regexp;
}

// A leading ./ of either side has no meaning.
function normalize(text) {
  return text.startsWith('./') ? text.slice(2) : text;
}

function matches(pattern, path) {
  return compiled(normalize(pattern)).test(normalize(path));
}

// The paths that are in. A pattern with ! takes paths out again; the last one that matches decides.
function filter(patterns, paths) {
  return paths.filter((path) => {
    let included = false;
    for (const pattern of patterns) {
      const negated = pattern.startsWith('!');
      if (matches(negated ? pattern.slice(1) : pattern, path)) {
        included = !negated;
      }
    }
    return included;
  });
}

module.exports = { matches, filter };
