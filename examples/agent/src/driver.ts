// driver.js start ID GOAL | state ID | approve ID WHO | result ID | history ID -- one line of JSON as the answer.
import { Client, Connection } from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { agent, approve, state } from './workflow';

const camel = (name: string) => name.replace('EVENT_TYPE_', '').toLowerCase().replace(/(^|_)(.)/g, (_, __, c) => c.toUpperCase());

async function history(client: Client, id: string) {
  const runs = [];
  for await (const w of client.workflow.list({ query: `WorkflowId = "${id}"` })) runs.push(w);
  runs.sort((a, b) => a.startTime.getTime() - b.startTime.getTime());
  const all = [];
  for (const run of runs) {
    const h = await client.workflow.getHandle(id, run.runId).fetchHistory();
    all.push({ run: run.runId, status: run.status.name, events: (h.events ?? []).map((e: any) => ({
      id: Number(e.eventId), name: camel(temporal.api.enums.v1.EventType[e.eventType]),
      at: Number(e.eventTime.seconds) * 1000 + e.eventTime.nanos / 1e6,
      activity: e.activityTaskScheduledEventAttributes?.activityType?.name,
      attempt: e.activityTaskStartedEventAttributes?.attempt })) });
  }
  return all;
}

async function main() {
  const [what, id, text] = process.argv.slice(2);
  const connection = await Connection.connect({ address: process.env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233' });
  const client = new Client({ connection });
  const handle = client.workflow.getHandle<typeof agent>(id);
  const verbs: Record<string, () => Promise<unknown>> = {
    start: async () => (await client.workflow.start(agent, { workflowId: id, taskQueue: 'agent', args: [JSON.parse(text)] })).firstExecutionRunId,
    state: () => handle.query(state),
    approve: async () => { await handle.signal(approve, text); return true; },
    result: () => handle.result(),
    history: () => history(client, id),
  };
  if (!verbs[what]) throw new Error(`driver: ${what ?? 'nothing'} is none of ${Object.keys(verbs).join(', ')}`);
  console.log(JSON.stringify(await verbs[what]()));
  await connection.close();
}

main().catch((e) => { console.error(e.message); process.exit(1); });
