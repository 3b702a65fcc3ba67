'use strict';

const env = process.env;

module.exports = {
  port: Number(env.PORT || 8070),
  bankUrl: env.BANK_URL || 'http://127.0.0.1:8071',
  bankTimeoutMs: Number(env.BANK_TIMEOUT_MS || 10000),
  bankSettleMs: Number(env.BANK_SETTLE_MS || 30000),
  bankSecrets: (env.BANK_SECRETS || '').split(','),
  dataDir: env.DATA_DIR || './data',
};
