// run.js HOB [--only TEXT] [--list] -- runs the programs of cases/ against one hob, and prints TAP. At the end every history that
// is left on the server is replayed by the SDK: a history that leads it elsewhere is a failure of its own.
'use strict';
const fs = require('fs');
const os = require('os');
const path = require('path');
const net = require('net');
const { spawn } = require('child_process');

const cases = [];
const only = process.argv.includes('--only') ? process.argv[process.argv.indexOf('--only') + 1] : '';
const test = (name, run) => cases.push({ name, run });
const casesAt = path.join(__dirname, 'cases');
const files = fs.readdirSync(casesAt).filter((f) => f.endsWith('.js')).sort();

if (process.argv.includes('--list')) { // without the SDK: only the names are asked for
  for (const f of files)
    for (const m of fs.readFileSync(path.join(casesAt, f), 'utf8').matchAll(/^test\('([^']+)'/gm)) console.log(m[1]);
  process.exit(0);
}

const { Connection, Client } = require('@temporalio/client');
const { Worker, NativeConnection, Runtime, DefaultLogger, bundleWorkflowCode } = require('@temporalio/worker');
const activities = require('./activities');

const DEADLINE_MS = Number(process.env.HOB_CASE_MS || 120000);

class Server {
  constructor(hob) {
    this.hob = hob;
    this.data = fs.mkdtempSync(path.join(os.tmpdir(), 'hob-temporal-'));
    fs.chmodSync(this.data, 0o755);
  }
  async start(extra = []) {
    if (!this.port) this.port = await freePort();
    const log = fs.openSync(path.join(this.data, 'hob.log'), 'a');
    const args = ['server', 'start-dev', '--port', String(this.port), '--ip', '127.0.0.1', '--namespace', 'default', '--headless',
                  '--log-level', 'warn', '--log-format', 'pretty', '--db-filename', path.join(this.data, 'temporal.db')];
    for (const [name, type] of Object.entries(ATTRIBUTES)) args.push('--search-attribute', `${name}=${type}`);
    this.process = spawn(this.hob, [...args, ...extra], { stdio: ['ignore', log, log] });
    this.ended = new Promise((resolve) => this.process.once('exit', (code, signal) => resolve({ code, signal })));
    for (const until = Date.now() + 60000; ;) {
      if (await answers(this.port)) return;
      if (this.process.exitCode !== null || Date.now() > until) throw new Error(`hob did not start: ${this.log()}`);
      await new Promise((r) => setTimeout(r, 50));
    }
  }
  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    return this.ended;
  }
  log() { return fs.readFileSync(path.join(this.data, 'hob.log'), 'utf8').slice(-4000); }
  clean() { fs.rmSync(this.data, { recursive: true, force: true }); }
}

const ATTRIBUTES = { CustomIntField: 'Int', CustomBoolField: 'Bool', CustomKeywordField: 'Keyword', CustomTextField: 'Text',
                     CustomDatetimeField: 'Datetime', CustomDoubleField: 'Double', CustomKeywordListField: 'KeywordList' };

function freePort() {
  return new Promise((resolve) => {
    const s = net.createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); });
  });
}
async function answers(port) {
  let c;
  try {
    c = await Connection.connect({ address: `127.0.0.1:${port}`, connectTimeout: 1000 });
    await c.workflowService.getSystemInfo({});
    return true;
  } catch { return false; } finally { await c?.close().catch(() => {}); }
}

