// What is asked of the node. A refusal is an Error with the API's reason.

let token = "";

export class Refused extends Error {
  constructor(status, { reason = "UNAVAILABLE", message = "the node does not answer" } = {}) {
    super(message);
    this.status = status;
    this.reason = reason;
  }
}

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", ...options });
  } catch {
    throw new Refused(0);
  }
  if (!answer.ok) throw new Refused(answer.status, await answer.json().catch(() => ({})));
  return answer;
}

export async function get(path) {
  return (await ask(path)).json();
}

export async function getBytes(path) {
  return (await ask(path)).arrayBuffer();
}

export async function post(path, body, method = "POST") {
  const headers = { "Content-Type": "application/json", "X-Numcheck-Token": token };
  const answer = await ask(path, { method, headers, body: JSON.stringify(body) });
  return answer.status === 204 ? null : answer.json();
}

export async function me() {
  const found = await get("/api/me");
  token = found.token;
  return found;
}
