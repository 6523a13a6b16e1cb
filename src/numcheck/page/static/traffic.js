// Rates and latency by method, live. The counts are those of /metrics; what is drawn is their difference in time.

import uPlot from "./uplot/uPlot.esm.js";
import { byId, fillList, fillRows } from "./dom.js";
import { callRates, latencies, methodOf } from "./figures.js";
import { bytes, count, milliseconds, rate } from "./format.js";

const LINES_MAX = 5;
const WINDOW = 10; // samples that the table looks back
const SMOOTH = 5; // samples that a point of the latency's line looks back
const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7"];
const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4]]; // told apart without colour, too

const clock = (seconds) => new Date(seconds * 1000).toISOString().slice(11, 19);

export class TrafficView {
  constructor() {
    this.charts = new Map();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.forget());
    addEventListener("resize", () => this.forget());
  }

  forget() {
    for (const { chart } of this.charts.values()) chart.destroy();
    this.charts.clear();
  }

  draw(history) {
    const now = history.at(-1);
    const before = history[Math.max(history.length - 1 - WINDOW, 0)];
    this.drawFigures(before, now);
    this.drawTable(before, now);
    if (history.length > 1) this.drawCharts(history);
  }

  drawFigures(before, now) {
    const seconds = Math.max(now.at - before.at, 0.001);
    const of = (name) => (now.sum(name) - before.sum(name)) / seconds;
    fillList("traffic-figures", [
      ["calls a second", rate(of("numcheck_calls_total"))],
      ["numbers a second in batches", rate(of("numcheck_numbers_total"))],
      ["received a second", bytes(of("numcheck_received_bytes_total"))],
      ["sent a second", bytes(of("numcheck_sent_bytes_total"))],
      ["connections", count(now.value("numcheck_connections") ?? 0)],
    ]);
  }

  drawTable(before, now) {
    const rates = callRates(before, now);
    const refused = callRates(before, now, (code) => code !== "OK");
    const [median, high] = [latencies(before, now, 0.5), latencies(before, now, 0.99)];
    const rows = [...now.by("numcheck_calls_total", "method")]
      .sort(([a, x], [b, y]) => (rates.get(b) ?? 0) - (rates.get(a) ?? 0) || y - x)
      .map(([method, total]) => [
        methodOf(method),
        { n: rate(rates.get(method) ?? 0) },
        { n: rate(refused.get(method) ?? 0) },
        { n: milliseconds(median.get(method)) },
        { n: milliseconds(high.get(method)) },
        { n: count(total) },
      ]);
    fillRows("methods", rows, "Nobody has called yet.", 6);
  }

  drawCharts(history) {
    const totals = history.at(-1).by("numcheck_calls_total", "method");
    const old = history[0].by("numcheck_calls_total", "method");
    const methods = [...totals].map(([method, total]) => [method, total - (old.get(method) ?? 0)]).filter(([, calls]) => calls > 0).sort(([, a], [, b]) => b - a).slice(0, LINES_MAX).map(([method]) => method).sort();
    const times = history.slice(1).map((one) => one.at);
    const rates = history.slice(1).map((one, at) => callRates(history[at], one));
    const high = history.slice(1).map((one, at) => latencies(history[Math.max(at + 1 - SMOOTH, 0)], one, 0.99));
    this.plot("chart-rate", methods, [times, ...methods.map((method) => rates.map((one) => one.get(method) ?? 0))]);
    this.plot("chart-latency", methods, [times, ...methods.map((method) => high.map((one) => 1000 * one.get(method)).map((value) => (Number.isFinite(value) ? value : null)))]);
  }

  plot(id, methods, data) {
    const key = methods.join();
    const known = this.charts.get(id);
    if (known?.key === key) {
      known.chart.setData(data);
      return;
    }
    known?.chart.destroy();
    const place = byId(id);
    const style = getComputedStyle(document.documentElement);
    const [line, dim] = ["--line", "--dim"].map((name) => style.getPropertyValue(name).trim());
    const axis = { stroke: dim, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
    const series = methods.map((method, at) => ({ label: methodOf(method), stroke: COLOURS[at], dash: DASHES[at], width: 2, points: { show: false }, spanGaps: true, value: (_, value) => (value === null ? "–" : rate(value)) }));
    const options = { width: place.clientWidth, height: 220, padding: [8, 28, 0, 0], cursor: { points: { size: 6 } }, series: [{ label: "at", value: (_, value) => (value ? `${clock(value)} UTC` : "–") }, ...series], axes: [{ ...axis, space: 80, values: (_, values) => values.map(clock) }, { ...axis, size: 56, values: (_, values) => values.map((one) => rate(one)) }], scales: { y: { range: (_, low, high) => [0, Math.max(high ?? 0, 1) * 1.05] } } };
    const chart = new uPlot(options, data, place);
    place.querySelector("table").setAttribute("aria-label", `${place.parentElement.querySelector("figcaption").textContent}: lines`);
    this.charts.set(id, { key, chart });
  }
}
