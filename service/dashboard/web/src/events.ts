/** Server-sent events read by fetch, because EventSource cannot send a token. */

/** Call `onMessage` with the id of every event in a response's body, and `onHeartbeat` for every comment, until it ends. */
export async function readEvents(
  body: ReadableStream<Uint8Array>,
  onMessage: (id: string) => void,
  onHeartbeat: () => void,
): Promise<void> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      const lines = block.split("\n");
      if (!lines.some((line) => line.startsWith("data:"))) onHeartbeat();
      else onMessage(lines.find((line) => line.startsWith("id:"))?.slice(3).trim() ?? "");
    }
  }
}
