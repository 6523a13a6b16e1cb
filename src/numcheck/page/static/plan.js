// The numbering plan as a map: a tile for each code, a cell for each block of 10,000 numbers, all in one pass.

import { get, getBytes } from "./api.js";
import { byId, element, fillRows } from "./dom.js";
import { age, count, moment, percent, short, telephone } from "./format.js";

const BLOCKS = 1_000; // of a code
const BLOCK_NUMBERS = 10_000;
const TILE_CELLS = [50, 40, 25]; // across, the one that fills a tile best
const LABEL_HEIGHT = 16;
const RANGES_SHOWN = 200;
const DAY_S = 86_400;
const REDRAW_AFTER_MS = 15_000; // while the index changes with every push

// Okabe and Ito: told apart by every eye. Further operators share the grey.
const PALETTE = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b8a900"];
const OTHERS = "#8a929b";
const AGES = [
  [DAY_S, "#08519c", "up to a day old"],
  [7 * DAY_S, "#4a98cf", "up to a week"],
  [30 * DAY_S, "#e0a92e", "up to 30 days"],
  [Infinity, "#c4442d", "older"],
];
const NO_DATA = "#8a929b";

const channels = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
const pack = ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red;
const mix = (from, to, share) => from.map((one, at) => Math.round(one + (to[at] - one) * share));

// The map's answer, as page/plan.py lays it out.
export class Plan {
  constructor(buffer) {
    const headSize = new DataView(buffer).getUint32(0, true);
    Object.assign(this, JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, headSize))));
    const pages = this.chunks.length * BLOCKS;
    this.pageClasses = new Uint16Array(buffer, 4 + headSize, pages);
    this.activeCounts = new Uint16Array(buffer, 4 + headSize + 2 * pages, pages);
    this.byId = new Map(this.operators.map((one) => [one.id, one]));
    this.placeOf = new Map(this.chunks.map((chunk, place) => [chunk, place]));
    this.largest = this.mobileOperators();
  }

  classOf(page) {
    const number = this.pageClasses[page];
    return number < this.first_class ? null : this.classes[number - this.first_class];
  }

  operatorOf(page) {
    const found = this.classOf(page);
    return found ? this.byId.get(found[0]) : null;
  }

  // Operators by how many mobile blocks are theirs: the first have colours of their own.
  mobileOperators() {
    const blocks = new Map();
    for (const number of this.pageClasses) blocks.set(number, (blocks.get(number) ?? 0) + 1);
    const sizes = new Map();
    for (const [number, size] of blocks) {
      const [id, mobile] = this.classes[number - this.first_class] ?? [];
      if (id) sizes.set(id, (sizes.get(id) ?? 0) + (mobile ? size : size / 1e6));
    }
    return [...sizes].sort(([, a], [, b]) => b - a).map(([id]) => this.byId.get(id));
  }

  facts(chunk) {
    const start = this.placeOf.get(chunk) * BLOCKS;
    const blocks = new Map();
    let active = 0;
    for (let page = start; page < start + BLOCKS; page += 1) {
      active += this.activeCounts[page];
      const id = this.classOf(page)?.[0];
      if (id) blocks.set(id, (blocks.get(id) ?? 0) + 1);
    }
    return { active, operators: [...blocks].sort(([, a], [, b]) => b - a).map(([id, size]) => [this.byId.get(id), size]) };
  }
}

