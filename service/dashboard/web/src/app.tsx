/** The frame around every page: the heading, the token prompt, and the page that the address names. */

import { tokenWanted } from "./api";
import { StudiesPage } from "./pages/studies";
import { StudyPage } from "./pages/study";
import { TokenPrompt } from "./parts/token_prompt";
import { page } from "./router";

export function App() {
  return (
    <>
      <header class="top">
        <a href="/" data-page class="brand">Assayer</a>
        <nav aria-label="Main">
          <a href="/" data-page>Studies</a>
          <a href="/docs">API</a>
        </nav>
      </header>
      <main>{tokenWanted.value ? <TokenPrompt why={tokenWanted.value} /> : <Current />}</main>
    </>
  );
}

function Current() {
  const current = page.value;
  switch (current.name) {
    case "studies":
      return <StudiesPage />;
    case "study":
      return <StudyPage key={current.study} study={current.study} />;
    case "unknown":
      return (
        <section class="empty">
          <h1>No such page</h1>
          <p>There is nothing at this address. <a href="/" data-page>See all studies</a>.</p>
        </section>
      );
  }
}
