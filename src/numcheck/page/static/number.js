// A number and its story, from the plan to the answer.

import { post } from "./api.js";
import { byId, element, pill } from "./dom.js";
import { age, count, moment, telephone } from "./format.js";

const TONES = { ACTIVE: "good", INACTIVE: "warn", UNKNOWN: "warn" };
const MEANINGS = {
  ACTIVE: "the serving operator's data holds it",
  INACTIVE: "allotted, and the serving operator's data does not hold it",
  UNKNOWN: "allotted, but its operator has supplied no data, or none fresh enough",
  UNALLOCATED: "the plan allots it to nobody",
  NOT_MOBILE: "in a loaded plan, but not in a mobile range",
  INVALID: "it cannot be a number of any loaded plan",
};

export class NumberView {
  constructor() {
    byId("lookup").addEventListener("submit", (event) => {
      event.preventDefault();
      this.lookUp(byId("number-text").value);
    });
  }

  show(caller, isNew) {
    const field = byId("number-text");
    field.disabled = !caller.may_look_up;
    byId("lookup").querySelector("button").disabled = !caller.may_look_up;
    if (!caller.may_look_up) byId("story").textContent = `The role ${caller.role} may not look numbers up.`;
    else if (isNew) field.focus();
  }

  async lookUp(number) {
    try {
      byId("story").replaceChildren(...tell(await post("/api/lookup", { number })));
    } catch (error) {
      byId("story").replaceChildren(element("p", { className: "problem" }, `${error.message} (${error.reason})`));
    }
  }
}

function tell(story) {
  const answer = element("p", { className: "answer" }, element("strong", {}, telephone(story.number.slice(1))), pill(story.status, TONES[story.status] ?? "wait"), element("span", { className: "dim" }, MEANINGS[story.status] ?? ""));
  return [answer, element("ol", { className: "story", "aria-label": "Story of the number" }, ...[...steps(story)].map(([title, ...lines]) =>
    element("li", {}, element("h3", {}, title), ...lines.filter(Boolean).map((line) => element("p", {}, line)))))];
}

function* steps(story) {
  const { serving, holder } = story.operators;
  const { range, plan } = story;
  if (range) {
    yield ["The plan allots it", `to ${holder?.name ?? "an operator that is gone"}, in ${telephone(range.first)} to ${telephone(range.last)}, ${count(range.last - range.first + 1)} numbers`, range.region];
  } else yield ["The plan allots it to nobody"];
  if (plan) {
    yield [`The plan is of ${moment(plan.data_time ?? plan.imported_at)}`, `series ${plan.series}, imported ${moment(plan.imported_at)} from ${plan.source}`];
  }
  if (serving) {
    const portings = story.portings ? `portings version ${count(story.portings.version)}, of ${moment(story.portings.data_time)}` : "no portings were pushed";
    yield [story.ported ? `It is ported to ${serving.name}` : "It is not ported", portings];
    yield* activeSet(serving);
  }
  yield [`Answered from index version ${count(story.index_version)}`, story.record_since ? `the record of withdrawals goes back to ${moment(story.record_since)}` : ""];
}

function* activeSet(operator) {
  if (!operator.data_version) {
    yield [`${operator.name} has supplied no data`];
    return;
  }
  const old = age(Date.now() / 1000 - operator.data_time);
  yield [
    `The active set of ${operator.name} is version ${count(operator.data_version)}`,
    `of ${moment(operator.data_time)}, ${old} old${operator.fresh ? "" : ": too old to answer from"}${operator.synthetic ? "; SYNTHETIC data" : ""}`,
    operator.supplied_since ? `it has followed version on version since ${moment(operator.supplied_since)}` : "",
  ];
}
