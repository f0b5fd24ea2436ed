// Two runs held against each other: counts, one plot per measure with A across and B up, changes in groups.
const page = JSON.parse(document.getElementById("data").textContent);
const number = (value) => (typeof value === "number" ? value : value === "inf" ? Infinity : value === "-inf" ? -Infinity : NaN);
const byId = (id) => document.getElementById(id);
const kSigns = { "new-failure": ["--bad", "cross"], "other-failure": ["--bad", "cross"], excused: ["--known", "cross"], coverage: ["--warn", "ring"],
  error: ["--warn", "up"], bits: ["--blind", "dot"], slower: ["--warn", "square"], fixed: ["--pass", "ring"], "": ["--soft", "dot"] };

function drawHead() {
  const regressions = page.changes.filter((c) => c.regression && c.count);
  byId("status").textContent = regressions.length ? regressions.map((c) => `${c.count.toLocaleString("en")} ${c.word}`).join(", ") : "no regression";
  byId("status").className = regressions.some((c) => ["new-failure", "coverage", "other-failure"].includes(c.word)) ? "bad" : "good";
  byId("sides").replaceChildren(el("table", {}, el("tbody", {}, page.sides.map((side, k) => el("tr", {}, el("th", { scope: "row" }, k ? "B" : "A"), el("td", {}, side.name), el("td", {}, side.facts), el("td", {}, side.builds.map((b) => el("div", { class: "reason" }, b))))))));
  byId("warnings").replaceChildren(...page.warnings.map((w) => el("li", { style: "color:var(--warn)" }, w)));
}
function drawCounts() {
  byId("counts").replaceChildren(el("h2", {}, "What changed"), el("div", { class: "scroll" }, el("table", {},
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "backend"), page.changes.map((c) => el("th", { scope: "col", class: "num", title: c.meaning }, c.word)))),
    el("tbody", {}, page.backends.map((name, k) => el("tr", {}, el("th", { scope: "row" }, name), page.changes.map((c) => el("td", { class: "num" }, c.counts[k] ? el("a", { href: `#${c.word}` }, c.counts[k].toLocaleString("en")) : "-"))))))),
    el("p", { class: "reason" }, `${page.common.toLocaleString("en")} verdicts in both, ${page.only_a.toLocaleString("en")} in A alone, ${page.only_b.toLocaleString("en")} in B alone; the same bits in ${page.same_bits.toLocaleString("en")} of ${page.bits_known.toLocaleString("en")}`));
}

