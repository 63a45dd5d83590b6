// The programs' workflows. Each is what its name says, as a user would write it.
const wf = require('@temporalio/workflow');
const { defineSearchAttributeKey, SearchAttributeType } = require('@temporalio/common');

const quick = wf.proxyActivities({ startToCloseTimeout: '60s', retry: { initialInterval: '50ms', maximumInterval: '200ms' } });
const once = wf.proxyActivities({ startToCloseTimeout: '60s', retry: { maximumAttempts: 1 } });
const local = wf.proxyLocalActivities({ startToCloseTimeout: '60s', retry: { initialInterval: '50ms' } });

const describe = (e) => {
  const cause = e && e.cause ? describe(e.cause) : undefined;
  return { name: e?.name, message: e?.message, type: e?.type, retryState: e?.retryState, timeoutType: e?.timeoutType,
           details: e?.details, heartbeat: e?.lastHeartbeatDetails, nonRetryable: e?.nonRetryable, cause };
};
const attempt = async (fn) => { try { return { ok: await fn() }; } catch (e) { return { error: describe(e) }; } };

exports.hello = async (name) => quick.greet(name);
exports.nothing = async () => {};
exports.value = async (v) => v;
exports.fails = async (message) => { throw wf.ApplicationFailure.nonRetryable(message, 'Wrong', 1, 2); };
exports.failsPlainly = async () => { throw wf.ApplicationFailure.create({ message: 'no', type: 'No' }); };
exports.steps = async (n) => { let v = 0; for (let i = 0; i < n; i++) v = await quick.echo(v + 1); return v; };
exports.parallel = async (n) => {
  const all = await Promise.all([...Array(n).keys()].map((i) => quick.echo(i)));
  return all.reduce((a, b) => a + b, 0);
};
exports.retried = async (key, times) => quick.failTimes(key, times);
exports.attemptsEnd = async (key) => attempt(() => wf.proxyActivities({ startToCloseTimeout: '60s',
  retry: { initialInterval: '20ms', maximumAttempts: 3 } }).failTimes(key, 100));
exports.notRetried = async (key) => attempt(() => quick.failFinally(key));
exports.typeNotRetried = async (key) => attempt(() => wf.proxyActivities({ startToCloseTimeout: '60s',
  retry: { initialInterval: '20ms', nonRetryableErrorTypes: ['Fatal'] } }).failTyped(key, 'Fatal'));
exports.nextDelay = async (key) => quick.failAndAskForDelay(key);
exports.progress = async (key) => quick.progress(key);
exports.heartbeatTimeout = async (key) => wf.proxyActivities({ startToCloseTimeout: '60s', heartbeatTimeout: '500ms',
  retry: { initialInterval: '20ms' } }).silent(key);
exports.startToClose = async () => attempt(() => wf.proxyActivities({ startToCloseTimeout: '300ms',
  retry: { maximumAttempts: 1 } }).slow(5000));
exports.startToCloseRetried = async () => attempt(() => wf.proxyActivities({ startToCloseTimeout: '200ms',
  retry: { maximumAttempts: 2, initialInterval: '20ms' } }).slow(5000));
exports.scheduleToStart = async () => attempt(() => wf.proxyActivities({ scheduleToCloseTimeout: '60s',
  scheduleToStartTimeout: '300ms', taskQueue: 'nobody-polls-this' }).greet('x'));
exports.scheduleToClose = async (key) => attempt(() => wf.proxyActivities({ scheduleToCloseTimeout: '800ms',
  retry: { initialInterval: '200ms', backoffCoefficient: 1 } }).failTimes(key, 1000));
exports.activityInfo = async () => quick.info();
exports.asyncActivity = async (key) => attempt(() => once.completeLater(key));
exports.asyncActivityById = async (key) => attempt(() => wf.proxyActivities({ startToCloseTimeout: '60s', activityId: 'known',
  retry: { maximumAttempts: 1 } }).completeLater(key));
exports.asyncHeartbeat = async (key) => attempt(() => wf.proxyActivities({ startToCloseTimeout: '60s', heartbeatTimeout: '30s',
  retry: { maximumAttempts: 1 } }).completeLater(key));
exports.localActivity = async (key) => [await local.greet('near'), await local.failTimes(key, 2)];
exports.localInfo = async () => local.info();
exports.largeResult = async (bytes) => (await quick.large(bytes)).length;
exports.activityHead = async () => quick.head();

