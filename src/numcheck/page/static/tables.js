// The views that are tables and figures alone: registrations, couriers, the node.

import { byId, fillList, fillRows, pill } from "./dom.js";
import { age, bytes, count, milliseconds, moment, percent } from "./format.js";

const words = (name) => name.replaceAll("_", " ");
const known = (value, format) => (value === undefined ? "–" : format(value));

const STATES = ["verified", "pending", "overdue", "rejected", "revoked", "deleted"];

export class RegistrationsView {
  draw(history) {
    const now = history.at(-1);
    const states = now.by("numcheck_registrations", "state");
    fillList("states", STATES.filter((state) => states.has(state)).map((state) => [words(state), count(states.get(state))]));
    const due = [...now.by("numcheck_registrations_due", "days")].sort(([a], [b]) => a - b);
    fillList("due", [
      ...due.map(([days, value]) => [days === "1" ? "within a day" : `within ${days} days`, count(value)]),
      ["oldest number still to be revoked", known(now.value("numcheck_revocation_lag_seconds"), (value) => (value ? age(value) : "none"))],
    ]);
    const rows = now
      .samples("numcheck_verifications")
      .map(([labels, value]) => [words(labels.method), words(labels.state), { n: count(value) }]);
    fillRows("verifications", rows, "No verification is kept.", 3);
  }
}

export class CouriersView {
  draw(history) {
    const now = history.at(-1);
    const handed = now.by("numcheck_codes_total", "outcome");
    const linked = now.samples("numcheck_smsc_linked").map(([{ courier }, is]) => `${courier} is ${is ? "" : "not "}linked to its SMSC`);
    const counts = [...handed].map(([outcome, value]) => `${count(value)} ${words(outcome)}`);
    byId("couriers-note").textContent = [...counts, ...linked].join("; ") || "This node has sent no code since it began.";
    const rows = now.couriers.map((one) => [
      one.courier,
      one.operator || "all",
      pill(one.rests ? "rests" : "in use", one.rests ? "bad" : "good"),
      { n: count(one.returned) },
      { n: count(one.lost) },
      { n: one.returned + one.lost ? percent(one.returned / (one.returned + one.lost)) : "–" },
      { n: count(one.delivered) },
      { n: count(one.failed) },
    ]);
    fillRows("courier-rows", rows, "No courier is set: codes are sent by nobody.", 8);
  }
}

export class NodeView {
  draw(history) {
    const now = history.at(-1);
    const { node } = now;
    fillList("node-facts", [
      ["version", node.version],
      ["address", node.address],
      ["door", node.door],
      ["protection", node.protection],
      ["serving since", moment(node.started_at)],
      ["connections", known(now.value("numcheck_connections"), count)],
      ["memory of calls", known(now.value("numcheck_held_bytes"), bytes)],
      ["callers' revision", known(now.value("numcheck_callers_revision"), count)],
      ["callers read", known(now.value("numcheck_directory_age_seconds"), (value) => `${age(value)} ago`)],
      ["callers refused", now.value("numcheck_callers_refused") ? "yes: see the log" : "no"],
      ["witness", witness(now.value("numcheck_witness_agrees"))],
    ]);
    fillList("store-facts", [
      ["engine", node.store],
      ["store answers", now.value("numcheck_store_answers") ? "yes" : "no"],
      ["last look took", known(now.value("numcheck_store_latency_seconds"), milliseconds)],
      ["uses that failed", known(now.value("numcheck_store_failures_total"), count)],
      ["store revision", known(now.value("numcheck_store_revision"), count)],
      ["index version", known(now.value("numcheck_index_version"), count)],
      ["index behind by", known(now.value("numcheck_index_lag"), (value) => `${count(value)} revisions`)],
      ["index size", known(now.value("numcheck_index_size_bytes"), bytes)],
    ]);
    const revision = now.value("numcheck_store_revision");
    fillRows("nodes", now.nodes.map((one) => peer(one, revision)), "This node has its store alone.", 6);
    const followers = Object.entries(now.followers).map(([caller, told]) => [caller, `${age(told)} ago`]);
    fillRows("followers", followers, "No follower asks this node.", 2);
    fillList("plan-facts", [...now.by("numcheck_plan_age_seconds", "series")].map(([series, value]) => [series, `${age(value)} old`]));
  }
}

const peer = (one, revision) => [
  one.is_this ? `${one.name} (this node)` : one.name,
  one.version,
  moment(one.started_at),
  `${age(one.silent_s)} ago`,
  { n: one.index_version === null ? "no index" : known(revision, (value) => count(Math.max(value - one.index_version, 0))) },
  one.work.join(", ") || "none",
];

const witness = (agrees) => (agrees === undefined ? "none is set" : agrees ? "agrees" : "DISAGREES: see the log");
