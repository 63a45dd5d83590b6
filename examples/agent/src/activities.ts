// The agent's hands: one call of a function through hob's ingress each. A refusal by the function is final, anything else is tried again.
import { request } from 'node:http';
import { ApplicationFailure } from '@temporalio/common';
import type { Finding, Item } from './types';

const INGRESS = process.env.AGENT_INGRESS ?? '127.0.0.1:8080';
const ANSWER_MS = 25_000; // less than the activity's own limit: the reason is then told instead of a bare timeout

function call(service: string, key: string, body: unknown): Promise<any> {
  const text = JSON.stringify(body);
  const [host, port] = INGRESS.split(':');
  return new Promise((resolve, reject) => {
    const r = request({ host, port, method: 'POST', path: '/', timeout: ANSWER_MS,
                        headers: { host: `${service}.default.localhost`, 'content-type': 'application/json',
                                   'content-length': Buffer.byteLength(text), 'idempotency-key': `"${key}"` } }, (answer) => {
      const pieces: Buffer[] = [];
      answer.on('data', (p: Buffer) => pieces.push(p));
      answer.on('error', reject);
      answer.on('end', () => {
        const said = Buffer.concat(pieces).toString();
        const status = answer.statusCode ?? 0;
        if (status === 200) return resolve(JSON.parse(said));
        const why = `${service} answered ${status}: ${said.slice(0, 500)}`;
        const final = status >= 400 && status < 500 && status !== 429;
        reject(final ? ApplicationFailure.nonRetryable(why, 'Refused') : new Error(why));
      });
    });
    r.on('timeout', () => r.destroy(new Error(`${service} did not answer within ${ANSWER_MS} ms`)));
    r.on('error', reject);
    r.end(text);
  });
}

export async function classify(key: string, item: Item): Promise<Finding> {
  const answer = await call('event-classifier', key, { id: item.id, text: item.text });
  return { id: item.id, section: answer.section };
}

export async function summarise(key: string, findings: Finding[]): Promise<string> {
  return (await call('summariser', key, { findings })).summary;
}
