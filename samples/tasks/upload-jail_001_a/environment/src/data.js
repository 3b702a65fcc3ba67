'use strict';

const WORDS = ['lamp', 'chair', 'table', 'shelf', 'clock', 'mirror', 'carpet', 'stool', 'vase', 'desk'];
const COUNTRIES = ['DK', 'SE', 'IT', 'JP'];

const makers = new Map();
const products = new Map();
const reviews = [];

for (let i = 0; i < 8; i += 1) {
  const parent = i >= 4 ? `m${i - 4}` : null;
  makers.set(`m${i}`, { type: 'Maker', id: `m${i}`, name: `House ${i}`, country: COUNTRIES[i % 4], parent });
}
for (let i = 0; i < 40; i += 1) {
  const id = `p${i}`;
  products.set(id, {
    type: 'Product', id, name: `${WORDS[i % 10]} ${i}`, price: 500 + ((i * 379) % 9000), tags: WORDS.slice(i % 10, (i % 10) + 3), maker: `m${(i * 3) % 8}`,
  });
  for (let j = 0; j < i % 4; j += 1) {
    reviews.push({ type: 'Review', id: `r${i}-${j}`, stars: ((i + j) % 5) + 1, text: `${WORDS[j]}-like`, product: id });
  }
}

const list = [...products.values()];

module.exports = {
  products,
  makers,
  productsOf: (maker) => list.filter((p) => p.maker === maker.id),
  reviewsOf: (product) => reviews.filter((r) => r.product === product.id),
  relatedTo: (product) => list.filter((p) => p !== product && p.name.split(' ')[0] === product.name.split(' ')[0]),
  find: (text) => [
    ...list.filter((p) => p.name.includes(text)),
    ...[...makers.values()].filter((m) => m.name.includes(text)),
    ...reviews.filter((r) => r.text.includes(text)),
  ],
};
