const assert = require('assert');
const { ApplicationFailure } = require('@temporalio/common');

test('hello world', async (w) => {
  const handle = await w.start('hello', ['world']);
  assert.strictEqual(await handle.result(), 'Hello, world!');
  assert.deepStrictEqual(await w.history(handle), ['WorkflowExecutionStarted', 'WorkflowTaskScheduled', 'WorkflowTaskStarted',
    'WorkflowTaskCompleted', 'ActivityTaskScheduled', 'ActivityTaskStarted', 'ActivityTaskCompleted', 'WorkflowTaskScheduled',
    'WorkflowTaskStarted', 'WorkflowTaskCompleted', 'WorkflowExecutionCompleted']);
});
test('a workflow without activities', async (w) => assert.strictEqual(await w.run('nothing'), undefined));
test('values of every kind come back as they went', async (w) => {
  const value = { a: [1, 2.5, 'x', null, true], b: { c: 'ü' } };
  assert.deepStrictEqual(await w.run('value', [value]), value);
  assert.deepStrictEqual(Buffer.from(await w.run('value', [Buffer.from([0, 1, 255])])), Buffer.from([0, 1, 255]));
});
test('ten steps one after the other', async (w) => assert.strictEqual(await w.run('steps', [10]), 10));
test('two hundred activities at once', async (w) => assert.strictEqual(await w.run('parallel', [200]), 19900));
test('an activity that fails is tried again', async (w) => assert.strictEqual(await w.run('retried', [w.id(), 2]), 3));
test('attempts end where the policy says', async (w) => {
  const { error } = await w.run('attemptsEnd', [w.id()]);
  assert.strictEqual(error.name, 'ActivityFailure');
  assert.strictEqual(error.retryState, 'MAXIMUM_ATTEMPTS_REACHED');
  assert.strictEqual(error.cause.message, 'failed 3');
});
test('what is not retryable is not tried again', async (w) => {
  const key = w.id();
  const { error } = await w.run('notRetried', [key]);
  assert.strictEqual(error.retryState, 'NON_RETRYABLE_FAILURE');
  assert.strictEqual(error.cause.type, 'Impossible');
  assert.deepStrictEqual(error.cause.details, ['detail']);
  assert.strictEqual(w.activities.seen(key), 1);
});
test('a type that the policy names is not tried again', async (w) => {
  const key = w.id();
  const { error } = await w.run('typeNotRetried', [key]);
  assert.strictEqual(error.retryState, 'NON_RETRYABLE_FAILURE');
  assert.strictEqual(w.activities.seen(key), 1);
});
test('the failure says when it is to be tried again', async (w) => assert.strictEqual(await w.run('nextDelay', [w.id()]), 2));
test('the next attempt gets the details of the last heartbeat', async (w) => {
  assert.deepStrictEqual(await w.run('progress', [w.id()]), { from: 3 });
});
test('an activity that stops beating is tried elsewhere', async (w) => {
  assert.strictEqual(await w.run('heartbeatTimeout', [w.id()]), 'details: last words');
});
test('start to close', async (w) => {
  const { error } = await w.run('startToClose');
  assert.strictEqual(error.cause.name, 'TimeoutFailure');
  assert.strictEqual(error.cause.timeoutType, 'START_TO_CLOSE');
});
test('start to close is tried again', async (w) => {
  const { error } = await w.run('startToCloseRetried');
  assert.strictEqual(error.retryState, 'MAXIMUM_ATTEMPTS_REACHED');
  assert.strictEqual(error.cause.timeoutType, 'START_TO_CLOSE');
});
test('schedule to start', async (w) => {
  const { error } = await w.run('scheduleToStart');
  assert.strictEqual(error.cause.timeoutType, 'SCHEDULE_TO_START');
});
test('schedule to close bounds all attempts', async (w) => {
  const { error } = await w.run('scheduleToClose', [w.id()]);
  assert.ok(['TIMEOUT'].includes(error.retryState), JSON.stringify(error));
});
test('an activity knows who and where it is', async (w) => {
  const handle = await w.start('activityInfo');
  assert.deepStrictEqual(await handle.result(), { attempt: 1, taskQueue: w.queue, workflowType: 'activityInfo', type: 'info',
    namespace: 'default', local: false });
});
test('an activity is completed later by its token', async (w) => {
  const key = w.id();
  const handle = await w.start('asyncActivity', [key]);
  const { token } = await w.until('the activity', () => w.activities.tokens.get(key));
  await w.client.activity.complete(token, 'by token');
  assert.deepStrictEqual(await handle.result(), { ok: 'by token' });
  await assert.rejects(w.client.activity.complete(token, 'again'), { name: 'ActivityNotFoundError' });
});
test('an activity is failed later by its id', async (w) => {
  const key = w.id();
  const handle = await w.start('asyncActivityById', [key]);
  await w.until('the activity', () => w.activities.tokens.get(key));
  await w.client.activity.fail({ workflowId: handle.workflowId, activityId: 'known' }, ApplicationFailure.nonRetryable('by id'));
  assert.strictEqual((await handle.result()).error.cause.message, 'by id');
});
test('an activity that is completed later beats meanwhile', async (w) => {
  const key = w.id();
  const handle = await w.start('asyncHeartbeat', [key]);
  const { token } = await w.until('the activity', () => w.activities.tokens.get(key));
  await w.client.activity.heartbeat(token, 'half');
  const { raw } = await handle.describe();
  assert.strictEqual(raw.pendingActivities.length, 1);
  assert.ok(raw.pendingActivities[0].heartbeatDetails.payloads.length === 1);
  await w.client.activity.complete(token, 'done');
  assert.deepStrictEqual(await handle.result(), { ok: 'done' });
});
test('an activity that is to be cancelled hears of it: try', async (w) => {
  const { error } = await w.run('cancelTry');
  assert.strictEqual(error.cause.name, 'CancelledFailure');
});
test('an activity that is to be cancelled hears of it: wait', async (w) => {
  const { error } = await w.run('cancelWait');
  assert.strictEqual(error.cause.name, 'CancelledFailure');
});
test('an activity may complete although it is to be cancelled', async (w) => {
  assert.deepStrictEqual(await w.run('cancelWaitReturns'), { ok: 'cleaned up' });
});
test('an activity that nobody waits for any more', async (w) => {
  const { error } = await w.run('cancelAbandon');
  assert.ok(error.name === 'CancelledFailure' || error.cause.name === 'CancelledFailure');
});
test('an activity that nobody has started is cancelled at once', async (w) => {
  const { error } = await w.run('cancelUnstarted');
  assert.strictEqual(error.cause.name, 'CancelledFailure');
});
test('local activities', async (w) => {
  const handle = await w.start('localActivity', [w.id()]);
  assert.deepStrictEqual(await handle.result(), ['Hello, near!', 3]);
  assert.ok((await w.history(handle)).filter((e) => e === 'MarkerRecorded').length >= 2);
});
test('a megabyte of result', async (w) => assert.strictEqual(await w.run('largeResult', [1000000]), 1000000));
test('eager activities come with the answer', async (w) => { // a worker of our own, because the SDK's does not tell
  const { temporal } = require('@temporalio/proto');
  const type = temporal.api.enums.v1.CommandType;
  const queue = w.id('eager');
  const own = { namespace: 'default', identity: 'by hand' };
  const service = w.connection.workflowService;
  const handle = await w.client.workflow.start('notRegistered', { taskQueue: queue, workflowId: w.id() });
  const deadline = Date.now() + 60000;
  const task = await w.connection.withDeadline(deadline, () => service.pollWorkflowTaskQueue({ ...own, taskQueue: { name: queue } }));
  const scheduled = (activityId, requestEagerExecution) => ({ commandType: type.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
    scheduleActivityTaskCommandAttributes: { activityId, activityType: { name: 'step' }, startToCloseTimeout: { seconds: 60 },
      input: { payloads: [{ data: Buffer.from(activityId) }] }, requestEagerExecution } });
  const answer = await service.respondWorkflowTaskCompleted({ ...own, taskToken: task.taskToken,
    commands: [scheduled('a', true), scheduled('b', false), scheduled('c', true)] });
  assert.deepStrictEqual(answer.activityTasks.map((a) => a.activityId), ['a', 'c']);
  assert.deepStrictEqual(answer.activityTasks.map((a) => Buffer.from(a.input.payloads[0].data).toString()), ['a', 'c']);
  const polled = await w.connection.withDeadline(deadline, () => service.pollActivityTaskQueue({ ...own, taskQueue: { name: queue } }));
  assert.strictEqual(polled.activityId, 'b'); // who polls gets only what was not given out yet
  for (const { taskToken } of [...answer.activityTasks, polled]) await service.respondActivityTaskCompleted({ ...own, taskToken });
  const { events } = await handle.fetchHistory();
  assert.strictEqual(events.filter((e) => e.activityTaskCompletedEventAttributes).length, 3);
  await handle.terminate();
});
