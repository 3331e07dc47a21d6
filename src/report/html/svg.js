"use strict";
// A plot as an SVG file, for READMEs and slides: drawn from the numbers, in the colours of the page.
// Of a trial's plot phases and events as well.
function toSvg(u, title, colours, dashes, valueText, xText, trial) {
  const w = 800, h = 260, box = { l: 70, t: 34, r: 12, b: 52 };
  const esc = (s) => String(s).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
  const xs = u.scales.x, ys = u.scales.y, log = ys.distr === 3;
  const f = (v) => (log ? Math.log10(v) : v);
  const px = (v) => box.l + ((v - xs.min) / (xs.max - xs.min)) * (w - box.l - box.r);
  const py = (v) => h - box.b - ((f(v) - f(ys.min)) / (f(ys.max) - f(ys.min))) * (h - box.t - box.b);
  const css = getComputedStyle(document.documentElement);
  const ink = css.getPropertyValue("--ink"), line = css.getPropertyValue("--line"), paper = css.getPropertyValue("--paper");
  const out = [`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${w} ${h}" font-family="sans-serif" font-size="12" fill="${ink}">`,
    `<rect width="${w}" height="${h}" fill="${paper}"/><text x="${box.l}" y="20" font-weight="bold">${esc(title)}</text>`];
  const within = (v) => v >= xs.min && v <= xs.max;
  (trial ? trial.phases : []).forEach(([name, from, to], i) => {
    const left = px(Math.max(from, xs.min)), right = px(Math.min(to, xs.max));
    if (right <= left) return;
    if (i % 2 === 0) out.push(`<rect x="${left.toFixed(1)}" y="${box.t}" width="${(right - left).toFixed(1)}" height="${h - box.t - box.b}" fill="${ink}" fill-opacity=".05"/>`);
    out.push(`<text x="${(left + 4).toFixed(1)}" y="${box.t + 12}" font-size="10" fill-opacity=".7">${esc(name)}</text>`);
  });
  for (const [at, kind] of trial ? trial.events : []) {
    if (!within(at) || !/^(fault|failover|switchover|ledger)\./.test(kind)) continue;
    out.push(`<path d="M${px(at).toFixed(1)} ${box.t}V${h - box.b}" stroke="${ink}" stroke-opacity=".45" stroke-dasharray="3 3"><title>${esc(kind)}</title></path>`);
  }
  const ticks = (axis) => (u.axes[axis]._splits || []).filter((v) => v != null);
  for (const v of ticks(1)) {
    if (v < ys.min || v > ys.max || (log && Math.abs(f(v) - Math.round(f(v))) > 1e-9)) continue;
    out.push(`<path d="M${box.l} ${py(v).toFixed(1)}H${w - box.r}" stroke="${line}"/><text x="${box.l - 6}" y="${(py(v) + 4).toFixed(1)}" text-anchor="end">${esc(valueText(v))}</text>`);
  }
  for (const v of ticks(0)) {
    if (!within(v)) continue;
    out.push(`<text x="${px(v).toFixed(1)}" y="${h - box.b + 16}" text-anchor="middle">${esc(xText(v))}</text>`);
  }
  let at = box.l;
  for (let s = 1; s < u.series.length; s++) {
    if (!u.series[s].show) continue;
    let d = "", pen = "M";
    u.data[0].forEach((x, i) => {
      const y = u.data[s][i];
      if (y == null || !within(x)) { if (!u.series[s].spanGaps) pen = "M"; return; }
      d += `${pen}${px(x).toFixed(1)} ${py(y).toFixed(1)}`;
      pen = "L";
    });
    const dash = dashes[s - 1] ? ' stroke-dasharray="5 4"' : "";
    out.push(`<path d="${d}" fill="none" stroke="${colours[s - 1]}" stroke-width="1.5"${dash}/>`);
    out.push(`<path d="M${at} ${h - 12}h16" stroke="${colours[s - 1]}" stroke-width="3"${dash}/><text x="${at + 20}" y="${h - 8}">${esc(u.series[s].label)}</text>`);
    at += 34 + 6.6 * u.series[s].label.length;
  }
  return out.join("\n") + "\n</svg>\n";
}
