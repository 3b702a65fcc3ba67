// Run scripts in a sandbox, and note what comes of their last expressions.
//
//     node replay_calls.cjs FOLDER
//
// It reads and writes the files of replay_calls.py. Three processes run the scripts, each in
// another order, with another seed for Math.random and in another working directory, the third 400
// days later. A process runs them in one worker, which loads CommonJS modules of the project anew
// for each script; a script that was pruned has a worker of its own.
'use strict'
const { fork } = require('child_process')
const fs = require('fs')
const os = require('os')
const path = require('path')
const { createRequire } = require('module')
const { pathToFileURL } = require('url')
const { inspect, format } = require('util')
const { Worker, isMainThread, workerData, parentPort } = require('worker_threads')
const { source, typeName, errorName, isPlain } = require('./node_calls.cjs')

const MAX_TEXT = 4000
const CHUNK = 50               // scripts that three processes run in three orders
const MAX_TRIALS = 60          // runs that prune a script
const SEEDS = [1, 2, 3]
const LATER = 400 * 86400000
const TYPED = ['--experimental-transform-types', '--experimental-strip-types']

// the jobs ---------------------------------------------------------------------------------------

async function main (folder) {
  const given = JSON.parse(fs.readFileSync(`${folder}/jobs.json`, 'utf8'))
  const allowed = TYPED.filter(one => process.allowedNodeEnvironmentFlags.has(one)).slice(0, 1)
  const runners = SEEDS.map(seed => new Runner(folder, seed, allowed))
  const end = Date.now() + given.total_s * 1000
  const answers = []
  for (let at = 0; at < given.jobs.length; at += CHUNK) {
    const jobs = given.jobs.slice(at, at + CHUNK)
    answers.push(...(Date.now() < end ? await answered(jobs, runners) : jobs.map(() => null)))
  }
  runners.forEach(one => one.child.kill('SIGKILL'))
  fs.writeFileSync(`${folder}/answers.json`, JSON.stringify(answers))
}

async function answered (jobs, runners) {
  const answers = []
  const all = [...jobs.keys()]
  const half = all.length >> 1
  const orders = [all, [...all].reverse(), [...all.slice(half), ...all.slice(0, half)]]
  const runs = jobs.map(() => [])
  await Promise.all(runners.map(async (runner, at) => {
    for (const n of orders[at]) {
      const { lines, last, recorded } = jobs[n]
      runs[n].push(await runner.run(lines, last, recorded))
    }
  }))
  for (const n of all) {
    answers[n] = agreed(runs[n], jobs[n].lines)
    if (answers[n] && jobs[n].prune) answers[n] = await pruned(answers[n], runners)
  }
  return answers
}

// Return the outcome of a script whose runs have the same one, else null.
function agreed (runs, lines) {
  const isSame = runs.every(one => told(one) === told(runs[0]) && one.agrees !== false)
  return isSame && ['value', 'raises'].includes(runs[0].kind) ? { ...runs[0], lines } : null
}

const told = ({ kind, type, text }) => JSON.stringify([kind, type, text])

async function pruned (answer, runners) {
  let { lines, last } = answer
  let trials = MAX_TRIALS
  for (let size = lines.length; size; size >>= 1) {
    for (let at = 0; at < lines.length && trials; trials--) {
      const fewer = [...lines.slice(0, at), ...lines.slice(at + size)]
      if (told(await runners[0].run(fewer, last, null)) === told(answer)) lines = fewer
      else at += size
    }
  }
  return agreed(await Promise.all(runners.map(one => one.run(lines, last, null, true))), lines)
}

class Runner {
  constructor (folder, seed, options) {
    const cwd = fs.mkdtempSync(`${os.tmpdir()}/`)
    const how = { execArgv: options, cwd, stdio: 'ignore' }
    this.child = fork(__filename, [folder, String(seed)], how)
    this.child.on('message', answer => this.answer(answer))
    this.child.on('exit', () => this.answer({ kind: 'lost' }))
  }

  run (...script) {
    return new Promise(resolve => {
      this.answer = resolve
      if (this.child.exitCode !== null || this.child.signalCode !== null) resolve({ kind: 'lost' })
      else this.child.send(script)
    })
  }

  answer () {}
}

// one of the three processes --------------------------------------------------------------------

