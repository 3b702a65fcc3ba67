'use strict';

// Something about a request that its sender has to change.
class RequestError extends Error {}

module.exports = { RequestError };
