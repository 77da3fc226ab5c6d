// The API of the backend, which is at /api/ of wherever this page came from.

// Longest wait for an answer. A database that is being restarted takes seconds, during which the backend waits.
const PATIENCE = 15_000;

async function ask(method, path, body) {
  const answer = await fetch(`/api/${path}`, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    signal: AbortSignal.timeout(PATIENCE),
  });
  const isJson = answer.headers.get("Content-Type")?.startsWith("application/json");
  const said = isJson ? await answer.json() : null;
  if (!answer.ok) throw new Error(said?.detail ?? said?.text?.[0] ?? `the backend answered ${answer.status}`);
  return said;
}

export const listItems = () => ask("GET", "items/").then((page) => page.results);
export const addItem = (text) => ask("POST", "items/", { text });
export const setDone = (id, done) => ask("PATCH", `items/${id}/`, { done });
export const removeItem = (id) => ask("DELETE", `items/${id}/`);

// "pass", or "fail" with the database away, or "away" when nobody answers.
export async function backendState() {
  try {
    const answer = await fetch("/api/health", { signal: AbortSignal.timeout(3_000) });
    return (await answer.json()).status;
  } catch {
    return "away";
  }
}
