// The agent. It may take a year; what it awaits is kept by hob, so no process has to live that long.
import { condition, continueAsNew, defineQuery, defineSignal, proxyActivities, setHandler, sleep, workflowInfo } from '@temporalio/workflow';
import type * as activities from './activities';
import { plan, type Step } from './planner';
import type { Finding, Goal, Memory, Report, State } from './types';

const { classify, summarise } = proxyActivities<typeof activities>({
  startToCloseTimeout: '30s',
  retry: { initialInterval: '200ms', maximumInterval: '2s' },
});

export const approve = defineSignal<[string]>('approve');
export const state = defineQuery<State>('state');

export async function agent(goal: Goal, memory: Memory = { findings: [], summaries: [], approvals: [], runs: 0 }): Promise<Report> {
  const here: State = { step: 'planning', run: memory.runs + 1 };
  const signed: string[] = [];
  setHandler(approve, (who) => { signed.push(who); });
  setHandler(state, () => here);
  const found: Finding[] = [];

  const act = async (step: Step): Promise<void> => {
    // The key names the effect, not the attempt: it is the same in every attempt and every replay.
    const key = (what: string) => `${workflowInfo().workflowId}/${memory.runs + 1}/${what}`;
    switch (step.do) {
      case 'classify':
        here.step = 'acting';
        found.push(await classify(key(step.item.id), step.item));
        break;
      case 'summarise':
        here.step = 'acting';
        memory.summaries.push(await summarise(key('summary'), found));
        break;
      case 'ask':
        here.step = 'waiting for approval';
        await condition(() => signed.length > 0);
        break;
      case 'sleep':
        here.step = 'sleeping';
        await sleep(goal.sleepMs);
        break;
      case 'goOn':
        await continueAsNew<typeof agent>(goal, remembered());
        break;
      case 'report':
        here.step = 'reporting';
        break;
    }
  };
  const remembered = (): Memory => ({ findings: [...memory.findings, ...found], summaries: memory.summaries,
                                      approvals: [...memory.approvals, ...signed], runs: memory.runs + 1 });

  for (const step of plan(goal, memory)) await act(step);
  const all = remembered();
  const sections: Record<string, number> = {};
  for (const f of all.findings) sections[f.section] = (sections[f.section] ?? 0) + 1;
  return { classified: all.findings.length, sections, summaries: all.summaries, approvals: all.approvals, runs: all.runs };
}