// A across, B up, both logarithmic; on the diagonal nothing has changed, above it B is worse.
function scatter(title, unit, a, b, factor) {
  const width = 460, height = 430, left = 58, base = 380, top = 14, right = 14;
  const usable = page.points.line.map((_, i) => i).filter((i) => number(a[i]) > 0 && number(b[i]) > 0 && Number.isFinite(number(a[i])) && Number.isFinite(number(b[i])));
  if (!usable.length) return null;
  let low = Infinity, high = -Infinity;
  for (const i of usable) { low = Math.min(low, number(a[i]), number(b[i])); high = Math.max(high, number(a[i]), number(b[i])); }
  // Nine decades at most: what is smaller lies on the edge.
  const e1 = Math.ceil(Math.log10(high) + 1e-9), e0 = Math.min(e1 - 1, Math.max(e1 - 9, Math.floor(Math.log10(low))));
  const part = (v) => Math.max(0, (Math.log10(v) - e0) / (e1 - e0));
  const X = (v) => left + part(v) * (width - left - right);
  const Y = (v) => base - part(v) * (base - top);
  const scale = window.devicePixelRatio || 1;
  const canvas = el("canvas", { width: width * scale, height: height * scale, style: `width:${width}px;height:${height}px;max-width:100%`, role: "img", "aria-label": `${title}: ${usable.length} cases, A across, B up` });
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = "11px system-ui, sans-serif";
  for (let e = e0; e <= e1; e += Math.max(1, Math.ceil((e1 - e0) / 8))) {
    pen.strokeStyle = css("--line"); pen.fillStyle = css("--soft");
    pen.beginPath(); pen.moveTo(X(10 ** e), base); pen.lineTo(X(10 ** e), top); pen.moveTo(left, Y(10 ** e)); pen.lineTo(width - right, Y(10 ** e)); pen.stroke();
    pen.textAlign = "center"; pen.fillText(e === 0 ? "1" : `1e${e}`, X(10 ** e), base + 15);
    pen.textAlign = "right"; pen.fillText(e === 0 ? "1" : `1e${e}`, left - 6, Y(10 ** e) + 4);
  }
  pen.textAlign = "center";
  pen.fillText(`A: ${unit}`, (left + width) / 2, base + 34);
  pen.save(); pen.translate(14, (top + base) / 2); pen.rotate(-Math.PI / 2); pen.fillText(`B: ${unit}`, 0, 0); pen.restore();
  const low10 = 10 ** e0, high10 = 10 ** e1;
  const line = (by, dash) => { pen.setLineDash(dash); pen.strokeStyle = css("--ink"); pen.beginPath(); pen.moveTo(X(low10), Math.min(base, Y(low10 * by))); pen.lineTo(X(Math.min(high10, high10 / by)), Y(Math.min(high10, high10))); pen.stroke(); pen.setLineDash([]); };
  pen.save(); pen.beginPath(); pen.rect(left - 5, top, width - left - right + 5, base - top + 5); pen.clip();
  line(1, []); line(factor, [4, 4]);
  const order = [...usable].sort((i, j) => (page.points.change[i] >= 0) - (page.points.change[j] >= 0));
  for (const i of order) {
    const word = page.points.change[i] < 0 ? "" : page.changes[page.points.change[i]].word;
    const [colour, sign] = kSigns[word] ?? kSigns[""], x = X(number(a[i])), y = Y(number(b[i]));
    pen.fillStyle = pen.strokeStyle = css(colour);
    pen.globalAlpha = word ? 0.95 : 0.35;
    pen.lineWidth = 1.6;
    pen.beginPath();
    if (sign === "cross") { pen.moveTo(x - 4, y - 4); pen.lineTo(x + 4, y + 4); pen.moveTo(x + 4, y - 4); pen.lineTo(x - 4, y + 4); pen.stroke(); }
    else if (sign === "ring") { pen.arc(x, y, 4, 0, 7); pen.stroke(); }
    else if (sign === "square") { pen.strokeRect(x - 3.5, y - 3.5, 7, 7); }
    else if (sign === "up") { pen.moveTo(x, y - 5); pen.lineTo(x + 4.5, y + 3.5); pen.lineTo(x - 4.5, y + 3.5); pen.fill(); }
    else { pen.arc(x, y, word ? 2.4 : 1.7, 0, 7); pen.fill(); }
  }
  pen.restore();
  const hint = el("div", { class: "reason mono", style: "min-height:2.8em;overflow-wrap:anywhere" }, "point at a case to see its line");
  canvas.addEventListener("mousemove", (event) => {
    let best = -1, distance = 100;
    for (const i of usable) {
      const d = (X(number(a[i])) - event.offsetX) ** 2 + (Y(number(b[i])) - event.offsetY) ** 2;
      if (d < distance) { distance = d; best = i; }
    }
    if (best >= 0) hint.textContent = `${page.backends[page.points.backend[best]]}: ${short(number(a[best]))} -> ${short(number(b[best]))}  ${page.points.line[best]}`;
  });
  return el("div", { class: "plot" }, el("strong", {}, title), el("div", { class: "reason" }, `solid: no change; dashed: B is ${factor} times A`), canvas, hint);
}
function drawPlots() {
  const p = page.points;
  const plots = [scatter("Error over budget", "err/B", p.ratio_a, p.ratio_b, page.grown), scatter("Root mean square error", "sqrt(NMSE)", p.rms_a, p.rms_b, page.grown), scatter("CPU time", "seconds", p.cpu_a, p.cpu_b, 1 + page.slower)].filter(Boolean);
  const signs = [...new Set(p.change)].filter((c) => c >= 0).sort((x, y) => x - y).map((c) => page.changes[c].word);
  const marks = { cross: "\u00d7", ring: "\u25cb", square: "\u25a1", up: "\u25b2", dot: "\u2022" };
  byId("plots").replaceChildren(el("h2", {}, "A against B"), el("p", { class: "legend" }, signs.map((word) => el("span", { style: `color:var(${kSigns[word][0]})` }, `${marks[kSigns[word][1]]} ${word}`)), el("span", {}, "\u2022 unchanged"),
    page.sampled ? `${page.points.line.length.toLocaleString("en")} of ${page.common.toLocaleString("en")} cases are drawn: what changed, and an even choice of the rest` : ""), el("div", { class: "plots" }, plots),
    page.times.length ? el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, ["backend", "path", "cases", "A, CPU s", "B, CPU s", "change"].map((h, k) => el("th", { scope: "col", class: k > 1 ? "num" : "" }, h)))),
      el("tbody", {}, page.times.map((t) => el("tr", {}, el("th", { scope: "row" }, t.backend), el("td", {}, t.path || "-"), el("td", { class: "num" }, t.cases), el("td", { class: "num" }, t.a.toFixed(2)), el("td", { class: "num" }, t.b.toFixed(2)),
        el("td", { class: "num", style: t.slower ? "color:var(--bad);font-weight:700" : "" }, `${t.b >= t.a ? "+" : ""}${(100 * (t.b / t.a - 1)).toFixed(0)} %`)))))) : "");
}
function drawGroups() {
  byId("groups").replaceChildren(...page.changes.filter((c) => c.count).flatMap((c) => [el("h2", { id: c.word }, `${c.word}: ${c.count.toLocaleString("en")}`), el("p", { class: "reason" }, c.meaning),
    ...c.groups.map((g) => el("div", { class: "group" + (c.regression ? "" : " known") }, el("span", { class: "count" }, `${g.count} `), g.title, g.worst ? el("div", { class: "reason" }, `worst: ${g.worst}`) : null, el("div", { class: "repro" }, el("code", {}, g.repro), copyButton(g.repro)))),
    c.more ? el("p", { class: "reason" }, `${c.more} more groups`) : null]).filter(Boolean));
}
function copyButton(text) {
  const button = el("button", { type: "button" }, "copy");
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "copied"; } catch { button.textContent = "select it"; }
    setTimeout(() => { button.textContent = "copy"; }, 1200);
  });
  return button;
}
function setTheme(theme) { document.documentElement.dataset.theme = theme; document.documentElement.style.colorScheme = theme; drawPlots(); }
const flipTheme = () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
byId("theme").addEventListener("click", flipTheme);
document.addEventListener("keydown", (event) => { if (event.key === "t" && !event.ctrlKey && !event.metaKey && !event.altKey) flipTheme(); });
drawHead();
drawCounts();
drawGroups();
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
document.documentElement.dataset.ready = "yes";
