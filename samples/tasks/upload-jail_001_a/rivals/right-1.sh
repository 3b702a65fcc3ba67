#!/bin/bash
# One module src/gate.js of functions: notes kept in the selection sets, depth-first search for cycles, plans per selection set and type.
set -e
cd /srv/catalog
python3 - <<'EOF'
path = "src/handle.js"
text = open(path).read()
def change(old, new):
    global text
    assert text.count(old) == 1, old
    text = text.replace(old, new)
change("""const { RequestError } = require('./graphql/errors');
""", """const { RequestError } = require('./graphql/errors');
const { Refusal, judgeText, judgeTokens, judgeOperation } = require('./gate');
""")
change("""  const document = parse(lex(request.query));
""", """  judgeText(request.query);
  const tokens = lex(request.query);
  judgeTokens(tokens, request.variables);
  const document = parse(tokens);
""")
change("""  return { data: execute({ document, operation, variables, data, stats }) };
""", """  const cost = judgeOperation(document, operation, variables);
  return { data: execute({ document, operation, variables, data, stats }), extensions: { cost } };
""")
change("""    if (err instanceof RequestError) return""", """    if (err instanceof Refusal) return { status: 422, body: { errors: [{ message: err.message, ...err.details }] } };
    if (err instanceof RequestError) return""")
open(path, "w").write(text)
EOF
sed -i 's/^module.exports = { variablesOf,/module.exports = { valueOf, variablesOf,/' src/graphql/values.js
cat >src/gate.js <<'EOF'
'use strict';

// The gate in front of the executor, see docs/gate.md.
const fs = require('node:fs');
const path = require('node:path');
const { types } = require('./graphql/schema');
const { valueOf, isOn } = require('./graphql/values');
const { RequestError } = require('./graphql/errors');

const limits = JSON.parse(fs.readFileSync(path.join(__dirname, '../config/gate.json'), 'utf8'));

class Refusal extends Error {
  constructor(code, message, details) {
    super(message);
    this.details = { code, path: [], ...details };
  }
}

function atMost(code, limit, found, message) {
  if (found > limit) throw new Refusal(code, message, { limit, found });
}

function judgeText(query) {
  atMost('TOO_LARGE', limits.bytes, Buffer.byteLength(query, 'utf8'), 'the query has too many bytes');
}

function judgeTokens(tokens, variables) {
  atMost('TOO_LARGE', limits.tokens, tokens.length, 'the query has too many tokens');
  let open = 0;
  let most = 0;
  for (const { kind, value } of tokens) {
    if (kind !== 'punct') continue;
    if (value === '{' || value === '(' || value === '[') most = Math.max(most, (open += 1));
    else if ((value === '}' || value === ')' || value === ']') && open > 0) open -= 1;
  }
  let level = 0;
  let values = [variables];
  for (;;) {
    values = values.filter((value) => value !== null && typeof value === 'object');
    if (values.length === 0) break;
    level += 1;
    values = values.flatMap((value) => Object.values(value));
  }
  atMost('TOO_NESTED', limits.nesting, Math.max(most, level), 'the request is nested too deeply');
}

// Fragments in use, those that are spread before those that spread them.
function fragmentsInUse(document, operation, variables) {
  const spreadsOf = (selectionSet) => {
    const names = new Set();
    const walk = (set) => {
      for (const selection of set.selections) {
        if (!isOn(selection, variables)) continue;
        if (selection.kind === 'spread') names.add(selection.name);
        else if (selection.selectionSet) walk(selection.selectionSet);
      }
    };
    walk(selectionSet);
    return [...names];
  };
  const order = [];
  const state = new Map();
  const stack = [{ name: null, left: spreadsOf(operation.selectionSet) }];
  while (stack.length > 0) {
    const { name, left } = stack[stack.length - 1];
    if (left.length === 0) {
      stack.pop();
      if (name !== null) {
        state.set(name, 'done');
        order.push(document.fragments.get(name));
      }
    } else {
      const next = left.pop();
      if (state.get(next) === 'open') throw new Refusal('FRAGMENT_CYCLE', `the fragment ${next} contains itself`);
      if (!state.has(next)) {
        state.set(next, 'open');
        stack.push({ name: next, left: spreadsOf(document.fragments.get(next).selectionSet) });
      }
    }
  }
  return order;
}

function sizeOf(field, definition, variables) {
  if (!definition.list) return 1;
  const { arg, max } = definition.size;
  const given = field.args.has(arg) ? valueOf(field.args.get(arg), variables) : undefined;
  if (given !== undefined) {
    if (!Number.isInteger(given) || given < 0 || given > max) {
      throw new Refusal('BAD_SIZE', `${field.key} has a bad ${arg}`);
    }
    return given;
  }
  const { fallback } = definition.args.get(arg);
  return fallback === undefined ? max : fallback;
}

