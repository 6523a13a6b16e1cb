// The page's frame: which view is shown, who looks, and the stream of figures that all views are drawn from.

import { me, post, Refused } from "./api.js";
import { byId } from "./dom.js";
import { Figures } from "./figures.js";
import { PlanView } from "./plan.js";
import { NumberView } from "./number.js";
import { TrafficView } from "./traffic.js";
import { OperatorsView } from "./data.js";
import { CouriersView, NodeView, RegistrationsView } from "./tables.js";

const HISTORY = 300; // samples, a second each
const FIRST = "plan";

const views = {
  plan: new PlanView(),
  number: new NumberView(),
  traffic: new TrafficView(),
  data: new OperatorsView(),
  registrations: new RegistrationsView(),
  couriers: new CouriersView(),
  node: new NodeView(),
};
const history = [];
let shown = null;
let stream = null;
let caller = null;

function say(text, tone) {
  const state = byId("state");
  if (state.textContent !== text) state.textContent = text;
  state.dataset.tone = tone;
}

function show() {
  const name = location.hash.slice(1);
  if (name === "main" || !caller) return;
  const before = shown;
  shown = name in views ? name : FIRST;
  for (const section of document.querySelectorAll(".view")) section.hidden = section.id !== `view-${shown}`;
  for (const link of byId("sections").children) {
    if (link.hash === `#${shown}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${byId(`${shown}-title`).textContent} – numcheck`;
  if (before !== shown) scrollTo(0, 0);
  views[shown].show?.(caller, before !== shown);
  draw();
}

function draw() {
  if (shown && history.length) views[shown].draw?.(history, caller);
}

function take(event) {
  const figures = new Figures(JSON.parse(event.data));
  history.push(figures);
  if (history.length > HISTORY) history.shift();
  const { missing } = figures;
  say(missing.length ? missing.map((one) => `Not ready: ${one}`).join("; ") : "Ready", missing.length ? "bad" : "good");
  views.plan.follow(figures.value("numcheck_index_version"));
  draw();
}

function follow() {
  if (stream || document.hidden || !caller) return;
  stream = new EventSource("/api/live");
  stream.onmessage = take;
  stream.onerror = lost;
}

// A hidden page asks for nothing.
function leave() {
  stream?.close();
  stream = null;
}

async function lost() {
  leave();
  say("No figures from the node", "bad");
  await new Promise((done) => setTimeout(done, 2_000));
  await begin();
}

function refuse(error) {
  caller = null;
  leave();
  const isKnown = error.status === 403;
  byId("refused").hidden = false;
  byId("refused-title").textContent = isKnown ? "This page is not for you" : "This node does not know you";
  byId("refused-why").textContent = `${error.message}.`;
  for (const section of document.querySelectorAll(".view")) section.hidden = true;
  say(isKnown ? "Not permitted" : "Not signed in", "warn");
}

async function begin() {
  try {
    caller = await me();
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    if (error.status === 401 || error.status === 403) return refuse(error);
    say(error.message, "bad");
    setTimeout(begin, 2_000);
    return undefined;
  }
  byId("refused").hidden = true;
  byId("caller").textContent = `${caller.role}, ${caller.caller}`;
  byId("sign-out").hidden = !caller.has_session;
  follow();
  show();
  return undefined;
}

byId("sign-in").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = byId("token");
  try {
    await post("/api/session", { token: field.value.trim() });
    field.value = "";
    await begin();
  } catch (error) {
    refuse(error);
  }
});
byId("sign-out").addEventListener("click", async () => {
  await post("/api/session", {}, "DELETE");
  location.reload();
});
addEventListener("hashchange", show);
document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  byId("main").focus();
});
begin();
