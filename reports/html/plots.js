// Small drawing: elements, the matrix of two axes, the spread of err/B, curves over an axis, error maps.
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const key in attributes ?? {}) {
    const value = attributes[key];
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value !== undefined && value !== null) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined));
  return node;
}
function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const key in attributes ?? {}) node.setAttribute(key, attributes[key]);
  node.append(...children);
  return node;
}
const short = (x) => {
  if (Number.isNaN(x)) return "-";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  if (x === 0) return "0";
  const a = Math.abs(x);
  return a >= 1e4 || a < 1e-3 ? x.toExponential(1).replace("e+", "e") : String(Number(x.toPrecision(3)));
};
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
function mix(from, to, t) {
  const parse = (c) => [1, 3, 5].map((k) => parseInt(c.slice(k, k + 2), 16));
  const a = parse(from), b = parse(to);
  return `rgb(${a.map((x, k) => Math.round(x + (b[k] - x) * t)).join(" ")})`;
}
// err/B from 1e-3 to 1 on a scale of one hue: light to dark by day, dark to light by night.
function shade(ratio) {
  const t = Math.min(1, Math.max(0, 1 + Math.log10(Math.max(ratio, 1e-3)) / 3));
  return { background: mix(css("--low"), css("--high"), t), color: t > 0.55 ? css("--paper") : css("--ink") };
}

const kAxes = ["backend", "path", "suite", "tag", "op", "d", "d_k", "d_v", "kv", "k", "v", "n_q", "n_kv", "n_head", "gqa", "n_seq",
  "mask", "softcap", "max_bias", "sinks", "scale", "layout", "data", "poison", "threads", "prec"];

function matrixView(indices, rowAxis, columnAxis, open) {
  const cells = new Map(), rows = new Set(), heads = new Set();
  for (const i of indices) {
    const r = binned(rowAxis, i), c = binned(columnAxis, i);
    rows.add(r); heads.add(c);
    const key = r + "\u0000" + c;
    let cell = cells.get(key);
    if (!cell) cells.set(key, cell = { count: 0, bad: 0, ruled: 0, worst: 0, names: new Map() });
    ++cell.count;
    const ratio = ratioAt(i);
    if (isBad(i)) ++cell.bad;
    if (kind(i) === "pass" || kind(i) === "bad" || kind(i) === "blind") ++cell.ruled;
    if (ratio > cell.worst && kind(i) !== "known") cell.worst = ratio;
    if (kind(i) !== "pass") cell.names.set(verdictName(i), (cell.names.get(verdictName(i)) ?? 0) + 1);
  }
  const sortedRows = [...rows].sort(byNature), sortedHeads = [...heads].sort(byNature);
  const limit = 60;
  const table = el("table", { class: "cells" });
  table.append(el("thead", {}, el("tr", {}, el("th", { scope: "col" }, `${rowAxis} \\ ${columnAxis}`),
    sortedHeads.slice(0, limit).map((h) => el("th", { scope: "col" }, h)))));
  const body = el("tbody");
  for (const r of sortedRows.slice(0, limit)) {
    const line = el("tr", {}, el("th", { scope: "row" }, r));
    for (const c of sortedHeads.slice(0, limit)) {
      const cell = cells.get(r + "\u0000" + c);
      if (!cell) { line.append(el("td")); continue; }
      const notes = [...cell.names].map(([name, count]) => `${name} ${count}`).join(", ");
      const title = `${rowAxis}=${r}, ${columnAxis}=${c}: ${cell.count} verdicts, worst err/B ${short(cell.worst)}${notes ? ", " + notes : ""}`;
      const button = el("button", { type: "button", title, "aria-label": title, onclick: () => open([[rowAxis, r], [columnAxis, c]]) });
      if (cell.bad) { button.className = "bad"; button.textContent = `\u2715 ${cell.bad}`; }
      else if (!cell.ruled) { button.className = "known"; button.textContent = "n/a"; }
      else {
        Object.assign(button.style, shade(cell.worst));
        button.textContent = short(cell.worst);
        if (cell.names.size) button.textContent += "*";
      }
      line.append(el("td", {}, button));
    }
    body.append(line);
  }
  table.append(body);
  const cut = sortedRows.length > limit || sortedHeads.length > limit
    ? el("p", { class: "reason" }, `${sortedRows.length} x ${sortedHeads.length} values: the first ${limit} of each are shown`) : null;
  return el("div", {}, el("div", { class: "scroll" }, table), cut);
}