function serve (folder, seed) {
  const { source: place, seconds } = JSON.parse(fs.readFileSync(`${folder}/jobs.json`, 'utf8'))
  const workerData = { place, seed: Number(seed) }
  const resourceLimits = { maxOldGenerationSizeMb: 256 }
  let worker
  let timer
  const finish = answer => {
    clearTimeout(timer)
    process.send(answer)
  }
  const end = () => {
    if (worker) worker.removeAllListeners().on('error', () => {}).terminate()
    worker = null
  }
  const lose = kind => {
    end()
    finish({ kind })
  }
  process.on('message', script => {
    if (script[3]) end()
    const factor = worker ? 1 : 4   // the first script loads the project
    if (!worker) {
      worker = new Worker(__filename, { workerData, resourceLimits, stdout: true, stderr: true })
      worker.on('message', finish).on('error', () => lose('broken')).on('exit', () => lose('lost'))
    }
    timer = setTimeout(() => lose('timeout'), factor * seconds * 1000)
    worker.postMessage(script)
  })
}

// its worker -------------------------------------------------------------------------------------

function work ({ place, seed }) {
  let state = seed
  Math.random = () => {
    state = (state * 48271) % 2147483647
    return state / 2147483647
  }
  if (seed === SEEDS[2]) globalThis.Date = laterDate()
  const require = createRequire(`${place}/script.cjs`)
  parentPort.on('message', async ([lines, last, recorded]) => {
    state = seed
    for (const file of Object.keys(require.cache)) {
      const isOwn = file.startsWith(`${place}/`) && !file.includes('/node_modules/')
      if (isOwn) delete require.cache[file]
    }
    parentPort.postMessage(await outcome(lines, last, recorded, place, require))
  })
}

function laterDate () {
  const now = Date.now
  const later = () => now() + LATER
  return new Proxy(Date, {
    get: (target, key) => key === 'now' ? later : target[key],
    apply: target => String(new target(later())),
    construct: (target, args, maker) =>
      Reflect.construct(target, args.length ? args : [later()], maker)
  })
}

// Return a line as a statement of a function in which `load` imports a module.
function statement (line) {
  const [, names, all, only, name] =
    /^import (?:\{ (.*) \}|\* as (\w+)|([\w$]+)) from ('.*')$/.exec(line) || []
  if (!name) return line
  return `const ${names ? `{ ${names} }` : all || `{ default: ${only} }`} = await load(${name})`
}

async function outcome (lines, last, recorded, folder, require) {
  const load = name => import(pathToFileURL(path.resolve(folder, name)).href)
  const Run = (async () => {}).constructor
  const isModule = lines.some(line => line.startsWith('import '))
  const body = [...(isModule ? ["'use strict'"] : []), ...lines.map(statement), 'begun()',
    `return [${last}]`]
  let hasBegun = false
  let value
  let text
  try {
    const script = new Run('require', 'load', 'begun', body.join('\n;'))
    ;[value] = await script(require, load, () => { hasBegun = true })
    const isIterator = isObject(value) && typeof value.next === 'function' &&
      typeof value[Symbol.iterator] === 'function'
    if (isIterator) {
      last = `[...${last}]`
      value = [...value]
    }
    text = inspect(value, { depth: Infinity, breakLength: Infinity, compact: true })
  } catch (error) {
    if (!hasBegun) return { kind: 'fails', text: errorName(error) }
    const type = errorName(error)
    const told = isObject(error) ? String(error.message) : inspect(error)
    return { kind: 'raises', type, text: told.slice(0, MAX_TEXT), last,
      agrees: !recorded || recorded.raised === type }
  }
  const written = source(value)
  const isOpaque = text.length > MAX_TEXT || typeof value === 'function' || text.includes(folder)
  const isSame = recorded && (recorded.result === null || !isPlain(value) && isObject(value)
    ? recorded.type === typeName(value) || Array.isArray(value) : recorded.result === written)
  return { kind: isOpaque ? 'opaque' : 'value', type: typeName(value), text, last,
    as_printed: format(value) === text,
    agrees: !recorded || (!recorded.raised && isSame) }
}

const isObject = value => value !== null && ['object', 'function'].includes(typeof value)

if (!isMainThread) {
  work(workerData)
} else if (process.argv[3]) {
  serve(process.argv[2], process.argv[3])
} else {
  main(process.argv[2])
}
