"use strict";
// The page of a report. Everything that comes from a record is set as text or drawn from numbers, never as markup.
(() => {
  const PER_PAGE = 48;
  const BIN = 0.25; // width of a bar, in units of a score
  const BLINK = 700; // milliseconds
  const SVG = "http://www.w3.org/2000/svg";

  const data = JSON.parse(document.getElementById("data").textContent);
  const { dimensions, kinds, colours, heat: ramp } = data.legend;
  const rows = data.rows;
  const at = (id) => document.getElementById(id);
  const blank = () => ({ query: "", status: "all", kind: "", finding: "", ranges: dimensions.map(() => null), page: 0 });
  let state = { ...blank(), sort: "score:0", descending: false };
  let shown = []; // places of the rows that pass the filter, in order
  let opened = null; // place in `shown` of the pair in the dialog
  let mode = "slider";
  let zoomed = null; // the box that is enlarged
  let blinker = null;

  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  function draw(tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  }

  // ---- what a row says ----

  const scoreOf = (row, index) => row.scores?.[index]?.value ?? null;
  const percent = (share) => (share > 0 && share < 0.001 ? "under 0.1 %" : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`);

  function third(index, value) {
    const { low, high } = dimensions[index];
    return ["low", "middle", "high"][Math.min(2, Math.floor((3 * (value - low)) / (high - low)))];
  }

  function worstFinding(row) {
    const order = ["slight", "moderate", "severe"];
    return (row.findings ?? []).reduce((worst, one) => Math.max(worst, order.indexOf(one.severity)), -1);
  }

  const picture = (row, which) => {
    const place = row.pictures[which];
    return place === null ? null : data.folder + data.pictures[place];
  };

  const searched = rows.map((row) =>
    [row.id, row.source, row.edited, row.prompt].filter(Boolean).join("\n").toLowerCase());

  // ---- filter and sort ----

  const STATUSES = [
    ["all", "all pairs", () => true],
    ["ok", "assessed", (row) => !row.error],
    ["error", "failed", (row) => Boolean(row.error)],
    ["warned", "with warnings", (row) => Boolean(row.warnings)],
    ["disagree", "models disagree", (row) => Boolean(row.check?.disagreements.some(Boolean))],
  ];

  function passes(row, place) {
    if (!STATUSES.find(([key]) => key === state.status)[2](row)) return false;
    if (state.kind && row.kind !== state.kind) return false;
    if (state.query && !searched[place].includes(state.query)) return false;
    if (state.finding === "*severe" ? worstFinding(row) < 2 : state.finding === "*any" ? worstFinding(row) < 0
      : state.finding && !(row.findings ?? []).some((one) => one.kind === state.finding)) return false;
    return state.ranges.every((range, index) => {
      if (!range) return true;
      const value = scoreOf(row, index);
      return value !== null && value >= range[0] && value <= range[1];
    });
  }

  const SORTS = [
    ...dimensions.map(({ name }, index) => [`score:${index}`, name, (row) => scoreOf(row, index)]),
    ["spread", "spread of overall", (row) => row.scores?.[0].spread ?? null],
    ["area", "edited area", (row) => row.area ?? null],
    ["findings", "worst finding", (row) => (row.error ? null : worstFinding(row))],
    ["order", "input order", (row, place) => place],
    ["name", "name", (row) => row.id],
  ];

  /** Places in order; what has no value comes last whichever way round. */
  function sorted(places) {
    const valueOf = SORTS.find(([key]) => key === state.sort)[2];
    const values = new Map(places.map((place) => [place, valueOf(rows[place], place)]));
    const sign = state.descending ? -1 : 1;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    return places.sort((a, b) => {
      const [one, other] = [values.get(a), values.get(b)];
      if (one === null || other === null) return (one === null) - (other === null) || a - b;
      return sign * compare(one, other) || a - b;
    });
  }

  function refresh({ keepPage = false } = {}) {
    shown = sorted(rows.map((_, place) => place).filter((place) => passes(rows[place], place)));
    if (!keepPage) state.page = 0;
    const all = `${rows.length} pair${rows.length === 1 ? "" : "s"}`;
    at("count").textContent = shown.length === rows.length ? all : `${shown.length} of ${all}`;
    at("direction").textContent = state.descending ? "↓" : "↑";
    at("direction").title = state.descending ? "highest first" : "lowest first";
    updateDistributions();
    drawCards();
  }

  // ---- distributions ----

  const binsOf = ({ low, high }) => Math.round((high - low) / BIN);
  const binOf = (index, value) =>
    Math.min(binsOf(dimensions[index]) - 1, Math.floor((value - dimensions[index].low) / BIN));

  function counted(index, places) {
    const counts = new Array(binsOf(dimensions[index])).fill(0);
    for (const place of places) {
      const value = scoreOf(rows[place], index);
      if (value !== null) counts[binOf(index, value)] += 1;
    }
    return counts;
  }

  const median = (values) => {
    const ordered = values.sort((a, b) => a - b);
    const half = ordered.length >> 1;
    return ordered.length % 2 ? ordered[half] : (ordered[half - 1] + ordered[half]) / 2;
  };

  const panels = dimensions.map((dimension, index) => {
    const { low, high, name } = dimension;
    const all = counted(index, rows.keys());
    const most = Math.max(1, ...all);
    const heading = make("span");
    const words = make("small");
    const bars = make("div", "bars");
    bars.setAttribute("aria-hidden", "true"); // the fields below do the same by keyboard
    const solid = all.map((count, bin) => {
      const faint = make("i");
      faint.style.cssText = `left:0;right:0;height:${(100 * count) / most}%`;
      const inner = make("i");
      inner.style.cssText = "left:0;right:0;height:0";
      const bar = make("div", "bar", faint, inner);
      const [from, to] = [low + bin * BIN, low + (bin + 1) * BIN];
      bar.title = `${from} to ${to}: ${count}`;
      bar.addEventListener("click", () => {
        const same = state.ranges[index]?.[0] === from && state.ranges[index]?.[1] === to;
        setRange(index, same ? null : [from, to]);
      });
      bars.append(bar);
      return inner;
    });
    const fields = ["from", "to"].map((word) => {
      const field = make("input");
      Object.assign(field, { type: "number", min: low, max: high, step: 0.1, placeholder: word === "from" ? low : high });
      field.setAttribute("aria-label", `${name} ${word}`);
      field.addEventListener("input", () => {
        const [from, to] = fields.map((one) => (one.value === "" ? null : Number(one.value)));
        state.ranges[index] = from === null && to === null ? null : [from ?? low, to ?? high];
        refresh();
      });
      return field;
    });
    at("distributions").append(
      make("div", "dimension", make("h2", "", name, heading), bars,
        make("div", "axis", make("span", "", String(low)), make("span", "", String(high))), words,
        make("div", "range", "from", fields[0], "to", fields[1])),
    );
    return { index, most, solid, fields, heading, words };
  });

  function setRange(index, range) {
    state.ranges[index] = range;
    panels[index].fields.forEach((field, end) => { field.value = range ? range[end] : ""; });
    refresh();
  }

  function updateDistributions() {
    for (const { index, most, solid, heading, words } of panels) {
      counted(index, shown).forEach((count, bin) => { solid[bin].style.height = `${(100 * count) / most}%`; });
      const values = shown.map((place) => scoreOf(rows[place], index)).filter((value) => value !== null);
      heading.textContent = values.length ? `${median(values).toFixed(1)}/${dimensions[index].high}` : "–";
      const without = shown.length - values.length;
      words.textContent = values.length
        ? `median of ${values.length} scored${without ? `; ${without} not scored` : ""}` : "none scored";
    }
  }

  // ---- cards ----

  function meter(index, score) {
    const track = make("span", "meter");
    if (score?.value === undefined) return track;
    const { low, high } = dimensions[index];
    const place = (value) => (100 * (Math.min(high, Math.max(low, value)) - low)) / (high - low);
    track.classList.add(third(index, score.value));
    if (score.spread !== undefined) {
      const band = make("i");
      band.style.left = `${place(score.value - score.spread)}%`;
      band.style.right = `${100 - place(score.value + score.spread)}%`;
      track.append(band);
    }
    const mark = make("b");
    mark.style.left = `${place(score.value)}%`;
    track.append(mark);
    return track;
  }

  function outlines(row, { numbers = false } = {}) {
    const [width, height] = row.frame;
    const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const tags = [];
    const places = (row.regions ?? []).map((region, index) => [region, index]).reverse(); // the largest on top
    for (const [region, index] of places) {
      const colour = colours[index % colours.length];
      if (region.outline) {
        const line = { d: region.outline, transform: "translate(.5 .5)" }; // whole numbers are centres of pixels
        svg.append(draw("path", { class: "edge under", ...line }), draw("path", { class: "edge over", stroke: colour, ...line }));
      }
      if (!numbers && region.outline) continue;
      svg.append(boxed(row, region.box, { class: "edge box", stroke: colour }));
      if (numbers) tags.push(numbered(row, region.box, index + 1, colour));
    }
    return [svg, ...tags];
  }

  function boxed(row, [x0, y0, x1, y1], attributes) {
    const [sx, sy] = [row.frame[0] / row.size[0], row.frame[1] / row.size[1]];
    return draw("rect", { x: x0 * sx, y: y0 * sy, width: (x1 - x0) * sx, height: (y1 - y0) * sy, ...attributes });
  }

  function numbered(row, [x0, y0], number, colour) {
    const tag = make("span", "number", String(number));
    tag.style.background = colour;
    tag.style.left = `${Math.min(95, (100 * x0) / row.size[0])}%`;
    tag.style.top = `${(100 * y0) / row.size[1]}%`;
    if (y0 < 0.06 * row.size[1]) tag.classList.add("inside");
    return tag;
  }

  function image(source, alt) {
    const img = make("img");
    img.loading = "lazy";
    img.decoding = "async";
    img.alt = alt;
    img.draggable = false;
    img.addEventListener("error", () => img.replaceWith(make("span", "gone", "the picture's file is not beside this page")));
    img.src = source;
    return img;
  }

  /** Sets the size of an element to the pair's aspect, as large as fits into width x height pixels. */
  function fit(element, row, width, height) {
    const scale = Math.min(width / row.frame[0], height / row.frame[1]);
    element.style.width = `${row.frame[0] * scale}px`;
    element.style.height = `${row.frame[1] * scale}px`;
    element.style.maxWidth = "100%";
  }

  function thumb(row) {
    const source = picture(row, 1) ?? picture(row, 0);
    const box = make("div", "thumb");
    if (source === null && !row.regions) {
      box.append(make("span", "gone", row.missing ? "no picture can be shown" : "no picture"));
      return box;
    }
    const layers = make("div", "layers");
    fit(layers, row, 420, 180);
    if (source !== null) layers.append(image(source, ""));
    if (!row.error) layers.append(outlines(row)[0]);
    box.append(layers);
    return box;
  }

  function card(place, position) {
    const row = rows[place];
    const open = make("button", "open clamp", row.id ?? "(no name)");
    open.type = "button";
    open.addEventListener("click", () => show(position));
    const body = make("div", "body", open);
    if (row.prompt) body.append(make("p", "prompt clamp", `“${row.prompt}”`));
    const tags = make("div", "tags");
    if (row.error) {
      body.append(make("p", "failed", make("strong", "", row.error.code), ` ${row.error.message}`));
      tags.append(make("span", "tag severe", "failed"));
    } else {
      body.append(meters(row));
      tags.append(make("span", "tag", kinds[row.kind] + (row.regions ? `, ${percent(row.area)}` : "")));
      const worst = worstFinding(row);
      if (worst >= 0) tags.append(make("span", `tag ${["", "moderate", "severe"][worst]}`, `${row.findings.length} finding${row.findings.length > 1 ? "s" : ""}`));
      if (row.warnings) tags.append(make("span", "tag moderate", `${row.warnings.length} warning${row.warnings.length > 1 ? "s" : ""}`));
    }
    body.append(tags);
    const item = make("li", "card", thumb(row), body);
    item.dataset.place = place;
    return item;
  }

  function meters(row) {
    const grid = make("div", "meters");
    row.scores.forEach((score, index) => {
      const first = index === 0 ? "first" : "";
      const value = score.value === undefined ? "–" : score.value.toFixed(1);
      const number = make("b", score.value === undefined ? "quiet" : third(index, score.value), value);
      number.title = score.value === undefined ? `not scored: ${score.reason}` : score.level;
      grid.append(make("span", first, dimensions[index].name), meter(index, score), number);
    });
    return grid;
  }

  function drawCards() {
    const pages = Math.max(1, Math.ceil(shown.length / PER_PAGE));
    state.page = Math.min(pages - 1, Math.max(0, state.page));
    const start = state.page * PER_PAGE;
    const cards = shown.slice(start, start + PER_PAGE).map((place, index) => card(place, start + index));
    at("cards").replaceChildren(...(cards.length ? cards : [make("li", "nothing", "No pair passes the filter.")]));
    drawPager(pages);
  }

  function drawPager(pages) {
    const pager = at("pager");
    pager.hidden = pages < 2;
    const button = (words, label, page) => {
      const one = make("button", "", words);
      one.type = "button";
      one.setAttribute("aria-label", label);
      one.disabled = page < 0 || page >= pages || page === state.page;
      one.addEventListener("click", () => turnTo(page));
      return one;
    };
    const field = make("input");
    Object.assign(field, { type: "number", min: 1, max: pages, value: state.page + 1 });
    field.setAttribute("aria-label", "Page");
    field.addEventListener("change", () => turnTo(Number(field.value) - 1));
    pager.replaceChildren(
      button("⇤", "First page", 0), button("←", "Previous page", state.page - 1),
      make("span", "", "page "), field, make("span", "", ` of ${pages}`),
      button("→", "Next page", state.page + 1), button("⇥", "Last page", pages - 1),
    );
  }

  function turnTo(page) {
    state.page = page;
    drawCards();
    at("tools").scrollIntoView();
  }

  // ---- one pair ----

  function show(position) {
    if (position < 0 || position >= shown.length) return;
    opened = position;
    zoomed = null;
    const row = rows[shown[position]];
    at("detail-title").textContent = row.id ?? "(no name)";
    at("position").textContent = `${position + 1} of ${shown.length}`;
    at("previous").disabled = position === 0;
    at("next").disabled = position === shown.length - 1;
    at("missing").textContent = (row.missing ?? []).join("; ");
    at("facts").replaceChildren(...(row.error ? failureFacts(row) : facts(row)));
    at("cut").value = 50;
    drawStage(row);
    if (!at("detail").open) at("detail").showModal();
    at("detail").scrollTop = 0;
    at("detail-title").focus({ preventScroll: true });
    history.replaceState(null, "", `#pair-${shown[position] + 1}`);
  }

  function close() {
    stopBlinking();
    const place = shown[opened];
    opened = null;
    history.replaceState(null, "", "#");
    const page = Math.floor(shown.indexOf(place) / PER_PAGE);
    if (page >= 0 && page !== state.page) turnTo(page);
    document.querySelector(`.card[data-place="${place}"] .open`)?.focus();
  }

  function layer(row, which, name, heated) {
    const source = picture(row, which);
    const content = make("div", "content", source === null ? make("span", "gone", `${name}: no picture`) : image(source, name));
    if (!row.registered) content.querySelector("img")?.classList.add("apart");
    if (heated) content.append(heatMap(row));
    return make("div", `${name}${heated ? " heated" : ""}`, content, make("span", "which", name));
  }

  function drawStage(row) {
    stopBlinking();
    const both = row.pictures[0] !== null && row.pictures[1] !== null;
    const usable = both && row.registered ? mode : "side"; // pictures in different frames cannot be laid over each other
    const stage = at("stage");
    const lines = at("show-regions").checked && !row.error ? outlines(row, { numbers: true }) : [];
    const marks = make("div", "marks", make("div", "content", ...lines), make("span", "handle"));
    const heated = Boolean(row.heat) && at("show-heat").checked;
    stage.className = usable;
    stage.replaceChildren(layer(row, 0, "source", heated && usable !== "side"), layer(row, 1, "edited", heated), marks);
    for (const content of stage.querySelectorAll(".content")) content.style.transform = enlarged(row);
    at("show-zoom").checked = zoomed !== null;
    at("show-zoom").disabled = !row.regions;
    const [width, height] = row.frame;
    for (const box of stage.children) box.style.aspectRatio = `${width} / ${height}`;
    const columns = usable === "side" && innerWidth > 600 ? 2 : 1;
    stage.style.maxWidth = `calc(min(72vh, 900px) * ${(columns * width) / height})`;
    for (const button of at("modes").children) {
      button.setAttribute("aria-checked", String(button.value === usable));
      button.tabIndex = button.value === usable ? 0 : -1;
      button.disabled = button.value !== "side" && !(both && row.registered);
    }
    at("cutter").hidden = usable !== "slider";
    at("show-heat").disabled = !row.heat;
    at("heat-label").title = row.heat ? "" : "the record has no map";
    at("heat-words").hidden = !heated;
    setCut(Number(at("cut").value));
    if (usable === "blink") blink();
  }

  function heatMap(row) {
    const { size: [lines, columns], box: [x0, y0, x1, y1], values } = row.heat;
    const canvas = make("canvas");
    const bytes = atob(values);
    if (bytes.length !== lines * columns || lines < 1) return canvas;
    Object.assign(canvas, { width: columns, height: lines });
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(columns, lines);
    for (let cell = 0; cell < bytes.length; cell++) {
      pixels.data.set([...heatColour(bytes.charCodeAt(cell) / 255), 255], 4 * cell);
    }
    context.putImageData(pixels, 0, 0);
    canvas.style.left = `${(100 * x0) / row.size[0]}%`;
    canvas.style.top = `${(100 * y0) / row.size[1]}%`;
    canvas.style.width = `${(100 * (x1 - x0)) / row.size[0]}%`;
    canvas.style.height = `${(100 * (y1 - y0)) / row.size[1]}%`;
    return canvas;
  }

  function heatColour(probability) {
    const place = probability * (ramp.length - 1);
    const step = Math.min(ramp.length - 2, Math.floor(place));
    return ramp[step].map((channel, index) => Math.round(channel + (place - step) * (ramp[step + 1][index] - channel)));
  }

  /** The transform that brings the enlarged box to the middle, without showing anything beyond the picture. */
  function enlarged(row) {
    if (zoomed === null) return "";
    const [x0, y0, x1, y1] = zoomed;
    const [width, height] = row.size;
    const scale = Math.min(8, Math.max(1, 0.8 / Math.max((x1 - x0) / width, (y1 - y0) / height)));
    const move = (centre) => 100 * Math.min(0, Math.max(1 - scale, 0.5 - scale * centre));
    return `translate(${move((x0 + x1) / 2 / width)}%, ${move((y0 + y1) / 2 / height)}%) scale(${scale})`;
  }

  function zoom(box) {
    zoomed = box;
    setMode(mode);
  }

  function setCut(value) {
    at("cut").value = Math.min(100, Math.max(0, value));
    at("stage").style.setProperty("--cut", `${at("cut").value}%`);
  }

  function blink() {
    const stage = at("stage");
    blinker = setInterval(() => stage.classList.toggle("first"), BLINK);
  }

  function stopBlinking() {
    clearInterval(blinker);
    blinker = null;
  }

  function setMode(wanted) {
    mode = wanted;
    if (opened !== null) drawStage(rows[shown[opened]]);
  }

  // ---- the words beside the pictures ----

  const titled = (words, ...content) => [make("h3", "", words), ...content];

  function scoreTable(scores, disagreements) {
    const grid = make("div", "scores");
    scores.forEach((score, index) => {
      const { name, high } = dimensions[index];
      const known = score.value !== undefined;
      const tone = known ? third(index, score.value) : "quiet";
      const number = make("b", tone, known ? `${score.value.toFixed(2)}/${high}` : "not scored");
      const spread = make("span", "spread quiet", known && score.spread !== undefined ? `±${score.spread.toFixed(2)} ` : "", known ? score.level : "");
      grid.append(make("span", "", name, disagreements?.[index] ? make("span", "moderate", " disagrees") : null), meter(index, score), number, spread);
      if (score.distribution) grid.append(shares(score, tone));
      if (score.reason) grid.append(make("span", "why", score.reason + (score.code ? ` (${score.code})` : "")));
    });
    return grid;
  }

  function shares(score, tone) {
    const bars = make("div", `shares ${tone}`);
    const off = score.offScale === undefined ? "" : `; off the scale ${percent(score.offScale)}`;
    bars.title = `probability of each level, worst first: ${score.distribution.map(percent).join(", ")}${off}`;
    bars.setAttribute("role", "img");
    bars.setAttribute("aria-label", bars.title);
    for (const share of score.distribution) {
      const bar = make("i");
      bar.style.height = `${100 * share}%`;
      bars.append(bar);
    }
    return bars;
  }

  function findingList(row) {
    const list = make("ul", "list");
    for (const finding of row.findings) {
      const words = make("button", finding.box ? "boxed" : "", finding.text);
      words.type = "button";
      words.title = `${finding.kind}: ${finding.value}`;
      if (finding.box) {
        const mark = () => point(row, finding.box);
        words.addEventListener("mouseenter", mark);
        words.addEventListener("focus", mark);
        words.addEventListener("click", mark);
        words.addEventListener("mouseleave", unpoint);
        words.addEventListener("blur", unpoint);
      } else words.disabled = true;
      list.append(make("li", "", make("span", `tag ${finding.severity}`, finding.severity), make("span", "", finding.box ? words : finding.text, make("span", "quiet", ` ${finding.kind}, ${finding.value}`))));
    }
    return list;
  }

  function point(row, box) {
    unpoint();
    const content = document.querySelector("#stage .marks .content");
    const svg = content.querySelector("svg") ?? content.appendChild(outlines({ ...row, regions: [] })[0]);
    svg.append(boxed(row, box, { class: "edge under pointed" }), boxed(row, box, { class: "edge found pointed" }));
  }

  function unpoint() {
    for (const mark of document.querySelectorAll("#stage .pointed")) mark.remove();
  }

  function regionTable(row) {
    const table = make("table");
    row.regions.forEach((region, index) => {
      const swatch = make("button", "swatch", String(index + 1));
      swatch.type = "button";
      swatch.title = "enlarge this region";
      swatch.setAttribute("aria-label", `Enlarge region ${index + 1}`);
      swatch.style.background = colours[index % colours.length];
      swatch.addEventListener("click", () => zoom(zoomed === region.box ? null : region.box));
      const [x0, y0, x1, y1] = region.box;
      table.append(make("tr", "", make("td", "", swatch), make("td", "", region.place), make("td", "", `${x0},${y0} – ${x1},${y1}`),
        make("td", "number-cell", percent(region.area)), make("td", "number-cell", region.confidence.toFixed(2))));
    });
    const head = make("tr", "", ...["", "where", "box in pixels", "area", "confidence"].map((words) => make("th", "", words)));
    table.prepend(head);
    return table;
  }

  function bullets(lines, className = "") {
    return make("ul", "list", ...lines.map((line) => make("li", className, line)));
  }

  function definitions(pairs) {
    const list = make("dl");
    for (const [name, value] of pairs) if (value !== undefined && value !== null) list.append(make("dt", "", name), make("dd", "", value));
    return list;
  }

  function facts(row) {
    const change = `${kinds[row.kind]}, probability of an edit ${row.probability.toFixed(2)}`
      + (row.regions ? `, ${percent(row.area)} of the image` : "") + (row.identical ? ", pixels identical" : "");
    const parts = row.prompt ? titled("prompt", make("p", "", `“${row.prompt}”`)) : [];
    parts.push(...titled("scores", make("p", "quiet", change), scoreTable(row.scores)));
    if (row.explanation) parts.push(...titled("explanation", make("p", "", row.explanation)));
    if (row.warnings) parts.push(...titled("warnings", bullets(row.warnings, "middle")));
    if (row.findings) parts.push(...titled("findings, measured", findingList(row)));
    if (row.faults) {
      parts.push(...titled("faults, estimated", make("ul", "list", ...row.faults.map(([kind, severity, level]) =>
        make("li", "", make("span", `tag ${level}`, level), `${kind.replaceAll("_", " ")}, ${severity.toFixed(2)}`)))));
    }
    if (row.regions) parts.push(...titled("regions", regionTable(row)));
    if (row.check) {
      parts.push(...titled("cross-check", make("p", "quiet", `${row.check.model}: ${kinds[row.check.kind]}`), scoreTable(row.check.scores, row.check.disagreements)));
    }
    parts.push(...titled("record", definitions([
      ["source", `${row.source} (${row.sourceIs})`], ["edited", `${row.edited} (${row.editedIs})`], ["mask", row.mask],
      ["alignment", row.alignment + (row.shift ? `, ${row.shift} pixels` : "")], ["overall from", row.fusion],
      ["model", row.model], ["time", `${row.seconds.toFixed(2)} s`],
    ])));
    return parts;
  }

  function failureFacts(row) {
    const { code, message, file, expected, found, hint } = row.error;
    return [
      ...titled("not assessed", make("p", "failed", make("strong", "", code), ` ${message ?? ""}`),
        definitions([["file", file], ["expected", expected], ["found", found], ["try", hint]])),
      ...titled("pair", definitions([["source", row.source], ["edited", row.edited], ["mask", row.mask], ["prompt", row.prompt]])),
    ];
  }

  // ---- controls ----

  function options(select, entries) {
    for (const [value, words] of entries) select.append(Object.assign(make("option", "", words), { value }));
  }

  function setControls() {
    at("query").value = state.query;
    for (const name of ["status", "kind", "finding", "sort"]) at(name).value = state[name];
    panels.forEach(({ fields, index }) => fields.forEach((field, end) => { field.value = state.ranges[index]?.[end] ?? ""; }));
  }

  function listen() {
    options(at("status"), STATUSES.filter(([, , test], index) => index === 0 || rows.some(test)));
    const present = new Set(rows.map((row) => row.kind).filter(Boolean));
    options(at("kind"), [["", "any change"], ...Object.entries(kinds).filter(([kind]) => present.has(kind))]);
    const found = [...new Set(rows.flatMap((row) => (row.findings ?? []).map((one) => one.kind)))].sort();
    options(at("finding"), [["", "findings or none"], ["*any", "any finding"], ["*severe", "a severe finding"], ...found.map((kind) => [kind, kind.replaceAll("_", " ")])]);
    options(at("sort"), SORTS.map(([key, words]) => [key, `sort: ${words}`]));
    at("query").addEventListener("input", () => { state.query = at("query").value.trim().toLowerCase(); refresh(); });
    for (const name of ["status", "kind", "finding", "sort"]) {
      at(name).addEventListener("change", () => { state[name] = at(name).value; refresh(); });
    }
    at("direction").addEventListener("click", () => { state.descending = !state.descending; refresh(); });
    at("tools").addEventListener("submit", (event) => event.preventDefault());
    at("tools").addEventListener("reset", (event) => {
      event.preventDefault();
      state = { ...blank(), sort: "score:0", descending: false };
      setControls();
      refresh();
    });
    at("failures")?.addEventListener("click", () => { state = { ...state, ...blank(), status: "error" }; setControls(); refresh(); });
    listenToTheme();
    listenToDialog();
    document.addEventListener("keydown", onKey);
  }

  function listenToTheme() {
    const themes = [["auto", "light dark"], ["light", "light"], ["dark", "dark"]];
    let theme = 0;
    at("theme").addEventListener("click", () => {
      theme = (theme + 1) % themes.length;
      const [words, scheme] = themes[theme];
      document.documentElement.style.colorScheme = scheme;
      at("theme").textContent = `Colours: ${words}`;
    });
  }

  function listenToDialog() {
    for (const [value, words] of [["slider", "Slider"], ["blink", "Blink"], ["side", "Side by side"]]) {
      const button = Object.assign(make("button", "", words), { type: "button", value });
      button.setAttribute("role", "radio");
      button.addEventListener("click", () => setMode(value));
      at("modes").append(button);
    }
    at("ramp").style.background = `linear-gradient(to right, ${ramp.map((colour) => `rgb(${colour})`).join(", ")})`;
    at("previous").addEventListener("click", () => show(opened - 1));
    at("next").addEventListener("click", () => show(opened + 1));
    at("close").addEventListener("click", () => at("detail").close());
    at("detail").addEventListener("close", close);
    at("detail").addEventListener("click", (event) => { if (event.target === at("detail")) at("detail").close(); });
    at("cut").addEventListener("input", () => setCut(Number(at("cut").value)));
    for (const name of ["show-regions", "show-heat"]) at(name).addEventListener("change", () => setMode(mode));
    at("show-zoom").addEventListener("change", () => zoom(at("show-zoom").checked ? rows[shown[opened]].regions[0].box : null));
    const drag = (event) => {
      if (!at("stage").classList.contains("slider") || (event.type === "pointermove" && !event.buttons)) return;
      const { left, width } = at("stage").getBoundingClientRect();
      setCut((100 * (event.clientX - left)) / width);
    };
    at("stage").addEventListener("pointerdown", (event) => { at("stage").setPointerCapture(event.pointerId); drag(event); });
    at("stage").addEventListener("pointermove", drag);
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input[type=search], input[type=number], select");
    if (typing) return;
    const keys = opened === null ? LIST_KEYS : DETAIL_KEYS;
    const act = keys[event.key.toLowerCase()];
    if (!act) return;
    event.preventDefault();
    act();
  }

  function moveFocus(step) {
    const buttons = [...document.querySelectorAll("#cards .open")];
    const here = buttons.indexOf(document.activeElement);
    buttons[Math.min(buttons.length - 1, Math.max(0, here + step))]?.focus();
  }

  const toggle = (name) => at(name).click(); // which does nothing where it is disabled
  const LIST_KEYS = {
    "/": () => at("query").focus(),
    j: () => moveFocus(1),
    k: () => moveFocus(-1),
    "]": () => turnTo(state.page + 1),
    "[": () => turnTo(state.page - 1),
  };
  const DETAIL_KEYS = {
    j: () => show(opened + 1),
    k: () => show(opened - 1),
    s: () => setMode("slider"),
    b: () => setMode("blink"),
    d: () => setMode("side"),
    r: () => toggle("show-regions"),
    h: () => toggle("show-heat"),
    z: () => toggle("show-zoom"),
    arrowleft: () => setCut(Number(at("cut").value) - 2),
    arrowright: () => setCut(Number(at("cut").value) + 2),
  };

  listen();
  setControls();
  refresh();
  const linked = /^#pair-(\d+)$/.exec(location.hash);
  if (linked) show(shown.indexOf(Number(linked[1]) - 1));
  else if (rows.length === 1) show(0); // of a single pair there is nothing to choose
})();
