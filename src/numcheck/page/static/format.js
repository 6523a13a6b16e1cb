// Numbers, moments and numbers of telephones as a person reads them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const fine = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const count = (value) => whole.format(value);
export const short = (value) => compact.format(value);
export const rate = (value) => (value >= 100 ? whole.format(value) : fine.format(value));
export const percent = (share) => `${share > 0 && share < 0.1 ? fine.format(100 * share) : whole.format(100 * share)}%`;

export function moment(seconds) {
  if (!seconds) return "–";
  return `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
}

const UNITS = [[86_400, "day"], [3_600, "hour"], [60, "minute"], [1, "second"]];

export function age(seconds) {
  const [size, name] = UNITS.find(([unit]) => seconds >= unit) ?? [1, "second"];
  const value = Math.floor(seconds / size);
  return `${whole.format(value)} ${name}${value === 1 ? "" : "s"}`;
}

export function milliseconds(seconds) {
  return Number.isFinite(seconds) ? `${fine.format(seconds * 1000)} ms` : "–";
}

export function bytes(size) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(Math.floor(Math.log2(Math.max(size, 1)) / 10), units.length - 1);
  return `${fine.format(size / 1024 ** power)} ${units[power]}`;
}

// +7 916 123-45-67; a number of another length stays as it is.
export function telephone(number) {
  const match = /^(7)(\d{3})(\d{3})(\d{2})(\d{2})$/.exec(String(number));
  return match ? `+${match[1]} ${match[2]} ${match[3]}-${match[4]}-${match[5]}` : `+${number}`;
}