export class PlanView {
  constructor() {
    this.plan = null;
    this.loading = null;
    this.shade = "operator";
    this.chosen = null; // the operator that stands out
    this.code = null;
    this.block = 0;
    this.loadedAt = 0;
    byId("shade").addEventListener("change", (event) => {
      this.shade = event.target.value;
      this.drawAll();
    });
    byId("series").addEventListener("change", (event) => this.showSeries(event.target.value));
    byId("tiles").addEventListener("keydown", (event) => this.moveTile(event));
    byId("code-close").addEventListener("click", () => this.close());
    byId("ranges-more").addEventListener("click", () => this.fillRanges(this.ranges.length));
    const blocks = byId("blocks");
    blocks.addEventListener("keydown", (event) => this.moveBlock(event));
    blocks.addEventListener("pointermove", (event) => this.point(event));
    blocks.addEventListener("pointerdown", (event) => this.point(event));
    new ResizeObserver(() => this.drawAll()).observe(byId("map"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.drawAll());
  }

  show() {
    if (!this.plan) this.load();
    else this.drawAll();
  }

  // The index has this version now: a newer map is asked for, at times.
  follow(version) {
    const isNewer = this.plan && version > this.plan.index_version;
    if (isNewer && !byId("view-plan").hidden && performance.now() - this.loadedAt > REDRAW_AFTER_MS) this.load();
  }

  async load() {
    if (this.loading) return;
    this.loading = getBytes("/api/map");
    try {
      this.plan = new Plan(await this.loading);
    } catch (error) {
      byId("plan-summary").textContent = `The map is not there: ${error.message}.`;
      return;
    } finally {
      this.loading = null;
      this.loadedAt = performance.now();
    }
    this.offerSeries();
  }

  offerSeries() {
    const { plan } = this;
    const series = [...new Set(plan.chunks.map((chunk) => String(chunk).slice(0, -2)))];
    if (!series.includes(this.series)) this.series = series.at(-1);
    byId("series").replaceChildren(
      byId("series").querySelector("legend"),
      ...series.map((one) =>
        element("label", {}, element("input", { type: "radio", name: "series", value: one, checked: one === this.series }), element("span", {}, `+${one[0]} ${one.slice(1)}xx`)),
      ),
    );
    const allotted = plan.operators.reduce((sum, one) => sum + one.allotted, 0);
    const active = plan.activeCounts.reduce((sum, one) => sum + one, 0);
    byId("plan-summary").textContent =
      `${count(allotted)} numbers of ${count(plan.operators.filter((one) => one.allotted).length)} operators are allotted, ` +
      `${count(active)} are active${plan.synthetic ? " (SYNTHETIC data, made up for trying out)" : ""}; index version ${count(plan.index_version)}.`;
    this.showSeries(this.series);
  }

  showSeries(series) {
    this.series = series;
    const tiles = Array.from({ length: 100 }, (_, at) => this.tile(Number(series) * 100 + at));
    byId("tiles").replaceChildren(...tiles);
    const first = byId("tiles").querySelector("button");
    if (first) first.tabIndex = 0;
    this.drawAll();
  }

  tile(chunk) {
    const label = String(chunk).slice(-3);
    if (!this.plan.placeOf.has(chunk)) return element("div", { className: "tile" }, label);
    const { active, operators } = this.plan.facts(chunk);
    const names = operators.slice(0, 3).map(([operator]) => operator.name).join(", ");
    const told = `Code ${label}: ${names || "no operator"}${operators.length > 3 ? ` and ${operators.length - 3} more` : ""}; ${count(active)} active`;
    const made = element("button", { type: "button", className: "tile", tabIndex: -1, title: told, "aria-label": told, "aria-expanded": String(this.code === chunk), "aria-controls": "code" }, label);
    made.addEventListener("click", () => this.open(chunk));
    made.dataset.chunk = chunk;
    return made;
  }

  // Arrow keys go to the next code that there is in their direction.
  moveTile(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, Home: -Infinity, End: Infinity };
    const step = steps[event.key];
    const tiles = [...byId("tiles").children];
    if (step === undefined || event.target.tagName !== "BUTTON") return;
    event.preventDefault();
    let at = Number.isFinite(step) ? tiles.indexOf(event.target) + step : step < 0 ? 0 : tiles.length - 1;
    const walk = Number.isFinite(step) ? step : step < 0 ? 1 : -1;
    while (tiles[at] && tiles[at].tagName !== "BUTTON") at += walk;
    if (!tiles[at]) return;
    event.target.tabIndex = -1;
    tiles[at].tabIndex = 0;
    tiles[at].focus();
  }

