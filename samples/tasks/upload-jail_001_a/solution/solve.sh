#!/bin/bash
set -euo pipefail
cat > src/gate.js <<'EOF'
'use strict';

const { types } = require('./graphql/schema');
const { argumentsOf, isOn, isSame } = require('./graphql/values');
const { RequestError } = require('./graphql/errors');
const limits = require('../config/gate.json');

class Refusal extends Error {
  constructor(code, message, more = {}) {
    super(message);
    this.code = code;
    this.more = { path: [], ...more };
  }
}

const tooMuch = (code, what, limit, found) => {
  if (found > limit) throw new Refusal(code, `${what}: ${found}, at most ${limit}`, { limit, found });
};

const checkSize = (text) => tooMuch('TOO_LARGE', 'bytes', limits.bytes, Buffer.byteLength(text));

function checkTokens(tokens, variables) {
  tooMuch('TOO_LARGE', 'tokens', limits.tokens, tokens.length);
  let open = 0;
  let most = 0;
  for (const { kind, value } of tokens) {
    if (kind !== 'punct') continue;
    if (value === '{' || value === '(' || value === '[') most = Math.max(most, open += 1);
    else if (value === '}' || value === ')' || value === ']') open = Math.max(0, open - 1);
  }
  tooMuch('TOO_NESTED', 'nesting of the document', limits.nesting, most);

  let levels = 0;
  const nested = (value) => typeof value === 'object' && value !== null;
  for (let level = [variables]; level.length > 0; levels += 1) {
    const below = [];
    for (const value of level) for (const part of Object.values(value)) if (nested(part)) below.push(part);
    level = below;
  }
  tooMuch('TOO_NESTED', 'nesting of the variables', limits.nesting, levels);
}

const possible = (typeName) => types.get(typeName).possible;
const applies = (on, typeName) => !on || possible(on).includes(typeName);

class Judge {
  constructor({ document, operation, variables }) {
    this.fragments = document.fragments;
    this.operation = operation;
    this.variables = variables;
    this.lists = new Map(); // selection set -> its selections
    this.sizes = new Map(); // field -> how many objects stand below one of it
    this.heights = new Map(); // selection set -> type -> levels of fields
    this.counts = new Map();
    this.numbers = new Map();
  }

  cost() {
    const root = this.operation.selectionSet;
    const order = this.fragmentsInUse();
    this.measure(root, 'Query');
    for (const fragment of order) this.measure(fragment.selectionSet, fragment.on);
    // What a fragment spreads comes before it, so nothing has to be followed across fragments.
    for (const fragment of order) for (const type of possible(fragment.on)) this.height(fragment.selectionSet, type);
    const depth = this.height(root, 'Query');
    if (depth > limits.depth) {
      throw new Refusal('TOO_DEEP', `depth ${depth}, at most ${limits.depth}`, { limit: limits.depth, found: depth, path: this.pathBelow() });
    }
    return { depth, fields: this.count('Query', [root]) };
  }

  // What is on; of leaves that say the same again only the first.
  on(selectionSet) {
    if (!this.lists.has(selectionSet)) {
      const leaves = new Set();
      this.lists.set(selectionSet, selectionSet.selections.filter((selection) => {
        if (!isOn(selection, this.variables)) return false;
        if (selection.kind !== 'field' || selection.selectionSet || selection.args.size > 0) return true;
        const leaf = `${selection.key}:${selection.name}`;
        return !leaves.has(leaf) && leaves.add(leaf);
      }));
    }
    return this.lists.get(selectionSet);
  }

  // In an order in which each comes after those that it spreads.
  fragmentsInUse() {
    const spreads = (selectionSet, found = []) => {
      for (const selection of this.on(selectionSet)) {
        if (selection.kind === 'spread') found.push(selection.name);
        else if (selection.selectionSet) spreads(selection.selectionSet, found);
      }
      return found;
    };
    const order = [];
    const state = new Map();
    const stack = [{ fragment: null, todo: new Set(spreads(this.operation.selectionSet)).values() }];
    while (stack.length > 0) {
      const { fragment, todo } = stack[stack.length - 1];
      const { value: name, done } = todo.next();
      if (done) {
        stack.pop();
        if (fragment) {
          state.set(fragment.name, 'done');
          order.push(fragment);
        }
      } else if (state.get(name) === 'open') {
        throw new Refusal('FRAGMENT_CYCLE', `fragment ${name} contains itself`);
      } else if (!state.has(name)) {
        state.set(name, 'open');
        const next = this.fragments.get(name);
        stack.push({ fragment: next, todo: new Set(spreads(next.selectionSet)).values() });
      }
    }
    return order;
  }

  measure(selectionSet, typeName) {
    for (const selection of this.on(selectionSet)) {
      if (selection.kind === 'inline') this.measure(selection.selectionSet, selection.on || typeName);
      if (selection.kind !== 'field') continue;
      const definition = types.get(typeName).fields.get(selection.name);
      let size = 1;
      if (definition.list) {
        const { arg, max } = definition.size;
        size = argumentsOf(selection, definition, this.variables)[arg];
        if (size === undefined) size = max;
        if (!Number.isInteger(size) || size < 0 || size > max) {
          throw new Refusal('BAD_SIZE', `${typeName}.${selection.name}: ${arg} is an integer from 0 to ${max}`);
        }
      }
      this.sizes.set(selection, definition.type ? size : 0);
      if (definition.type) this.measure(selection.selectionSet, definition.type);
    }
  }

