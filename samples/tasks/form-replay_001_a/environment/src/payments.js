'use strict';

class Payments {
  constructor({ journal, accounts, bank }) {
    this.journal = journal;
    this.accounts = accounts;
    this.bank = bank;
    this.byId = new Map();
    this.keys = new Map();
  }

  load() {
    for (const entry of this.journal.read()) {
      if (entry.type === 'payment') this.keep(entry);
    }
  }

  keep({ type, ...payment }) {
    this.byId.set(payment.id, payment);
    if (payment.status === 'done') this.accounts.book(payment.merchant, payment.amount);
    return payment;
  }

  valid(body) {
    return typeof body.to === 'string' && body.to !== '' && Number.isInteger(body.amount) && body.amount > 0
      && (body.text === undefined || typeof body.text === 'string');
  }

  async create(merchant, key, { to, amount, text = '' }) {
    if (this.keys.has(key)) return { payment: this.keys.get(key), replayed: true };
    const id = `p${this.byId.size + 1}`;
    const payment = { type: 'payment', id, merchant, to, amount, text };
    if (!this.accounts.suffices(merchant, amount)) {
      Object.assign(payment, { status: 'declined', reason: 'funds' });
    } else {
      payment.status = await this.order(payment);
      if (payment.status === 'declined') payment.reason = 'bank';
    }
    this.journal.append(payment);
    const kept = this.keep(payment);
    this.keys.set(key, kept);
    return { payment: kept, replayed: false };
  }

  async order({ id, to, amount }) {
    try {
      return await this.bank.transfer(id, to, amount);
    } catch (error) {
      if ((await this.bank.lookup(id)) === 'done') return 'done';
      return this.bank.transfer(id, to, amount);
    }
  }

  find(merchant, id) {
    const payment = this.byId.get(id);
    return payment && payment.merchant === merchant ? payment : undefined;
  }

  callback({ ref, state }) {
    const payment = this.byId.get(ref);
    if (!payment || payment.status === state) return;
    payment.status = state;
    this.accounts.book(payment.merchant, state === 'done' ? payment.amount : -payment.amount);
  }
}

module.exports = { Payments };