  // --- drawing

  colours() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return { ground: channels(full(read("--ground"))), empty: channels(full(read("--empty"))), text: read("--text"), accent: read("--accent") };
  }

  colourOf(operator) {
    const place = operator ? this.plan.largest.indexOf(operator) : -1;
    return place >= 0 && place < PALETTE.length ? PALETTE[place] : OTHERS;
  }

  // The colours of all pages by class and active numbers, looked up in a table of 33 shades a class.
  shades(colours) {
    const now = Date.now() / 1000;
    const table = new Uint32Array((this.plan.classes.length + this.plan.first_class) * 33).fill(pack(colours.empty));
    this.plan.classes.forEach(([id, mobile], at) => {
      const operator = this.plan.byId.get(id);
      const isDim = this.chosen !== null && this.chosen !== id;
      const full_ = channels(this.shadeColour(operator, mobile, now));
      for (let level = 0; level < 33; level += 1) {
        const share = isDim ? 0.08 : this.strength(level / 32, mobile);
        table[(at + this.plan.first_class) * 33 + level] = pack(mix(colours.ground, full_, share));
      }
    });
    return table;
  }

  shadeColour(operator, mobile, now) {
    if (this.shade === "operator") return this.colourOf(operator);
    if (this.shade === "occupancy") return mobile ? "#0072b2" : OTHERS;
    if (!mobile || !operator?.data_time) return NO_DATA;
    return AGES.find(([limit]) => now - operator.data_time <= limit)[1];
  }

  // How strong a colour is: by the root of the occupancy, so that few numbers show.
  strength(occupancy, mobile) {
    if (this.shade === "freshness" || !mobile) return mobile ? 0.85 : 0.5;
    const floor = this.shade === "occupancy" ? 0.06 : 0.28;
    return floor + (1 - floor) * Math.sqrt(occupancy);
  }

  paint(target, from, pages, table) {
    for (let cell = 0; cell < pages; cell += 1) {
      const level = (this.plan.activeCounts[from + cell] * 32 + BLOCK_NUMBERS - 1) / BLOCK_NUMBERS | 0;
      target[cell] = table[this.plan.pageClasses[from + cell] * 33 + level];
    }
  }

  drawAll() {
    if (!this.plan || byId("view-plan").hidden) return;
    const began = performance.now();
    const colours = this.colours();
    this.table = this.shades(colours);
    this.drawMap();
    this.drawLegend();
    if (this.code !== null) this.drawBlocks(colours);
    byId("map").dataset.drawnMs = (performance.now() - began).toFixed(1);
  }

  drawMap() {
    const map = byId("map");
    const ratio = devicePixelRatio || 1;
    const width = map.clientWidth;
    this.columns = width >= 640 ? 10 : 5;
    const gap = width >= 1100 ? 10 : 5;
    const room = (width - gap * (this.columns - 1)) / this.columns;
    const cellOf = (across) => Math.max(Math.floor((room * ratio) / across), 1); // in pixels of the screen
    const across = TILE_CELLS.reduce((best, one) => (one * cellOf(one) > best * cellOf(best) ? one : best));
    const [cell, tall] = [cellOf(across), BLOCKS / across];
    const tileWidth = (cell * across) / ratio;
    const step = (width - tileWidth) / (this.columns - 1);
    const tileHeight = LABEL_HEIGHT + Math.ceil((cell * tall) / ratio) + 2;
    map.style.setProperty("--columns", this.columns);
    map.style.setProperty("--tile-width", `${tileWidth}px`);
    map.style.setProperty("--tile-gap", `${gap}px`);
    map.style.setProperty("--tile-height", `${tileHeight}px`);
    const rows = 100 / this.columns;
    const canvas = byId("map-canvas");
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round((rows * (tileHeight + gap) - gap) * ratio);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    // All codes as one picture with a pixel a block, a code below the other, then each is laid where its tile is.
    const codes = this.plan.chunks.filter((chunk) => String(chunk).startsWith(this.series));
    const picture = new OffscreenCanvas(across, Math.max(codes.length, 1) * tall);
    const image = new ImageData(picture.width, picture.height);
    const pixels = new Uint32Array(image.data.buffer);
    codes.forEach((chunk, at) => this.paint(pixels.subarray(at * BLOCKS), this.plan.placeOf.get(chunk) * BLOCKS, BLOCKS, this.table));
    picture.getContext("2d").putImageData(image, 0, 0);
    codes.forEach((chunk, at) => {
      const place = chunk % 100;
      const x = Math.round((place % this.columns) * step * ratio);
      const y = Math.round((Math.floor(place / this.columns) * (tileHeight + gap) + LABEL_HEIGHT) * ratio);
      context.drawImage(picture, 0, at * tall, across, tall, x, y, across * cell, tall * cell);
    });
  }

  drawLegend() {
    byId("legend").replaceChildren(...(this.shade === "operator" ? this.operatorLegend() : this.scaleLegend()));
    for (const swatch of byId("legend").querySelectorAll("[data-colour]")) swatch.style.background = swatch.dataset.colour;
  }

  operatorLegend() {
    const named = this.plan.largest.slice(0, PALETTE.length);
    const rows = named.map((operator) => {
      const isChosen = this.chosen === operator.id;
      const made = element("button", { type: "button", "aria-pressed": String(isChosen) }, swatch(this.colourOf(operator)), operator.name, element("span", { className: "dim" }, short(operator.allotted)));
      made.addEventListener("click", () => {
        this.chosen = isChosen ? null : operator.id;
        this.drawAll();
        byId("legend").children[named.indexOf(operator)].firstChild.focus();
      });
      return element("li", {}, made);
    });
    const others = this.plan.largest.length - named.length;
    if (others > 0) rows.push(element("li", {}, swatch(OTHERS), `${count(others)} others`));
    rows.push(element("li", { className: "dim" }, "stronger: more of the block is active"));
    return rows;
  }

  scaleLegend() {
    if (this.shade === "freshness") {
      const rows = AGES.map(([, colour, text]) => element("li", {}, swatch(colour), text));
      return [...rows, element("li", {}, swatch(NO_DATA), "no data, or not mobile")];
    }
    const { ground } = this.colours();
    return [0, 0.05, 0.25, 0.5, 1].map((share) => {
      const [red, green, blue] = mix(ground, channels("#0072b2"), this.strength(share, true));
      return element("li", {}, swatch(`rgb(${red} ${green} ${blue})`), `${percent(share)} active`);
    });
  }

  // --- one code

  async open(chunk) {
    this.code = chunk;
    this.block = 0;
    for (const tile of byId("tiles").querySelectorAll("button")) tile.setAttribute("aria-expanded", String(Number(tile.dataset.chunk) === chunk));
    const { active, operators } = this.plan.facts(chunk);
    byId("code").hidden = false;
    byId("code-title").textContent = `Code +${String(chunk)[0]} ${String(chunk).slice(1)}`;
    byId("code-summary").textContent = `${count(active)} active numbers; blocks of ${operators.map(([operator, size]) => `${operator.name} (${count(size)})`).join(", ") || "nobody"}.`;
    this.drawAll();
    byId("blocks").focus({ preventScroll: true });
    byId("code").scrollIntoView({ block: "nearest" });
    try {
      const { ranges } = await get(`/api/codes/${chunk}`);
      if (this.code !== chunk) return;
      this.ranges = ranges;
      this.fillRanges(RANGES_SHOWN);
    } catch (error) {
      byId("code-summary").textContent = `The ranges are not there: ${error.message}.`;
    }
  }

  close() {
    const tile = byId("tiles").querySelector(`[data-chunk="${this.code}"]`);
    this.code = null;
    byId("code").hidden = true;
    tile?.setAttribute("aria-expanded", "false");
    tile?.focus();
  }

  fillRanges(limit) {
    const rows = this.ranges.slice(0, limit).map((one) => [
      telephone(one.first),
      telephone(one.last),
      { n: count(one.last - one.first + 1) },
      this.plan.byId.get(one.operator_id)?.name ?? "",
      one.region,
    ]);
    fillRows("ranges", rows, "No range.", 5);
    byId("ranges-more").hidden = this.ranges.length <= limit;
    byId("ranges-more").textContent = `Show all ${count(this.ranges.length)} ranges`;
  }

  drawBlocks(colours) {
    const canvas = byId("blocks");
    const ratio = devicePixelRatio || 1;
    const width = canvas.parentElement.clientWidth - 32;
    this.across = width >= 900 ? 100 : width >= 480 ? 50 : 25;
    const cell = Math.max(Math.floor((width * ratio) / this.across), 2);
    const down = BLOCKS / this.across;
    canvas.width = cell * this.across;
    canvas.height = Math.min(cell, 22 * ratio) * down;
    canvas.style.width = `${canvas.width / ratio}px`;
    canvas.style.height = `${canvas.height / ratio}px`;
    const picture = new OffscreenCanvas(this.across, down);
    const image = new ImageData(this.across, down);
    this.paint(new Uint32Array(image.data.buffer), this.plan.placeOf.get(this.code) * BLOCKS, BLOCKS, this.table);
    picture.getContext("2d").putImageData(image, 0, 0);
    const context = canvas.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const [x, y] = [this.block % this.across, Math.floor(this.block / this.across)];
    const tall = canvas.height / down;
    context.lineWidth = 2 * ratio;
    context.strokeStyle = colours.text;
    context.strokeRect(x * cell + ratio, y * tall + ratio, cell - 2 * ratio, tall - 2 * ratio);
    this.tellBlock();
  }

  tellBlock() {
    const page = this.plan.placeOf.get(this.code) * BLOCKS + this.block;
    const first = this.code * BLOCKS * BLOCK_NUMBERS + this.block * BLOCK_NUMBERS;
    const operator = this.plan.operatorOf(page);
    const [, mobile] = this.plan.classOf(page) ?? [];
    const active = this.plan.activeCounts[page];
    const data = operator?.data_time ? `, data of ${moment(operator.data_time)} (${age(Date.now() / 1000 - operator.data_time)} old)` : ", no data";
    const text = operator
      ? `${telephone(first)} to ${telephone(first + BLOCK_NUMBERS - 1)}: ${operator.name}, ${mobile ? `${count(active)} active (${percent(active / BLOCK_NUMBERS)})${data}` : "not mobile"}`
      : `${telephone(first)} to ${telephone(first + BLOCK_NUMBERS - 1)}: allotted to nobody`;
    byId("block-text").textContent = text;
    const canvas = byId("blocks");
    canvas.setAttribute("aria-valuenow", this.block);
    canvas.setAttribute("aria-valuetext", text);
  }

  goTo(block) {
    this.block = Math.min(Math.max(block, 0), BLOCKS - 1);
    this.drawBlocks(this.colours());
  }

  moveBlock(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.across, ArrowDown: this.across, PageUp: -100, PageDown: 100, Home: -BLOCKS, End: BLOCKS };
    if (event.key === "Escape") this.close();
    else if (event.key in steps) {
      event.preventDefault();
      this.goTo(this.block + steps[event.key]);
    }
  }

  point(event) {
    const bounds = byId("blocks").getBoundingClientRect();
    const x = Math.floor(((event.clientX - bounds.left) / bounds.width) * this.across);
    const y = Math.floor(((event.clientY - bounds.top) / bounds.height) * (BLOCKS / this.across));
    this.goTo(y * this.across + Math.min(Math.max(x, 0), this.across - 1));
  }
}

const full = (colour) => (colour.length === 4 ? `#${[...colour.slice(1)].map((one) => one + one).join("")}` : colour);

function swatch(colour) {
  return element("span", { className: "swatch", "aria-hidden": "true", "data-colour": colour });
}
