'use strict';

const fs = require('node:fs');
const path = require('node:path');

/** Hold the events of a folder, one line each. */
class Journal {
  constructor(folder) {
    fs.mkdirSync(folder, { recursive: true });
    this.path = path.join(folder, 'journal.ndjson');
  }

  /** Return all events, oldest first. */
  async all() {
    if (!fs.existsSync(this.path)) return [];
    const text = await fs.promises.readFile(this.path, 'utf8');
    return text.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  /** Store an event unless it is known; return its number. */
  async add(source, id, body) {
    const events = await this.all();
    const known = events.find((event) => event.id === id);
    if (known) return { seq: known.seq, duplicate: true };
    const event = { seq: events.length + 1, source, id, body };
    await fs.promises.appendFile(this.path, JSON.stringify(event) + '\n');
    return { seq: event.seq, duplicate: false };
  }
}

module.exports = { Journal };
