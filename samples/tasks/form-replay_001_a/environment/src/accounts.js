'use strict';

class Accounts {
  constructor(merchants) {
    this.byName = new Map();
    this.tokens = new Map();
    for (const [name, { token, opening }] of Object.entries(merchants)) {
      this.byName.set(name, { balance: opening, reserved: 0 });
      this.tokens.set(token, name);
    }
  }

  merchant(authorization) {
    const match = /^Bearer (\S+)$/.exec(authorization || '');
    return match ? this.tokens.get(match[1]) : undefined;
  }

  view(name) {
    return { ...this.byName.get(name) };
  }

  suffices(name, amount) {
    return this.byName.get(name).balance >= amount;
  }

  book(name, amount) {
    const account = this.byName.get(name);
    if (account) account.balance -= amount;
  }
}

module.exports = { Accounts };