  // Levels of fields in an object of that type; what is merged has the same size, so merging makes no difference to them.
  height(selectionSet, typeName) {
    if (!this.heights.has(selectionSet)) this.heights.set(selectionSet, new Map());
    const known = this.heights.get(selectionSet);
    if (!known.has(typeName)) {
      let height = 0;
      for (const selection of this.on(selectionSet)) {
        if (selection.kind === 'field') height = Math.max(height, this.heightOfField(selection, typeName));
        else {
          const part = selection.kind === 'inline' ? selection : this.fragments.get(selection.name);
          if (applies(part.on, typeName)) height = Math.max(height, this.height(part.selectionSet, typeName));
        }
      }
      known.set(typeName, height);
    }
    return known.get(typeName);
  }

  heightOfField(field, typeName) {
    if (!this.sizes.get(field)) return 1;
    const { type } = types.get(typeName).fields.get(field.name);
    return 1 + Math.max(...possible(type).map((t) => this.height(field.selectionSet, t)));
  }

  // As the executor collects them.
  collect(typeName, selectionSets) {
    const fields = new Map();
    const spread = new Set();
    const stack = [...selectionSets].reverse().map((set) => this.on(set).values());
    while (stack.length > 0) {
      const { value: selection, done } = stack[stack.length - 1].next();
      if (done) {
        stack.pop();
      } else if (selection.kind === 'field') {
        const same = fields.get(selection.key);
        if (!same) fields.set(selection.key, [selection]);
        else if (isSame(same[0], selection)) same.push(selection);
        else throw new RequestError(`${selection.key} stands for two things`);
      } else if (selection.kind === 'inline') {
        if (applies(selection.on, typeName)) stack.push(this.on(selection.selectionSet).values());
      } else if (!spread.has(selection.name)) {
        spread.add(selection.name);
        const fragment = this.fragments.get(selection.name);
        if (applies(fragment.on, typeName)) stack.push(this.on(fragment.selectionSet).values());
      }
    }
    return fields;
  }

  pathBelow() {
    const path = [];
    let typeName = 'Query';
    let selectionSets = [this.operation.selectionSet];
    for (;;) {
      const needed = limits.depth + 1 - path.length;
      const reaches = (nodes, of) => Math.max(...nodes.map((node) => this.heightOfField(node, of))) >= needed;
      const [key, nodes] = [...this.collect(typeName, selectionSets)].find(([, fields]) => reaches(fields, typeName));
      path.push(key);
      if (needed === 1) return path;
      const { type } = types.get(typeName).fields.get(nodes[0].name);
      selectionSets = nodes.map((node) => node.selectionSet);
      const sets = selectionSets;
      typeName = possible(type).find((t) => sets.some((set) => this.height(set, t) >= needed - 1));
    }
  }

  number(selectionSet) {
    if (!this.numbers.has(selectionSet)) this.numbers.set(selectionSet, this.numbers.size);
    return this.numbers.get(selectionSet);
  }

  // Fields of the largest object of that type. Each call that is not remembered stands for a field of the answer
  // at least, and it ends when there are too many: so there cannot be many calls.
  count(typeName, selectionSets) {
    const numbers = [...new Set(selectionSets.map((set) => this.number(set)))].sort((a, b) => a - b);
    const name = `${typeName} ${numbers.join(' ')}`;
    if (this.counts.has(name)) return this.counts.get(name);
    let total = 0;
    for (const nodes of this.collect(typeName, selectionSets).values()) {
      total += 1;
      const size = this.sizes.get(nodes[0]);
      if (size > 0) {
        const { type } = types.get(typeName).fields.get(nodes[0].name);
        const below = nodes.map((node) => node.selectionSet);
        total += size * Math.max(...possible(type).map((t) => this.count(t, below)));
      }
      if (total > limits.fields) {
        throw new Refusal('TOO_MANY_FIELDS', `more than ${limits.fields} fields`, { limit: limits.fields });
      }
    }
    this.counts.set(name, total);
    return total;
  }
}

const judge = (request) => new Judge(request).cost();

module.exports = { Refusal, checkSize, checkTokens, judge };
EOF

python3 - <<'EOF'
from pathlib import Path

path = Path("src/handle.js")
text = path.read_text()
for old, new in (
    ("const data = require('./data');\n",
     "const { Refusal, checkSize, checkTokens, judge } = require('./gate');\nconst data = require('./data');\n"),
    ("  const document = parse(lex(request.query));\n",
     "  checkSize(request.query);\n"
     "  const tokens = lex(request.query);\n"
     "  checkTokens(tokens, request.variables);\n"
     "  const document = parse(tokens);\n"),
    ("  return { data: execute({ document, operation, variables, data, stats }) };\n",
     "  const cost = judge({ document, operation, variables });\n"
     "  return { data: execute({ document, operation, variables, data, stats }), extensions: { cost } };\n"),
    ("    if (err instanceof RequestError) return",
     "    if (err instanceof Refusal) {\n"
     "      return { status: 422, body: { errors: [{ message: err.message, code: err.code, ...err.more }] } };\n"
     "    }\n"
     "    if (err instanceof RequestError) return"),
):
    assert text.count(old) == 1, old
    text = text.replace(old, new)
path.write_text(text)
EOF
