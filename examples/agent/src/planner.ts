// The planner: from the goal and what is known already, the next steps. Pure, so that a replay plans the same again.
import type { Goal, Item, Memory } from './types';

export type Step =
  | { do: 'classify'; item: Item }
  | { do: 'summarise' }
  | { do: 'ask' }      // a human says yes
  | { do: 'sleep' }
  | { do: 'goOn' }     // in a new run, with a short history
  | { do: 'report' };

export function plan(goal: Goal, memory: Memory): Step[] {
  const known = new Set(memory.findings.map((f) => f.id));
  const unknown = goal.items.filter((item) => !known.has(item.id));
  const now = unknown.slice(0, goal.perRun);
  if (now.length === 0) return [{ do: 'report' }];
  const steps: Step[] = now.map((item) => ({ do: 'classify', item }));
  steps.push({ do: 'summarise' });
  if (memory.runs === 0) steps.push({ do: 'ask' }, { do: 'sleep' });
  steps.push(unknown.length > now.length ? { do: 'goOn' } : { do: 'report' });
  return steps;
}
