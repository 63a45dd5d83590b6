const assert = require('assert');

test('a timer is not early', async (w) => assert.ok(await w.run('sleeps', [300]) >= 300));
test('a timer is cancelled', async (w) => {
  const handle = await w.start('timerCancelled');
  assert.strictEqual((await handle.result()).error.name, 'CancelledFailure');
  assert.ok((await w.history(handle)).includes('TimerCanceled'));
});
test('a hundred timers', async (w) => assert.strictEqual(await w.run('manyTimers', [100]), 100));
test('what comes first wins', async (w) => assert.strictEqual(await w.run('race'), 'timer'));
test('a condition times out', async (w) => assert.strictEqual(await w.run('conditionTimesOut'), false));
test('signals arrive in the order they were sent', async (w) => {
  const handle = await w.start('collects');
  for (let i = 0; i < 20; i++) await handle.signal('add', i);
  await handle.signal('finish');
  assert.deepStrictEqual(await handle.result(), [...Array(20).keys()]);
});
test('a hundred signals at once are all there', async (w) => {
  const handle = await w.start('waitsFor', [100]);
  await Promise.all([...Array(100).keys()].map((i) => handle.signal('add', i)));
  assert.deepStrictEqual((await handle.result()).sort((a, b) => a - b), [...Array(100).keys()]);
});
test('a handler may run activities', async (w) => {
  const handle = await w.start('signalInActivity');
  await Promise.all([1, 2, 3].map((i) => handle.signal('add', i)));
  assert.deepStrictEqual((await handle.result()).sort(), [1, 2, 3]);
});
test('a signal starts what is not there, and finds what is', async (w) => {
  const workflowId = w.id();
  const options = { taskQueue: w.queue, workflowId, args: [2], signal: 'add' };
  const first = await w.client.workflow.signalWithStart('waitsFor', { ...options, signalArgs: ['a'] });
  const second = await w.client.workflow.signalWithStart('waitsFor', { ...options, signalArgs: ['b'] });
  assert.strictEqual(first.signaledRunId, second.signaledRunId);
  assert.deepStrictEqual(await first.result(), ['a', 'b']);
});
test('a signal to what has ended is refused', async (w) => {
  const handle = await w.start('nothing');
  await handle.result();
  await assert.rejects(handle.signal('add', 1), { name: 'WorkflowNotFoundError' });
});
test('a signal to what never was is refused', async (w) =>
  assert.rejects(w.client.workflow.getHandle(w.id()).signal('add', 1), { name: 'WorkflowNotFoundError' }));
test('one workflow signals another', async (w) => {
  const other = await w.start('childWaits');
  assert.strictEqual(await w.run('signalsOther', [other.workflowId]), 'signalled');
  assert.strictEqual(await other.result(), 'let go');
});
test('a signal to nobody fails in the workflow', async (w) => {
  const { error } = await w.run('signalsNobody');
  assert.ok(/not found|NOT_FOUND/i.test(error.message), error.message);
});
test('one workflow cancels another', async (w) => {
  const other = await w.start('cancelled');
  assert.strictEqual(await w.run('cancelsOther', [other.workflowId]), 'cancelled');
  await assert.rejects(other.result(), (e) => e.cause.name === 'CancelledFailure');
});
test('cancelling nobody fails in the workflow', async (w) => {
  const { error } = await w.run('cancelsNobody');
  assert.ok(/not found|NOT_FOUND/i.test(error.message), error.message);
});
