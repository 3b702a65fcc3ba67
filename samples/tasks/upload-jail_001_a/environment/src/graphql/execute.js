'use strict';

const { types } = require('./schema');
const { argumentsOf, isOn, isSame } = require('./values');
const { RequestError } = require('./errors');

function execute({ document, operation, variables, data, stats }) {
  function collect(typeName, selectionSets) {
    const fields = new Map();
    const spread = new Set();
    const applies = (on) => !on || types.get(on).possible.includes(typeName);

    function walk(selectionSet) {
      for (const selection of selectionSet.selections) {
        if (!isOn(selection, variables)) continue;
        if (selection.kind === 'field') {
          const same = fields.get(selection.key);
          if (!same) fields.set(selection.key, [selection]);
          else if (isSame(same[0], selection)) same.push(selection);
          else throw new RequestError(`${selection.key} stands for two things`);
        } else if (selection.kind === 'inline') {
          if (applies(selection.on)) walk(selection.selectionSet);
        } else if (!spread.has(selection.name)) {
          spread.add(selection.name);
          const fragment = document.fragments.get(selection.name);
          if (applies(fragment.on)) walk(fragment.selectionSet);
        }
      }
    }

    selectionSets.forEach(walk);
    return fields;
  }

  function complete(typeName, object, selectionSets) {
    const answer = Object.create(null);
    for (const [key, nodes] of collect(typeName, selectionSets)) {
      const definition = types.get(typeName).fields.get(nodes[0].name);
      const value = definition.resolve(object, argumentsOf(nodes[0], definition, variables), data);
      stats.resolved += 1;
      if (!definition.type) {
        answer[key] = value;
      } else {
        const below = nodes.map((node) => node.selectionSet);
        const one = (item) => (item ? complete(item.type, item, below) : null);
        answer[key] = definition.list ? value.map(one) : one(value);
      }
    }
    return answer;
  }

  return complete('Query', { type: 'Query' }, [operation.selectionSet]);
}

module.exports = { execute };
