// Views and what a person does with them.
const views = [["summary", "Summary"], ["failures", "Failures"], ["matrix", "Matrix"], ["spread", "err/B"], ["curve", "Curves"], ["verdicts", "Verdicts"]];
const byId = (id) => document.getElementById(id);
let current = "summary";
const drawn = new Set();

const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : "'" + text.replaceAll("'", "'\\''") + "'");
const relation = (i) => { const broken = page.records[i]?.relations_broken ?? []; return broken.length ? `--relations ${broken[0]} ` : ""; };
const repro = (i) => {
  const options = page.repro_options ? page.repro_options + " " : "", backend = textAt("backend", i), source = page.records[i]?.source;
  if (source) return `attest check ${options}${source}${backend === "file" ? "" : " -b " + quoted(backend)}`;
  return `attest run ${options}${relation(i)}-b ${quoted(backend)} --case ${quoted(textAt("line", i))}`;
};
async function copy(text, button) {
  let done = true;
  try { await navigator.clipboard.writeText(text); } catch {
    const area = el("textarea", { style: "position:fixed;opacity:0" });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
  }
  if (button) { const old = button.textContent; button.textContent = done ? "copied" : "select it"; setTimeout(() => { button.textContent = old; }, 1200); }
}
function reproLine(i) {
  const text = repro(i);
  const button = el("button", { type: "button" }, "copy");
  button.addEventListener("click", () => copy(text, button));
  return el("div", { class: "repro" }, el("code", {}, text), button);
}
const tag = (i) => el("span", { class: "tag " + kind(i) }, verdictName(i));

// ---- head ----
function drawHead() {
  const bad = countBad();
  const status = byId("status");
  status.textContent = !total ? "nothing was ruled" : bad ? `${bad.toLocaleString("en")} bad of ${total.toLocaleString("en")} verdicts` : `no bad verdict in ${total.toLocaleString("en")}`;
  status.className = bad || !total ? "bad" : "good";
  const facts = [];
  const run = page.runs[0] ?? {};
  if (run.suite) facts.push(["suite", run.suite]);
  if (run.seed !== undefined) facts.push(["seed", run.seed]);
  if (run.shard_count > 1) facts.push(["shard", `${run.shard_index}/${run.shard_count}`]);
  if (run.started_utc) facts.push(["started", run.started_utc]);
  if (run.host) facts.push(["machine", `${run.host}, ${run.cpu}`]);
  facts.push(["attest", run.version ?? "?"]);
  if (run.options) facts.push(["options", run.options]);
  if (run.command) facts.push(["command", run.command]);
  byId("facts").append(...facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, String(v)))));
  if (page.expected > total) {
    byId("facts").append(el("div", {}, el("dt", { style: "color:var(--bad)" }, "not accounted for"),
      el("dd", {}, `${page.expected - total} of ${page.expected} verdicts are missing from this record`)));
    status.className = "bad";
    status.textContent += `, ${page.expected - total} missing`;
  }
}
function countBad() {
  let bad = 0;
  for (let i = 0; i < total; ++i) if (isBad(i)) ++bad;
  return bad;
}

