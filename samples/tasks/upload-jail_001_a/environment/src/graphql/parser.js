'use strict';

const { RequestError } = require('./errors');

// { operations: [{ type, name, variables, selectionSet }], fragments: Map(name -> { name, on, selectionSet }) }
function parse(tokens) {
  let next = 0;

  const fail = () => {
    const token = tokens[next];
    throw new RequestError(token ? `unexpected ${JSON.stringify(token.value)} at ${token.at}` : 'unexpected end');
  };
  const isPunct = (value) => next < tokens.length && tokens[next].kind === 'punct' && tokens[next].value === value;
  const isName = (value) => next < tokens.length && tokens[next].kind === 'name' && (value === undefined || tokens[next].value === value);
  const skip = (value) => isPunct(value) && Boolean((next += 1));
  const expect = (value) => skip(value) || fail();
  const name = () => (isName() ? tokens[next++].value : fail());

  function document() {
    const operations = [];
    const fragments = new Map();
    while (next < tokens.length) {
      if (isName('fragment')) {
        const fragment = fragmentDefinition();
        if (fragments.has(fragment.name)) throw new RequestError(`two fragments ${fragment.name}`);
        fragments.set(fragment.name, fragment);
      } else {
        operations.push(operationDefinition());
      }
    }
    if (operations.length === 0) fail();
    return { operations, fragments };
  }

  function operationDefinition() {
    if (isPunct('{')) return { type: 'query', name: null, variables: [], selectionSet: selectionSet() };
    if (!isName('query')) fail();
    next += 1;
    const operation = { type: 'query', name: isName() ? name() : null, variables: [] };
    if (skip('(')) {
      do {
        expect('$');
        const variable = { name: name() };
        expect(':');
        variable.required = type();
        variable.fallback = skip('=') ? value(true) : null;
        operation.variables.push(variable);
      } while (!skip(')'));
    }
    operation.selectionSet = selectionSet();
    return operation;
  }

  // Of a type only its "!" matters here.
  function type() {
    if (skip('[')) {
      type();
      expect(']');
    } else {
      name();
    }
    return skip('!');
  }

  function fragmentDefinition() {
    next += 1;
    if (isName('on')) fail();
    const fragment = { name: name() };
    if (!isName('on')) fail();
    next += 1;
    fragment.on = name();
    fragment.selectionSet = selectionSet();
    return fragment;
  }

  function selectionSet() {
    const selections = [];
    expect('{');
    do selections.push(selection()); while (!skip('}'));
    return { selections };
  }

  function selection() {
    if (!skip('...')) return field();
    if (isName() && !isName('on')) return { kind: 'spread', name: name(), directives: directives() };
    const on = isName('on') ? (next += 1, name()) : null;
    return { kind: 'inline', on, directives: directives(), selectionSet: selectionSet() };
  }

  function field() {
    let key = name();
    let field_ = key;
    if (skip(':')) field_ = name();
    return {
      kind: 'field',
      key,
      name: field_,
      args: args(),
      directives: directives(),
      selectionSet: isPunct('{') ? selectionSet() : null,
    };
  }

  function args() {
    const found = new Map();
    if (skip('(')) {
      do {
        const key = name();
        expect(':');
        if (found.has(key)) throw new RequestError(`two arguments ${key}`);
        found.set(key, value(false));
      } while (!skip(')'));
    }
    return found;
  }

  function directives() {
    const found = [];
    while (skip('@')) found.push({ name: name(), args: args() });
    return found;
  }

  function value(constant) {
    if (!constant && skip('$')) return { kind: 'variable', name: name() };
    if (skip('[')) {
      const values = [];
      while (!skip(']')) values.push(value(constant));
      return { kind: 'list', values };
    }
    if (skip('{')) {
      const fields = [];
      while (!skip('}')) {
        const key = name();
        expect(':');
        fields.push([key, value(constant)]);
      }
      return { kind: 'object', fields };
    }
    const token = tokens[next];
    if (!token || token.kind === 'punct') fail();
    next += 1;
    if (token.kind !== 'name') return { kind: token.kind, value: token.value };
    const known = { true: true, false: false, null: null };
    return Object.hasOwn(known, token.value) ? { kind: 'word', value: known[token.value] } : { kind: 'enum', value: token.value };
  }

  return document();
}

module.exports = { parse };