const cancelling = (type, name) => async () => {
  const act = wf.proxyActivities({ startToCloseTimeout: '60s', heartbeatTimeout: '10s', cancellationType: type,
    retry: { maximumAttempts: 1 } });
  const scope = new wf.CancellationScope();
  const running = scope.run(() => act[name]());
  await wf.sleep(300);
  scope.cancel();
  return attempt(() => running);
};
exports.cancelTry = cancelling('TRY_CANCEL', 'waitForCancel');
exports.cancelWait = cancelling('WAIT_CANCELLATION_COMPLETED', 'waitForCancel');
exports.cancelWaitReturns = cancelling('WAIT_CANCELLATION_COMPLETED', 'waitForCancelThenReturn');
exports.cancelAbandon = cancelling('ABANDON', 'waitForCancelThenReturn');
exports.cancelUnstarted = async () => {
  const scope = new wf.CancellationScope();
  const running = scope.run(() => wf.proxyActivities({ scheduleToCloseTimeout: '60s', taskQueue: 'nobody-polls-this',
    cancellationType: 'WAIT_CANCELLATION_COMPLETED' }).greet('x'));
  await wf.sleep(50);
  scope.cancel();
  return attempt(() => running);
};

exports.sleeps = async (ms) => { const at = Date.now(); await wf.sleep(ms); return Date.now() - at; };
exports.timerCancelled = async () => {
  const scope = new wf.CancellationScope();
  const sleeping = scope.run(() => wf.sleep('1h'));
  await wf.sleep(20);
  scope.cancel();
  return attempt(() => sleeping);
};
exports.race = async () => Promise.race([wf.sleep(100).then(() => 'timer'), quick.slow(2000).then(() => 'activity')]);
exports.manyTimers = async (n) => { await Promise.all([...Array(n).keys()].map((i) => wf.sleep(10 + i))); return n; };

const add = wf.defineSignal('add');
const finish = wf.defineSignal('finish');
exports.collects = async () => {
  const got = []; let done = false;
  wf.setHandler(add, (v) => { got.push(v); });
  wf.setHandler(finish, () => { done = true; });
  await wf.condition(() => done);
  return got;
};
exports.waitsFor = async (n) => {
  const got = [];
  wf.setHandler(add, (v) => { got.push(v); });
  await wf.condition(() => got.length >= n);
  return got;
};
exports.conditionTimesOut = async () => wf.condition(() => false, 100);
exports.signalInActivity = async () => {
  const got = [];
  wf.setHandler(add, async (v) => { got.push(await quick.echo(v)); });
  await wf.condition(() => got.length >= 3);
  return got;
};

const state = wf.defineQuery('state');
const broken = wf.defineQuery('broken');
exports.queried = async () => {
  let at = 'begun'; let done = false;
  wf.setHandler(state, (suffix = '') => at + suffix);
  wf.setHandler(broken, () => { throw new Error('cannot say'); });
  wf.setHandler(add, () => { at = 'signalled'; });
  wf.setHandler(finish, () => { done = true; });
  await wf.condition(() => done);
  at = 'ended';
};

const change = wf.defineUpdate('change');
const slowChange = wf.defineUpdate('slowChange');
const never = wf.defineUpdate('never');
exports.updated = async () => {
  let value = 0; let done = false;
  wf.setHandler(change, (v) => { const old = value; value = v; return old; },
    { validator: (v) => { if (v < 0) throw new Error('below zero'); } });
  wf.setHandler(slowChange, async (v) => { await quick.echo(v); value = v; return 'slowly'; });
  wf.setHandler(never, async () => { await wf.condition(() => false); });
  wf.setHandler(finish, () => { done = true; });
  wf.setHandler(state, () => value);
  await wf.condition(() => done);
  return value;
};
exports.updateFails = async () => {
  let done = false;
  wf.setHandler(change, async () => { await wf.sleep(1); throw wf.ApplicationFailure.create({ message: 'refused late', type: 'Late' }); });
  wf.setHandler(finish, () => { done = true; });
  await wf.condition(() => done);
};

exports.child = async (v) => v;
exports.childFails = async () => { throw wf.ApplicationFailure.nonRetryable('child says no', 'ChildNo'); };
exports.childWaits = async () => { let done = false; wf.setHandler(finish, () => { done = true; }); await wf.condition(() => done); return 'let go'; };
exports.parent = async (id) => wf.executeChild('child', { workflowId: id, args: ['from parent'] });
exports.parentOfFailing = async (id) => attempt(() => wf.executeChild('childFails', { workflowId: id }));
exports.parentOfMany = async (n) => (await Promise.all([...Array(n).keys()].map((i) => wf.executeChild('child', { args: [i] })))).length;
exports.parentSignals = async (id) => {
  const handle = await wf.startChild('childWaits', { workflowId: id });
  await handle.signal('finish');
  return handle.result();
};
exports.parentOfTaken = async (id) => attempt(() => wf.executeChild('child', { workflowId: id, args: [1] }));
exports.parentCancels = async (id) => {
  const scope = new wf.CancellationScope();
  const running = scope.run(() => wf.executeChild('childWaits', { workflowId: id, cancellationType: 'WAIT_CANCELLATION_COMPLETED' }));
  await wf.sleep(200);
  scope.cancel();
  return attempt(() => running);
};
exports.parentLeaves = async (id, policy) => { await wf.startChild('childWaits', { workflowId: id, parentClosePolicy: policy }); return 'left'; };
exports.childRetried = async (id) => wf.executeChild('failsUntilAttempt', { workflowId: id, args: [3],
  retry: { initialInterval: '50ms', maximumAttempts: 5 } });
