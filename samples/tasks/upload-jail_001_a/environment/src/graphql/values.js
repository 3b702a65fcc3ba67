'use strict';

const { RequestError } = require('./errors');

// undefined: a variable that has no value.
function valueOf(node, variables) {
  switch (node.kind) {
    case 'variable':
      return variables.get(node.name);
    case 'list':
      return node.values.map((value) => valueOf(value, variables));
    case 'object':
      return Object.fromEntries(node.fields.map(([key, value]) => [key, valueOf(value, variables)]));
    default:
      return node.value;
  }
}

function variablesOf(operation, given) {
  const variables = new Map();
  for (const { name, required, fallback } of operation.variables) {
    let value;
    if (Object.hasOwn(given, name)) value = given[name];
    else if (fallback) value = valueOf(fallback, variables);
    if (required && (value === undefined || value === null)) throw new RequestError(`$${name} has no value`);
    if (value !== undefined) variables.set(name, value);
  }
  return variables;
}

function argumentsOf(field, definition, variables) {
  const args = {};
  for (const [name, { fallback }] of definition.args) {
    let value;
    if (field.args.has(name)) value = valueOf(field.args.get(name), variables);
    if (value === undefined) value = fallback;
    if (value !== undefined) args[name] = value;
  }
  return args;
}

function isOn(selection, variables) {
  return selection.directives.every(({ name, args }) => (valueOf(args.get('if'), variables) === true) === (name === 'include'));
}

// The same field, with the same arguments as they are written.
function isSame(one, other) {
  if (one.name !== other.name || one.args.size !== other.args.size) return false;
  return [...one.args].every(([name, value]) => JSON.stringify(value) === JSON.stringify(other.args.get(name)));
}

module.exports = { variablesOf, argumentsOf, isOn, isSame };
