const assert = require('assert');
const { Connection, Client } = require('@temporalio/client');
const { NativeConnection } = require('@temporalio/worker');

// Its own hob, killed in the middle of everything.
test('hob is killed in the middle, and nothing is lost', async (w) => {
  const server = new w.Server(w.hob);
  await server.start();
  const address = `127.0.0.1:${server.port}`;
  const native = await NativeConnection.connect({ address });
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  const worker = await w.newWorker({ taskQueue: 'q', connection: native });
  const starts = [];
  try {
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 5; i++)
        starts.push(await client.workflow.start('steps', { taskQueue: 'q', workflowId: `w-${round}-${i}`, args: [4] }));
      const waits = await client.workflow.start('waitsFor', { taskQueue: 'q', workflowId: `s-${round}`, args: [3] });
      for (let i = 0; i < 3; i++) await waits.signal('add', i);
      starts.push(waits, await client.workflow.start('sleeps', { taskQueue: 'q', workflowId: `t-${round}`, args: [500] }));
      await server.stop('SIGKILL');
      await server.start();
    }
    for (const h of starts) {
      const result = await h.result();
      if (h.workflowId.startsWith('w-')) assert.strictEqual(result, 4);
      if (h.workflowId.startsWith('s-')) assert.deepStrictEqual(result, [0, 1, 2]);
      const { events } = await h.fetchHistory();
      events.forEach((e, i) => assert.strictEqual(Number(e.eventId), i + 1));
    }
  } finally {
    await worker.stop();
    await connection.close();
    await native.close();
    await server.stop();
    server.clean();
  }
});
