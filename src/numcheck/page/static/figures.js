// One sample of a node's figures, and what two of them tell. Names and labels are those of /metrics.

export class Figures {
  constructor(sample) {
    Object.assign(this, sample);
  }

  samples(name) {
    return this.metrics[name] ?? [];
  }

  // The value of a sample without labels; undefined if there is none.
  value(name) {
    return this.samples(name)[0]?.[1];
  }

  sum(name, where = () => true) {
    return this.samples(name).reduce((total, [labels, value]) => (where(labels) ? total + value : total), 0);
  }

  by(name, label) {
    const found = new Map();
    for (const [labels, value] of this.samples(name)) found.set(labels[label], (found.get(labels[label]) ?? 0) + value);
    return found;
  }
}

export const methodOf = (path) => path.slice(path.lastIndexOf("/") + 1);

// Calls a second between two samples, by method; `isWanted` chooses among their statuses.
export function callRates(before, now, isWanted = () => true) {
  const seconds = Math.max(now.at - before.at, 0.001);
  const rates = new Map();
  const add = (figures, sign) => {
    for (const [labels, value] of figures.samples("numcheck_calls_total")) {
      if (isWanted(labels.code)) rates.set(labels.method, (rates.get(labels.method) ?? 0) + (sign * value) / seconds);
    }
  };
  add(now, 1);
  add(before, -1);
  for (const [method, value] of rates) rates.set(method, Math.max(value, 0));
  return rates;
}

// By method, the latency that a share of the calls between two samples did not exceed: as histogram_quantile has it.
export function latencies(before, now, share) {
  const buckets = new Map();
  const add = (figures, sign) => {
    for (const [labels, value] of figures.samples("numcheck_call_duration_seconds_bucket")) {
      const bounds = buckets.get(labels.method) ?? new Map();
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      bounds.set(bound, (bounds.get(bound) ?? 0) + sign * value);
      buckets.set(labels.method, bounds);
    }
  };
  add(now, 1);
  add(before, -1);
  return new Map([...buckets].map(([method, bounds]) => [method, quantile([...bounds].sort(([a], [b]) => a - b), share)]));
}

export function quantile(bounds, share) {
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total <= 0) return NaN;
  const rank = share * total;
  let [low, below] = [0, 0];
  for (const [bound, within] of bounds) {
    if (within >= rank) return bound === Infinity ? low : low + ((bound - low) * (rank - below)) / Math.max(within - below, 1e-9);
    [low, below] = [bound, within];
  }
  return low;
}
