// How many images a split takes, for pages without a kernel: the rule of `plan_counts` and
// `largest_size`, which a test compares with it.

const TEST = 0.15; // share of the images kept for testing

// As Python rounds: halves to the even neighbor
function round(x) {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 ? low + 1 : low;
}

const sum = numbers => numbers.reduce((a, b) => a + b, 0);

// What a split of `n` clean images a class takes for training; null if there are too few
export function planSplit(clean, poison, n, rate) {
  const test = round(n * TEST);
  if (test < 1 || test >= n || clean.length < 2 || clean.some(c => c < n)) return null;
  const forTraining = clean.length * (n - test);
  const wanted = round((forTraining * rate) / (1 - rate));
  const kept = poison.map(p => Math.min(p, Math.max(1, round(p * TEST))));
  if (wanted > sum(poison) - sum(kept)) return null;
  return { clean: forTraining, poison: wanted };
}

// The largest `n` up to `most` with which a split can be made; 0 if there is none
export function largestSize(clean, poison, rate, most) {
  for (let n = Math.min(most, ...clean); n > 1; n--)
    if (planSplit(clean, poison, n, rate)) return n;
  return 0;
}
