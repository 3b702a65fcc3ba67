'use strict';

const leaf = (resolve, more) => ({ type: null, list: false, args: new Map(), size: null, resolve, ...more });
const args = (entries) => new Map(Object.entries(entries));

// `size`: the argument that says how many entries a list has, and the largest that it may say.
const first = (max, fallback) => ({ list: true, size: { arg: 'first', max }, args: args({ first: fallback === undefined ? {} : { fallback } }) });
const prop = (name) => leaf((object) => object[name]);
const cut = (list, { first: n, limit }) => list.slice(0, n === undefined ? limit : n);

const query = {
  product: leaf((_, { id }, data) => data.products.get(String(id)) || null, { type: 'Product', args: args({ id: { required: true } }) }),
  maker: leaf((_, { id }, data) => data.makers.get(String(id)) || null, { type: 'Maker', args: args({ id: { required: true } }) }),
  named: leaf((_, { id }, data) => data.products.get(String(id)) || data.makers.get(String(id)) || null, { type: 'Named', args: args({ id: { required: true } }) }),
  products: leaf((_, a, data) => cut([...data.products.values()], a), { type: 'Product', ...first(100, 20) }),
  makers: leaf((_, a, data) => cut([...data.makers.values()], a), { type: 'Maker', ...first(50, 10) }),
  search: leaf((_, a, data) => cut(data.find(a.text), a), {
    type: 'Found', ...first(30), args: args({ text: { required: true }, first: {} }),
  }),
};

const product = {
  id: prop('id'),
  name: prop('name'),
  price: prop('price'),
  tags: leaf((p, a) => cut(p.tags, a), first(10)),
  maker: leaf((p, _, data) => data.makers.get(p.maker), { type: 'Maker' }),
  reviews: leaf((p, a, data) => cut(data.reviewsOf(p), a), { type: 'Review', ...first(50, 5) }),
  related: leaf((p, a, data) => cut(data.relatedTo(p), a), {
    type: 'Product', list: true, size: { arg: 'limit', max: 20 }, args: args({ limit: { fallback: 4 }, mood: {} }),
  }),
};

const maker = {
  id: prop('id'),
  name: prop('name'),
  country: prop('country'),
  parent: leaf((m, _, data) => data.makers.get(m.parent) || null, { type: 'Maker' }),
  products: leaf((m, a, data) => cut(data.productsOf(m), a), { type: 'Product', ...first(100, 20) }),
};

const review = {
  id: prop('id'),
  stars: prop('stars'),
  text: prop('text'),
  product: leaf((r, _, data) => data.products.get(r.product), { type: 'Product' }),
};

const objects = (fields) => new Map([['__typename', leaf((object) => object.type)], ...Object.entries(fields)]);

// `possible`: the types of the objects that may stand there, in the order of the schema.
const types = new Map([
  ['Query', { fields: objects(query), possible: ['Query'] }],
  ['Product', { fields: objects(product), possible: ['Product'] }],
  ['Maker', { fields: objects(maker), possible: ['Maker'] }],
  ['Review', { fields: objects(review), possible: ['Review'] }],
  ['Named', { fields: objects({ id: prop('id'), name: prop('name') }), possible: ['Product', 'Maker'] }],
  ['Found', { fields: objects({}), possible: ['Product', 'Maker', 'Review'] }],
]);

module.exports = { types };