// Histogram of log10(err/B): what passed, what passed by a cheap bound (at most this), what failed. null: no ratio.
function histogram(title, indices) {
  const low = -5, high = 5, step = 0.25, count = Math.round((high - low) / step);
  const tall = Array.from({ length: count }, () => [0, 0, 0]);
  let n = 0, worst = 0, zero = 0;
  for (const i of indices) {
    const ratio = ratioAt(i);
    if (Number.isNaN(ratio)) continue;
    ++n;
    worst = Math.max(worst, ratio);
    if (ratio === 0) { ++zero; continue; }
    const bin = Math.min(count - 1, Math.max(0, Math.floor((Math.log10(ratio) - low) / step)));
    ++tall[bin][isBad(i) ? 2 : columns.bound[i] ? 1 : 0];
  }
  if (!n) return null;
  const most = Math.max(1, ...tall.map((b) => b[0] + b[1] + b[2]));
  const width = 420, height = 150, left = 18, base = 122, top = 8;
  const x = (e) => left + ((e - low) / (high - low)) * (width - 2 * left);
  const scale = (c) => (c ? (Math.log10(1 + c) / Math.log10(1 + most)) * (base - top) : 0);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: ${n} ratios, largest ${short(worst)}` });
  tall.forEach((bin, k) => {
    const sum = bin[0] + bin[1] + bin[2];
    if (!sum) return;
    const from = x(low + k * step), wide = x(low + (k + 1) * step) - from - 1;
    let y = base;
    const whole = scale(sum);
    [[bin[0], css("--pass"), 1], [bin[1], css("--pass"), 0.45], [bin[2], css("--bad"), 1]].forEach(([c, fill, opacity]) => {
      if (!c) return;
      const tall = (whole * c) / sum;
      y -= tall;
      drawing.append(svg("rect", { x: from, y, width: wide, height: tall, fill, "fill-opacity": opacity },
        svg("title", {}, document.createTextNode(`10^${(low + k * step).toFixed(2)} ... : ${sum}`))));
    });
  });
  drawing.append(svg("line", { class: "axis", x1: left, x2: width - left, y1: base, y2: base }));
  for (let e = low; e <= high; ++e) {
    const label = svg("text", { x: x(e), y: base + 15, "text-anchor": "middle" });
    label.textContent = e === 0 ? "1" : `1e${e}`;
    drawing.append(label);
  }
  drawing.append(svg("line", { class: "limit", x1: x(0), x2: x(0), y1: top, y2: base }));
  return el("div", { class: "plot" }, el("strong", {}, title),
    el("div", { class: "reason" }, `${n} ratios, largest ${short(worst)}${zero ? `, ${zero} exactly 0` : ""}; heights are logarithmic`), drawing);
}

// Worst value per point of a numeric axis, one line per backend.
function curveView(indices, axis, measure, logarithmicX) {
  const series = new Map();
  for (const i of indices) {
    const x = Number(valueOf(axis, i));
    const y = measure === "ratio" ? ratioAt(i) : columns.judged[i] ? number(columns[measure][i]) : NaN;
    if (!Number.isFinite(x) || Number.isNaN(y)) continue;
    const name = textAt("backend", i);
    if (!series.has(name)) series.set(name, new Map());
    const points = series.get(name);
    const old = points.get(x);
    if (!old || y > old.y) points.set(x, { y, i, bad: isBad(i) || (old?.bad ?? false) });
    else if (isBad(i)) old.bad = true;
  }
  const all = [...series.values()].flatMap((p) => [...p]);
  if (!all.length) return el("p", { class: "empty" }, `no verdict here has a number for ${axis}`);
  const log = (v) => Math.log10(Math.max(v, 1e-18));
  const px = logarithmicX ? (v) => Math.log10(Math.max(v, 0.5)) : (v) => v;
  const finite = all.map(([, p]) => p.y).filter((y) => y > 0 && Number.isFinite(y));
  const xs = all.map(([v]) => px(v));
  let x0 = Math.min(...xs), x1 = Math.max(...xs);
  if (x1 === x0) { x0 -= 0.5; x1 += 0.5; }
  let y0 = Math.floor(Math.min(...finite.map(log), measure === "ratio" ? 0 : Infinity)), y1 = Math.ceil(Math.max(...finite.map(log), measure === "ratio" ? 0 : -Infinity));
  if (!Number.isFinite(y0) || !Number.isFinite(y1)) { y0 = -1; y1 = 0; }
  if (y1 === y0) ++y1;
  const width = 980, height = 420, left = 56, right = 160, top = 12, base = 380;
  const X = (v) => left + ((px(v) - x0) / (x1 - x0)) * (width - left - right);
  const Y = (v) => (Number.isFinite(v) ? base - ((Math.min(Math.max(log(v), y0), y1) - y0) / (y1 - y0)) * (base - top) : top);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${measure} over ${axis}` });
  const label = (x, y, text, anchor = "middle") => {
    const t = svg("text", { x, y, "text-anchor": anchor });
    t.textContent = text;
    drawing.append(t);
  };
  const every = Math.max(1, Math.ceil((y1 - y0) / 10));
  for (let e = y0; e <= y1; e += every) {
    drawing.append(svg("line", { class: "axis", x1: left, x2: width - right, y1: Y(10 ** e), y2: Y(10 ** e) }));
    label(left - 8, Y(10 ** e) + 4, e === 0 ? "1" : `1e${e}`, "end");
  }
  const ticks = [...new Set(all.map(([v]) => v))].sort((a, b) => a - b);
  let last = -Infinity;
  for (const v of ticks) {
    if (X(v) - last < 46) continue;
    label(X(v), base + 18, short(v));
    last = X(v);
  }
  label((left + width - right) / 2, height - 6, axis);
  if (measure === "ratio") drawing.append(svg("line", { class: "limit", x1: left, x2: width - right, y1: Y(1), y2: Y(1) }));
  const dashes = ["", "7 4", "2 3", "9 3 2 3", "12 4", "4 4 1 4"];
  const colours = ["--pass", "--blind", "--warn", "--ink", "--soft", "--high"];
  [...series].forEach(([name, points], k) => {
    const sorted = [...points].sort((a, b) => a[0] - b[0]);
    const colour = css(colours[k % colours.length]);
    drawing.append(svg("path", { d: sorted.map(([v, p], n) => `${n ? "L" : "M"}${X(v).toFixed(1)} ${Y(p.y).toFixed(1)}`).join(" "),
      fill: "none", stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dashes[k % dashes.length] }));
    for (const [v, p] of sorted) {
      const dot = p.bad ? svg("path", { class: "mark", d: `M${X(v) - 4} ${Y(p.y) - 4}l8 8m0 -8l-8 8`, stroke: css("--bad"), "stroke-width": 2.4, fill: "none" })
        : svg("circle", { cx: X(v), cy: Y(p.y), r: 2.6, fill: colour });
      dot.append(svg("title", {}, document.createTextNode(`${name}, ${axis}=${v}: ${short(p.y)}, ${verdictName(p.i)}\n${strings[columns.line[p.i]]}`)));
      drawing.append(dot);
    }
    drawing.append(svg("line", { x1: width - right + 12, x2: width - right + 40, y1: 22 + 18 * k, y2: 22 + 18 * k, stroke: colour, "stroke-width": 2, "stroke-dasharray": dashes[k % dashes.length] }));
    label(width - right + 46, 26 + 18 * k, name, "start");
  });
  return el("div", { class: "plot" }, drawing);
}

