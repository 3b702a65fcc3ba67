'use strict';

const crypto = require('node:crypto');

/** Return whether a header is the signature of a body. */
function isSigned(body, header, secret) {
  const hex = crypto.createHmac('sha256', secret).update(body).digest('hex');
  return crypto.timingSafeEqual(Buffer.from(header), Buffer.from('sha256=' + hex));
}

module.exports = { isSigned };
