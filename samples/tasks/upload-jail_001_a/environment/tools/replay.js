'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { handle } = require('../src/handle');

const folder = path.join(__dirname, '../recorded');
for (const name of fs.readdirSync(folder).sort()) {
  const { status, body } = handle(fs.readFileSync(path.join(folder, name), 'utf8'));
  console.log(name, status, JSON.stringify(body));
}
