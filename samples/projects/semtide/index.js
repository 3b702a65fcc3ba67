'use strict';

const { parse, format, compare, sort } = require('./lib/version.js');
const { parseRange, satisfies, latest } = require('./lib/range.js');

module.exports = { parse, format, compare, sort, parseRange, satisfies, latest };
