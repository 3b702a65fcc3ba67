'use strict';

const { RequestError } = require('./errors');

const IGNORED = /(?:[\s,\ufeff]|#[^\n\r]*)+/y;
const TOKEN = /([!$&():=@[\]{|}]|\.\.\.)|([A-Za-z_][A-Za-z0-9_]*)|(-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?)(?![A-Za-z0-9_.])|"""([^]*?)"""|("(?:[^"\\\n\r]|\\.)*")/y;

function lex(text) {
  const tokens = [];
  let at = 0;
  for (;;) {
    IGNORED.lastIndex = at;
    if (IGNORED.test(text)) at = IGNORED.lastIndex;
    if (at >= text.length) break;
    TOKEN.lastIndex = at;
    const m = TOKEN.exec(text);
    if (!m) throw new RequestError(`unexpected character at ${at}`);
    at = TOKEN.lastIndex;
    if (m[1]) tokens.push({ kind: 'punct', value: m[1], at: m.index });
    else if (m[2]) tokens.push({ kind: 'name', value: m[2], at: m.index });
    else if (m[3]) tokens.push({ kind: m[4] || m[5] ? 'float' : 'int', value: Number(m[3]), at: m.index });
    else if (m[6] !== undefined) tokens.push({ kind: 'string', value: m[6].trim(), at: m.index });
    else tokens.push({ kind: 'string', value: unquote(m[7], m.index), at: m.index });
  }
  return tokens;
}

function unquote(text, at) {
  try {
    return JSON.parse(text);
  } catch (err) {
    throw new RequestError(`bad string at ${at}`);
  }
}

module.exports = { lex };
