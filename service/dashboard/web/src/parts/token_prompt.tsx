/** Asks for the service's token when it wants one. */

import { setToken } from "../api";

export function TokenPrompt({ why }: { why: "missing" | "refused" }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget as HTMLFormElement).get("token")).trim();
    if (token) setToken(token);
  };
  return (
    <form class="card prompt" onSubmit={submit}>
      <h1>This service asks for a token</h1>
      {why === "refused" && <p role="alert" class="error">The service refused that token. Check it and try again.</p>}
      <p>It is the value of <code>ASSAYER_TOKEN</code> that the service was started with. It stays in this browser tab.</p>
      <label for="token">Token</label>
      <div class="line">
        <input id="token" name="token" type="password" autocomplete="off" required autofocus />
        <button type="submit" class="primary">Continue</button>
      </div>
    </form>
  );
}
