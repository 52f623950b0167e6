/** Keeps a page current: loads it, listens to a stream, loads again on each event, and reconnects for ever. */

import { useEffect, useState } from "preact/hooks";
import { ApiError, request } from "./api";
import { readEvents } from "./events";

/** Pauses between connection attempts, in milliseconds; the last one repeats. */
const RETRY_MS = [250, 500, 1000, 2000, 5000];
/** A stream that ended by itself told all there is; look again now and then, as a finished study can be extended. */
const ENDED_MS = 5000;
/** The service sends a heartbeat after 15 seconds without an event: who hears neither of two is not connected any more. */
const SILENT_MS = 35_000;

export interface Live {
  /** Whether an event or a heartbeat came within SILENT_MS on an open connection, so that what is shown is current. */
  connected: boolean;
  /** What is wrong right now, as a sentence. */
  error: string | null;
  /** The service's code for it, where the service answered. */
  code: string | null;
}

/** Fetch what changed; may return the id of the last event that this already reflects. */
type Load = () => Promise<string | void>;

/** Follow `stream` for as long as the component is shown; `load` is never run twice at once. */
export function useLive(stream: string, load: (signal: AbortSignal) => ReturnType<Load>): Live {
  const [live, setLive] = useState<Live>({ connected: false, error: null, code: null });
  useEffect(() => {
    const abort = new AbortController();
    void follow(stream, once(() => load(abort.signal)), abort.signal, setLive);
    return () => abort.abort();
  }, [stream]);
  return live;
}

async function follow(
  stream: string,
  load: Load,
  signal: AbortSignal,
  tell: (live: Live) => void,
): Promise<void> {
  let lastId = "";
  for (let failures = 0; !signal.aborted; ) {
    let pause = ENDED_MS;
    const attempt = new AbortController();
    let reason: unknown = null;
    const giveUp = (error: unknown) => {
      reason ??= error;
      attempt.abort();
    };
    let silence: ReturnType<typeof setTimeout> | undefined;
    let isLive = false;
    const hear = () => {
      clearTimeout(silence);
      silence = setTimeout(() => giveUp(new Error("The service is silent.")), SILENT_MS);
      if (!isLive) tell({ connected: true, error: null, code: null });
      isLive = true;
      failures = 0;
    };
    let loading: ReturnType<Load> = Promise.resolve();
    const loadAgain = (id: string) => {
      hear();
      lastId = id || lastId;
      loading = load();
      loading.catch(giveUp);
    };
    try {
      lastId = (await load()) ?? lastId;
      const headers: HeadersInit = lastId ? { "Last-Event-ID": lastId } : {};
      const response = await request(stream, { signal: AbortSignal.any([signal, attempt.signal]), headers });
      await readEvents(response.body!, loadAgain, hear);
      await loading; // the last event may say that the study was deleted
      tell({ connected: false, error: null, code: null });
    } catch (failure) {
      if (signal.aborted) return;
      const error = reason ?? failure;
      const code = error instanceof ApiError ? error.problem.code : null;
      tell({ connected: false, error: sentence(error), code });
      pause = RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]!;
    } finally {
      clearTimeout(silence);
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function sentence(error: unknown): string {
  // A stream cut in the middle surfaces as a TypeError of the browser's own wording.
  return error instanceof TypeError ? "The connection to the service was lost; trying again." : String((error as Error).message);
}

/** Wrap `load` so that calls during one in progress become a single further one. */
function once(load: Load): Load {
  let current: ReturnType<Load> | null = null;
  let again = false;
  return () => {
    again = true;
    current ??= (async () => {
      let last: string | void = undefined;
      try {
        while (again) {
          again = false;
          last = await load();
        }
      } finally {
        current = null;
      }
      return last;
    })();
    return current;
  };
}
