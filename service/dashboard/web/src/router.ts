/** Which page the address names; links move without a reload. */

import { signal } from "@preact/signals";

export type Page = { name: "studies" } | { name: "study"; study: string } | { name: "unknown" };

function parse(path: string): Page {
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  if (parts.length === 0 || (parts.length === 1 && parts[0] === "studies")) return { name: "studies" };
  if (parts.length === 2 && parts[0] === "studies") return { name: "study", study: parts[1]! };
  return { name: "unknown" };
}

export const page = signal<Page>(parse(location.pathname));

addEventListener("popstate", () => (page.value = parse(location.pathname)));

addEventListener("click", (event) => {
  const link = (event.target as Element).closest?.("a");
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.origin !== location.origin || !link.hasAttribute("data-page")) return;
  event.preventDefault();
  history.pushState(null, "", link.href);
  page.value = parse(location.pathname);
  scrollTo(0, 0);
});

/** The address of a study's page: by name, or by id where the name alone would not tell projects apart. */
export function studyPath(study: { id: string; name: string; project: string }): string {
  return `/studies/${encodeURIComponent(study.project === "default" ? study.name : study.id)}`;
}
