'use strict';

const fs = require('node:fs');

class Journal {
  constructor(file) {
    this.file = file;
  }

  read() {
    if (!fs.existsSync(this.file)) return [];
    return fs.readFileSync(this.file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  append(entry) {
    fs.appendFileSync(this.file, JSON.stringify(entry) + '\n');
  }
}

module.exports = { Journal };
