const assert = require('assert');
const { WorkflowNotFoundError } = require('@temporalio/client');

test('a workflow that fails', async (w) => {
  await assert.rejects(w.run('fails', ['no good']), (e) => e.name === 'WorkflowFailedError' && e.cause.message === 'no good' &&
    e.cause.type === 'Wrong' && e.cause.details.length === 2);
});
test('a workflow is cancelled', async (w) => {
  const handle = await w.start('cancelled');
  await handle.cancel();
  await assert.rejects(handle.result(), (e) => e.cause.name === 'CancelledFailure');
  assert.strictEqual((await handle.describe()).status.name, 'CANCELLED');
  await handle.cancel(); // of what has ended: nothing happens
});
test('a workflow that is cancelled cleans up', async (w) => {
  const handle = await w.start('cleansUp');
  await w.until('its timer', async () => (await w.history(handle)).includes('TimerStarted'));
  await handle.cancel();
  assert.strictEqual(await handle.result(), 'Hello, after all!');
});
test('a workflow may not care', async (w) => {
  const handle = await w.start('ignoresCancel');
  await handle.cancel();
  assert.strictEqual(await handle.result(), 'went on');
});
test('a workflow is terminated', async (w) => {
  const handle = await w.start('cancelled');
  await handle.terminate('enough');
  await assert.rejects(handle.result(), (e) => e.cause.name === 'TerminatedFailure');
  await assert.rejects(handle.terminate('again'), WorkflowNotFoundError);
});
test('continue as new', async (w) => {
  const handle = await w.start('counts', [0, 3]);
  assert.strictEqual(await handle.result(), 3);
  const { raw } = await w.client.workflow.getHandle(handle.workflowId).describe();
  assert.strictEqual(raw.workflowExecutionInfo.firstRunId, handle.firstExecutionRunId);
  assert.strictEqual((await w.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId).describe()).status.name,
    'CONTINUED_AS_NEW');
});
test('a signal finds the run that goes on', async (w) => {
  const handle = await w.start('keepsOnCounting', [0]);
  await w.until('the third run', async () => { try { return (await w.client.workflow.getHandle(handle.workflowId).query('state')) === 2; } catch { return false; } });
  await w.client.workflow.getHandle(handle.workflowId).signal('finish');
  assert.strictEqual(await handle.result(), 2);
});
test('continue as new keeps the memo it is given', async (w) => {
  assert.strictEqual((await w.run('continuesWithMemo', [0])).kept, 'yes');
});
test('a workflow is tried again as its policy says', async (w) => {
  assert.strictEqual(await w.run('failsUntilAttempt', [3], { retry: { initialInterval: '50ms', maximumAttempts: 5 } }), 3);
});
test('a workflow without a policy is not', async (w) => assert.rejects(w.run('failsUntilAttempt', [2])));
test('a run times out', async (w) => {
  const handle = await w.start('cancelled', [], { workflowRunTimeout: '400ms' });
  await assert.rejects(handle.result(), (e) => e.cause.name === 'TimeoutFailure');
  assert.strictEqual((await handle.describe()).status.name, 'TIMED_OUT');
});
test('an execution times out over all its runs', async (w) => {
  const handle = await w.start('failsUntilAttempt', [1000], { workflowExecutionTimeout: '1s',
    retry: { initialInterval: '100ms', backoffCoefficient: 1 } });
  await assert.rejects(handle.result());
});
test('cron', async (w) => {
  const at = Date.now();
  const handle = await w.start('ticks', [], { cronSchedule: '@every 1s' });
  await w.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId, { followRuns: false }).result();
  assert.ok(Date.now() - at >= 900); // the first run begins by the clock, too
  await w.until('the third run', async () => {
    const { events } = await w.client.workflow.getHandle(handle.workflowId).fetchHistory();
    const started = events[0].workflowExecutionStartedEventAttributes;
    return started.lastCompletionResult && JSON.parse(Buffer.from(started.lastCompletionResult.payloads[0].data).toString()) >= 2;
  });
  await w.client.workflow.getHandle(handle.workflowId).terminate();
});
test('cron in a time zone', async (w) => {
  const options = (cronSchedule) => ({ cronSchedule });
  const handle = await w.start('ticks', [], options('CRON_TZ=Asia/Kolkata 30 9 * * *')); // 04:00 UTC, all year
  const { events } = await handle.fetchHistory();
  const started = events[0].workflowExecutionStartedEventAttributes;
  const first = new Date((Number(events[0].eventTime.seconds) + Number(started.firstWorkflowTaskBackoff.seconds)) * 1000);
  assert.deepStrictEqual([first.getUTCHours(), first.getUTCMinutes()], [4, 0]);
  assert.ok((await handle.describe()).raw.workflowExecutionInfo.executionTime.seconds > Date.now() / 1000 - 5);
  await handle.terminate();
  await assert.rejects(w.start('ticks', [], options('CRON_TZ=Mars/Olympus 30 9 * * *')), (e) => /Mars/.test(e.cause.message));
  await assert.rejects(w.start('ticks', [], options('every day')), (e) => /Invalid CronSchedule/.test(e.cause.message));
});
test('a start that waits', async (w) => {
  const at = Date.now();
  const handle = await w.start('nothing', [], { startDelay: '800ms' });
  await handle.result();
  assert.ok(Date.now() - at >= 750);
});
test('an id that runs is not started again', async (w) => {
  const handle = await w.start('childWaits');
  await assert.rejects(w.client.workflow.start('childWaits', { taskQueue: w.queue, workflowId: handle.workflowId }),
    { name: 'WorkflowExecutionAlreadyStartedError' });
  await handle.signal('finish');
});
test('an id that runs is used', async (w) => {
  const handle = await w.start('childWaits');
  const same = await w.client.workflow.start('childWaits', { taskQueue: w.queue, workflowId: handle.workflowId,
    workflowIdConflictPolicy: 'USE_EXISTING' });
  assert.strictEqual(same.firstExecutionRunId, handle.firstExecutionRunId);
  await handle.signal('finish');
});
test('an id that runs is ended, and started again', async (w) => {
  const handle = await w.start('childWaits');
  const next = await w.client.workflow.start('nothing', { taskQueue: w.queue, workflowId: handle.workflowId,
    workflowIdConflictPolicy: 'TERMINATE_EXISTING' });
  await next.result();
  assert.strictEqual((await w.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId).describe()).status.name, 'TERMINATED');
});
test('an id may be used again as its policy says', async (w) => {
  const again = (workflowId, workflowIdReusePolicy) =>
    w.client.workflow.start('nothing', { taskQueue: w.queue, workflowId, workflowIdReusePolicy });
  const done = await w.start('nothing');
  await done.result();
  await assert.rejects(again(done.workflowId, 'REJECT_DUPLICATE'), { name: 'WorkflowExecutionAlreadyStartedError' });
  await assert.rejects(again(done.workflowId, 'ALLOW_DUPLICATE_FAILED_ONLY'), { name: 'WorkflowExecutionAlreadyStartedError' });
  await (await again(done.workflowId, 'ALLOW_DUPLICATE')).result();
  const failed = await w.start('failsPlainly');
  await assert.rejects(failed.result());
  await (await again(failed.workflowId, 'ALLOW_DUPLICATE_FAILED_ONLY')).result();
});
test('a start that is repeated is one start', async (w) => {
  const workflowId = w.id();
  const request = { namespace: 'default', workflowId, workflowType: { name: 'childWaits' }, taskQueue: { name: w.queue },
    requestId: 'the-same', identity: 'test' };
  const one = await w.connection.workflowService.startWorkflowExecution(request);
  const two = await w.connection.workflowService.startWorkflowExecution(request);
  assert.strictEqual(one.runId, two.runId);
  await w.client.workflow.getHandle(workflowId).signal('finish');
});
test('a workflow knows who it is', async (w) => {
  const handle = await w.start('info');
  const info = await handle.result();
  assert.strictEqual(info.workflowId, handle.workflowId);
  assert.strictEqual(info.runId, handle.firstExecutionRunId);
  assert.strictEqual(info.attempt, 1);
  assert.strictEqual(info.namespace, 'default');
  assert.ok(info.historyLength >= 3);
});
test('memo', async (w) => {
  const handle = await w.start('memo', [], { memo: { a: 1, c: 3 } });
  assert.deepStrictEqual(await handle.result(), { b: 2, c: 3 });
  assert.deepStrictEqual((await handle.describe()).memo, { b: 2, c: 3 });
});
test('patches', async (w) => assert.strictEqual(await w.run('patched'), 'Hello, new!'));
test('random numbers and times replay', async (w) => assert.strictEqual(await w.run('random'), 5));
test('a task that throws is tried again by a better worker', async (w) => {
  const queue = w.id('queue');
  const bad = await w.newWorker({ taskQueue: queue, workflowBundle: { code: w.bundle.code.replaceAll('exports.hello =', 'exports.goodbye =') } });
  const handle = await w.start('hello', ['late'], { taskQueue: queue });
  await w.until('a failed task', async () => (await w.history(handle)).includes('WorkflowTaskFailed'));
  await bad.stop();
  const good = await w.newWorker({ taskQueue: queue });
  try { assert.strictEqual(await handle.result(), 'Hello, late!'); } finally { await good.stop(); }
});
test('a worker that dies is replaced', async (w) => {
  const queue = w.id('queue');
  const first = await w.newWorker({ taskQueue: queue });
  const handle = await w.start('waitsFor', [2], { taskQueue: queue });
  await handle.signal('add', 1);
  await w.until('the first signal', async () => (await w.history(handle)).filter((n) => n === 'WorkflowTaskCompleted').length >= 1);
  await first.stop();
  await handle.signal('add', 2);
  const second = await w.newWorker({ taskQueue: queue });
  try { assert.deepStrictEqual(await handle.result(), [1, 2]); } finally { await second.stop(); }
});
test('a long history comes in pages', async (w) => {
  const handle = await w.start('long', [120]);
  assert.strictEqual(await handle.result(), 120);
  const { events } = await handle.fetchHistory();
  assert.ok(events.length > 700);
  events.forEach((e, i) => assert.strictEqual(Number(e.eventId), i + 1));
  const back = await w.connection.workflowService.getWorkflowExecutionHistoryReverse({ namespace: 'default',
    execution: { workflowId: handle.workflowId }, maximumPageSize: 10 });
  assert.strictEqual(Number(back.history.events[0].eventId), events.length);
});
test('a long history is read by a worker that has forgotten it', async (w) => {
  const queue = w.id('uncached');
  const worker = await w.newWorker({ taskQueue: queue, maxCachedWorkflows: 0 });
  try { assert.strictEqual(await w.run('long', [60], { taskQueue: queue }), 60); } finally { await worker.stop(); }
});
test('a reset goes back, and on from there', async (w) => {
  const handle = await w.start('collects');
  await handle.signal('add', 1);
  await w.until('a completed task', async () => (await w.history(handle)).includes('WorkflowTaskCompleted'));
  const { events } = await handle.fetchHistory();
  const task = events.find((e) => e.workflowTaskCompletedEventAttributes);
  const { runId } = await w.connection.workflowService.resetWorkflowExecution({ namespace: 'default',
    workflowExecution: { workflowId: handle.workflowId, runId: handle.firstExecutionRunId }, reason: 'test',
    workflowTaskFinishEventId: task.eventId, requestId: w.id('reset') });
  const next = w.client.workflow.getHandle(handle.workflowId, runId);
  await next.signal('finish');
  assert.ok(Array.isArray(await next.result()));
  assert.strictEqual((await w.client.workflow.getHandle(handle.workflowId, handle.firstExecutionRunId).describe()).status.name, 'TERMINATED');
});
test('a deleted workflow is gone', async (w) => {
  const handle = await w.start('nothing');
  await handle.result();
  await w.connection.workflowService.deleteWorkflowExecution({ namespace: 'default', workflowExecution: { workflowId: handle.workflowId } });
  await w.until('it is gone', async () => { try { await handle.describe(); return false; } catch (e) { return e instanceof WorkflowNotFoundError; } });
});
