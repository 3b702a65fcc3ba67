'use strict';

const { types } = require('./schema');
const { RequestError } = require('./errors');

// Each definition by itself: do its fields, arguments, fragments and types exist and fit.
function validate(document) {
  const refuse = (message) => {
    throw new RequestError(message);
  };

  function check(selectionSet, typeName) {
    const type = types.get(typeName);
    for (const selection of selectionSet.selections) {
      for (const { name, args } of selection.directives) {
        if (name !== 'skip' && name !== 'include') refuse(`no directive @${name}`);
        if (args.size !== 1 || !args.has('if')) refuse(`@${name} needs "if"`);
      }
      if (selection.kind === 'field') {
        checkField(selection, typeName, type.fields.get(selection.name));
      } else {
        const on = selection.kind === 'inline' ? selection.on || typeName : condition(selection.name);
        if (!types.has(on)) refuse(`no type ${on}`);
        if (!types.get(on).possible.some((t) => type.possible.includes(t))) refuse(`${typeName} is never ${on}`);
        if (selection.kind === 'inline') check(selection.selectionSet, on);
      }
    }
  }

  function condition(name) {
    const fragment = document.fragments.get(name);
    return fragment ? fragment.on : refuse(`no fragment ${name}`);
  }

  function checkField(field, typeName, definition) {
    if (!definition) refuse(`${typeName} has no ${field.name}`);
    for (const name of field.args.keys()) {
      if (!definition.args.has(name)) refuse(`${typeName}.${field.name} has no argument ${name}`);
    }
    for (const [name, { required }] of definition.args) {
      if (required && !field.args.has(name)) refuse(`${typeName}.${field.name} needs ${name}`);
    }
    if (Boolean(field.selectionSet) !== Boolean(definition.type)) {
      refuse(`${typeName}.${field.name} ${definition.type ? 'needs' : 'has no'} fields`);
    }
    if (field.selectionSet) check(field.selectionSet, definition.type);
  }

  for (const operation of document.operations) check(operation.selectionSet, 'Query');
  for (const fragment of document.fragments.values()) {
    if (!types.has(fragment.on)) refuse(`no type ${fragment.on}`);
    check(fragment.selectionSet, fragment.on);
  }
}

module.exports = { validate };
