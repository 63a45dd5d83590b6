const assert = require('assert');

test('a query of what runs', async (w) => {
  const handle = await w.start('queried');
  assert.strictEqual(await handle.query('state'), 'begun');
  assert.strictEqual(await handle.query('state', '!'), 'begun!');
  await handle.signal('add');
  assert.strictEqual(await handle.query('state'), 'signalled');
  await handle.signal('finish');
  await handle.result();
  assert.strictEqual(await handle.query('state'), 'ended');
});
test('queries leave nothing in the history', async (w) => {
  const handle = await w.start('queried');
  await handle.query('state');
  const before = await w.history(handle);
  for (let i = 0; i < 5; i++) await handle.query('state');
  assert.deepStrictEqual(await w.history(handle), before);
  await handle.signal('finish');
  await handle.result();
});
test('a query that throws', async (w) => {
  const handle = await w.start('queried');
  await assert.rejects(handle.query('broken'), (e) => e.name === 'QueryNotRegisteredError' || /cannot say/.test(e.message + e.cause?.message));
  await handle.signal('finish');
});
test('a query that nobody handles', async (w) => {
  const handle = await w.start('queried');
  await assert.rejects(handle.query('unknown'), /unknown|did not register/i);
  await handle.signal('finish');
});
test('queries of what is not open may be refused', async (w) => {
  const client = new (require('@temporalio/client').Client)({ connection: w.connection,
    workflow: { queryRejectCondition: 'QUERY_REJECT_CONDITION_NOT_OPEN' } });
  const handle = await w.start('queried');
  await handle.signal('finish');
  await handle.result();
  await assert.rejects(client.workflow.getHandle(handle.workflowId).query('state'), { name: 'QueryRejectedError' });
});
test('queries of what did not end cleanly may be refused', async (w) => {
  const client = new (require('@temporalio/client').Client)({ connection: w.connection,
    workflow: { queryRejectCondition: 'QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY' } });
  const clean = await w.start('queried');
  await clean.signal('finish');
  await clean.result();
  assert.strictEqual(await client.workflow.getHandle(clean.workflowId).query('state'), 'ended');
  const ended = await w.start('queried');
  assert.strictEqual(await client.workflow.getHandle(ended.workflowId).query('state'), 'begun');
  await ended.terminate();
  await assert.rejects(client.workflow.getHandle(ended.workflowId).query('state'), { name: 'QueryRejectedError' });
});
test('a query of a workflow whose tasks fail says so at once', async (w) => {
  const handle = await w.start('throwsInTask');
  const at = Date.now();
  await assert.rejects(w.connection.withDeadline(at + 60000, () => handle.query('state')),
    (e) => /Workflow Task in failed state/.test(e.cause.message));
  assert.ok(Date.now() - at < 30000);
  await handle.terminate();
});
test('a query of a workflow that begins later says so at once', async (w) => {
  const handle = await w.start('queried', [], { startDelay: '1 hour' });
  await assert.rejects(handle.query('state'), (e) => /not scheduled yet/.test(e.cause.message));
  await handle.terminate();
});
test('queries reach a worker that keeps nothing', async (w) => {
  const queue = w.id('uncached');
  const worker = await w.newWorker({ taskQueue: queue, maxCachedWorkflows: 0 });
  try {
    const handle = await w.start('queried', [], { taskQueue: queue });
    assert.strictEqual(await handle.query('state'), 'begun');
    await handle.signal('add');
    assert.strictEqual(await handle.query('state'), 'signalled');
    await handle.signal('finish');
    await handle.result();
    assert.strictEqual(await handle.query('state'), 'ended');
  } finally { await worker.stop(); }
});
test('an update changes and answers', async (w) => {
  const handle = await w.start('updated');
  assert.strictEqual(await handle.executeUpdate('change', { args: [5] }), 0);
  assert.strictEqual(await handle.executeUpdate('change', { args: [6] }), 5);
  await handle.signal('finish');
  assert.strictEqual(await handle.result(), 6);
  const names = await w.history(handle);
  assert.strictEqual(names.filter((n) => n === 'WorkflowExecutionUpdateAccepted').length, 2);
  assert.strictEqual(names.filter((n) => n === 'WorkflowExecutionUpdateCompleted').length, 2);
});
test('an update that is refused leaves no trace', async (w) => {
  const handle = await w.start('updated');
  await handle.query('state');
  const before = await w.history(handle);
  await assert.rejects(handle.executeUpdate('change', { args: [-1] }), (e) => /below zero/.test(e.cause.message));
  assert.deepStrictEqual(await w.history(handle), before);
  await handle.signal('finish');
  assert.strictEqual(await handle.result(), 0);
});
test('an update that works before it answers', async (w) => {
  const handle = await w.start('updated');
  const update = await handle.startUpdate('slowChange', { args: [9], waitForStage: 'ACCEPTED' });
  assert.strictEqual(await update.result(), 'slowly');
  await handle.signal('finish');
  assert.strictEqual(await handle.result(), 9);
});
test('the same update twice is one', async (w) => {
  const handle = await w.start('updated');
  assert.strictEqual(await handle.executeUpdate('change', { args: [1], updateId: 'one' }), 0);
  assert.strictEqual(await handle.executeUpdate('change', { args: [2], updateId: 'one' }), 0);
  assert.strictEqual(await handle.query('state'), 1);
  await handle.signal('finish');
  await handle.result();
});
test('an update that fails after it was accepted', async (w) => {
  const handle = await w.start('updateFails');
  await assert.rejects(handle.executeUpdate('change'), (e) => e.cause.type === 'Late');
  await handle.signal('finish');
  await handle.result();
});
test('an update that nobody handles', async (w) => {
  const handle = await w.start('updated');
  await assert.rejects(handle.executeUpdate('unheardOf'), (e) => /unheardOf|No registered/.test(e.message + e.cause?.message));
  await handle.signal('finish');
  await handle.result();
});
test('an update to what has ended', async (w) => {
  const handle = await w.start('nothing');
  await handle.result();
  await assert.rejects(handle.executeUpdate('change', { args: [1] }), { name: 'WorkflowNotFoundError' });
});
test('a workflow that ends lets go of its updates', async (w) => {
  const handle = await w.start('updated');
  const update = await handle.startUpdate('never', { waitForStage: 'ACCEPTED' });
  await handle.signal('finish');
  await handle.result();
  await assert.rejects(update.result());
});
test('fifty updates at once', async (w) => {
  const handle = await w.start('updated');
  for (let round = 0; round < 5; round++)
    await Promise.all([...Array(10).keys()].map((i) => handle.executeUpdate('slowChange', { args: [i] })));
  await handle.signal('finish');
  await handle.result();
});
test('update with start', async (w) => {
  const { WithStartWorkflowOperation } = require('@temporalio/client');
  const workflowId = w.id();
  const start = () => new WithStartWorkflowOperation('updated', { workflowId, taskQueue: w.queue, workflowIdConflictPolicy: 'USE_EXISTING' });
  const first = start();
  assert.strictEqual(await w.client.workflow.executeUpdateWithStart('change', { args: [3], startWorkflowOperation: first }), 0);
  const second = start();
  assert.strictEqual(await w.client.workflow.executeUpdateWithStart('change', { args: [4], startWorkflowOperation: second }), 3);
  const handle = await first.workflowHandle();
  assert.strictEqual(handle.firstExecutionRunId, (await second.workflowHandle()).firstExecutionRunId);
  await handle.signal('finish');
  assert.strictEqual(await handle.result(), 4);
});