// Largest err/B per cell; a cell may stand for several neighbours. What was not judged stays empty; what is over budget is
// struck through as well as coloured (where a cell has room), deeper with every power of ten. Ticks below: the period in which what is wrong comes back.
function errorMap(map) {
  const rows = map.values.length, wide = map.values[0]?.length ?? 0;
  if (!rows || !wide) return null;
  const size = Math.max(5, Math.min(22, Math.floor(660 / wide))), tall = rows === 1 ? 26 : Math.max(size, rows > 16 ? 9 : 14), foot = 7;
  const many = (name) => (name === "query" ? "queries" : name + "s");
  const at = (c, r) => {
    const one = (name, k, by) => (by > 1 ? `${many(name)} ${k * by} to ${(k + 1) * by - 1}` : `${name} ${k}`);
    const value = number(map.values[r][c]);
    return `${map.rows ? one(map.rows, r, map.down) + ", " : ""}${one(map.columns, c, map.across)}: ${Number.isNaN(value) ? "not judged" : Number.isFinite(value) ? "err/B " + short(value) : "NaN, Inf or unwritten"}`;
  };
  const ratio = window.devicePixelRatio || 1;
  const canvas = el("canvas", { class: "map", width: wide * size * ratio, height: (rows * tall + foot) * ratio, role: "img", style: `width:${wide * size}px;height:${rows * tall + foot}px`,
    "aria-label": `error map: ${map.rows || "all rows"} down, ${map.columns} across` });
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  let bad = 0, worst = 0, where = "";
  map.values.forEach((line, r) => line.forEach((cell, c) => {
    const value = number(cell), x = c * size, y = r * tall;
    if (Number.isNaN(value)) {
      pen.strokeStyle = css("--line");
      pen.beginPath(); pen.moveTo(x + size / 2 - 1, y + tall / 2); pen.lineTo(x + size / 2 + 1, y + tall / 2); pen.stroke();
      return;
    }
    const broken = value > 1;
    if (value > worst) { worst = value; where = at(c, r); }
    pen.fillStyle = broken ? mix(css("--badlow"), css("--badhigh"), Math.min(1, Math.log10(value) / 5)) : shade(value).background;
    pen.fillRect(x, y, size - (size > 6 ? 1 : 0), tall - (tall > 6 ? 1 : 0));
    if (!broken) return;
    ++bad;
    if (size < 7) return;
    pen.strokeStyle = css("--card");
    pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(x + 1.5, y + tall - 2.5); pen.lineTo(x + size - 2.5, y + 1.5); pen.stroke();
  }));
  const every = map.period / map.across;
  if (every > 1) {
    pen.fillStyle = css("--ink");
    for (let c = 0; c < wide; c += every) pen.fillRect(c * size, rows * tall + 1, 2, foot - 1);
  }
  const hint = el("span", { class: "reason" }, where ? `worst: ${where}` : "");
  canvas.addEventListener("mousemove", (event) => {
    const c = Math.floor(event.offsetX / size), r = Math.floor(event.offsetY / tall);
    if (r < rows && c < wide) hint.textContent = at(c, r);
  });
  const title = map.rows ? `${many(map.rows)} down, ${many(map.columns)} across` : `${many(map.columns)} of the output, all rows`;
  const shared = [map.down > 1 ? `${map.down} ${many(map.rows)}` : "", map.across > 1 ? `${map.across} ${many(map.columns)}` : ""].filter(Boolean).join(" x ");
  return el("figure", { class: "errormap" }, el("figcaption", {}, el("strong", {}, title),
    el("span", { class: "reason" }, ` ${bad} of ${rows * wide} cells over budget${shared ? `; a cell is ${shared}` : ""}${map.period > 1 ? `; comes back every ${map.period} (ticks)` : ""}`)), canvas, el("div", {}, hint));
}
function mapLegend() {
  const step = (value, label) => el("span", {}, el("i", { style: `background:${value > 1 ? mix(css("--badlow"), css("--badhigh"), Math.min(1, Math.log10(value) / 5)) : shade(value).background}` }), label);
  return el("p", { class: "legend" }, step(0.001, "0"), step(0.1, "0.1"), step(1, "1: the budget"), step(1.01, "above it, struck through"), step(1000, "1e3"), step(1e5, "1e5, NaN, Inf"), "-: not judged");
}
