// What the agent is asked for, what it remembers between its runs, and what it answers. Everything here travels as JSON.

export interface Item { id: string; text: string }
export interface Goal { items: Item[]; perRun: number; sleepMs: number }
export interface Finding { id: string; section: string }
export interface Memory { findings: Finding[]; summaries: string[]; approvals: string[]; runs: number }
export interface Report { classified: number; sections: Record<string, number>; summaries: string[]; approvals: string[]; runs: number }

// Where the agent is, for the query "state".
export interface State { step: 'planning' | 'acting' | 'waiting for approval' | 'sleeping' | 'reporting'; run: number }
