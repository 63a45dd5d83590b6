// Activities of the programs. What they have done is counted in this process, so that a program can see repetitions.
const { Context, CompleteAsyncError, ApplicationFailure, heartbeat, sleep, activityInfo } = require('@temporalio/activity');

const counts = new Map();
const seen = (key) => counts.get(key) || 0;
const count = (key) => counts.set(key, seen(key) + 1).get(key);
const tokens = new Map();

module.exports = {
  counts, tokens, seen,
  async greet(name) { return `Hello, ${name}!`; },
  async echo(value) { return value; },
  async nothing() {},
  async failTimes(key, times) {
    const n = count(key);
    if (n <= times) throw new Error(`failed ${n}`);
    return n;
  },
  async failFinally(key) { count(key); throw ApplicationFailure.nonRetryable('it cannot be', 'Impossible', 'detail'); },
  async failTyped(key, type) { count(key); throw ApplicationFailure.create({ message: 'typed', type }); },
  async failAndAskForDelay(key) {
    if (count(key) === 1) throw ApplicationFailure.create({ message: 'later', nextRetryDelay: '1200ms' });
    return activityInfo().attempt;
  },
  async progress(key) { // heartbeats, dies once, and goes on where it was
    const from = activityInfo().heartbeatDetails || 0;
    for (let i = from + 1; i <= 5; i++) {
      heartbeat(i);
      await sleep(20);
      if (i === 3 && count(key) === 1) throw new Error('died at 3');
    }
    return { from };
  },
  async silent(key) { // heartbeats are promised and do not come
    const n = count(key);
    if (n === 1) { heartbeat('last words'); await sleep(3000).catch(() => {}); return 'too late'; }
    return `details: ${activityInfo().heartbeatDetails}`;
  },
  async slow(ms) { await sleep(ms).catch(() => {}); return 'slept'; },
  async waitForCancel() {
    for (;;) { heartbeat(); await sleep(50); }
  },
  async waitForCancelThenReturn() {
    try { for (;;) { heartbeat(); await sleep(50); } } catch { return 'cleaned up'; }
  },
  async completeLater(key) {
    const info = activityInfo();
    tokens.set(key, { token: info.taskToken, workflowId: info.workflowExecution.workflowId, activityId: info.activityId });
    throw new CompleteAsyncError();
  },
  async info() {
    const i = activityInfo();
    return { attempt: i.attempt, taskQueue: i.taskQueue, workflowType: i.workflowType, type: i.activityType,
             namespace: i.workflowNamespace, local: i.isLocal };
  },
  async large(bytes) { return 'x'.repeat(bytes); },
  async head() { return Context.current().info.header || {}; },
};
