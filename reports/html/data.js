// The verdicts, column by column: texts are numbers into `strings`. `records` holds whole records of what is not PASS.
const page = JSON.parse(document.getElementById("data").textContent);
const strings = page.strings;
const columns = page.columns;
const total = columns.verdict.length;
const verdictInfo = page.verdicts;
const number = (value) => (typeof value === "number" ? value : value === "inf" ? Infinity : value === "-inf" ? -Infinity : NaN);
const textAt = (column, i) => strings[columns[column][i]];
const verdictName = (i) => verdictInfo[columns.verdict[i]].name;
const isBad = (i) => verdictInfo[columns.verdict[i]].bad;
const kind = (i) => kindOf(verdictInfo[columns.verdict[i]]);
function kindOf(info) {
  if (info.bad) return "bad";
  if (info.name === "PASS") return "pass";
  return info.name === "BLIND" ? "blind" : "known";
}
// What a comparison came to: NaN where there is no ratio. A verdict without a judged row has none either.
const ratioAt = (i) => (columns.judged[i] ? number(columns.ratio[i]) : NaN);

// ---- the words of a line ----
const words = new Map();  // line number -> Map key -> value
const kDefaults = { d_k: "64", d_v: "64", n_head: "1", n_q: "1", n_kv: "64", n_seq: "1", k: "f16", v: "f16", mask: "none",
  scale: "1/sqrt(d_k)", softcap: "0", max_bias: "0", sinks: "none", layout: "contiguous", data: "normal", poison: "none", threads: "0",
  prec: "default", seed: "0" };
function wordsOf(lineNumber) {
  let found = words.get(lineNumber);
  if (found) return found;
  found = new Map();
  const parts = strings[lineNumber].split(" ");
  found.set("op", parts[0]);
  for (let p = 1; p < parts.length; ++p) {
    const at = parts[p].indexOf("=");
    if (at < 0) { found.set(parts[p], "yes"); continue; }
    const key = parts[p].slice(0, at), value = parts[p].slice(at + 1);
    if (key === "d") { found.set("d_k", value); found.set("d_v", value); }
    else if (key === "kv") { found.set("k", value); found.set("v", value); }
    else found.set(key, value);
  }
  if (found.has("d_k") && !found.has("d_v")) found.set("d_v", found.get("d_k"));
  for (const key in kDefaults) if (!found.has(key)) found.set(key, kDefaults[key]);
  if (!found.has("n_head_kv")) found.set("n_head_kv", found.get("n_head"));
  found.set("gqa", found.get("n_head") + "/" + found.get("n_head_kv"));
  found.set("d", found.get("d_k") === found.get("d_v") ? found.get("d_k") : found.get("d_k") + "/" + found.get("d_v"));
  found.set("kv", found.get("k") === found.get("v") ? found.get("k") : found.get("k") + "/" + found.get("v"));
  words.set(lineNumber, found);
  return found;
}
function valueOf(axis, i) {
  switch (axis) {
    case "backend": return textAt("backend", i);
    case "path": return textAt("path", i) || "-";
    case "suite": return textAt("suite", i) || "-";
    case "tag": return textAt("tags", i) || "-";
    case "verdict": return verdictName(i);
    default: return wordsOf(columns.line[i]).get(axis) ?? "-";
  }
}

// ---- filter ----
const state = { query: "", off: new Set(), cell: null, shown: [], at: -1, sort: ["index", 1] };
function parseQuery(text) {
  const terms = [];
  for (const raw of text.trim().split(/\s+/)) {
    if (!raw) continue;
    const not = raw.length > 1 && raw[0] === "-" && !/^-?\d/.test(raw);
    const word = not ? raw.slice(1) : raw;
    if (verdictInfo.some((v) => v.name === word)) { terms.push({ not, key: "verdict", op: "=", value: word }); continue; }
    const at = word.search(/[=<>]/);
    terms.push(at > 0 ? { not, key: word.slice(0, at), op: word[at], value: word.slice(at + 1) } : { not, word: word.toLowerCase() });
  }
  return terms;
}
const kMeasures = { err: "ratio", "err/B": "ratio", nmse: "nmse", max_abs: "max_abs", cpu: "cpu" };
function matches(term, i) {
  if (term.word !== undefined) {
    return haystack(i).includes(term.word);
  }
  const measure = kMeasures[term.key];
  const left = measure ? (measure === "ratio" ? ratioAt(i) : number(columns[measure][i])) : valueOf(term.key, i);
  if (term.op === "=") return measure ? left === Number(term.value) : String(left).split(",").includes(term.value);
  const a = Number(left), b = Number(term.value);
  return term.op === "<" ? a < b : a > b;
}
const lowered = new Map();
function low(index) {
  let text = lowered.get(index);
  if (text === undefined) lowered.set(index, text = strings[index].toLowerCase());
  return text;
}
const haystack = (i) => low(columns.line[i]) + " " + low(columns.backend[i]) + " " + verdictName(i).toLowerCase() + " " +
  low(columns.tags[i]) + " " + low(columns.detail[i]) + " " + low(columns.suite[i]) + " " + low(columns.path[i]);
function applyFilter() {
  const terms = parseQuery(state.query);
  const out = [];
  for (let i = 0; i < total; ++i) {
    if (state.off.has(columns.verdict[i])) continue;
    if (state.cell && !state.cell.every(([axis, value]) => binned(axis, i) === value)) continue;
    let all = true;
    for (const term of terms) if (matches(term, i) === term.not) { all = false; break; }
    if (all) out.push(i);
  }
  state.shown = out;
}

// ---- axes with too many numbers are put into powers of two ----
const bins = new Map();
function binning(axis) {
  if (bins.has(axis)) return bins.get(axis);
  const seen = new Set();
  const lines = new Set(columns.line);
  const own = ["backend", "path", "suite", "tag", "verdict"].includes(axis);
  if (!own) for (const l of lines) { seen.add(wordsOf(l).get(axis) ?? "-"); if (seen.size > 200) break; }
  const values = [...seen];
  const binnable = values.length > 24 && values.filter((v) => /^\d+$/.test(v)).length > 0.9 * values.length;
  bins.set(axis, binnable);
  return binnable;
}
function binned(axis, i) {
  const value = valueOf(axis, i);
  if (!binning(axis) || !/^\d+$/.test(value)) return axis === "mask" ? maskKind(value) : value;
  const n = Number(value);
  if (n <= 2) return String(n);
  const exponent = Math.floor(Math.log2(n));
  const from = 2 ** exponent;
  return n === from ? String(from) : `${from + 1}..${2 * from - 1}`;
}
// mask=used:300+random -> used+random: the kinds make a readable axis, their arguments do not.
const maskKind = (text) => text.replace(/:[-\d.e]+/g, "");
const byNature = (a, b) => {
  const x = parseFloat(a), y = parseFloat(b);
  const xn = !Number.isNaN(x), yn = !Number.isNaN(y);
  if (xn && yn && x !== y) return x - y;
  if (xn !== yn) return xn ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
};