exports.failsUntilAttempt = async (n) => {
  const { attempt: a } = wf.workflowInfo();
  if (a < n) throw wf.ApplicationFailure.create({ message: `attempt ${a}` });
  return a;
};
exports.childTimesOut = async (id) => attempt(() => wf.executeChild('childWaits', { workflowId: id, workflowRunTimeout: '500ms' }));
exports.childContinues = async (id) => wf.executeChild('counts', { workflowId: id, args: [0, 3] });

exports.counts = async (n, last) => { if (n < last) await wf.continueAsNew(n + 1, last); return n; };
exports.keepsOnCounting = async (n) => {
  wf.setHandler(state, () => n);
  let done = false;
  wf.setHandler(finish, () => { done = true; });
  if (n < 2) { await wf.sleep(30); await wf.continueAsNew(n + 1); }
  await wf.condition(() => done);
  return n;
};
exports.continuesWithMemo = async (n) => {
  if (n === 0) await wf.makeContinueAsNewFunc({ memo: { kept: 'yes' } })(1);
  return wf.workflowInfo().memo;
};

exports.signalsOther = async (id) => { await wf.getExternalWorkflowHandle(id).signal('finish'); return 'signalled'; };
exports.signalsNobody = async () => attempt(() => wf.getExternalWorkflowHandle('there-is-no-such-workflow').signal('finish'));
exports.cancelsOther = async (id) => { await wf.getExternalWorkflowHandle(id).cancel(); return 'cancelled'; };
exports.cancelsNobody = async () => attempt(() => wf.getExternalWorkflowHandle('there-is-no-such-workflow').cancel());

exports.cancelled = async () => { await wf.sleep('1h'); };
exports.cleansUp = async () => {
  try { await wf.sleep('1h'); } catch (e) {
    if (!wf.isCancellation(e)) throw e;
    return wf.CancellationScope.nonCancellable(() => quick.greet('after all'));
  }
};
exports.ignoresCancel = async () => wf.CancellationScope.nonCancellable(async () => { await wf.sleep(300); return 'went on'; });

exports.patched = async () => (wf.patched('new-way') ? quick.greet('new') : quick.greet('old'));
exports.random = async () => { const a = [wf.uuid4(), Math.random(), Date.now()]; await wf.sleep(1); return [...a, wf.uuid4(), Math.random()].length; };
exports.memo = async () => { wf.upsertMemo({ b: 2, a: null }); return wf.workflowInfo().memo; };
const KEYWORD = defineSearchAttributeKey('CustomKeywordField', SearchAttributeType.KEYWORD);
const INT = defineSearchAttributeKey('CustomIntField', SearchAttributeType.INT);
exports.attributes = async () => {
  wf.upsertSearchAttributes({ CustomIntField: [7], CustomKeywordField: ['new'] });
  return wf.workflowInfo().searchAttributes;
};
exports.takesAway = async () => {
  let told = false;
  wf.setHandler(finish, () => { told = true; });
  await wf.condition(() => told);
  wf.upsertSearchAttributes([{ key: KEYWORD, value: null }, { key: INT, value: 2 }]);
  return wf.workflowInfo().searchAttributes;
};
exports.givesAttributes = async (tag, again) => {
  if (again) return;
  await wf.executeChild('child', { workflowId: `${tag}-child`, args: [1], typedSearchAttributes: [{ key: KEYWORD, value: `${tag}-child` }] });
  await wf.makeContinueAsNewFunc({ typedSearchAttributes: [{ key: KEYWORD, value: `${tag}-again` }] })(tag, true);
};
exports.childOfWrongAttribute = async () => wf.executeChild('child', { args: [1], searchAttributes: { CustomIntField: ['seven'] } });
exports.upsertsUndefined = async () => { wf.upsertSearchAttributes({ Undefined: ['x'] }); await wf.sleep(100); };
exports.info = async () => {
  const i = wf.workflowInfo();
  return { workflowId: i.workflowId, runId: i.runId, type: i.workflowType, taskQueue: i.taskQueue, attempt: i.attempt,
           firstExecutionRunId: i.firstExecutionRunId, namespace: i.namespace, historyLength: i.historyLength, cron: i.cronSchedule,
           parent: i.parent, root: i.root, lastResult: i.lastResult, lastFailure: i.lastFailure?.message,
           continuedFromExecutionRunId: i.continuedFromExecutionRunId };
};
exports.ticks = async () => { const last = wf.workflowInfo().lastResult || 0; return last + 1; };
exports.throwsInTask = async () => { throw new Error('a task failure, not a workflow failure'); };
exports.long = async (n) => { for (let i = 0; i < n; i++) await quick.nothing(); return n; };
