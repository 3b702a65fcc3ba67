// Note which calls of a project its changed test files make (see recorded_javascript.py). Values
// are written in source form; an object that a call returned is named by the call's number, r12.
// FOLDER/settings.json names the source folder and its files. FOLDER/data gets a file
// for each process, an event in each line. Nothing of the project is called to look at an object.
'use strict'
const crypto = require('crypto')
const fs = require('fs')
const path = require('path')

const FOLDER = '/tmp/codedata-calls'
const MAX_EVENTS = 300         // of one callee in one test
const MAX_OF_TEST = 1000       // events of one test
const MAX_OF_RUN = 20000
const MAX_CHARS = 1500         // of a text, and of a function
const MAX_ITEMS = 60
const MAX_DEPTH = 8
const MAX_VALUES = 2000        // of an event
const NAME = /^[A-Za-z$][\w$]*$/
const GLOBALS = ['String', 'JSON.stringify', 'Array.from', 'Object.keys', 'Object.entries',
  'Object.values']
const EXTENSIONS = ['', '.js', '.ts', '.mjs', '.cjs', '.mts', '.cts', '/index.js', '/index.ts',
  '/index.mjs', '/index.cjs']

class Opaque extends Error {}

// values in source form ------------------------------------------------------------------------

const isObject = value => value !== null && ['object', 'function'].includes(typeof value)

function typeName (value) {
  if (!isObject(value)) return value === null ? 'null' : typeof value
  const proto = Object.getPrototypeOf(value)
  const maker = proto && Object.getOwnPropertyDescriptor(proto, 'constructor')
  return (maker && maker.value && maker.value.name) || (proto ? '' : 'Object')
}

function isPlain (value) {
  if (!isObject(value) || typeof value === 'function') return false
  const proto = Object.getPrototypeOf(value)
  return Array.isArray(value) ? typeName(value) === 'Array'
    : !proto || (Object.getPrototypeOf(proto) === null && typeName(value) === 'Object')
}

let visited = 0   // values in the one that is written

// Return a value in source form; refer() may name an object. Throw Opaque where there is none.
function source (value, refer = () => '', depth = 0) {
  const inner = one => source(one, refer, depth + 1)
  visited = depth ? visited + 1 : 0
  if (depth > MAX_DEPTH || visited > MAX_VALUES) throw new Opaque('deep')
  if (typeof value === 'string' && value.length > MAX_CHARS) throw new Opaque('long')
  if (typeof value === 'string') return JSON.stringify(value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'symbol') {
    const known = /^Symbol\((Symbol\.\w+)\)$/.exec(String(value))
    if (!known) throw new Opaque('a symbol')
    return known[1]
  }
  if (!isObject(value)) return Object.is(value, -0) ? '-0' : String(value)
  const name = refer(value)
  if (name) return name
  if (typeof value === 'function') return functionSource(value)
  if (Array.isArray(value) && isPlain(value)) return arraySource(value, inner)
  return isPlain(value) ? objectSource(value, inner) : madeSource(value, inner)
}

