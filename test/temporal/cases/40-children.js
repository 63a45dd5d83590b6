const assert = require('assert');

test('a child', async (w) => {
  const id = w.id('child');
  const handle = await w.start('parent', [id]);
  assert.strictEqual(await handle.result(), 'from parent');
  const child = await w.client.workflow.getHandle(id).describe();
  assert.strictEqual(child.parentExecution.workflowId, handle.workflowId);
  assert.strictEqual(child.rootExecution.workflowId, handle.workflowId);
  assert.deepStrictEqual((await w.history(handle)).filter((n) => /Child/.test(n)),
    ['StartChildWorkflowExecutionInitiated', 'ChildWorkflowExecutionStarted', 'ChildWorkflowExecutionCompleted']);
});
test('a child that fails', async (w) => {
  const { error } = await w.run('parentOfFailing', [w.id('child')]);
  assert.strictEqual(error.name, 'ChildWorkflowFailure');
  assert.strictEqual(error.cause.type, 'ChildNo');
});
test('twenty children', async (w) => assert.strictEqual(await w.run('parentOfMany', [20]), 20));
test('a parent signals its child', async (w) => assert.strictEqual(await w.run('parentSignals', [w.id('child')]), 'let go'));
test('a child whose id is taken', async (w) => {
  const other = await w.start('childWaits');
  const { error } = await w.run('parentOfTaken', [other.workflowId]);
  assert.strictEqual(error.name, 'WorkflowExecutionAlreadyStartedError');
  await other.signal('finish');
});
test('a parent cancels its child', async (w) => {
  const id = w.id('child');
  const { error } = await w.run('parentCancels', [id]);
  assert.strictEqual(error.cause.name, 'CancelledFailure');
  assert.strictEqual((await w.client.workflow.getHandle(id).describe()).status.name, 'CANCELLED');
});
const leaves = (policy, end) => async (w) => {
  const id = w.id('child');
  assert.strictEqual(await w.run('parentLeaves', [id, policy]), 'left');
  const child = w.client.workflow.getHandle(id);
  await w.until(end, async () => (await child.describe()).status.name === end);
  if (end === 'RUNNING') await child.signal('finish');
};
test('a parent that ends terminates its child', leaves('TERMINATE', 'TERMINATED'));
test('a parent that ends cancels its child', leaves('REQUEST_CANCEL', 'CANCELLED'));
test('a parent that ends lets its child go on', leaves('ABANDON', 'RUNNING'));
test('a child is tried again', async (w) => assert.strictEqual(await w.run('childRetried', [w.id('child')]), 3));
test('a child times out', async (w) => {
  const { error } = await w.run('childTimesOut', [w.id('child')]);
  assert.strictEqual(error.cause.name, 'TimeoutFailure');
});
test('a child that continues as new is one child', async (w) => assert.strictEqual(await w.run('childContinues', [w.id('child')]), 3));