// ---- summary ----
function drawSummary() {
  const target = byId("summary");
  const table = new Map(), notes = new Map();
  (page.runs[0]?.backends ?? []).forEach((b, k) => table.set(b, { build: page.runs[0].build_ids?.[k] ?? "", counts: new Map(), worst: 0, cpu: 0, judge: 0, n: 0 }));
  for (const i of state.shown) {
    const name = textAt("backend", i);
    let row = table.get(name);
    if (!row) table.set(name, row = { build: "", counts: new Map(), worst: 0, cpu: 0, judge: 0, n: 0 });
    ++row.n;
    row.counts.set(columns.verdict[i], (row.counts.get(columns.verdict[i]) ?? 0) + 1);
    if (kind(i) === "pass" || kind(i) === "bad") { const r = ratioAt(i); if (r > row.worst) row.worst = r; }
    row.cpu += number(columns.cpu[i]);
    row.judge += number(columns.judge[i]);
    if (kind(i) === "known" || kind(i) === "blind") {
      const key = [name, verdictName(i), alike(textAt("detail", i))].join("\u0000");
      const note = notes.get(key);
      if (note) ++note.count; else notes.set(key, { count: 1, i });
    }
  }
  const rows = [...table].map(([name, row]) => {
    const bar = el("div", { class: "bar", role: "img", "aria-label": [...row.counts].map(([v, c]) => `${verdictInfo[v].name} ${c}`).join(", ") });
    for (const [v, c] of [...row.counts].sort((a, b) => a[0] - b[0])) bar.append(el("span", { class: "v-" + kindOf(verdictInfo[v]), style: `flex:${c}`, title: `${verdictInfo[v].name} ${c}` }));
    const others = [...row.counts].filter(([v]) => verdictInfo[v].name !== "PASS").sort((a, b) => verdictInfo[b[0]].bad - verdictInfo[a[0]].bad)
      .map(([v, c]) => el("button", { type: "button", class: "tag " + kindOf(verdictInfo[v]), title: verdictInfo[v].meaning, onclick: () => only(name, v) }, `${verdictInfo[v].name} ${c}`));
    return el("tr", {}, el("th", { scope: "row" }, name, el("div", { class: "reason" }, row.build)), el("td", { class: "num" }, row.n.toLocaleString("en")),
      el("td", { class: "num" }, (row.counts.get(0) ?? 0).toLocaleString("en")), el("td", {}, bar), el("td", { class: "num" }, short(row.worst)),
      el("td", { class: "num" }, row.cpu.toFixed(2)), el("td", { class: "num" }, row.judge.toFixed(2)), el("td", {}, others.length ? others : "-"));
  });
  const heads = ["backend", "verdicts", "PASS", "", "max err/B", "backend CPU s", "judge CPU s", "not PASS"];
  target.replaceChildren(
    el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, heads.map((h, k) => el("th", { scope: "col", class: [1, 2, 4, 5, 6].includes(k) ? "num" : "" }, h)))), el("tbody", {}, rows))),
    el("p", { class: "legend" }, el("span", {}, el("i", { class: "v-pass" }), "PASS"), el("span", {}, el("i", { class: "v-bad" }), "bad"),
      el("span", {}, el("i", { class: "v-known" }), "known, unsupported, out of range"), el("span", {}, el("i", { class: "v-blind" }), "BLIND"),
      "max err/B counts an upper bound where a row passed by one"),
  );
  const groups = failureGroups().slice(0, 5);
  if (groups.length) target.append(el("h3", {}, "What is wrong"), ...groups.map(groupBox));
  const list = [...notes.values()].sort((a, b) => b.count - a.count);
  if (list.length) {
    target.append(el("h3", {}, "Not compared, or known"), el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, list.slice(0, 40).map((n) =>
      el("tr", {}, el("td", { class: "num" }, n.count), el("td", {}, textAt("backend", n.i)), el("td", {}, tag(n.i)), el("td", {}, textAt("detail", n.i))))))));
  }
  target.append(el("h3", {}, "Slowest cases"), slowest());
}
const alike = (text) => text.replace(/(^|[\s(,=:])[-+]?\d[\d.e+-]*/g, "$1#");
function slowest() {
  const top = [...state.shown].sort((a, b) => number(columns.cpu[b]) - number(columns.cpu[a])).slice(0, 8);
  return el("div", { class: "scroll" }, el("table", {}, el("tbody", {}, top.map((i) => el("tr", {}, el("td", { class: "num" }, number(columns.cpu[i]).toFixed(3) + " s"),
    el("td", {}, textAt("backend", i)), el("td", {}, tag(i)), el("td", { class: "line" }, textAt("line", i)))))));
}
function only(backend, verdict) {
  byId("query").value = `backend=${backend}`;
  state.off = new Set(verdictInfo.map((_, k) => k).filter((k) => k !== verdict));
  state.cell = null;
  refresh();
  show(verdictInfo[verdict].bad ? "failures" : "verdicts");
}

// ---- failures ----
function failureGroups() {
  const groups = new Map();
  for (const i of state.shown) {
    if (!isBad(i)) continue;
    const record = page.records[i] ?? {};
    const cause = record.triage?.suspect || alike(textAt("detail", i)) || record.worst?.dominant || "";
    const key = [textAt("backend", i), verdictName(i), textAt("path", i), cause].join("\u0000");
    let group = groups.get(key);
    if (!group) groups.set(key, group = { cause, members: [] });
    group.members.push(i);
  }
  const size = (i) => { const r = ratioAt(i); return Number.isNaN(r) ? Infinity : r; };
  for (const g of groups.values()) g.members.sort((a, b) => (size(b) === size(a) ? textAt("line", a).length - textAt("line", b).length : size(b) > size(a) ? 1 : -1));
  return [...groups.values()].sort((a, b) => b.members.length - a.members.length);
}
function groupBox(group) {
  const first = group.members[0];
  const record = page.records[first];
  const box = el("details", { class: "group" }, el("summary", {}, el("span", { class: "count" }, `${group.members.length} `), tag(first), " ",
    el("strong", {}, textAt("backend", first)), textAt("path", first) ? ` path ${textAt("path", first)}` : "", group.cause ? el("span", { class: "reason" }, `  ${group.cause}`) : ""));
  const fill = () => {
    if (box.childElementCount > 1) return;
    box.append(el("div", {}, reproLine(first), triageText(record), placeText(record), maps(record), facts(record),
      group.members.length > 1 ? el("h3", {}, `${group.members.length} alike`) : null,
      el("ul", {}, group.members.slice(0, 12).map((i) => el("li", {}, el("button", { type: "button", onclick: () => openDetail(i) }, short(ratioAt(i))), " ", el("code", {}, textAt("line", i))))),
      group.members.length > 12 ? el("p", { class: "reason" }, `and ${group.members.length - 12} more: see Verdicts`) : null));
  };
  box.addEventListener("toggle", () => { if (box.open) fill(); });
  return box;
}
function placeText(record) {
  if (!record?.worst || !record.rows_judged) return null;
  const w = record.worst;
  return el("p", {}, `sequence ${w.seq}, head ${w.head}, query ${w.query}, column ${w.column}: got ${short(number(w.got))}, expected ${short(number(w.expected))}, budget ${short(number(w.budget))}`,
    w.dominant ? ` (mostly ${w.dominant})` : "", `, err/B ${short(number(record.err_over_b))}; ${record.bad_elements} elements over it in ${record.rows_judged} of ${record.rows} rows judged; NMSE ${short(number(record.nmse))} (test-backend-ops passes up to 5e-4)`);
}
const kDrawnElsewhere = new Set(["case_id", "line", "backend", "build_id", "suite", "worst", "parties", "verdict", "maps", "map", "triage"]);
function triageText(record) {
  const t = record?.triage;
  if (!t || !(t.says || t.fingerprint || t.place || t.hints?.length)) return null;
  const lines = [["suspect", t.says], ["like", t.fingerprint], ["where", t.place], ["hints", (t.hints ?? []).join("; ")]].filter(([, said]) => said);
  return el("table", {}, el("tbody", {}, lines.map(([label, said]) => el("tr", {}, el("th", { scope: "row" }, label), el("td", {}, said)))));
}
function facts(record) {
  if (!record) return null;
  const rows = [];
  for (const key in record) {
    const value = record[key];
    if (kDrawnElsewhere.has(key) || value === "" || value === false || (Array.isArray(value) && !value.length)) continue;
    rows.push(el("tr", {}, el("th", { scope: "row" }, key.replaceAll("_", " ")), el("td", {}, typeof value === "object" ? JSON.stringify(value) : String(value))));
  }
  const parties = record.parties?.length ? el("table", {}, el("thead", {}, el("tr", {}, ["party", "NMSE", "max abs"].map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, record.parties.map((p) => el("tr", {}, el("td", {}, p.party), el("td", { class: "num" }, short(number(p.nmse))), el("td", { class: "num" }, short(number(p.max_abs))))))) : null;
  return el("div", {}, parties ? el("h3", {}, "Against the fp64 reference") : null, parties, el("details", {}, el("summary", {}, "the whole record"), el("table", {}, el("tbody", {}, rows))));
}
function maps(record) {
  const found = record?.maps ?? (record?.map ? [record.map] : []);
  return found.length ? el("div", {}, el("h3", {}, "Where the error sits"), ...found.map(errorMap).filter(Boolean), mapLegend()) : null;
}
function drawFailures() {
  const groups = failureGroups();
  const boxes = groups.map(groupBox);
  if (boxes.length) boxes[0].open = true;
  byId("failures").replaceChildren(...(boxes.length ? boxes : [el("p", { class: "empty" }, state.shown.length ? "No bad verdict among what is shown." : "Nothing is shown: the filter matches no verdict.")]));
}

// ---- matrix, spread, curves ----
const picks = { row: "d", column: "kv", axis: "n_kv", measure: "ratio", logarithmic: true };
function select(label, options, value, change) {
  const box = el("select", { onchange: () => change(box.value) }, options.map((o) => { const [v, t] = Array.isArray(o) ? o : [o, o]; return el("option", { value: v, selected: v === value }, t); }));
  return el("label", {}, label, box);
}
function drawMatrix() {
  byId("matrix").replaceChildren(
    el("div", { class: "pick" }, select("down", kAxes, picks.row, (v) => { picks.row = v; drawMatrix(); }), select("across", kAxes, picks.column, (v) => { picks.column = v; drawMatrix(); }),
      ...[["d", "kv"], ["n_q", "n_kv"], ["mask", "softcap"], ["backend", "mask"], ["data", "backend"]].map(([a, b]) => el("button", { type: "button", onclick: () => { picks.row = a; picks.column = b; drawMatrix(); } }, `${a} x ${b}`))),
    state.shown.length ? matrixView(state.shown, picks.row, picks.column, (cell) => { state.cell = cell; refresh(); show("verdicts"); }) : el("p", { class: "empty" }, "Nothing is shown."),
    el("p", { class: "legend" }, "worst err/B of the cell:", ...[0.001, 0.01, 0.1, 0.5, 1].map((r) => el("span", {}, el("i", { style: `background:${shade(r).background}` }), String(r))),
      el("span", {}, "\u2715 n: n bad verdicts"), el("span", {}, "*: something in it is not PASS"), el("span", {}, "n/a: nothing was compared"), "click a cell for its verdicts"));
}
function drawSpread() {
  const parts = new Map();
  for (const i of state.shown) {
    const key = textAt("backend", i) + (textAt("path", i) ? " path " + textAt("path", i) : "");
    if (!parts.has(key)) parts.set(key, []);
    parts.get(key).push(i);
  }
  byId("spread").replaceChildren(el("p", { class: "legend" }, el("span", {}, el("i", { style: "background:var(--pass)" }), "exact ratio"),
    el("span", {}, el("i", { style: "background:var(--pass);opacity:.45" }), "passed by a cheap bound: at most this"), el("span", {}, el("i", { class: "v-bad" }), "bad"), "dashed: the budget"),
    el("div", { class: "plots" }, [...parts].sort((a, b) => b[1].length - a[1].length).slice(0, 60).map(([name, indices]) => histogram(name, indices)).filter(Boolean)));
}
const kNumeric = ["n_kv", "n_q", "d_k", "d_v", "n_head", "n_seq", "softcap", "max_bias", "threads"];
function drawCurve() {
  byId("curve").replaceChildren(el("div", { class: "pick" }, select("over", kNumeric, picks.axis, (v) => { picks.axis = v; drawCurve(); }),
    select("of", [["ratio", "err/B"], ["nmse", "NMSE"], ["max_abs", "max abs error"], ["cpu", "backend CPU s"]], picks.measure, (v) => { picks.measure = v; drawCurve(); }),
    select("axis", [["log", "logarithmic"], ["lin", "linear"]], picks.logarithmic ? "log" : "lin", (v) => { picks.logarithmic = v === "log"; drawCurve(); }),
    el("span", { class: "reason" }, "worst of what is shown, per backend and point; crosses are bad verdicts")), curveView(state.shown, picks.axis, picks.measure, picks.logarithmic));
}

// ---- verdicts: only the rows in sight exist ----
const kRowHeight = 26;
const sorters = {
  index: (i) => i, verdict: (i) => columns.verdict[i], backend: (i) => textAt("backend", i), line: (i) => textAt("line", i),
  "err/B": (i) => { const r = ratioAt(i); return Number.isNaN(r) ? -1 : r; }, NMSE: (i) => number(columns.nmse[i]), path: (i) => textAt("path", i),
};
function drawVerdicts() {
  const [by, direction] = state.sort;
  if (by !== "index") {
    const key = sorters[by];
    const keyed = state.shown.map((i) => [key(i), i]);
    keyed.sort((a, b) => (a[0] < b[0] ? -direction : a[0] > b[0] ? direction : a[1] - b[1]));
    state.shown = keyed.map((k) => k[1]);
  }
  const space = el("div", { class: "space", style: `height:${(state.shown.length + 1) * kRowHeight}px` });
  const head = el("div", { class: "row head" }, ["verdict", "backend", "path", "err/B", "NMSE", "line"].map((h) => el("button", { type: "button", class: h === "err/B" || h === "NMSE" ? "num" : "",
    onclick: () => { state.sort = [h, state.sort[0] === h ? -state.sort[1] : h === "err/B" || h === "NMSE" ? -1 : 1]; drawVerdicts(); } }, h + (state.sort[0] === h ? (state.sort[1] > 0 ? " \u2191" : " \u2193") : ""))));
  space.append(head);
  const rows = el("div", { id: "rows", tabindex: "0", "aria-label": "verdicts" }, space);
  byId("verdicts").replaceChildren(state.cell ? el("p", {}, `only ${state.cell.map(([a, v]) => `${a}=${v}`).join(", ")} `, el("button", { type: "button", onclick: () => { state.cell = null; refresh(); } }, "all")) : "",
    state.shown.length ? rows : el("p", { class: "empty" }, "Nothing is shown: the filter matches no verdict."));
  let first = -1;
  const paint = () => {
    const from = Math.max(0, Math.floor(rows.scrollTop / kRowHeight) - 10), to = Math.min(state.shown.length, from + Math.ceil((rows.clientHeight || 600) / kRowHeight) + 20);
    if (from === first && space.childElementCount > 1) return;
    first = from;
    const made = [];
    for (let k = from; k < to; ++k) {
      const i = state.shown[k];
      made.push(el("div", { class: "row" + (k === state.at ? " on" : ""), style: `top:${(k + 1) * kRowHeight}px`, "data-k": k, onclick: () => { state.at = k; openDetail(i); repaint(); } },
        el("span", {}, tag(i)), el("span", {}, textAt("backend", i)), el("span", {}, textAt("path", i)), el("span", { class: "num" }, (columns.bound[i] ? "\u2264 " : "") + short(ratioAt(i))),
        el("span", { class: "num" }, columns.judged[i] ? short(number(columns.nmse[i])) : "-"), el("span", { class: "mono" }, textAt("line", i))));
    }
    space.replaceChildren(head, ...made);
  };
  repaint = () => { first = -1; paint(); };
  scrollTo = (k) => { const y = k * kRowHeight; if (y < rows.scrollTop || y > rows.scrollTop + rows.clientHeight - 3 * kRowHeight) rows.scrollTop = y - rows.clientHeight / 2; repaint(); };
  rows.addEventListener("scroll", paint);
  paint();
}
let repaint = () => {}, scrollTo = () => {};
function openDetail(i) {
  const record = page.records[i] ?? { verdict: verdictName(i), err_over_b: columns.ratio[i], nmse: columns.nmse[i], max_abs: columns.max_abs[i], path: textAt("path", i), suite: textAt("suite", i), tags: textAt("tags", i), detail: textAt("detail", i), backend_cpu_s: columns.cpu[i], judge_s: columns.judge[i] };
  byId("detail").replaceChildren(...[el("button", { type: "button", class: "close", onclick: closeDetail }, "close (Esc)"), el("h2", {}, tag(i), " ", textAt("backend", i)),
    el("p", { class: "mono" }, textAt("line", i)), reproLine(i), record.detail ? el("p", {}, record.detail) : null, el("p", { class: "reason" }, verdictInfo[columns.verdict[i]].meaning), triageText(record), placeText(record), maps(record), facts(record)].filter(Boolean));
  byId("detail").hidden = false;
  opened = i;
}
let opened = -1;
const closeDetail = () => { byId("detail").hidden = true; };

// ---- the frame ----
const painters = { summary: drawSummary, failures: drawFailures, matrix: drawMatrix, spread: drawSpread, curve: drawCurve, verdicts: drawVerdicts };
function show(name) {
  current = name;
  for (const [id] of views) byId(id).hidden = id !== name;
  for (const button of byId("tabs").children) button.setAttribute("aria-selected", String(button.dataset.view === name));
  if (!drawn.has(name)) { drawn.add(name); painters[name](); }
}
function refresh() {
  state.query = byId("query").value;
  state.at = -1;
  applyFilter();
  byId("shown").textContent = state.shown.length === total ? `${total.toLocaleString("en")} verdicts` : `${state.shown.length.toLocaleString("en")} of ${total.toLocaleString("en")}`;
  for (const button of byId("verdict-toggles").children) button.setAttribute("aria-pressed", String(!state.off.has(Number(button.dataset.verdict))));
  drawn.clear();
  show(current);
}
function start() {
  drawHead();
  byId("tabs").append(...views.map(([id, name]) => el("button", { type: "button", role: "tab", "data-view": id, "aria-controls": id, onclick: () => show(id) }, name)));
  const present = [...new Set(columns.verdict)].sort((a, b) => a - b);
  byId("verdict-toggles").append(...present.map((v) => el("button", { type: "button", class: "tag " + kindOf(verdictInfo[v]), "data-verdict": v, title: verdictInfo[v].meaning,
    onclick: () => { if (state.off.has(v)) state.off.delete(v); else state.off.add(v); refresh(); } }, verdictInfo[v].name)));
  let wait = 0;
  byId("query").addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(refresh, 120); });
  byId("clear").addEventListener("click", () => { byId("query").value = ""; state.off.clear(); state.cell = null; refresh(); });
  byId("theme").addEventListener("click", flipTheme);
  byId("keys").addEventListener("click", () => byId("help").showModal());
  let theme = "";
  try { theme = localStorage.getItem("attest-theme") ?? ""; } catch { /* a page from a file may have no storage */ }
  setTheme(theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  const swept = (page.runs[0]?.command ?? "").match(/^attest sweep .*--axis '?(\w+)=/)?.[1];
  if (swept) { current = "curve"; if (kNumeric.includes(swept)) picks.axis = swept; }
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (wanted.get("q")) byId("query").value = wanted.get("q");
  if (wanted.get("view") in painters) current = wanted.get("view");
  if (wanted.get("theme")) setTheme(wanted.get("theme"));
  refresh();
  document.documentElement.dataset.ready = "yes";
}
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  document.documentElement.style.colorScheme = theme;
}
function flipTheme() {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  try { localStorage.setItem("attest-theme", document.documentElement.dataset.theme); } catch { /* as above */ }
  drawn.clear();
  show(current);
  if (!byId("detail").hidden && opened >= 0) openDetail(opened);
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "Escape") { closeDetail(); document.activeElement?.blur(); return; }
  if (typing) return;
  const move = event.key === "j" || event.key === "ArrowDown" ? 1 : event.key === "k" || event.key === "ArrowUp" ? -1 : 0;
  if (event.key === "/") { byId("query").focus(); event.preventDefault(); }
  else if (event.key === "?") byId("help").showModal();
  else if (event.key === "t") flipTheme();
  else if (event.key >= "1" && event.key <= "6") show(views[Number(event.key) - 1][0]);
  else if (event.key === "c" && state.at >= 0) copy(repro(state.shown[state.at]));
  else if (current === "verdicts" && move) { state.at = Math.min(state.shown.length - 1, Math.max(0, state.at + move)); scrollTo(state.at); if (!byId("detail").hidden) openDetail(state.shown[state.at]); event.preventDefault(); }
  else if (event.key === "Enter" && current === "verdicts" && state.at >= 0 && document.activeElement?.tagName !== "BUTTON") openDetail(state.shown[state.at]);
});
matchMedia("print").addEventListener?.("change", (event) => { if (event.matches) for (const [id] of views) if (id !== "verdicts" && !drawn.has(id)) { drawn.add(id); painters[id](); } });
start();