function functionSource (value) {
  const text = Function.prototype.toString.call(value)
  if (globalThis[value.name] && /\[native code\]/.test(text)) return value.name
  const isExpression = /^(async\s*)?(function\b|class\b|\([^]*?=>|[\w$]+\s*=>)/.test(text)
  if (!isExpression || text.length > MAX_CHARS || Object.keys(value).length ||
    /\[native code\]|\b__\w/.test(text)) throw new Opaque('a function')
  return text
}

function arraySource (value, inner) {
  if (value.length > MAX_ITEMS) throw new Opaque('large')
  const items = Array.from(value, (one, at) => at in value ? inner(one) : '')
  return `[${items.join(', ')}${value.length && !((value.length - 1) in value) ? ',' : ''}]`
}

function objectSource (value, inner) {
  const keys = Reflect.ownKeys(value)
  if (keys.length > MAX_ITEMS) throw new Opaque('large')
  const parts = Object.getPrototypeOf(value) ? [] : ['__proto__: null']
  for (const key of keys) {
    const found = Object.getOwnPropertyDescriptor(value, key)
    if (!('value' in found) || !found.enumerable || typeof key === 'symbol') throw new Opaque('key')
    const isName = NAME.test(key) || /^(0|[1-9]\d{0,8})$/.test(key)
    const written = key === '__proto__' ? '["__proto__"]' : isName ? key : JSON.stringify(key)
    parts.push(`${written}: ${inner(found.value)}`)
  }
  return parts.length ? `{ ${parts.join(', ')} }` : '{}'
}

function madeSource (value, inner) {
  const name = typeName(value)
  const tag = Object.prototype.toString.call(value).slice(8, -1)
  if (name === 'Buffer') return `Buffer.from(${inner([...value])})`
  if (name === 'URL') return `new URL(${inner(value.href)})`
  if (tag !== name && !(tag === 'Error' && /^[A-Z]\w*Error$/.test(name) && globalThis[name])) {
    throw new Opaque(name)
  }
  if (Object.keys(value).length && !ArrayBuffer.isView(value)) throw new Opaque('own keys')
  if (tag === 'Date') return `new Date(${isNaN(value) ? 'NaN' : JSON.stringify(value)})`
  if (tag === 'RegExp') return String(value)
  if (tag === 'Error') return `new ${name}(${inner(value.message)})`
  if (['Map', 'Set'].includes(tag)) return `new ${tag}(${value.size ? inner([...value]) : ''})`
  if (ArrayBuffer.isView(value)) return `new ${tag}(${inner([...value])})`
  throw new Opaque(name)
}

function plainSource (value) {
  try {
    return source(value)
  } catch (error) {
    return null
  }
}

// the recorder ---------------------------------------------------------------------------------

class Recorder {
  constructor () {
    this.settings = JSON.parse(fs.readFileSync(`${FOLDER}/settings.json`, 'utf8'))
    this.package = { name: 'own', ...packageOf(this.settings.source) }
    this.files = new Set(this.settings.files)
    this.out = `${FOLDER}/data/${crypto.randomBytes(12).toString('hex')}.jsonl`
    this.number = crypto.randomBytes(4).readUInt32LE() * 100000   // of no other process
    this.left = MAX_OF_RUN
    this.test = ''
    this.isBusy = false
    this.counts = new Map()
    this.names = new Map()       // value -> { text, line, isMain }
    this.origins = new WeakMap() // value -> [number of an event, path in its result]
    this.globals = new Map()
    this.texts = new WeakMap()   // of functions whose text was changed
    this.main = this.entry('.')
  }

  // what the project exports

  // Return the source file that an entry of the package leads to, or ''.
  entry (key) {
    const { exports, module, main } = this.package
    const leaves = one => typeof one === 'string' ? [one]
      : isObject(one) ? Object.values(one).flatMap(leaves) : []
    const of = isObject(exports) && key in exports ? exports[key] : key === '.' ? exports : null
    const found = [...leaves(of), ...(key === '.' ? [module, main, 'index'] : [key])]
    for (const one of found.filter(Boolean)) {
      const stem = path.posix.normalize(one).replace(/\.[cm]?js$/, '')
      for (const start of [stem, stem.replace(/^[^/]+/, 'src'), stem.replace(/^[^/]+/, 'lib')]) {
        const file = this.file(start)
        if (file) return file
      }
    }
    return ''
  }

  file (stem) {
    const stems = [stem, stem.replace(/\.([cm]?)js$/, '.$1ts')]
    return stems.flatMap(one => EXTENSIONS.map(end => one + end)).find(one => this.files.has(one))
  }

  // Return the source file that a test file loads, or ''.
  loaded (test, name) {
    const own = this.package.name
    if (name === own || name.startsWith(`${own}/`)) return this.entry(`.${name.slice(own.length)}`)
    if (!name.startsWith('.')) return ''
    const stem = path.posix.normalize(path.posix.join(path.posix.dirname(test), name))
      .replace(/(^\.)?\/$/, '')
    return ['', '.', './'].includes(stem) ? this.main : this.file(stem) || ''
  }

  keep (value, file, text, line) {
    const isMain = file === this.main
    const known = this.names.get(value)
    if (!isObject(value) || !text.split('.').every(one => NAME.test(one))) return
    if (!known || (isMain && !known.isMain)) this.names.set(value, { text, line, isMain })
  }

  keepAll (namespace, file, text, line) {
    for (const key of isObject(namespace) ? Object.keys(namespace) : []) {
      const found = Object.getOwnPropertyDescriptor(namespace, key)
      const value = found && found.get && text ? undefined : namespace[key]
      if (isObject(value) && key !== 'default') {
        this.keep(value, file, text ? `${text}.${key}` : key,
          line || `import { ${key} } from './${file}'`)
      }
    }
  }

  variable (file) {
    const stem = path.posix.basename(file).replace(/\.\w+$/, '')
    const own = this.package.name.replace(/^.*\//, '')
    const folder = path.posix.basename(path.posix.dirname(file))
    const word = file === this.main ? own : stem === 'index' ? folder : stem
    return word.replace(/[^A-Za-z0-9]+(.)?/g, (_, next) => (next || '').toUpperCase()) || 'own'
  }

  // The hooks of changed tests: i(mport), r(equire), t(est), c(all), m(ethod), n(ew), g(et), p(ut),
  // o(riginal text of a function).

  i (test, name, key, read) {
    const file = this.loaded(test, name)
    if (!file) return
    try {
      const value = read()
      const word = this.variable(file)
      const line = `import ${key === 'default' ? word : `{ ${key} }`} from './${file}'`
      if (key !== '*') this.keep(value, file, key === 'default' ? word : key, line)
      if (key === 'default') this.keepAll(value, file, word, line)
      if (key === '*') this.keepAll(value, file, '', '')
    } catch (error) { /* it is not loaded yet, or a type */ }
  }

  r (test, name, value) {
    const file = this.loaded(test, name)
    if (file) {
      const word = this.variable(file)
      const line = `const ${word} = require('./${file}')`
      this.keep(value, file, word, line)
      this.keepAll(value, file, word, line)
    }
    return value
  }

  t (title) {
    try {
      this.test = String(title())
    } catch (error) {
      this.test = ''
    }
  }

  o (value, text) {
    if (isObject(value)) this.texts.set(value, text)
    return value
  }

  c (callee, args) {
    return this.made('call', () => Reflect.apply(callee, undefined, args),
      () => this.isKnown(callee) || this.isGlobal(callee, args),
      text => `${this.isGlobal(callee, args) || text(callee)}(${args.map(text).join(', ')})`, args)
  }

  n (callee, args) {
    return this.made('call', () => Reflect.construct(callee, args), () => this.isKnown(callee),
      text => `new ${text(callee)}(${args.map(text).join(', ')})`)
  }

  m (owner, key, args) {
    const callee = owner[key]
    if (typeof callee !== 'function') return owner[key](...args)   // throws
    const isOwner = this.isKnown(owner)
    return this.made('call', () => Reflect.apply(callee, owner, args),
      () => isOwner || this.names.has(callee) || this.isGlobal(callee, args),
      text => `${isOwner ? `${text(owner)}${access(key)}`
        : this.isGlobal(callee, args) || text(callee)}(${args.map(text).join(', ')})`, args)
  }

  g (owner, key) {
    if (!isObject(owner) || !this.origins.has(owner)) return owner[key]
    return this.made('attribute', () => owner[key], () => true,
      text => `${text(owner)}${access(key)}`)
  }

  p (owner, key, value) {
    return this.made('put', () => { owner[key] = value; return value },
      () => isObject(owner) && this.origins.has(owner),
      text => `${text(owner)}${access(key)} = ${text(value)}`)
  }

  isKnown (value) {
    return isObject(value) && (this.names.has(value) || this.origins.has(value))
  }

  // Return the name of a global function that looks at an object of the project, else ''.
  isGlobal (callee, args) {
    const isOwn = args.some(one => isObject(one) && this.origins.has(one))
    return (isOwn && this.globals.get(callee)) || ''
  }

  // Return what act() returns, and note it where isWanted().
  made (kind, act, isWanted, write, args = []) {
    if (this.isBusy || this.left <= 0 || !isWanted()) return act()
    const event = this.begin(kind, write)
    const before = args.filter(isPlain).map(one => [one, plainSource(one)])
    let result
    this.isBusy = true
    try {
      result = act()
    } catch (error) {
      this.end(event, undefined, error, true)
      throw error
    } finally {
      this.isBusy = false
    }
    if (typeName(result) === 'Promise') {
      if (event.expr !== null) event.expr = `(await ${event.expr})`
      result.then(value => this.end(event, value), error => this.end(event, undefined, error, true))
    } else if (kind === 'call' || typeof result !== 'function') {
      this.end(event, result)
      for (const [value, text] of event.uses.length || !event.expr ? [] : before) {
        this.effect(event, text, plainSource(value))
      }
    }
    return result
  }

  // Note that a call has changed an argument.
  effect (event, before, after) {
    if (!before || !after || before === after) return
    const call = event.expr.replace(before, () => 'value')
    const lines = [...event.lines, `const value = ${before}`, call]
    this.write({ ...event, n: ++this.number, kind: 'effect', expr: 'value', lines, result: after })
  }

  begin (kind, write) {
    const lines = new Set()
    const uses = new Set()
    const event = { n: ++this.number, test: this.test, kind, expr: null, of: '', why: '' }
    const refer = value => {
      const origin = this.origins.get(value)
      const name = origin ? null : this.names.get(value)
      if (origin) uses.add(origin[0])
      if (name) lines.add(name.line)
      return origin ? `r${origin.join('')}` : name ? name.text : this.texts.get(value)
    }
    try {
      event.expr = write(value => source(value, refer))
      event.of = event.expr.split('(')[0].replace(/\br\d+/g, '').slice(0, 80)
    } catch (error) {
      event.why = String(error && error.message).slice(0, 80)
    }
    const counts = [`${this.test}\0${event.of}`, this.test]
      .map(key => this.counts.set(key, (this.counts.get(key) || 0) + 1).get(key))
    if (counts[0] > MAX_EVENTS || counts[1] > MAX_OF_TEST || isHidden(event.expr, this.settings)) {
      event.expr = null
    }
    this.left -= 1
    return { ...event, lines: [...lines], uses: [...uses] }
  }

  end (event, result, error, hasFailed) {
    event.raised = hasFailed ? errorName(error) : ''
    event.type = typeName(result)
    event.result = hasFailed ? null : plainSource(result)
    this.tracked = 0
    if (!hasFailed) this.track(result, event.n, '')
    this.write(event)
  }

  write (event) {
    try {
      fs.appendFileSync(this.out, JSON.stringify(event) + '\n')
    } catch (fault) { /* the disk is full */ }
  }

  // Remember which event has returned an object, or a plain one that holds it.
  track (value, n, place) {
    if (!isObject(value) || this.isKnown(value) || ++this.tracked > MAX_VALUES) return
    if (['Date', 'RegExp'].includes(typeName(value))) return
    if (!isPlain(value)) {
      this.origins.set(value, [n, place])
    } else if (place.split(/[.[]/).length < 4) {
      for (const key of Object.keys(value).slice(0, MAX_ITEMS)) {
        const found = Object.getOwnPropertyDescriptor(value, key)
        if ('value' in found && !/^[_#]/.test(key)) this.track(found.value, n, place + access(key))
      }
    }
  }
}

function packageOf (folder) {
  try {
    return JSON.parse(fs.readFileSync(`${folder}/package.json`, 'utf8'))
  } catch (error) {
    return {}
  }
}

function access (key) {
  if (typeof key === 'string' && /^[_#]/.test(key)) throw new Opaque('private')
  const isIndex = typeof key === 'number' || /^(0|[1-9]\d*)$/.test(String(key))
  return typeof key === 'string' && NAME.test(key) ? `.${key}`
    : `[${typeof key === 'symbol' ? source(key) : isIndex ? String(key) : JSON.stringify(key)}]`
}

function isHidden (text, settings) {
  return text !== null && (text.includes(settings.source) || text.includes('/tmp/'))
}

function errorName (error) {
  return (isObject(error) && typeof error.name === 'string' && error.name) || typeName(error)
}

module.exports = globals => {
  const recorder = module.exports.recorder || (module.exports.recorder = new Recorder())
  for (const name of GLOBALS) {
    recorder.globals.set(name.split('.').reduce((one, key) => one[key], globals), name)
  }
  return recorder
}
Object.assign(module.exports, { source: plainSource, typeName, errorName, isPlain })
