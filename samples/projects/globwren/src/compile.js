'use strict';

// A glob pattern to a regular expression that matches the whole path.

const SPECIAL = /[\\^$.*+?()[\]{}|]/g;

function escape(text) {
  return text.replace(SPECIAL, '\\$&');
}

function compile(pattern) {
  return new RegExp(`^${translate(pattern)}$`);
}

function translate(pattern) {
  let source = '';
  let at = 0;
  while (at < pattern.length) {
    const char = pattern[at];
    if (char === '*' && pattern[at + 1] === '*') {
      source += '.*';
      at += 2;
    } else if (char === '*') {
      source += '[^/]*';
      at += 1;
    } else if (char === '?') {
      source += '[^/]';
      at += 1;
    } else if (char === '[') {
      const end = pattern.indexOf(']', at + 1);
      if (end === -1) {
        throw new SyntaxError(`unclosed [ in ${JSON.stringify(pattern)}`);
      }
      source += `[${pattern.slice(at + 1, end)}]`;
      at = end + 1;
    } else {
      source += escape(char);
      at += 1;
    }
  }
  return source;
}

module.exports = { compile, translate, escape };
