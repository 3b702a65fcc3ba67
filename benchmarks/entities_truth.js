// Print the definitions that the TypeScript compiler sees in files, as one JSON object:
// {path: [[name, line], …]}. NODE_PATH says where the package `typescript` lies.
//
//   node entities_truth.js a.js b.ts …
"use strict";
const fs = require("fs");
const ts = require("typescript");

const CALLABLE = [ts.SyntaxKind.FunctionDeclaration, ts.SyntaxKind.MethodDeclaration,
  ts.SyntaxKind.Constructor, ts.SyntaxKind.GetAccessor, ts.SyntaxKind.SetAccessor];
const VALUES = [ts.SyntaxKind.FunctionExpression, ts.SyntaxKind.ArrowFunction,
  ts.SyntaxKind.ClassExpression];

/** Return whether a node is a name, or a chain of at most `more` further ones behind `this`, too. */
function isChain(node, more) {
  if (ts.isPropertyAccessExpression(node)) return more > 0 && isChain(node.expression, more - 1);
  return ts.isIdentifier(node) || node.kind === ts.SyntaxKind.ThisKeyword && more < 3;
}

/** Return [name, what is named, the value that has the name] of a node that gives a name. */
function named(node, file) {
  const text = part => part.getText(file).replace(/\s+/g, " ");
  if (CALLABLE.includes(node.kind)) {
    if (!node.body) return null;
    const name = ts.isConstructorDeclaration(node) ? "constructor" : "default";
    return [node.name ? text(node.name) : name, "entity", node];
  }
  if (ts.isClassDeclaration(node)) return [node.name?.text ?? "default", "entity", node];
  if (ts.isModuleDeclaration(node) && node.name.text !== "global")
    return [text(node.name), "scope", node];
  let name, value;
  if (ts.isVariableDeclaration(node) && ts.isIdentifier(node.name) || ts.isPropertyDeclaration(node)
      || ts.isPropertyAssignment(node))
    [name, value] = [text(node.name), node.initializer];
  else if (ts.isExportAssignment(node) && !node.isExportEquals)
    [name, value] = ["default", node.expression];
  else if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.EqualsToken
      && isChain(node.left, 3) && !node.left.questionDotToken)
    [name, value] = [text(node.left), node.right];
  if (value && VALUES.includes(value.kind)) return [name, "entity", value];
  return value && ts.isObjectLiteralExpression(value) && !ts.isExportAssignment(node)
    ? [name, "scope", value] : null;
}

/** Return the line of a node's first word behind its decorators. */
function lineOf(node, file) {
  const decorators = ts.canHaveDecorators(node) ? ts.getDecorators(node) : null;
  const end = decorators?.length ? decorators.at(-1).end : node.pos;
  const start = ts.skipTrivia(file.text, end);
  return file.getLineAndCharacterOfPosition(start).line + 1;
}

function definitions(path) {
  const file = ts.createSourceFile(path, fs.readFileSync(path, "utf8"), ts.ScriptTarget.Latest,
    false, path.endsWith("x") ? ts.ScriptKind.TSX : undefined);
  const out = [];
  const left = [[file, ""]];
  while (left.length) {
    const [node, around] = left.pop();
    const found = named(node, file);
    const name = found ? around + found[0] : null;
    if (found?.[1] === "entity") out.push([name, lineOf(node, file)]);
    const inner = found && found[2] !== node ? found[2] : node;
    ts.forEachChild(inner, child => { left.push([child, found ? `${name}.` : around]); });
  }
  return out;
}

console.log(JSON.stringify(Object.fromEntries(
  process.argv.slice(2).map(path => [path, definitions(path)]))));
