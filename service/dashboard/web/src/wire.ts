/** The part of the service's wire format that this client reads; a test holds it against service/contract. */

export type Scalar = boolean | number | string;
export type Value = Scalar | Scalar[];
export type Direction = "maximize" | "minimize";
export type StudyState = "active" | "paused" | "completed" | "stopped";
export type TrialState = "waiting" | "running" | "paused" | "completed" | "pruned" | "failed" | "cancelled";

export interface NonFinite {
  value: null;
  status: "nan" | "inf" | "-inf";
}

export interface Objective {
  metric: string;
  direction: Direction;
}

export interface Resource {
  name: string;
  max: number;
}

export interface Reference {
  official: number | null;
  baseline: number | null;
  published: number | null;
  human: number | null;
}

export interface Budget {
  hours: number | null;
  device_hours: number | null;
  resource: number | null;
  failures: number | null;
  target: number | null;
  no_improvement: number | null;
}

export interface BudgetUsed {
  hours: number;
  device_hours: number;
  failures: number;
  resource: number;
  since_improvement: number;
}

export interface StudySpec {
  description: string;
  objective: Objective | Objective[];
  task: object | null;
  space: Record<string, object>;
  sampler: { name: string };
  pruner: { name: string };
  resource: Resource | null;
  budget: Budget;
  reference: Reference | null;
}

export interface PreflightSummary {
  state: TrialState;
  state_reason: string | null;
  holds_back: boolean;
}

export interface Curve {
  x: number[];
  y: (number | null)[];
}

export interface Check {
  number: number;
  name: string;
  status: "passed" | "warned" | "failed" | "not_run";
  sentence: string;
  remedy: string | null;
  curves: Curve[];
}

export interface LearningRateRange {
  falls: number;
  explodes: number | null;
  proposed: number;
}

export interface PreflightResult {
  checks: Check[];
  learning_rate: LearningRateRange | null;
}

export interface PreflightProposal {
  reason: string;
}

export interface PreflightView {
  state: TrialState;
  state_reason: string | null;
  result: PreflightResult | null;
  proposals: PreflightProposal[];
}

export type Confidence = "high" | "medium" | "low";

/** One figure that a finding rests on. */
export interface Evidence {
  name: string;
  value: number | NonFinite;
  step: number | null;
}

/** What the results of a study, or the learning curves of a trial, show, and what to do. */
export interface Finding {
  rule: string;
  confidence: Confidence;
  sentence: string;
  evidence: Evidence[];
  remedies: Remedy[];
}

/** One thing to do about a finding. */
export interface Remedy {
  name: string;
  sentence: string;
}

/** One part of the test error. */
export interface ErrorPart {
  name: string;
  value: number | NonFinite;
  low: number | NonFinite;
  high: number | NonFinite;
}

/** The test error of the best trial as a sum of parts. */
export interface Decomposition {
  is_share: boolean;
  parts: ErrorPart[];
  largest: string | null;
  sentence: string;
  remedies: Remedy[];
}

/** The trials about which one rule found something. */
export interface TrialFindings {
  rule: string;
  num_trials: number;
  trials: number[];
  clearest: Finding;
}

export interface StudyDiagnosis {
  lags: boolean;
  findings: Finding[];
  trial_findings: TrialFindings[];
  decomposition: Decomposition | null;
}

export interface StudyView {
  id: string;
  project: string;
  name: string;
  state: StudyState;
  state_reason: string | null;
  notice: string | null;
  stop_requested: boolean;
  revision: number;
  spec: StudySpec;
  num_trials: Partial<Record<TrialState, number>>;
  budget_trials: number | null;
  budget_used: BudgetUsed;
  best: TrialView | null;
  pareto_front: number[] | null;
  reference_summary: string | null;
  findings: Finding[];
  preflight: PreflightSummary | null;
  created_at: string;
  finished_at: string | null;
}

/** A row of a listing that the service cannot read from its database. */
export interface DamagedRow {
  name: string;
  reason: string;
}

export interface StudyList {
  studies: StudyView[];
  damaged: DamagedRow[];
}

export interface RungResultView {
  step: number;
  value: number;
  rank: number;
  num: number;
}

export interface TrialView {
  id: string;
  number: number | null;
  state: TrialState;
  parameters: Record<string, Value>;
  values: number[] | null;
  infeasible: boolean;
  suggestion_reason: string;
  state_reason: string | null;
  step: number | null;
  rung_results: RungResultView[];
  num_attempts: number;
  metrics: Record<string, number | NonFinite>;
  started_at: string | null;
  finished_at: string | null;
  revision: number;
}

export interface Confusion {
  classes: string[];
  splits: Record<string, number[][]>;
}

export interface AttemptView {
  number: number;
  traceback: string | null;
}

export interface TrialDetail {
  attempts: AttemptView[];
  confusion: Confusion | null;
}

export interface TrialList {
  revision: number;
  trials: TrialView[];
  damaged: DamagedRow[];
}

/** The journal of a study: the pages show its damaged rows alone. */
export interface EventList {
  damaged: DamagedRow[];
}

export interface ParameterImportance {
  name: string;
  share: number;
  num_trials: number;
}

export interface Importance {
  revision: number;
  num_trials: number;
  num_best: number;
  parameters: ParameterImportance[];
  notes: string[];
}

export interface StageView {
  number: number;
  reason: string;
  review: "proposed" | "accepted" | "edited" | null;
}

export interface StageList {
  num_stages: number;
  stages: StageView[];
  damaged: DamagedRow[];
}

export interface Problem {
  title: string;
  status: number;
  detail: string;
  code: string;
}
