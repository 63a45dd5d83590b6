// sdk_load.js ADDRESS -- the official SDK, unmodified: client and worker in one process, with the options it has by itself. Says "ready";
// then for each line of standard input, a number, it runs so many workflows of one activity, one after another, and writes
// a line of JSON: how long each took in microseconds, from before its start until its result is there.
'use strict';
const fs = require('fs');
const path = require('path');
const readline = require('readline');
const from = (name) => require(require.resolve(name, { paths: [process.cwd()] }));
const { Connection, Client } = from('@temporalio/client');
const { Worker, NativeConnection, Runtime, DefaultLogger, bundleWorkflowCode } = from('@temporalio/worker');

const WORKFLOW = `
const { proxyActivities } = require('@temporalio/workflow');
const { step } = proxyActivities({ startToCloseTimeout: '60s' });
exports.one = async (name) => step(name);
`;

async function main() {
  const address = process.argv[2];
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  const file = path.join(process.cwd(), `bench-workflow-${process.pid}.js`); // where it finds the SDK
  fs.writeFileSync(file, WORKFLOW);
  const workflowBundle = await bundleWorkflowCode({ workflowsPath: file, logger: new DefaultLogger('ERROR') });
  fs.rmSync(file);
  const native = await NativeConnection.connect({ address });
  const worker = await Worker.create({ connection: native, taskQueue: 'sdk', workflowBundle,
                                       activities: { step: async (name) => `hello, ${name}` } });
  const works = worker.run();
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  let made = 0;
  const one = async () => {
    const begin = process.hrtime.bigint();
    const got = await client.workflow.execute('one', { args: ['hob'], taskQueue: 'sdk', workflowId: `sdk-${process.pid}-${made++}` });
    if (got !== 'hello, hob') throw new Error(`the workflow answered ${got}`);
    return Number((process.hrtime.bigint() - begin) / 1000n);
  };
  console.log('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const took = [];
    for (let n = Number(line); n > 0; n--) took.push(await one());
    console.log(JSON.stringify(took));
  }
  worker.shutdown();
  await works;
  await connection.close();
  await native.close();
}
main().catch((e) => { console.error(e); process.exit(1); });
