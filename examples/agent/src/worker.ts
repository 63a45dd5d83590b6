// A worker: runs the agent's workflow and activities until it is told to end.
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import * as activities from './activities';

async function main() {
  Runtime.install({ logger: new DefaultLogger('WARN') });
  const connection = await NativeConnection.connect({ address: process.env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233' });
  const worker = await Worker.create({ connection, taskQueue: 'agent', workflowsPath: require.resolve('./workflow'), activities });
  await worker.run();
  await connection.close();
}

main().catch((e) => { console.error(e); process.exit(1); });
