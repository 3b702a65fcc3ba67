"use strict";

// a[b][c]=1&list[]=2 -> { a: { b: { c: "1" } }, list: ["2"] }; keys that would reach a prototype are left out
const FORBIDDEN = new Set(["__proto__", "constructor", "prototype"]);

function path(key) {
  const open = key.indexOf("[");
  if (open < 1) return [key];
  return [key.slice(0, open), ...[...key.slice(open).matchAll(/\[([^\]]*)\]/g)].map((found) => found[1])];
}

function parse(text) {
  const out = {};
  for (const pair of text.replace(/^\?/, "").split("&").filter(Boolean)) {
    const [key, value = ""] = pair.split(/=(.*)/s).map((part) => decodeURIComponent(part.replace(/\+/g, " ")));
    const keys = path(key);
    if (keys.some((name) => FORBIDDEN.has(name))) continue;
    let place = out;
    keys.forEach((name, i) => {
      const last = i === keys.length - 1;
      if (name === "" && Array.isArray(place)) {
        place.push(value);
      } else if (last) {
        place[name] = value;
      } else {
        place[name] ??= keys[i + 1] === "" ? [] : {};
        place = place[name];
      }
    });
  }
  return out;
}

function stringify(value, prefix = "") {
  if (Array.isArray(value)) return value.map((item) => `${prefix}[]=${encodeURIComponent(item)}`).join("&");
  if (value === null || typeof value !== "object") return `${prefix}=${encodeURIComponent(value)}`;
  return Object.entries(value).map(([key, item]) => stringify(item, prefix ? `${prefix}[${key}]` : key)).join("&");
}

module.exports = { parse, stringify };
