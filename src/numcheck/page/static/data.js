// Operators' data: how old it is, and pushes that wait for somebody to confirm them.

import { get, getBytes, post } from "./api.js";
import { byId, element, fillRows, pill } from "./dom.js";
import { age, count, moment, percent } from "./format.js";
import { Plan } from "./plan.js";

const HELD_INTERVAL_MS = 5_000;
const OLD_S = 30 * 86_400;

export class OperatorsView {
  constructor() {
    this.operators = new Map();
    this.askedAt = -HELD_INTERVAL_MS;
    this.held = [];
    byId("confirm-no").addEventListener("click", () => byId("confirm").close());
    byId("confirm-yes").addEventListener("click", () => this.decide("confirm"));
    byId("confirm-reject").addEventListener("click", () => this.decide("reject"));
  }

  show(caller) {
    this.caller = caller;
    this.load();
  }

  async load() {
    const plan = new Plan(await getBytes("/api/map"));
    this.operators = new Map(plan.operators.map((one) => [one.id, one]));
    this.askedAt = -HELD_INTERVAL_MS;
    this.drawHeld();
  }

  draw(history) {
    const now = history.at(-1);
    const numbers = (name) => new Map([...now.by(name, "operator")].map(([id, value]) => [Number(id), value]));
    const [active, ages, held] = ["numcheck_active_numbers", "numcheck_data_age_seconds", "numcheck_held_pushes"].map(numbers);
    const rows = [...this.operators.values()]
      .sort((a, b) => b.allotted - a.allotted)
      .map((one) => [
        one.name,
        { n: count(one.allotted) },
        { n: active.has(one.id) ? count(active.get(one.id)) : "–" },
        { n: one.data_version ? count(one.data_version) : "–" },
        moment(one.data_time),
        freshness(one, ages.get(one.id)),
        { n: count(held.get(one.id) ?? 0) },
      ]);
    fillRows("operators", rows, "No operator.", 7);
    const isDue = performance.now() - this.askedAt >= HELD_INTERVAL_MS;
    if (this.caller && isDue && !byId("confirm").open) this.ask([...held.values()].reduce((sum, one) => sum + one, 0));
  }

  async ask(heldCount) {
    this.askedAt = performance.now();
    if (!this.caller.may_confirm) {
      byId("held-note").textContent = `${count(heldCount)} wait to be confirmed, by the operator or an administrator.`;
      this.drawHeld();
      return;
    }
    try {
      this.held = (await get("/api/held")).held;
      byId("held-note").textContent = "A push that would remove much of an operator's set waits until somebody confirms or rejects it.";
      this.drawHeld();
    } catch (error) {
      byId("held-note").textContent = `Held pushes are not there: ${error.message}.`;
    }
  }

  name(id) {
    return this.operators.get(id)?.name ?? `operator ${id}`;
  }

  drawHeld() {
    const before = document.activeElement?.dataset?.token;
    const rows = this.held.map((one) => [
      this.name(one.operator_id),
      one.snapshot ? "snapshot" : "delta",
      { n: count(removed(one)) },
      { n: percent(share(one)) },
      { n: count(one.added) },
      moment(one.data_time),
      moment(one.expires_at),
      this.button(one),
    ]);
    fillRows("held", rows, this.caller?.may_confirm ? "No push is held." : "Your role does not see the pushes themselves.", 8);
    if (before) byId("held").querySelector(`[data-token="${CSS.escape(before)}"]`)?.focus();
  }

  button(one) {
    const made = element("button", { type: "button", className: "quiet", "aria-label": `Decide about the push of ${this.name(one.operator_id)}` }, "Decide…");
    made.dataset.token = one.confirmation_token;
    made.addEventListener("click", () => this.offer(one));
    return made;
  }

  offer(one) {
    this.offered = one;
    byId("confirm-problem").textContent = "";
    byId("confirm-text").textContent =
      `${this.name(one.operator_id)}: a ${one.snapshot ? "snapshot" : "delta"} that removes ${count(removed(one))} numbers, ` +
      `${percent(share(one))} of its active set, and adds ${count(one.added)}. Afterwards the set has ${count(one.number_count)}.`;
    byId("confirm").showModal();
    byId("confirm-no").focus();
  }

  async decide(what) {
    const { operator_id, confirmation_token } = this.offered;
    const buttons = ["confirm-yes", "confirm-reject"].map(byId);
    for (const one of buttons) one.disabled = true;
    try {
      const { version } = await post(`/api/${what}`, { operator_id, confirmation_token });
      byId("confirm").close();
      await this.load();
      await this.ask(0);
      byId("held-note").textContent =
        version === undefined
          ? `Dropped: ${this.name(operator_id)}'s active set is what it was.`
          : `Applied: ${this.name(operator_id)}'s active set is version ${count(version)}.`;
      byId("held-title").tabIndex = -1;
      byId("held-title").focus();
    } catch (error) {
      byId("confirm-problem").textContent = `${error.message} (${error.reason})`;
    } finally {
      for (const one of buttons) one.disabled = false;
    }
  }
}

const removed = (push) => push.removed + push.recycled;
const share = (push) => removed(push) / Math.max(push.number_count + push.removed - push.added, 1);

function freshness(operator, seconds) {
  if (seconds === undefined) return pill("no data", "wait");
  if (!operator.fresh) return pill(`${age(seconds)}: too old`, "bad");
  return pill(operator.synthetic ? `${age(seconds)}, SYNTHETIC` : age(seconds), seconds > OLD_S || operator.synthetic ? "warn" : "good");
}