function judgeOperation(document, operation, variables) {
  const used = fragmentsInUse(document, operation, variables);
  const possible = (typeName) => types.get(typeName).possible;

  // Each selection set gets a number, each field what it is.
  let sets = 0;
  const prepare = (selectionSet, typeName) => {
    selectionSet.id = sets;
    sets += 1;
    selectionSet.plans = new Map();
    selectionSet.depths = new Map();
    for (const selection of selectionSet.selections) {
      if (!isOn(selection, variables)) continue;
      if (selection.kind === 'inline') {
        prepare(selection.selectionSet, selection.on || typeName);
      } else if (selection.kind === 'field') {
        const definition = types.get(typeName).fields.get(selection.name);
        selection.size = sizeOf(selection, definition, variables);
        selection.below = definition.type;
        const args = [...selection.args].map(([name, value]) => [name, JSON.stringify(value)]);
        selection.what = JSON.stringify([selection.name, args.sort((a, b) => (a[0] < b[0] ? -1 : 1))]);
        if (selection.selectionSet) prepare(selection.selectionSet, definition.type);
      }
    }
  };
  for (const fragment of [...used, { selectionSet: operation.selectionSet, on: 'Query' }]) prepare(fragment.selectionSet, fragment.on);

  // The same field again, up to the next spread: one field with the selections of both.
  function join(one, other) {
    if (!one.joined) {
      const selectionSet = { id: sets, plans: new Map(), depths: new Map(), selections: [...one.selectionSet.selections] };
      sets += 1;
      one = { ...one, joined: true, selectionSet };
    }
    for (const selection of other.selectionSet.selections) one.selectionSet.selections.push(selection);
    return one;
  }

  // The fields and spreads of a selection set for objects of a type, in order, without repetitions that add nothing.
  function planOf(selectionSet, typeName) {
    let plan = selectionSet.plans.get(typeName);
    if (plan) return plan;
    plan = [];
    const seen = new Set();
    const places = new Map();
    const add = (set) => {
      for (const selection of set.selections) {
        if (!isOn(selection, variables)) continue;
        if (selection.kind === 'inline') {
          if (!selection.on || possible(selection.on).includes(typeName)) add(selection.selectionSet);
          continue;
        }
        const mark = selection.kind === 'spread' ? `...${selection.name}` : `${selection.key}:${selection.what}`;
        if (selection.selectionSet) {
          const place = places.get(mark);
          if (place !== undefined) {
            plan[place] = join(plan[place], selection);
            continue;
          }
          places.set(mark, plan.length);
        } else {
          if (seen.has(mark)) continue;
          seen.add(mark);
          if (selection.kind === 'spread') places.clear();
        }
        plan.push(selection);
      }
    };
    add(selectionSet);
    selectionSet.plans.set(typeName, plan);
    return plan;
  }

  const depthBelow = (field) => (field.below && field.size > 0 ? Math.max(...possible(field.below).map((t) => depthOf(field.selectionSet, t))) : 0);

  function depthOf(selectionSet, typeName) {
    const known = selectionSet.depths.get(typeName);
    if (known !== undefined) return known;
    let depth = 0;
    for (const selection of planOf(selectionSet, typeName)) {
      if (selection.kind === 'field') {
        depth = Math.max(depth, 1 + depthBelow(selection));
      } else {
        const fragment = document.fragments.get(selection.name);
        if (possible(fragment.on).includes(typeName)) depth = Math.max(depth, depthOf(fragment.selectionSet, typeName));
      }
    }
    selectionSet.depths.set(typeName, depth);
    return depth;
  }

  // What the executor collects: the fields of an object by their keys.
  function collect(typeName, selectionSets) {
    const fields = new Map();
    const spread = new Set();
    for (const selectionSet of selectionSets) {
      const stack = [planOf(selectionSet, typeName)[Symbol.iterator]()];
      while (stack.length > 0) {
        const { done, value: selection } = stack[stack.length - 1].next();
        if (done) {
          stack.pop();
        } else if (selection.kind === 'field') {
          const same = fields.get(selection.key);
          if (!same) fields.set(selection.key, [selection]);
          else if (same[0].what === selection.what) same.push(selection);
          else throw new RequestError(`${selection.key} stands for two things`);
        } else if (!spread.has(selection.name)) {
          spread.add(selection.name);
          const fragment = document.fragments.get(selection.name);
          if (possible(fragment.on).includes(typeName)) stack.push(planOf(fragment.selectionSet, typeName)[Symbol.iterator]());
        }
      }
    }
    return fields;
  }

  function firstTooDeep() {
    const keys = [];
    let typeNames = ['Query'];
    let selectionSets = [operation.selectionSet];
    for (let left = limits.depth + 1; left > 0; left -= 1) {
      let found;
      for (const typeName of typeNames) {
        found = [...collect(typeName, selectionSets)].find(([, nodes]) => nodes.some((node) => 1 + depthBelow(node) >= left));
        if (found) break;
      }
      const [key, nodes] = found;
      keys.push(key);
      if (nodes[0].below) typeNames = possible(nodes[0].below);
      selectionSets = nodes.map((node) => node.selectionSet);
    }
    return keys;
  }

  const counts = new Map();
  function count(typeName, selectionSets) {
    const ids = [...new Set(selectionSets.map((set) => set.id))].sort((a, b) => a - b);
    const mark = `${typeName} ${ids.join()}`;
    if (counts.has(mark)) return counts.get(mark);
    let fields = 0;
    for (const nodes of collect(typeName, selectionSets).values()) {
      fields += 1;
      const { below, size } = nodes[0];
      if (below && size > 0) {
        const sets_ = nodes.map((node) => node.selectionSet);
        fields += size * Math.max(...possible(below).map((t) => count(t, sets_)));
      }
      if (fields > limits.fields) throw new Refusal('TOO_MANY_FIELDS', 'the answer could get too many fields', { limit: limits.fields });
    }
    counts.set(mark, fields);
    return fields;
  }

  for (const fragment of used) for (const typeName of possible(fragment.on)) depthOf(fragment.selectionSet, typeName);
  const depth = depthOf(operation.selectionSet, 'Query');
  if (depth > limits.depth) {
    throw new Refusal('TOO_DEEP', 'the answer could get too deep', { path: firstTooDeep(), limit: limits.depth, found: depth });
  }
  return { depth, fields: count('Query', [operation.selectionSet]) };
}

module.exports = { Refusal, judgeText, judgeTokens, judgeOperation };
EOF
