'use strict';

/** Return a page of events. */
function page(events, query) {
  return { events, next: null };
}

module.exports = { page };
