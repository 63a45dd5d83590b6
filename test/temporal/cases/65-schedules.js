const assert = require('assert');

const every = (seconds) => ({ intervals: [{ every: seconds * 1000 }] });
const never = { calendars: [{ year: 2099 }] };
const action = (w, type, args = []) => ({ type: 'startWorkflow', workflowType: type, taskQueue: w.queue, args });
const make = (w, type, args, more = {}) => w.client.schedule.create({ scheduleId: w.id('schedule'), spec: never,
  action: action(w, type, args), ...more });
const recent = async (h) => (await h.describe()).info.recentActions;
const statusOf = async (w, a) => (await w.client.workflow.getHandle(a.action.workflow.workflowId).describe()).status.name;
const ended = (w, h, n, name = 'COMPLETED') => w.until(`${n} actions have ended`, async () => {
  const all = await recent(h);
  return all.length >= n && (await Promise.all(all.map((a) => statusOf(w, a)))).every((s) => s === name) && all;
});

test('a schedule is made, described, and gone when it is deleted', async (w) => {
  const h = await make(w, 'value', [7], { memo: { who: 'me' }, state: { note: 'first' },
    spec: { ...never, cronExpressions: ['30 4 * * MON'] } });
  const d = await h.describe();
  assert.strictEqual(d.scheduleId, h.scheduleId);
  assert.strictEqual(d.action.workflowType, 'value');
  assert.deepStrictEqual(d.memo, { who: 'me' });
  assert.strictEqual(d.state.note, 'first');
  assert.strictEqual(d.spec.calendars.length, 2);
  assert.strictEqual(d.info.nextActionTimes.length, 10);
  for (const t of d.info.nextActionTimes.slice(0, 9)) assert.strictEqual(new Date(t).getUTCDay(), 1);
  await h.delete();
  await assert.rejects(h.describe(), { name: 'ScheduleNotFoundError' });
  await assert.rejects(h.delete(), { name: 'ScheduleNotFoundError' });
});
test('a second schedule of an id is refused', async (w) => {
  const h = await make(w, 'nothing');
  await assert.rejects(make(w, 'nothing', [], { scheduleId: h.scheduleId }), { name: 'ScheduleAlreadyRunning' });
  await h.delete();
});
test('a schedule of every second acts each second, once', async (w) => {
  const h = await make(w, 'nothing', [], { spec: every(1), policies: { overlap: 'ALLOW_ALL' } });
  const all = await w.until('three actions', async () => { const r = await recent(h); return r.length >= 3 && r; });
  await h.delete();
  const times = all.map((a) => a.scheduledAt.getTime());
  for (let i = 1; i < times.length; i++) assert.strictEqual(times[i] - times[i - 1], 1000);
  for (const a of all) {
    assert.ok(a.takenAt >= a.scheduledAt);
    assert.ok(a.action.workflow.workflowId.endsWith(a.scheduledAt.toISOString().replace('.000', '')));
    const x = await w.client.workflow.getHandle(a.action.workflow.workflowId).describe();
    assert.deepStrictEqual(x.searchAttributes.TemporalScheduledById, [h.scheduleId]);
    assert.strictEqual(x.searchAttributes.TemporalScheduledStartTime[0].getTime(), a.scheduledAt.getTime());
  }
});
test('a schedule is triggered', async (w) => {
  const h = await make(w, 'value', [5]);
  await h.trigger();
  const [a] = await ended(w, h, 1);
  assert.strictEqual(await w.client.workflow.getHandle(a.action.workflow.workflowId).result(), 5);
  assert.strictEqual((await h.describe()).info.numActionsTaken, 1);
  await h.delete();
});
test('a schedule is triggered when it is made', async (w) => {
  const h = await make(w, 'value', [5], { state: { triggerImmediately: true } });
  await ended(w, h, 1);
  await h.delete();
});
test('a backfill does what would have been', async (w) => {
  const h = await make(w, 'nothing', [], { spec: every(60), state: { paused: true } });
  await h.backfill({ start: new Date('2026-01-01T00:00:30Z'), end: new Date('2026-01-01T00:05:00Z'), overlap: 'ALLOW_ALL' });
  const all = await ended(w, h, 5);
  assert.deepStrictEqual(all.map((a) => a.scheduledAt.toISOString().slice(14, 16)), ['01', '02', '03', '04', '05']);
  await h.delete();
});
test('a backfill that buffers does one after another', async (w) => {
  const h = await make(w, 'nothing', [], { spec: every(60), state: { paused: true } });
  await h.backfill({ start: new Date('2026-01-01T00:00:30Z'), end: new Date('2026-01-01T00:05:00Z'), overlap: 'BUFFER_ALL' });
  assert.strictEqual((await ended(w, h, 5)).length, 5);
  await h.delete();
});
test('a paused schedule rests until it goes on', async (w) => {
  const h = await make(w, 'nothing', [], { spec: every(1), state: { paused: true } });
  assert.strictEqual((await h.describe()).state.paused, true);
  await h.unpause('now');
  assert.strictEqual((await h.describe()).state.note, 'now');
  await w.until('an action', async () => (await recent(h)).length > 0);
  await h.pause('enough');
  const d = await h.describe();
  assert.strictEqual(d.state.paused, true);
  assert.strictEqual(d.state.note, 'enough');
  await new Promise((r) => setTimeout(r, 2500));
  assert.strictEqual((await h.describe()).info.numActionsTaken, d.info.numActionsTaken);
  await h.delete();
});
test('an update changes what is started', async (w) => {
  const h = await make(w, 'value', ['old']);
  await h.update((was) => ({ ...was, action: { ...was.action, args: ['new'] }, spec: every(3600) }));
  const d = await h.describe();
  assert.strictEqual(d.spec.intervals[0].every, 3600000);
  assert.ok(d.info.lastUpdatedAt);
  await h.trigger();
  const [a] = await ended(w, h, 1);
  assert.strictEqual(await w.client.workflow.getHandle(a.action.workflow.workflowId).result(), 'new');
  await h.delete();
});
test('what still runs is not started again', async (w) => {
  const h = await make(w, 'childWaits', [], { spec: every(1), policies: { overlap: 'SKIP' } });
  const d = await w.until('a skip', async () => { const x = await h.describe(); return x.info.numActionsSkippedOverlap > 0 && x; });
  assert.strictEqual(d.info.runningActions.length, 1);
  assert.strictEqual(d.info.numActionsTaken, 1);
  const first = d.info.runningActions[0].workflow.workflowId;
  await w.client.workflow.getHandle(first).signal('finish');
  await w.until('the next one', async () => (await h.describe()).info.numActionsTaken > 1);
  await h.pause();
  for (const x of (await h.describe()).info.runningActions)
    await w.client.workflow.getHandle(x.workflow.workflowId).terminate().catch(() => {});
  await h.delete();
});
test('what still runs is cancelled for the next', async (w) => {
  const h = await make(w, 'cancelled', [], { policies: { overlap: 'CANCEL_OTHER' } });
  await h.trigger('CANCEL_OTHER');
  const [a] = await w.until('the first', async () => { const r = await recent(h); return r.length && r; });
  await new Promise((r) => setTimeout(r, 1100)); // ids are of whole seconds
  await h.trigger('CANCEL_OTHER');
  const all = await w.until('the second', async () => { const r = await recent(h); return r.length > 1 && r; });
  assert.notStrictEqual(await statusOf(w, a), 'RUNNING');
  await w.client.workflow.getHandle(all[1].action.workflow.workflowId).terminate();
  await h.delete();
});
test('what still runs is terminated for the next', async (w) => {
  const h = await make(w, 'childWaits', [], { policies: { overlap: 'TERMINATE_OTHER' } });
  await h.trigger('TERMINATE_OTHER');
  const [a] = await w.until('the first', async () => { const r = await recent(h); return r.length && r; });
  await new Promise((r) => setTimeout(r, 1100));
  await h.trigger('TERMINATE_OTHER');
  const all = await w.until('the second', async () => { const r = await recent(h); return r.length > 1 && r; });
  assert.strictEqual(await statusOf(w, a), 'TERMINATED');
  await w.client.workflow.getHandle(all[1].action.workflow.workflowId).terminate();
  await h.delete();
});
test('a failure pauses a schedule that says so', async (w) => {
  const h = await make(w, 'fails', ['no'], { policies: { pauseOnFailure: true } });
  await h.trigger('SKIP');
  const d = await w.until('it is paused', async () => { const x = await h.describe(); return x.state.paused && x; });
  assert.ok(/failure/.test(d.state.note));
  await h.delete();
});
test('limited actions end', async (w) => {
  const h = await make(w, 'nothing', [], { spec: every(1), state: { remainingActions: 2 }, policies: { overlap: 'ALLOW_ALL' } });
  await w.until('both are done', async () => (await h.describe()).info.numActionsTaken === 2);
  const d = await h.describe();
  assert.strictEqual(d.state.remainingActions, 0);
  assert.strictEqual(d.info.nextActionTimes.length, 0);
  await h.delete();
});
test('schedules are listed', async (w) => {
  const made = [await make(w, 'nothing', [], { spec: every(3600) }), await make(w, 'nothing', [], { state: { paused: true } })];
  const seen = {};
  for await (const x of w.client.schedule.list()) seen[x.scheduleId] = x;
  for (const h of made) assert.ok(seen[h.scheduleId], h.scheduleId);
  assert.strictEqual(seen[made[0].scheduleId].info.nextActionTimes.length, 5);
  assert.strictEqual(seen[made[1].scheduleId].state.paused, true);
  const paused = [];
  for await (const x of w.client.schedule.list({ query: 'TemporalSchedulePaused = true' })) paused.push(x.scheduleId);
  assert.ok(paused.includes(made[1].scheduleId) && !paused.includes(made[0].scheduleId));
  for (const h of made) await h.delete();
});
test('a schedule that cannot be is refused', async (w) => {
  await assert.rejects(make(w, 'nothing', [], { spec: { intervals: [{ every: 10 }] } }), /interval/);
  await assert.rejects(make(w, 'nothing', [], { spec: { cronExpressions: ['61 * * * *'] } }), /Minute|minute|INVALID/i);
  await assert.rejects(make(w, 'nothing', [], { spec: { ...every(1), timezone: 'Nowhere/Land' } }), /zone/);
});
