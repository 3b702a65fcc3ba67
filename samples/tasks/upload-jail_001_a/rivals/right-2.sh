#!/bin/bash
# A folder src/gate of classes: the document in use translated into a program, cycles by topological sorting, depth and fields by tables beside it.
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
const { Gate, Refused } = require('./gate/gate');
const limits = require('../config/gate.json');
""")
change("""const stats = { resolved: 0 };
""", """const stats = { resolved: 0 };
const gate = new Gate(limits);
""")
change("""  const document = parse(lex(request.query));
""", """  gate.checkLength(request.query);
  const tokens = lex(request.query);
  gate.checkTokens(tokens);
  gate.checkNesting(tokens, request.variables);
  const document = parse(tokens);
""")
change("""  return { data: execute({ document, operation, variables, data, stats }) };
""", """  const cost = gate.weigh(document, operation, variables);
  const answered = execute({ document, operation, variables, data, stats });
  return { data: answered, extensions: { cost } };
""")
change("""    if (err instanceof RequestError) return""", """    if (err instanceof Refused) return { status: 422, body: { errors: [err.toJSON()] } };
    if (err instanceof RequestError) return""")
open(path, "w").write(text)
EOF
mkdir -p src/gate
cat >src/gate/refused.js <<'EOF'
'use strict';

// A request that the gate does not let through.
class Refused extends Error {
  constructor(code, message, more = {}) {
    super(message);
    this.code = code;
    this.more = more;
  }

  toJSON() {
    return { message: this.message, code: this.code, path: [], ...this.more };
  }
}

module.exports = { Refused };
EOF
cat >src/gate/nesting.js <<'EOF'
'use strict';

const OPEN = new Set(['{', '(', '[']);
const CLOSE = new Set(['}', ')', ']']);

function nestingOfTokens(tokens) {
  let depth = 0;
  let deepest = 0;
  for (const token of tokens) {
    if (token.kind === 'punct' && OPEN.has(token.value)) {
      depth += 1;
      if (depth > deepest) deepest = depth;
    } else if (token.kind === 'punct' && CLOSE.has(token.value)) {
      depth = Math.max(0, depth - 1);
    }
  }
  return deepest;
}

function nestingOfValue(root) {
  let deepest = 0;
  const stack = [[root, 1]];
  while (stack.length > 0) {
    const [value, depth] = stack.pop();
    if (value === null || typeof value !== 'object') continue;
    if (depth > deepest) deepest = depth;
    for (const key of Object.keys(value)) stack.push([value[key], depth + 1]);
  }
  return deepest;
}

module.exports = { nestingOfTokens, nestingOfValue };
EOF
cat >src/gate/program.js <<'EOF'
'use strict';

const { types } = require('../graphql/schema');
const { argumentsOf, isOn } = require('../graphql/values');
const { Refused } = require('./refused');

const hits = (on, typeName) => types.get(on).possible.includes(typeName);

// A body in use is a list of steps, with what is switched off left out:
// { field, key, sign, size, type, body } or { spread } or { on, body }.
class Program {
  constructor(document, operation, variables) {
    this.document = document;
    this.variables = variables;
    this.bodies = 0;
    this.fragments = new Map();
    this.wrong = null;
    this.graph = new Map();
    const found = new Set();
    this.root = this.body(operation.selectionSet, 'Query', found);
    const waiting = [...found];
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      if (this.fragments.has(name)) continue;
      const { on, selectionSet } = document.fragments.get(name);
      const spreads = new Set();
      this.fragments.set(name, { on, body: this.body(selectionSet, on, spreads) });
      this.graph.set(name, spreads);
      waiting.push(...spreads);
    }
    this.sort();
    if (this.wrong) throw new Refused('BAD_SIZE', this.wrong);
  }

  body(selectionSet, typeName, spreads) {
    const body = { id: (this.bodies += 1), steps: [] };
    for (const selection of selectionSet.selections) {
      if (!isOn(selection, this.variables)) continue;
      if (selection.kind === 'spread') {
        spreads.add(selection.name);
        body.steps.push({ spread: selection.name });
      } else if (selection.kind === 'inline') {
        const on = selection.on || typeName;
        body.steps.push({ on, body: this.body(selection.selectionSet, on, spreads) });
      } else {
        const definition = types.get(typeName).fields.get(selection.name);
        body.steps.push({
          field: selection.name,
          key: selection.key,
          sign: this.sign(selection),
          size: definition.list ? this.size(selection, definition) : 1,
          type: definition.type,
          body: selection.selectionSet && this.body(selection.selectionSet, definition.type, spreads),
        });
      }
    }
    return body;
  }

  sign(selection) {
    if (selection.args.size === 0) return selection.name;
    const written = [...selection.args].map(([name, value]) => `${name}:${JSON.stringify(value)}`);
    return `${selection.name}(${written.sort().join()})`;
  }

  size(selection, definition) {
    const { arg, max } = definition.size;
    const said = argumentsOf(selection, definition, this.variables)[arg];
    if (said === undefined) return max;
    if (!Number.isInteger(said) || said < 0 || said > max) {
      this.wrong = this.wrong || `${selection.key}: ${arg} has to be a whole number from 0 to ${max}`;
      return 0;
    }
    return said;
  }

  // Order the fragments, those that spread before those that are spread; what cannot be ordered is a cycle.
  sort() {
    const times = new Map([...this.graph.keys()].map((name) => [name, 0]));
    for (const spreads of this.graph.values()) for (const name of spreads) times.set(name, times.get(name) + 1);
    this.order = [...times.keys()].filter((name) => times.get(name) === 0);
    for (let at = 0; at < this.order.length; at += 1) {
      for (const name of this.graph.get(this.order[at])) {
        times.set(name, times.get(name) - 1);
        if (times.get(name) === 0) this.order.push(name);
      }
    }
    if (this.order.length < times.size) throw new Refused('FRAGMENT_CYCLE', 'a fragment contains itself');
  }
}

module.exports = { Program, hits };
EOF
cat >src/gate/weight.js <<'EOF'
'use strict';

const { types } = require('../graphql/schema');
const { RequestError } = require('../graphql/errors');
const { Refused } = require('./refused');
const { hits } = require('./program');

class Weight {
  constructor(program, limits) {
    this.program = program;
    this.limits = limits;
    this.depths = new Map(); // "type body's id" -> depth
    this.flat = new Map(); // the same -> steps without inline fragments, each leaf and spread once
    this.counted = new Map();
    // fragments from the last to the first, so that what is spread is known
    for (const name of [...program.order].reverse()) {
      const { on, body } = program.fragments.get(name);
      for (const typeName of types.get(on).possible) this.depth(typeName, body);
    }
  }

  steps(typeName, body) {
    const mark = `${typeName} ${body.id}`;
    if (!this.flat.has(mark)) {
      const steps = new Map();
      let joints = new Map(); // fields since the last spread: they become one, with the steps of all below
      const gather = ({ steps: own }) => {
        for (const step of own) {
          if (step.on) {
            if (hits(step.on, typeName)) gather(step.body);
          } else if (step.spread) {
            if (steps.has(`...${step.spread}`)) continue;
            steps.set(`...${step.spread}`, step);
            joints = new Map();
          } else if (step.body) {
            const same = `${step.key}:${step.sign}`;
            const joint = joints.get(same);
            if (joint) {
              if (!joint.own) {
                joint.own = true;
                joint.body = { id: (this.program.bodies += 1), steps: [...joint.body.steps] };
              }
              for (const below of step.body.steps) joint.body.steps.push(below);
            } else {
              joints.set(same, { ...step, own: false });
              steps.set(step.body.id, joints.get(same));
            }
          } else {
            const leaf = `${step.key}:${step.sign}`;
            steps.set(leaf, steps.get(leaf) || step);
          }
        }
      };
      gather(body);
      this.flat.set(mark, [...steps.values()]);
    }
    return this.flat.get(mark);
  }

  depth(typeName, body) {
    const mark = `${typeName} ${body.id}`;
    if (!this.depths.has(mark)) {
      const found = this.steps(typeName, body).map((step) => {
        if (!step.spread) return this.reach(step);
        const fragment = this.program.fragments.get(step.spread);
        return hits(fragment.on, typeName) ? this.depth(typeName, fragment.body) : 0;
      });
      this.depths.set(mark, found.reduce((one, other) => Math.max(one, other), 0));
    }
    return this.depths.get(mark);
  }

  // How many keys there are from a field, itself included, to the deepest value.
  reach(step) {
    if (!step.body || step.size === 0) return 1;
    return 1 + Math.max(...types.get(step.type).possible.map((typeName) => this.depth(typeName, step.body)));
  }

  // The keys of an object in the order of the answer, with the steps that are merged in each.
  keys(typeName, bodies) {
    const keys = new Map();
    const met = new Set();
    const todo = [...bodies].reverse().map((body) => ({ steps: this.steps(typeName, body), at: 0 }));
    while (todo.length > 0) {
      const top = todo[todo.length - 1];
      if (top.at === top.steps.length) {
        todo.pop();
        continue;
      }
      const step = top.steps[top.at];
      top.at += 1;
      if (step.spread) {
        if (met.has(step.spread)) continue;
        met.add(step.spread);
        const { on, body } = this.program.fragments.get(step.spread);
        if (hits(on, typeName)) todo.push({ steps: this.steps(typeName, body), at: 0 });
      } else {
        const others = keys.get(step.key);
        if (others && others[0].sign !== step.sign) throw new RequestError(`${step.key} stands for two things`);
        if (others) others.push(step);
        else keys.set(step.key, [step]);
      }
    }
    return keys;
  }

  wayDown(typeNames, bodies, levels) {
    for (const typeName of typeNames) {
      for (const [key, steps] of this.keys(typeName, bodies)) {
        if (steps.some((step) => this.reach(step) >= levels)) {
          if (levels === 1) return [key];
          return [key, ...this.wayDown(types.get(steps[0].type).possible, steps.map((step) => step.body), levels - 1)];
        }
      }
    }
    return [];
  }

  fields(typeName, bodies) {
    const mark = `${typeName} ${bodies.length === 1 ? bodies[0].id : [...new Set(bodies.map((body) => body.id))].sort().join()}`;
    let sum = this.counted.get(mark);
    if (sum === undefined) {
      const keys = this.keys(typeName, bodies);
      sum = keys.size;
      this.hold(sum);
      for (const steps of keys.values()) {
        const { size, type } = steps[0];
        if (!type || size === 0) continue;
        const below = steps.map((step) => step.body);
        let largest = 0;
        for (const one of types.get(type).possible) largest = Math.max(largest, this.fields(one, below));
        sum += size * largest;
        this.hold(sum);
      }
      this.counted.set(mark, sum);
    }
    return sum;
  }

  hold(fields) {
    const limit = this.limits.fields;
    if (fields > limit) throw new Refused('TOO_MANY_FIELDS', `more than ${limit} fields`, { limit });
  }
}

module.exports = { Weight };
EOF
cat >src/gate/gate.js <<'EOF'
'use strict';

const { Refused } = require('./refused');
const { nestingOfTokens, nestingOfValue } = require('./nesting');
const { Program } = require('./program');
const { Weight } = require('./weight');

// The steps of docs/gate.md.
class Gate {
  constructor(limits) {
    this.limits = limits;
  }

  hold(code, what, found, more) {
    const limit = this.limits[what];
    if (found > limit) throw new Refused(code, `${what}: ${found}, at most ${limit}`, { ...more, limit, found });
  }

  checkLength(query) {
    this.hold('TOO_LARGE', 'bytes', Buffer.from(query, 'utf8').length);
  }

  checkTokens(tokens) {
    this.hold('TOO_LARGE', 'tokens', tokens.length);
  }

  checkNesting(tokens, variables) {
    this.hold('TOO_NESTED', 'nesting', Math.max(nestingOfTokens(tokens), nestingOfValue(variables)));
  }

  weigh(document, operation, variables) {
    const program = new Program(document, operation, variables);
    const weight = new Weight(program, this.limits);
    const depth = weight.depth('Query', program.root);
    if (depth > this.limits.depth) {
      this.hold('TOO_DEEP', 'depth', depth, { path: weight.wayDown(['Query'], [program.root], this.limits.depth + 1) });
    }
    return { depth, fields: weight.fields('Query', [program.root]) };
  }
}

module.exports = { Gate, Refused };
EOF
