const assert = require('assert');

const list = async (w, query) => {
  const got = [];
  for await (const x of w.client.workflow.list({ query, pageSize: 7 })) got.push(x);
  return got;
};
test('a list by type and status', async (w) => {
  const handles = await Promise.all([1, 2, 3].map(() => w.start('childWaits')));
  const ids = handles.map((h) => h.workflowId).sort();
  const open = await list(w, `WorkflowType = 'childWaits' AND ExecutionStatus = 'Running' AND WorkflowId IN (${ids.map((i) => `'${i}'`).join(', ')})`);
  assert.deepStrictEqual(open.map((x) => x.workflowId).sort(), ids);
  for (const h of handles) await h.signal('finish');
  for (const h of handles) await h.result();
  assert.strictEqual((await list(w, `WorkflowId = '${ids[0]}' AND ExecutionStatus = 'Completed'`)).length, 1);
});
test('a list in pages is whole', async (w) => {
  const tag = w.id('tag');
  for (let i = 0; i < 20; i++) await (await w.start('nothing', [], { workflowId: `${tag}-${i}` })).result();
  const all = await list(w, `WorkflowId STARTS_WITH '${tag}-'`);
  assert.strictEqual(new Set(all.map((x) => x.workflowId)).size, 20);
});
test('what was just started is in the list', async (w) => {
  const handle = await w.start('childWaits');
  assert.strictEqual((await list(w, `WorkflowId = '${handle.workflowId}'`)).length, 1);
  await handle.signal('finish');
});
test('search attributes', async (w) => {
  const tag = w.id('tag');
  const handle = await w.start('attributes', [], { searchAttributes: { CustomKeywordField: [tag], CustomBoolField: [true],
    CustomDoubleField: [1.5], CustomDatetimeField: [new Date('2026-01-02T03:04:05Z')], CustomTextField: ['quick brown fox'], CustomIntField: [1] } });
  const early = await w.client.workflow.count(`CustomKeywordField = '${tag}'`);
  const seen = await handle.result();
  assert.deepStrictEqual(seen.CustomIntField, [7]);
  assert.ok(early.count <= 1);
  assert.strictEqual((await list(w, `WorkflowId = '${handle.workflowId}' AND CustomIntField > 6 AND CustomBoolField = true AND CustomDoubleField BETWEEN 1 AND 2`)).length, 1);
  assert.strictEqual((await list(w, `WorkflowId = '${handle.workflowId}' AND CustomKeywordField = 'new'`)).length, 1);
  assert.strictEqual((await list(w, `WorkflowId = '${handle.workflowId}' AND CustomTextField = 'brown'`)).length, 1);
  assert.strictEqual((await list(w, `WorkflowId = '${handle.workflowId}' AND CustomDatetimeField < '2026-01-03T00:00:00Z'`)).length, 1);
});
test('a search attribute that nobody defined', async (w) =>
  assert.rejects(w.start('nothing', [], { searchAttributes: { Undefined: ['x'] } }),
    (e) => /Namespace default has no mapping defined for search attribute Undefined/.test(e.cause.details)));
test('a search attribute of another type', async (w) =>
  assert.rejects(w.start('nothing', [], { searchAttributes: { CustomIntField: ['seven'] } }),
    (e) => /invalid value for search attribute CustomIntField of type Int/.test(e.cause.details)));
test('an upsert of what nobody defined fails the task', async (w) => {
  const handle = await w.start('upsertsUndefined');
  const failed = await w.until('a failed task', async () =>
    (await handle.fetchHistory()).events.find((e) => e.workflowTaskFailedEventAttributes));
  assert.strictEqual(failed.workflowTaskFailedEventAttributes.cause, 23); // BAD_SEARCH_ATTRIBUTES
  assert.match(failed.workflowTaskFailedEventAttributes.failure.message, /no mapping defined for search attribute Undefined/);
  await handle.terminate();
});
test('counts by status', async (w) => {
  const tag = w.id('tag');
  for (let i = 0; i < 3; i++) await (await w.start('nothing', [], { workflowId: `${tag}-${i}` })).result();
  await assert.rejects((await w.start('failsPlainly', [], { workflowId: `${tag}-f` })).result());
  const { count, groups } = await w.client.workflow.count(`WorkflowId STARTS_WITH '${tag}-' GROUP BY ExecutionStatus`);
  assert.strictEqual(Number(count), 4);
  assert.deepStrictEqual(groups.map((g) => [g.groupValues[0][0], Number(g.count)]).sort(), [['Completed', 3], ['Failed', 1]]);
});
test('a wrong query says what is wrong', async (w) => assert.rejects(list(w, 'WorkflowType ='),
  (e) => /invalid|query|expected/i.test(e.cause.details)) /* the SDK's own message only says that a list failed */);
test('describe knows what is pending', async (w) => {
  const handle = await w.start('scheduleToStart');
  await w.until('a pending activity', async () => (await handle.describe()).raw.pendingActivities.length === 1);
  await handle.result();
  assert.strictEqual((await handle.describe()).historyLength, (await handle.fetchHistory()).events.length);
});
test('a task queue knows its pollers', async (w) => {
  const r = await w.connection.workflowService.describeTaskQueue({ namespace: 'default', taskQueue: { name: w.queue }, taskQueueType: 1 });
  assert.ok(r.pollers.length >= 1);
});
test('a namespace is made, described and kept apart', async (w) => {
  const name = w.id('ns');
  const service = w.connection.workflowService;
  await service.registerNamespace({ namespace: name, workflowExecutionRetentionPeriod: { seconds: 86400 } });
  assert.strictEqual((await service.describeNamespace({ namespace: name })).namespaceInfo.name, name);
  await assert.rejects(service.registerNamespace({ namespace: name, workflowExecutionRetentionPeriod: { seconds: 86400 } }), /already|exist/i);
  const { Client } = require('@temporalio/client');
  const client = new Client({ connection: w.connection, namespace: name });
  const worker = await w.newWorker({ taskQueue: w.queue, namespace: name });
  try {
    const handle = await client.workflow.start('hello', { taskQueue: w.queue, workflowId: 'only-there', args: ['ns'] });
    assert.strictEqual(await handle.result(), 'Hello, ns!');
    assert.strictEqual((await list(w, "WorkflowId = 'only-there'")).length, 0);
  } finally { await worker.stop(); }
});
test('a namespace that is not there', async (w) => {
  const { Client } = require('@temporalio/client');
  await assert.rejects(new Client({ connection: w.connection, namespace: 'not-there' }).workflow.start('nothing', { taskQueue: w.queue,
    workflowId: w.id() }), /not found/i);
});
test('the server is healthy', async (w) => {
  assert.strictEqual((await w.connection.healthService.check({ service: 'temporal.api.workflowservice.v1.WorkflowService' })).status, 1);
});
test('what is not done says so by name', async (w) =>
  assert.rejects(w.connection.workflowService.listWorkflowRules({ namespace: 'default' }), /ListWorkflowRules/));
