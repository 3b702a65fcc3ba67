'use strict';

const { lex } = require('./graphql/lexer');
const { parse } = require('./graphql/parser');
const { validate } = require('./graphql/validate');
const { variablesOf } = require('./graphql/values');
const { execute } = require('./graphql/execute');
const { RequestError } = require('./graphql/errors');
const data = require('./data');

const stats = { resolved: 0 };

function read(text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch (err) {
    throw new RequestError('the body is no JSON');
  }
  if (body === null || typeof body !== 'object' || typeof body.query !== 'string') throw new RequestError('no query');
  const { query, variables = null, operationName = null } = body;
  if (typeof variables !== 'object' || Array.isArray(variables)) throw new RequestError('variables are no object');
  if (operationName !== null && typeof operationName !== 'string') throw new RequestError('operationName is no string');
  return { query, variables: variables || {}, operationName };
}

function choose(document, operationName) {
  const { operations } = document;
  if (operationName === null && operations.length > 1) throw new RequestError('which operation?');
  const operation = operationName === null ? operations[0] : operations.find((o) => o.name === operationName);
  if (!operation) throw new RequestError(`no operation ${operationName}`);
  return operation;
}

function answer(request) {
  const document = parse(lex(request.query));
  validate(document);
  const operation = choose(document, request.operationName);
  const variables = variablesOf(operation, request.variables);
  return { data: execute({ document, operation, variables, data, stats }) };
}

// What a body is answered with: { status, body }.
function handle(text) {
  try {
    return { status: 200, body: answer(read(text)) };
  } catch (err) {
    if (err instanceof RequestError) return { status: 400, body: { errors: [{ message: err.message }] } };
    return { status: 500, body: { errors: [{ message: 'internal error' }] } };
  }
}

module.exports = { handle, stats };
