'use strict';

// Versions: text to {major, minor, patch, pre, build}, their order, and back to text.

const VERSION = /^v?(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+([0-9A-Za-z.-]+))?$/;

function parse(text) {
  const match = VERSION.exec(text.trim());
  if (!match) {
    throw new TypeError(`not a version: ${JSON.stringify(text)}`);
  }
  return {
    major: Number(match[1]),
    minor: Number(match[2]),
    patch: Number(match[3]),
    pre: match[4] ? match[4].split('.') : [],
    build: match[5] || '',
  };
}

function format(version) {
  let text = `${version.major}.${version.minor}.${version.patch}`;
  if (version.pre.length > 0) {
    text += `-${version.pre.join('.')}`;
  }
  return version.build ? `${text}+${version.build}` : text;
}

// -1, 0 or 1, as the callback of Array.prototype.sort wants it. Build metadata has no say.
function compare(a, b) {
  const left = typeof a === 'string' ? parse(a) : a;
  const right = typeof b === 'string' ? parse(b) : b;
  for (const part of ['major', 'minor', 'patch']) {
    if (left[part] !== right[part]) {
      return left[part] < right[part] ? -1 : 1;
    }
  }
  return comparePre(left.pre, right.pre);
}

// A version without pre-release identifiers comes after those that have some.
function comparePre(left, right) {
  if (left.length === 0 || right.length === 0) {
    return Math.sign(right.length - left.length);
  }
  for (let i = 0; i < left.length; i += 1) {
    if (left[i] !== right[i]) {
      return left[i] < right[i] ? -1 : 1;
    }
  }
  return 0;
}

function sort(versions) {
  return [...versions].sort(compare);
}

module.exports = { parse, format, compare, sort };
