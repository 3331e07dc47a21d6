"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const colour = (i) => css(`--c${i % 12}`);
  const make = (tag, of = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), of);
    node.append(...children);
    return node;
  };

  // Numbers for people: three digits, units that fit.
  const digits = (v) => {
    const a = Math.abs(v);
    if (v === 0) return "0";
    return (a >= 100 ? Math.round(v).toLocaleString("en") : a >= 10 ? v.toFixed(1) : v.toFixed(2)).replace(/\.0+$/, "");
  };
  const scaled = (v, steps) => {
    const [factor, name] = steps.find(([factor]) => Math.abs(v) >= factor) || steps[steps.length - 1];
    return digits(v / factor) + name;
  };
  const text = {
    s: (v) => (v === 0 ? "0 s" : scaled(v, [[1, " s"], [1e-3, " ms"], [1e-6, " µs"]])),
    "1/s": (v) => digits(v) + "/s",
    bytes: (v) => scaled(v, [[2 ** 30, " GB"], [2 ** 20, " MB"], [2 ** 10, " kB"], [1, " B"]]),
    "bytes/s": (v) => `${text.bytes(v)}/s`,
    ratio: (v) => `${digits(v * 100)} %`,
    count: digits,
  };
  const known = (format) => (u, v) => (v == null ? "–" : format(v));

  const tone = (kind) => (kind.startsWith("fault.") ? "--c6" : kind.startsWith("failover.") || kind.startsWith("switchover.") ? "--c1"
    : kind.startsWith("ledger.") || kind === "split_brain" ? "--c3" : "--c8");

  let live = [];
  const resize = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const u = live.find((one) => one.root.parentNode === target);
      const fit = () => { if (live.includes(u)) u.setSize({ width: target.clientWidth, height: u.height }); };
      if (u && target.clientWidth > 0 && u.width !== target.clientWidth) requestAnimationFrame(fit);
    }
  });

  const axis = (more) => ({
    stroke: css("--soft"), font: "12px system-ui, sans-serif",
    grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1, size: 4 }, ...more,
  });

  // On a logarithmic axis whole powers of ten, and where these are few their doubles and fives.
  const decades = (u, splits) => {
    const { min, max } = u.scales.y;
    const whole = splits.filter((v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-9);
    const leads = whole.filter((v) => v >= min && v <= max).length > 2 ? [1] : [1, 2, 5];
    return splits.map((v) => (leads.includes(Math.round(v / 10 ** Math.floor(Math.log10(v) + 1e-9))) ? v : null));
  };
  const valueAxis = (format, log, bytes) => axis({
    values: (u, splits) => splits.map((v) => (v == null ? "" : format(v))), size: 74,
    ...(bytes ? { incrs: Array.from({ length: 40 }, (_, i) => 2 ** i) } : {}),
    ...(log ? { filter: decades, grid: { stroke: css("--line"), width: 1, filter: decades }, ticks: { stroke: css("--line"), width: 1, size: 4, filter: decades } } : {}),
  });

  // Phases as bands and events as lines, under and over the series.
  const bands = (trial, named) => (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    trial.phases.forEach(([name, from, to], i) => {
      const left = u.valToPos(from, "x", true), right = u.valToPos(to, "x", true);
      if (i % 2 === 0) { ctx.fillStyle = css("--band"); ctx.fillRect(left, bbox.top, right - left, bbox.height); }
      if (named && right - left > 40 * devicePixelRatio) {
        ctx.fillStyle = css("--soft");
        ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
        ctx.fillText(name, Math.max(left, bbox.left) + 5 * devicePixelRatio, bbox.top + 13 * devicePixelRatio, right - left - 8);
      }
    });
    ctx.restore();
  };
  const marks = (trial, numbered) => (u) => {
    const { ctx, bbox } = u, px = devicePixelRatio;
    const crowded = trial.events.length > 60;
    ctx.save();
    ctx.lineWidth = px;
    ctx.font = `${10 * px}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    let taken = -Infinity;
    trial.events.forEach(([at, kind], i) => {
      if (crowded && tone(kind) === "--c8") return;
      const x = u.valToPos(at, "x", true);
      if (x < bbox.left || x > bbox.left + bbox.width) return;
      ctx.strokeStyle = ctx.fillStyle = css(tone(kind));
      ctx.globalAlpha = 0.75;
      ctx.setLineDash([3 * px, 3 * px]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.stroke();
      if (numbered && x - taken > 15 * px) {
        ctx.globalAlpha = 1;
        ctx.fillText(i + 1, x, bbox.top - 3 * px);
        taken = x;
      }
    });
    ctx.restore();
  };

  // Lock waits as bars, one below the other where they overlap; the colour says what was waited for.
  const LANES = 8;
  const waits = (trial) => (u) => {
    const { ctx, bbox } = u, px = devicePixelRatio, until = [];
    const kinds = [...new Set(trial.locks.map((wait) => wait.lock))];
    ctx.save();
    ctx.globalAlpha = 0.8;
    trial.locks.forEach((wait) => {
      const free = until.findIndex((end) => end <= wait.from);
      const lane = free >= 0 ? free : Math.min(until.length, LANES - 1);
      until[lane] = wait.to;
      const left = Math.max(u.valToPos(wait.from, "x", true), bbox.left);
      const right = Math.min(u.valToPos(wait.to, "x", true), bbox.left + bbox.width);
      ctx.fillStyle = colour(3 + kinds.indexOf(wait.lock));
      if (right >= bbox.left && left <= bbox.left + bbox.width) ctx.fillRect(left, bbox.top + (2 + lane * 6) * px, Math.max(right - left, 2 * px), 4 * px);
    });
    ctx.restore();
  };

  // A value between gaps has no line: it is shown as a point.
  const alone = (u, si) => {
    const values = u.data[si];
    return values.flatMap((v, i) => (v != null && values[i - 1] == null && values[i + 1] == null ? [i] : []));
  };

  // Arrow keys move the cursor of all plots that are joined, Escape shows everything again.
  const keyboard = (holder, u, whole) => {
    holder.tabIndex = 0;
    holder.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
      if (event.key === "Escape") { live.filter((one) => one.whole === whole).forEach((one) => one.setScale("x", whole)); return; }
      if (step === undefined) return;
      event.preventDefault();
      const last = u.data[0].length - 1;
      const from = u.cursor.idx == null ? (step > 0 ? -1 : last + 1) : u.cursor.idx;
      const idx = Math.max(0, Math.min(last, from + step));
      u.setCursor({ left: u.valToPos(u.data[0][idx], "x"), top: u.over.clientHeight / 2 }, true, true);
    });
  };

  const draw = (holder, options, series, title, whole) => {
    const u = new uPlot({ width: Math.max(240, holder.clientWidth), ...options }, series, holder);
    u.whole = whole;
    live.push(u);
    resize.observe(holder);
    holder.setAttribute("role", "group");
    holder.setAttribute("aria-label", `${title}: plot; arrow keys move the cursor, the values stand below it`);
    keyboard(holder, u, whole);
    return u;
  };

  const save = (u, title, colours, dashes, valueText, xText, trial) => make("button", {
    className: "save", type: "button", textContent: "Save as SVG",
    onclick: () => {
      const url = URL.createObjectURL(new Blob([toSvg(u, title, colours, dashes, valueText, xText, trial)], { type: "image/svg+xml" }));
      make("a", { href: url, download: title.toLowerCase().replace(/[^a-z0-9]+/g, "-") + ".svg" }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    },
  });

  // A table that is made when somebody opens it.
  const table = (summary, heads, rows) => {
    const details = make("details", {}, make("summary", { textContent: summary }));
    details.addEventListener("toggle", () => {
      if (!details.open || details.children.length > 1) return;
      const head = make("tr", {}, ...heads.map((head) => make("th", { scope: "col", textContent: head })));
      const body = rows().map((row) => make("tr", {}, ...row.map((cell, i) => cell instanceof Node ? cell : make("td", { textContent: cell, className: i ? "" : "when" }))));
      details.append(make("div", { className: "wide tall", tabIndex: 0 }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...body))));
    });
    return details;
  };

  const filled = (colours) => ({ markers: { width: 0, fill: (u, i) => (i ? colours[i - 1] : "transparent") } });

  const seconds = (v) => `${+v.toFixed(3)} s`;

  function timelinePlot(trial, plot, place, index, first, whole) {
    const format = text[plot.unit];
    place.append(make("h4", { textContent: plot.title }));
    const holder = make("div", { className: "plot" });
    place.append(holder);
    const values = plot.series.map((line) => (plot.log ? line.values.map((v) => (v > 0 ? v : null)) : line.values));
    const colours = plot.series.map((_, i) => colour(i));
    const dashes = plot.series.map(() => false);
    // What happened where the cursor is.
    const said = make("p", { className: "near", ariaLive: "polite", textContent: "Numbered lines are events: point at one to read it." });
    const near = (u) => {
      if (u.cursor.left < 0) return;
      const at = u.posToVal(u.cursor.left, "x"), reach = (8 * (u.scales.x.max - u.scales.x.min)) / u.over.clientWidth;
      const here = trial.events.map((event, i) => [event, i]).filter(([event]) => Math.abs(event[0] - at) < reach);
      said.textContent = here.map(([[when, kind, , what], i]) => `${i + 1} · ${seconds(when)} · ${kind}: ${what}`).join("\n") || "\u00a0";
    };
    const u = draw(holder, {
      height: 190,
      padding: [14, 10, 0, 0],
      scales: {
        x: { time: false },
        y: plot.log ? { distr: 3 } : { range: (u, low, high) => [0, high > 0 ? high * 1.08 : 1] },
      },
      cursor: { sync: { key: `run-${index}`, scales: ["x", null] }, drag: { x: true, y: false }, points: { size: 6 } },
      series: [{ label: "time", value: known(seconds) }, ...plot.series.map((line, i) => ({
        label: line.name, stroke: colours[i], width: 1.5, value: known(format), points: { show: true, size: 4, fill: colours[i], filter: alone },
      }))],
      axes: [
        axis({ values: (u, splits) => splits.map((v) => `${+v.toFixed(3)} s`), size: 30 }),
        valueAxis(format, plot.log, plot.unit.startsWith("bytes")),
      ],
      legend: filled(colours),
      hooks: { drawClear: [bands(trial, first)], draw: [marks(trial, first), ...(plot.locks ? [waits(trial)] : [])], setCursor: first ? [near] : [] },
    }, [plot.x, ...values], plot.title, whole);
    const rows = () => plot.x.map((x, i) => [seconds(x), ...plot.series.map((line) => (line.values[i] == null ? "–" : format(line.values[i])))])
      .filter((row) => row.slice(1).some((cell) => cell !== "–"));
    place.append(make("div", { className: "under" }, table("As a table", ["time", ...plot.series.map((line) => line.name)], rows),
      plot.locks && trial.locks.length ? locksTable(trial) : "", save(u, plot.title, colours, dashes, format, (v) => `${+v.toFixed(3)} s`, trial), plot.note ? make("small", { textContent: plot.note }) : ""));
    if (first && trial.events.length) holder.after(said);
  }

  function eventsTable(trial) {
    const row = ([at, kind, node, what], i) => [
      make("td", { className: "when" }, make("i", { className: "key", style: `background:var(${tone(kind)})` }), String(i + 1)),
      seconds(at), kind, node, what,
    ];
    const more = trial.more ? `, and ${trial.more} more in events.csv` : "";
    return table(`${trial.events.length} events${more}`, ["", "time", "kind", "node", "what"], () => trial.events.map(row));
  }

  function locksTable(trial) {
    const heads = ["from", "seen for", "node", "waited for", "by a session that was", "most pairs", "longest chain", "longest wait", "waiting query_id", "blocking query_id"];
    const or = (v) => (v == null ? "–" : v);
    const row = (wait) => [
      seconds(wait.from), text.s(wait.to - wait.from), wait.node, wait.lock, wait.holder, wait.pairs, or(wait.depth),
      wait.longest == null ? "–" : text.s(wait.longest), or(wait.waiter), or(wait.blocker),
    ];
    const more = trial.more_locks ? `, the longest; ${trial.more_locks} more in lock_edges.csv` : "";
    return table(`${trial.locks.length} lock waits (the bars)${more}`, heads, () => trial.locks.map(row));
  }

  // What only matters to whoever asks why: drawn when it is opened.
  function context(trial, plots, place, index, whole) {
    const details = make("details", { className: "context" }, make("summary", { textContent: `What servers and machine did meanwhile: ${plots.length} more plots` }));
    details.addEventListener("toggle", () => {
      if (!details.open || details.children.length > 1) return;
      const inner = make("div");
      details.append(inner);
      plots.forEach((plot) => timelinePlot(trial, plot, inner, index, false, whole));
    });
    place.append(details);
  }

  function timeline(run, section, index) {
    if (!run.trials.length) { section.append(make("p", { textContent: "No trial is recorded." })); return () => {}; }
    const choice = make("select", { id: `trial-${index}` });
    run.trials.forEach((trial, i) => choice.append(make("option", { value: i, textContent: `${trial.variant} · trial ${trial.trial} (${trial.status})` })));
    const good = run.trials.findIndex((trial) => trial.status === "ok");
    choice.value = Math.max(0, good);
    const place = make("div");
    const show = () => {
      const trial = run.trials[choice.value];
      place.replaceChildren();
      if (trial.events.length) place.append(make("div", { className: "under" }, eventsTable(trial)));
      if (!trial.plots.length) place.append(make("p", { className: "note", textContent: "Nothing was sampled in this trial." }));
      const whole = { min: trial.begin, max: trial.end };
      const [first, behind] = [false, true].map((is) => trial.plots.filter((plot) => plot.context === is));
      first.forEach((plot, i) => timelinePlot(trial, plot, place, index, i === 0, whole));
      if (behind.length) context(trial, behind, place, index, whole);
    };
    choice.addEventListener("change", () => { forget(place); show(); });
    section.append(make("p", { className: "choose" }, make("label", { htmlFor: choice.id, textContent: "Trial" }), choice,
      make("small", { textContent: "Drag to zoom, double-click (or Escape) for everything; arrow keys move the cursor." })), place);
    show();
    return () => { forget(place); show(); };
  }

  const NINES = [[0.30103, "p50"], [1, "p90"], [2, "p99"], [3, "p99.9"], [4, "p99.99"]];
  const ninesText = (v) => (NINES.find(([at]) => Math.abs(at - v) < 1e-3) || [0, `p${+(100 * (1 - 10 ** -v)).toFixed(3)}`])[1];

  function latency(run, holder, index) {
    const names = [...new Set(run.latency.map((curve) => `${curve.variant} · ${curve.name}`))];
    const several = new Set(run.latency.map((curve) => curve.variant)).size > 1;
    const show = () => {
      const curves = run.latency;
      const colours = curves.map((curve) => colour(names.indexOf(`${curve.variant} · ${curve.name}`)));
      const dashes = curves.map((curve) => !curve.response);
      const u = draw(holder, {
        height: 340,
        padding: [10, 26, 0, 0],
        scales: { x: { time: false }, y: { distr: 3 } },
        cursor: { drag: { x: true, y: false }, points: { size: 6 } },
        series: [{ label: "quantile", value: known(ninesText) }, ...curves.map((curve, i) => ({
          label: `${several ? curve.variant + " · " : ""}${curve.name} ${curve.response ? "response" : "service"}`,
          stroke: colours[i], width: curve.response ? 2 : 1.2, dash: dashes[i] ? [5, 4] : undefined, value: known(text.s), points: { show: false },
        }))],
        axes: [
          axis({ splits: () => NINES.map(([at]) => at), values: (u, splits) => splits.map(ninesText), size: 30 }),
          valueAxis(text.s, true, false),
        ],
        legend: filled(colours),
      }, [run.quantiles, ...curves.map((curve) => curve.values)], "How long clients waited", { min: 0, max: 4 });
      const button = save(u, "Response time", colours, dashes, text.s, ninesText);
      holder.after(make("div", { className: "under", id: `latency-save-${index}` }, button));
    };
    show();
    return () => { document.getElementById(`latency-save-${index}`).remove(); forget(holder); show(); };
  }

  // Ends the plots in a place.
  function forget(place) {
    live = live.filter((u) => {
      if (!place.contains(u.root)) return true;
      const holder = u.root.parentNode;
      resize.unobserve(holder);
      u.destroy();
      if (holder === place) return false;
      holder.remove();
      return false;
    });
  }

  const redraw = [];
  data.runs.forEach((run, index) => {
    const section = document.getElementById(`timeline-${index}`);
    redraw.push(timeline(run, section, index));
    const holder = document.getElementById(`latency-plot-${index}`);
    if (holder) redraw.push(latency(run, holder, index));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw.forEach((again) => again()));
  document.documentElement.dataset.drawn = "yes";
})();