// What each program gets: a client, a queue with a worker, unique names.
class World {
  async open(server) {
    this.server = server;
    this.address = `127.0.0.1:${server.port}`;
    this.connection = await Connection.connect({ address: this.address });
    this.native = await NativeConnection.connect({ address: this.address });
    this.client = new Client({ connection: this.connection });
    this.bundle = await bundleWorkflowCode({ workflowsPath: require.resolve('./workflows'), logger: new DefaultLogger('ERROR') });
    this.queue = 'main';
    this.activities = activities;
    this.worker = await this.newWorker({ taskQueue: this.queue });
  }
  async newWorker(options) {
    const { connection = this.native, ...rest } = options;
    const { counts, tokens, seen, ...functions } = activities;
    const worker = await Worker.create({ connection, workflowBundle: this.bundle, activities: functions, shutdownGraceTime: '5s',
                                         ...rest });
    const run = worker.run();
    run.catch(() => {});
    return { worker, run, async stop() { worker.shutdown(); await run; } };
  }
  id(what = 'w') { return `${what}-${process.pid}-${++this.last}`; }
  start(type, args = [], more = {}) {
    return this.client.workflow.start(type, { taskQueue: this.queue, workflowId: this.id(type), args, ...more });
  }
  async run(type, args = [], more = {}) { return (await this.start(type, args, more)).result(); }
  async history(handle) { return (await handle.fetchHistory()).events.map((e) => eventName(e)); }
  async until(what, ask, ms = 30000) {
    for (const end = Date.now() + ms; ;) {
      const got = await ask();
      if (got) return got;
      if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
      await new Promise((r) => setTimeout(r, 50));
    }
  }
  async close() {
    await this.worker.stop();
    await this.connection.close();
    await this.native.close();
  }
}
World.prototype.last = 0;

const { temporal } = require('@temporalio/proto');
const eventName = (e) => temporal.api.enums.v1.EventType[e.eventType].replace('EVENT_TYPE_', '').toLowerCase()
  .replace(/_(.)/g, (_, c) => c.toUpperCase()).replace(/^(.)/, (c) => c.toUpperCase());

function within(ms, promise, name) {
  let timer;
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`${name}: no end after ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function replayAll(world) {
  let count = 0;
  const wrong = [];
  const histories = async function* () {
    for await (const w of world.client.workflow.list({ query: 'ExecutionStatus != "Terminated"' })) {
      const handle = world.client.workflow.getHandle(w.workflowId, w.runId);
      const history = await handle.fetchHistory();
      if (w.type === 'notRegistered') continue;
      count++;
      yield { workflowId: `${w.workflowId}/${w.runId}`, history };
    }
  };
  for await (const r of Worker.runReplayHistories({ workflowBundle: world.bundle }, histories()))
    if (r.error) wrong.push(`${r.workflowId}: ${r.error.message}`);
  return { count, wrong };
}

async function main() {
  const hob = path.resolve(process.argv[2]);
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const server = new Server(hob);
  const world = new World();
  world.Server = Server;
  world.hob = hob;
  globalThis.test = test;
  for (const f of files) require(path.join(casesAt, f));
  const chosen = cases.filter((c) => c.name.includes(only));
  console.log(`1..${chosen.length + 1}`);
  let n = 0;
  let failed = 0;
  const say = (ok, name, why) => {
    console.log(`${ok ? 'ok' : 'not ok'} ${++n} - ${name}`);
    if (!ok) { failed++; console.log(String(why).split('\n').map((l) => `# ${l}`).join('\n')); }
  };
  try {
    await server.start();
    await world.open(server);
    for (const c of chosen) {
      try {
        await within(DEADLINE_MS, c.run(world), c.name);
        say(true, c.name);
      } catch (e) {
        say(false, c.name, e.stack + (e.cause ? `\ncause: ${e.cause.stack}` : ''));
      }
    }
    try {
      const { count, wrong } = await within(DEADLINE_MS, replayAll(world), 'replay');
      say(count > 0 && wrong.length === 0, 'every history replays', `${count} replayed; ${wrong.join('\n')}`);
    } catch (e) { say(false, 'every history replays', e.stack); }
    await within(30000, world.close(), 'close').catch((e) => console.log(`# ${e.message}`));
  } catch (e) {
    say(false, 'the server serves', `${e.stack}\n${server.log()}`);
  }
  if (failed) console.log(server.log().split('\n').map((l) => `# hob: ${l}`).join('\n'));
  await server.stop('SIGTERM');
  server.clean();
  process.exit(failed ? 1 : 0);
}
main().catch((e) => { console.log(`Bail out! ${e.stack}`); process.exit(2); });
