/** Calls to the service: the token, and errors as sentences. Knows no page. */

import { signal } from "@preact/signals";
import type { Problem } from "./wire";

const BASE = "/api/v1";
const TOKEN_KEY = "assayer-token";

/** Set when the service asked for a token that we do not have, or refused the one we sent. */
export const tokenWanted = signal<"missing" | "refused" | null>(null);

/** Keep a token for as long as this browser tab lives. */
export function setToken(token: string): void {
  sessionStorage.setItem(TOKEN_KEY, token);
  tokenWanted.value = null;
}

/** The service said no, and why. */
export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail || problem.title);
  }
}

/** Nobody answered, or what answered was not the service. */
export class Unreachable extends Error {}

/** Send a request under /api/v1 and return the answer if it is a good one. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const token = sessionStorage.getItem(TOKEN_KEY);
  const headers = new Headers(init.headers);
  if (token) headers.set("Authorization", `Bearer ${token}`);
  let response: Response;
  try {
    response = await fetch(BASE + path, { ...init, headers, cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new Unreachable("The service does not answer. It may be restarting; this page tries again by itself.");
  }
  if (response.ok) return response;
  if (response.status === 401) tokenWanted.value = token ? "refused" : "missing";
  if (response.headers.get("Content-Type")?.startsWith("application/problem+json"))
    throw new ApiError((await response.json()) as Problem);
  throw new Unreachable(`The service answered ${response.status}; this page tries again by itself.`);
}

export async function get<T>(path: string, signal: AbortSignal): Promise<T> {
  return (await (await request(path, { signal })).json()) as T;
}

export async function post<T>(path: string, body: object): Promise<T> {
  const init = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  return (await (await request(path, init)).json()) as T;
}
