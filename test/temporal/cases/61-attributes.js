const assert = require('assert');
const { defineSearchAttributeKey, TypedSearchAttributes, SearchAttributeType } = require('@temporalio/common');

const key = (name, type) => defineSearchAttributeKey(name, SearchAttributeType[type]);
const K = { keyword: key('CustomKeywordField', 'KEYWORD'), list: key('CustomKeywordListField', 'KEYWORD_LIST'), text: key('CustomTextField', 'TEXT'),
            int: key('CustomIntField', 'INT'), double: key('CustomDoubleField', 'DOUBLE'), bool: key('CustomBoolField', 'BOOL'),
            time: key('CustomDatetimeField', 'DATETIME') };
const count = async (w, query) => Number((await w.client.workflow.count(query)).count);

test('every type of search attribute is typed, and found by its own operators', async (w) => {
  const when = new Date('2026-01-02T03:04:05.678Z');
  const typed = new TypedSearchAttributes([{ key: K.keyword, value: 'one word' }, { key: K.list, value: ['red', 'green'] }, { key: K.text,
    value: 'the quick fox' }, { key: K.int, value: 42 }, { key: K.double, value: 2.5 }, { key: K.bool, value: false }, { key: K.time, value: when }]);
  const handle = await w.start('childWaits', [], { typedSearchAttributes: typed });
  const got = (await handle.describe()).typedSearchAttributes;
  assert.deepStrictEqual([got.get(K.keyword), got.get(K.list), got.get(K.text), got.get(K.int), got.get(K.double), got.get(K.bool)],
    ['one word', ['red', 'green'], 'the quick fox', 42, 2.5, false]);
  assert.strictEqual(got.get(K.time).getTime(), when.getTime());
  for (const [query, want] of [["CustomKeywordField = 'one word'", 1], ["CustomKeywordField = 'one'", 0], ["CustomKeywordField STARTS_WITH 'one'", 1],
    ["CustomKeywordListField = 'red'", 1], ["CustomKeywordListField IN ('blue', 'green')", 1], ["CustomKeywordListField = 'blue'", 0],
    ["CustomTextField = 'quick'", 1], ["CustomTextField = 'qui'", 0], ['CustomIntField BETWEEN 42 AND 43', 1], ['CustomIntField != 42', 0],
    ['CustomDoubleField > 2.4', 1], ['CustomBoolField = false', 1], ['CustomBoolField IS NULL', 0],
    ["CustomDatetimeField >= '2026-01-02T03:04:05.678Z'", 1], ["CustomDatetimeField > '2026-01-02T03:04:05.678Z'", 0]])
    assert.strictEqual(await count(w, `WorkflowId = '${handle.workflowId}' AND ${query}`), want, query);
  await handle.signal('finish');
  await handle.result();
});
test('an upsert takes an attribute away', async (w) => {
  const handle = await w.start('takesAway', [], { typedSearchAttributes: [{ key: K.keyword, value: 'goes' }, { key: K.int, value: 1 }] });
  assert.strictEqual(await count(w, `WorkflowId = '${handle.workflowId}' AND CustomKeywordField = 'goes'`), 1);
  await handle.signal('finish');
  assert.deepStrictEqual(await handle.result(), { CustomIntField: [2] });
  assert.strictEqual(await count(w, `WorkflowId = '${handle.workflowId}' AND CustomKeywordField IS NULL AND CustomIntField = 2`), 1);
});
test('children and continued runs have the attributes they are given', async (w) => {
  const tag = w.id('tag');
  await w.run('givesAttributes', [tag], { workflowId: `${tag}-parent`, typedSearchAttributes: [{ key: K.keyword, value: tag }] });
  assert.strictEqual(await count(w, `WorkflowId = '${tag}-child' AND CustomKeywordField = '${tag}-child'`), 1);
  assert.strictEqual(await count(w, `WorkflowId = '${tag}-parent' AND CustomKeywordField = '${tag}'`), 1);
  assert.strictEqual(await count(w, `WorkflowId = '${tag}-parent' AND CustomKeywordField = '${tag}-again'`), 1);
});
test('a child with an attribute of another type fails the task', async (w) => {
  const handle = await w.start('childOfWrongAttribute');
  const failed = await w.until('a failed task', async () =>
    (await handle.fetchHistory()).events.find((e) => e.workflowTaskFailedEventAttributes));
  assert.match(failed.workflowTaskFailedEventAttributes.failure.message, /invalid value for search attribute CustomIntField of type Int/);
  await handle.terminate();
});
test('a schedule of what nobody defined is refused', async (w) => {
  const action = (searchAttributes) => ({ type: 'startWorkflow', workflowType: 'nothing', taskQueue: w.queue, searchAttributes });
  const create = (more, own) => w.client.schedule.create({ scheduleId: w.id('s'), spec: { intervals: [{ every: '1h' }] }, action: action(more),
    searchAttributes: own });
  await assert.rejects(create({ Undefined: ['x'] }), (e) => /no mapping defined for search attribute Undefined/.test(String(e.cause?.details ?? e)));
  await assert.rejects(create(undefined, { Undefined: ['x'] }), (e) => /no mapping defined for search attribute Undefined/.test(String(e.cause?.details ?? e)));
  const handle = await create({ CustomKeywordField: ['scheduled'] });
  await handle.delete();
});
test('what no list can do is said in words of Temporal', async (w) => {
  for (const [query, want] of [['ORDER BY StartTime', /operation is not supported: 'ORDER BY' clause/], ['LIMIT 3', /'LIMIT' clause/],
    ['GROUP BY ExecutionStatus', /'GROUP BY' clause/], ['Undefined = 1', /invalid search attribute: Undefined/],
    ["CustomIntField = 'x'", /invalid value type for search attribute CustomIntField of type Int/]])
    await assert.rejects((async () => { for await (const x of w.client.workflow.list({ query })) void x; })(),
      (e) => want.test(e.cause.details), query);
  await assert.rejects(w.client.workflow.count('GROUP BY WorkflowType'), (e) => /'GROUP BY' clause is not supported/.test(e.cause.details));
});
