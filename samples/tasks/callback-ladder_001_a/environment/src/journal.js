'use strict';

const fs = require('fs');

/** One line of JSON for each entry, written before the run goes on. */
class FileJournal {
  constructor(path) {
    this.file = fs.openSync(path, 'a');
  }

  write(entry) {
    fs.writeSync(this.file, `${JSON.stringify(entry)}\n`);
  }

  close() {
    fs.closeSync(this.file);
  }
}

class MemoryJournal {
  constructor() {
    this.entries = [];
  }

  write(entry) {
    this.entries.push(entry);
  }
}

module.exports = { FileJournal, MemoryJournal };
