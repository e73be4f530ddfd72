"use strict";
// The program of a picture's page: it zooms, filters, and lists the rows behind marks. `page.py` makes the page and says
// what each part of its content is; Vega draws. Texts of the content were written by strangers: they enter the page as
// text only (textContent), never as markup, as code, or as part of an expression.
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const element = (id) => document.getElementById(id);
  const make = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const number = (n) => n.toLocaleString("en-US");
  const several = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;
  const MOST_MARKS = 2000; // more cannot be told apart
  const PAGE_ROWS = 100;
  const NOUNS = { handles: "life", values: "content", steps: "content", tree: "key" };
  const noun = NOUNS[content.kind] || "operation";
  const nouns = (n) => (noun === "life" ? `${number(n)} ${n === 1 ? "life" : "lives"}` : several(n, noun));

  const { rows, cells, lanes, span } = content;
  const isTree = content.kind === "tree";
  const perUs = span ? 1 / span.unit_us : 1;
  const from = rows ? (rows.numbers.from || []).map((us) => us * perUs) : [];
  const to = rows && rows.numbers.to ? rows.numbers.to.map((us) => us * perUs) : from;
  const text = (row, name) => rows.texts[name].names[rows.texts[name].at[row]];
  const groupOf = (row) => rows.group.names[rows.group.at[row]];
  const stepOfCells = content.step_us * perUs;
  const startOfCells = content.start_us * perUs;
  const colors = new Map(content.groups);

  // What the reader asked for.
  const asked = {
    bounds: span ? span.bounds : [0, 1],
    shown: span ? [...span.bounds] : null,
    off: new Set(), // groups
    results: new Set(), // "done", "failed" that are hidden
    words: [],
    choice: null, // {from, to, top, bottom}: a part of the picture; lanes from top to bottom
    row: -1,
    moves: false, // what a drag does
    listed: PAGE_ROWS,
    root: 0, // of a tree
  };
  let view = null;
  let fitting = []; // rows that fit the legend and the search, by their beginning
  let fittingCells = [];

  // ---- which rows fit

  function findFitting() {
    const tests = asked.words.map((word) =>
      Object.values(rows.texts).map((column) => ({
        at: column.at,
        fits: column.names.map((name) => name.toLowerCase().includes(word)),
      })),
    );
    fitting = [];
    for (let row = 0; row < rows.count; row++) {
      if (rows.group && asked.off.has(groupOf(row))) continue;
      if (content.results && asked.results.has(rows.numbers.failed[row] ? "failed" : "done")) continue;
      if (tests.every((columns) => columns.some((column) => column.fits[column.at[row]]))) fitting.push(row);
    }
    if (span) fitting.sort((one, other) => from[one] - from[other] || one - other);
    // What is only counted cannot be searched: it is left out, and `list` says how much that is.
    fittingCells = cells.filter(
      ([, , group, failed]) =>
        !asked.words.length &&
        !asked.off.has(content.cell_groups[group]) && !asked.results.has(failed ? "failed" : "done"),
    );
  }

  const startOf = (cell) => startOfCells + cell[0] * stepOfCells;
  const within = (range) => (row) => from[row] <= range.to && to[row] >= range.from;
  const cellWithin = (range) => (cell) => startOf(cell) < range.to && startOf(cell) + stepOfCells > range.from;
  const sum = (list) => list.reduce((total, cell) => total + cell[4], 0);
  const inLanes = (range, lane) => range.top === undefined || (lane >= range.top && lane <= range.bottom);
  const window_ = () => ({ from: asked.shown[0], to: asked.shown[1] });

  function inRange(range) {
    return {
      rows: fitting.filter((row) => within(range)(row) && inLanes(range, rows.numbers.lane[row])),
      cells: fittingCells.filter((cell) => cellWithin(range)(cell) && inLanes(range, cell[1])),
    };
  }

  // ---- what Vega draws

  const mark = (row) => ({
    row,
    at: from[row],
    from: from[row],
    to: Math.max(to[row], from[row] + (asked.shown[1] - asked.shown[0]) / 900),
    lane: lanes[rows.numbers.lane[row]] || "",
    y: rows.numbers.lane[row] + 0.5 + 0.08 * (content.cell_groups.indexOf(groupOf(row)) - 3),
    group: groupOf(row),
    result: content.results && rows.numbers.failed[row] ? "failed" : "done",
    time: moment(row),
    ...Object.fromEntries(Object.keys(rows.texts).map((name) => [name, text(row, name)])),
    status: rows.texts.result ? text(row, "result") : "",
  });

  // Length of a step of time: as many steps as the window has room for; whole stretches where some are only counted.
  function stepFor(someCells) {
    const wide = view.signal("width");
    const least = (asked.shown[1] - asked.shown[0]) / Math.max(40, Math.min(240, wide / 5));
    if (someCells.length) return stepOfCells * Math.max(1, Math.ceil(least / stepOfCells));
    const power = 10 ** Math.floor(Math.log10(least));
    return power * [1, 2, 5, 10].find((digit) => digit * power >= least * 0.999999);
  }

  // Counts by lane (one for all: byLane false), step and group.
  function counted(someRows, someCells, step, byLane) {
    const bins = new Map();
    const add = (lane, at, group, failed, events) => {
      const place = Math.floor((at - startOfCells) / step + 1e-9);
      const key = `${byLane ? lane : 0} ${place}`;
      if (!bins.has(key)) bins.set(key, { lane, place, events: 0, failures: 0, groups: new Map() });
      const bin = bins.get(key);
      const both = bin.groups.get(group) || [0, 0];
      both[0] += events;
      if (failed) both[1] += events;
      bin.groups.set(group, both);
      bin.events += events;
      if (failed) bin.failures += events;
    };
    for (const row of someRows) add(rows.numbers.lane[row], from[row], groupOf(row), rows.numbers.failed[row], 1);
    for (const cell of someCells)
      add(cell[1], startOf(cell) + stepOfCells / 2, content.cell_groups[cell[2]], cell[3], cell[4]);
    return [...bins.values()].sort((one, other) => one.place - other.place);
  }

  function drawTimeline(visible) {
    const open = visible.rows.length <= MOST_MARKS;
    const bins = [];
    const failures = [];
    let step = 0;
    if (!open || visible.cells.length) {
      step = stepFor(visible.cells);
      const sums = counted(open ? [] : visible.rows, visible.cells, step, true);
      const most = sums.reduce((largest, bin) => Math.max(largest, bin.events), 1);
      for (const bin of sums) {
        const [left, right] = [startOfCells + bin.place * step, startOfCells + (bin.place + 1) * step];
        const high = (0.75 * Math.log1p(bin.events)) / Math.log1p(most);
        const about = { from: left, to: right, lane: lanes[bin.lane], place: bin.lane };
        let low = bin.lane + 0.88;
        for (const group of content.cell_groups) {
          const both = bin.groups.get(group);
          if (!both) continue;
          const top = low - (high * both[0]) / bin.events;
          bins.push({ ...about, low, y: top, group, events: both[0], failures: both[1] });
          low = top;
        }
        if (bin.failures)
          failures.push({
            ...about,
            y: bin.lane + 0.9,
            low: bin.lane + 0.97,
            share: 0.25 + (0.75 * bin.failures) / bin.events,
            events: bin.events,
            failures: bin.failures,
          });
      }
    }
    return { data: { bins, failures, marks: open ? visible.rows.map(mark) : [] }, step };
  }

  function drawActivity(visible) {
    const step = stepFor(visible.cells);
    const seconds = (step * span.unit_us) / 1e6;
    const bars = [];
    const line = [];
    const sums = counted(visible.rows, visible.cells, step, false);
    const at = (place) => Math.min(Math.max(startOfCells + place * step, asked.bounds[0]), asked.bounds[1]);
    let last = null;
    for (const bin of sums) {
      let low = 0;
      for (const group of [...content.cell_groups].reverse()) {
        const both = bin.groups.get(group);
        if (!both) continue;
        const high = low + both[0] / seconds;
        bars.push({ from: at(bin.place), to: at(bin.place + 1), low, high, group, events: both[0], rate: both[0] / seconds });
        low = high;
      }
      if (last !== null && bin.place > last + 1) line.push({ at: at(last + 1), rate: 0, what: "failed" });
      line.push({ at: at(bin.place), rate: bin.failures / seconds, what: "failed" });
      last = bin.place;
    }
    asked.tall = [0, Math.max(1, ...bars.map((bar) => bar.high))];
    if (last !== null) line.push({ at: at(last + 1), rate: 0, what: "failed" });
    return { data: { bars, line }, step };
  }

  function drawBars(visible) {
    const bars = visible.rows.map(mark);
    const wide = view.signal("width") / (asked.shown[1] - asked.shown[0]);
    for (const bar of bars) {
      if (content.kind !== "values") continue;
      // A text begins where its bar begins in the window, and is cut to the part of the bar in it.
      bar.text_at = Math.max(bar.from, asked.shown[0]);
      const letters = Math.floor(((Math.min(bar.to, asked.shown[1]) - bar.text_at) * wide) / 6.2) - 1;
      const whole = bar.data || '""';
      bar.shown = letters < 2 ? "" : whole.length <= letters ? whole : whole.slice(0, letters - 1) + "…";
    }
    return { data: { bars } };
  }

  function drawSteps(visible) {
    const line = [];
    const dots = [];
    const gone = [];
    let part = 0;
    for (const row of visible.rows) {
      if (rows.numbers.gone[row]) {
        part += 1;
        gone.push(mark(row));
        continue;
      }
      const held = rows.numbers.number[row];
      line.push({ at: from[row], number: held, part }, { at: to[row], number: held, part });
      if (!rows.numbers.before[row]) dots.push({ ...mark(row), number: held });
    }
    return { data: { line, dots, gone } };
  }

  function drawTree() {
    const root = content.rows.nodes[asked.root];
    const shown = { high: root.to - root.from };
    const levels = content.rows.levels;
    const letters = Math.max(4, Math.floor(view.signal("width") / levels / 7.2) - 1);
    const pixel = shown.high / view.signal("height");
    const boxes = [];
    for (const node of content.rows.nodes) {
      if (node.to <= root.from || node.from >= root.to || node.to - node.from < 0.4 * pixel) continue;
      if (node.level < root.level || node.level >= root.level + levels) continue;
      const share = (Math.min(node.to, root.to) - Math.max(node.from, root.from)) / pixel;
      let name = node.name;
      if (name.length > letters) // of a SID the end tells users apart
        name = name.startsWith("S-1-") ? "…" + name.slice(1 - letters) : name.slice(0, letters - 1) + "…";
      const lit = !asked.words.length || asked.words.every((word) => node.key.toLowerCase().includes(word));
      boxes.push({
        ...node,
        next: node.level + 1,
        middle: (Math.max(node.from, root.from) + Math.min(node.to, root.to)) / 2,
        name: share >= 11 ? name : "",
        lit: lit ? 1 : 0.2,
        edge: share < 3 ? 0 : 0.7,
      });
    }
    view.signal("down", [root.from, root.to]);
    view.signal("across", [root.level, root.level + levels]);
    return { data: { boxes } };
  }

  const draws = {
    timeline: drawTimeline,
    activity: drawActivity,
    handles: drawBars,
    values: drawBars,
    steps: drawSteps,
    tree: drawTree,
  };

  function draw() {
    const visible = isTree ? null : inRange(window_());
    const drawn = draws[content.kind](visible);
    const chosen = asked.row >= 0 && !isTree ? [{ ...mark(asked.row), number: (rows.numbers.number || [])[asked.row] }] : [];
    for (const [name, values] of Object.entries(isTree ? drawn.data : { ...drawn.data, chosen })) view.data(name, values);
    if (!isTree) {
      view.signal("shown", asked.shown);
      if (asked.tall) view.signal("tall", asked.tall);
      say(visible, drawn.step);
    } else sayTree();
    view.run();
    drawChoice();
    list(visible);
    element("whole").disabled = element("wider").disabled = isTree ? asked.root === 0 : isWhole();
    document.documentElement.dataset.drawn = String(Number(document.documentElement.dataset.drawn || 0) + 1);
  }

  let waiting = false;
  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  // ---- words

  const length = (inUnits) => {
    const us = inUnits * span.unit_us;
    const [size, unit] = us >= 1e6 ? [1e6, "s"] : us >= 1e3 ? [1e3, "ms"] : [1, "µs"];
    return `${Number((us / size).toPrecision(3))} ${unit}`;
  };
  const place = (at) => `+${length(Math.max(at, 0)) === "0 µs" ? "0" : length(Math.max(at, 0))}`;

  // A moment as text, UTC, to the microsecond; microseconds count from the zero of the picture.
  function momentOf(us, isShort) {
    const whole = BigInt(span.zero) / 1000n + BigInt(Math.round(us));
    const date = new Date(Number(whole / 1000n));
    if (Number.isNaN(date.getTime()) || whole < 0n) return `${whole} µs`;
    const rest = String(whole % 1000n).padStart(3, "0");
    const iso = date.toISOString().replace("Z", rest);
    return isShort ? iso + "Z" : iso.replace("T", " ");
  }
  const moment = (row) => (rows.numbers.before && rows.numbers.before[row] ? "before" : momentOf(rows.numbers.from[row]));

  function say(visible, step) {
    const counts = sum(visible.cells);
    const total = visible.rows.length + counts;
    const all = rows.count + sum(cells);
    let said = isWhole() ? "" : `${place(asked.shown[0])} to ${place(asked.shown[1])} (${length(asked.shown[1] - asked.shown[0])}): `;
    said += total === all ? `all ${nouns(all)}` : `${number(total)} of ${nouns(all)}`;
    if (step) said += `, in steps of ${length(step)}`;
    if (content.kind === "timeline" && step && visible.rows.length > MOST_MARKS)
      said += "; bars open into marks where you zoom in or filter";
    element("status").textContent = `${said}.`;
  }

  function sayTree() {
    const root = content.rows.nodes[asked.root];
    const path = element("path");
    path.replaceChildren();
    const above = [];
    for (let at = asked.root; at !== -1; at = content.rows.nodes[at].parent) above.unshift(at);
    path.hidden = above.length < 2;
    for (const at of above) {
      const step = make("button", content.rows.nodes[at].name);
      step.type = "button";
      step.addEventListener("click", () => setRoot(at));
      if (path.childNodes.length) path.append(" \\ ");
      path.append(step);
    }
    const failed = root.failed ? `, ${(100 * root.failed).toFixed(1)} % of them failed` : "";
    element("status").textContent =
      `${root.key}: ${several(root.events, "operation")}${failed}. Click a key to look closer, or the names above to go back.`;
  }

  // ---- the table

  function cellOf(row, name) {
    if (isTree) {
      const node = content.rows.nodes[row];
      const own = { key: node.key, operations: node.events, "on it alone": node.own, failed: `${(100 * node.failed).toFixed(1)} %` };
      return typeof own[name] === "number" ? number(own[name]) : own[name];
    }
    if (name === "time") return moment(row);
    return text(row, name);
  }

  function head() {
    const line = make("tr");
    const columns = isTree ? ["key", "operations", "on it alone", "failed"] : rows.columns;
    for (const name of columns) {
      const title = make("th", name, isTree && name !== "key" ? "number" : "");
      title.scope = "col";
      line.append(title);
    }
    element("head").replaceChildren(line);
    return columns;
  }

  function list(visible) {
    const columns = head();
    let listed, counts, said;
    if (isTree) {
      const root = content.rows.nodes[asked.root];
      listed = content.rows.nodes
        .map((node, at) => at)
        .filter((at) => {
          const node = content.rows.nodes[at];
          if (node.level <= root.level || node.from < root.from - 1e-12 || node.to > root.to + 1e-12) return false;
          return asked.words.length
            ? asked.words.every((word) => node.key.toLowerCase().includes(word))
            : node.parent === asked.root;
        })
        .sort((one, other) => content.rows.nodes[other].events - content.rows.nodes[one].events);
      counts = 0;
      said = asked.words.length ? `${nouns(listed.length)} that fit` : `${nouns(listed.length)} right below`;
    } else {
      const part = asked.choice ? inRange(asked.choice) : visible;
      listed = part.rows;
      counts = sum(part.cells);
      said = `${nouns(listed.length + counts)} ${asked.choice ? "chosen" : "shown"}`;
    }
    element("count").textContent = said;
    element("zoom").hidden = element("clear").hidden = !asked.choice;
    const cut = element("cut");
    cut.replaceChildren();
    if (counts) {
      const range = asked.choice || window_();
      const within_ = ` --from ${momentOf(range.from / perUs, true)} --to ${momentOf(range.to / perUs, true)}`;
      cut.append(
        `${number(counts)} of them are only counted in this page, which has room for ${number(rows.count)} rows` +
          ". To list them all: ",
        make("code", content.command + within_),
      );
    } else if (asked.words.length && cells.length) {
      const range = asked.choice || window_();
      const left = sum(cells.filter((cell) => cellWithin(range)(cell) && inLanes(range, cell[1])));
      if (left) cut.append(`${several(left, "operation")} of this time ${left === 1 ? "is" : "are"} only counted in this page: not searched, and not shown now.`);
    }
    cut.hidden = !cut.childNodes.length;
    let begin = 0;
    if (asked.row >= 0 && listed.length > asked.listed) begin = Math.max(0, listed.indexOf(asked.row) - 5);
    const body = [];
    for (const row of listed.slice(begin, begin + asked.listed)) {
      const line = make("tr");
      line.tabIndex = 0;
      line.dataset.row = row;
      line.setAttribute("aria-selected", String(row === asked.row && !isTree));
      for (const name of columns) {
        let kind = ["key", "value", "data", "name"].includes(name) ? "" : "short";
        if (isTree && name !== "key") kind = "number";
        if (name === "result" && content.results && rows.numbers.failed[row]) kind = "short failed";
        line.append(make("td", cellOf(row, name), kind));
      }
      body.push(line);
    }
    element("rows").replaceChildren(...body);
    const rest = listed.length - begin - body.length;
    element("more").hidden = rest <= 0;
    element("more").textContent = `Show ${number(Math.min(rest, 5 * PAGE_ROWS))} more of ${number(rest)}`;
  }

  function choose(row, isFromTable) {
    asked.row = row;
    if (isFromTable && row >= 0 && (from[row] < asked.shown[0] || from[row] > asked.shown[1])) move(from[row] - (asked.shown[0] + asked.shown[1]) / 2);
    draw();
    const line = element("rows").querySelector('[aria-selected="true"]');
    if (line && isFromTable) line.focus({ preventScroll: true });
    else if (line) line.scrollIntoView({ block: "nearest" });
  }

  // ---- moving

  const isWhole = () => asked.shown[0] <= asked.bounds[0] && asked.shown[1] >= asked.bounds[1];

  function show(start, end) {
    const [first, last] = asked.bounds;
    const least = Math.min(2 * perUs, last - first);
    const wide = Math.min(Math.max(end - start, least), last - first);
    const middle = (start + end) / 2;
    const begin = Math.min(Math.max(middle - wide / 2, first), last - wide);
    asked.shown = [begin, begin + wide];
    asked.listed = PAGE_ROWS;
    later();
  }
  const move = (by) => show(asked.shown[0] + by, asked.shown[1] + by);
  function zoom(factor, at) {
    const [start, end] = asked.shown;
    const about = at === undefined ? (start + end) / 2 : at;
    const wide = Math.min((end - start) * factor, asked.bounds[1] - asked.bounds[0]);
    const share = (about - start) / (end - start);
    show(about - share * wide, about + (1 - share) * wide);
  }
  function setRoot(at) {
    asked.root = Math.max(at, 0);
    asked.listed = PAGE_ROWS;
    later();
  }
  function endChoice() {
    asked.choice = null;
    asked.row = -1;
    later();
  }

  // Where the plot begins in the canvas, in pixels.
  function cornerOf() {
    const [x, y] = view.origin();
    const { left, top } = view.padding();
    return [x + left, y + top];
  }

  // The place of an event in the plot, in pixels; in units of the axes where asked.
  function pointOf(event) {
    const box = element("picture").querySelector("canvas").getBoundingClientRect();
    const origin = cornerOf();
    const [wide, high] = [view.signal("width"), view.signal("height")];
    const x = event.clientX - box.left - origin[0];
    const y = event.clientY - box.top - origin[1];
    return { x, y, isInside: x >= 0 && y >= 0 && x <= wide && y <= high, wide, high };
  }
  const timeAt = (point, x) => asked.shown[0] + (Math.min(Math.max(x, 0), point.wide) / point.wide) * (asked.shown[1] - asked.shown[0]);
  const laneAt = (point, y) => Math.min(Math.max(Math.floor((y / point.high) * lanes.length), 0), lanes.length - 1);

  function drawChoice(range = asked.choice) {
    const brush = element("brush");
    brush.hidden = !range || isTree;
    if (brush.hidden) return;
    const origin = cornerOf();
    const [wide, high] = [view.signal("width"), view.signal("height")];
    const x = (at) => Math.min(Math.max(((at - asked.shown[0]) / (asked.shown[1] - asked.shown[0])) * wide, 0), wide);
    const [left, right] = [x(range.from), x(range.to)];
    const [top, bottom] = range.top === undefined ? [0, high] : [(range.top / lanes.length) * high, ((range.bottom + 1) / lanes.length) * high];
    brush.style.left = `${origin[0] + left}px`;
    brush.style.width = `${Math.max(right - left, 1)}px`;
    brush.style.top = `${origin[1] + top}px`;
    brush.style.height = `${bottom - top}px`;
  }

  function listen() {
    const picture = element("picture");
    let drag = null;
    picture.addEventListener("wheel", (event) => {
      const point = pointOf(event);
      if (isTree || !point.isInside || event.ctrlKey) return;
      if (event.deltaX && Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
        event.preventDefault();
        move((event.deltaX / point.wide) * (asked.shown[1] - asked.shown[0]));
        return;
      }
      if (event.deltaY > 0 && isWhole()) return; // nothing to zoom out to: the page scrolls
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(point, point.x));
    }, { passive: false });
    picture.addEventListener("pointerdown", (event) => {
      const point = pointOf(event);
      if (isTree || event.button !== 0 || !point.isInside) return;
      drag = { start: point, shown: [...asked.shown], moves: asked.moves !== event.shiftKey, isLong: false };
      picture.setPointerCapture(event.pointerId);
    });
    picture.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const point = pointOf(event);
      drag.isLong = drag.isLong || Math.hypot(point.x - drag.start.x, point.y - drag.start.y) > 4;
      if (!drag.isLong) return;
      if (drag.moves) {
        const by = ((drag.start.x - point.x) / point.wide) * (drag.shown[1] - drag.shown[0]);
        show(drag.shown[0] + by, drag.shown[1] + by);
      } else drawChoice(rangeOf(drag.start, point));
    });
    picture.addEventListener("pointerup", (event) => {
      if (!drag) return;
      const { start, isLong, moves } = drag;
      drag = null;
      if (isLong && !moves) {
        asked.choice = rangeOf(start, pointOf(event));
        asked.row = -1;
        asked.listed = PAGE_ROWS;
        later();
      } else if (!isLong) click(event);
    });
    picture.addEventListener("pointercancel", () => { drag = null; drawChoice(); });
    if (isTree) picture.addEventListener("click", click);
    picture.addEventListener("dblclick", (event) => {
      const point = pointOf(event);
      if (!isTree && point.isInside) zoom(0.4, timeAt(point, point.x));
    });
    picture.addEventListener("keydown", key);
    picture.tabIndex = 0;

    element("search").addEventListener("input", (event) => {
      asked.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
      asked.row = -1;
      asked.listed = PAGE_ROWS;
      if (!isTree) findFitting();
      later();
    });
    element("mode").addEventListener("click", () => {
      asked.moves = !asked.moves;
      element("mode").setAttribute("aria-pressed", String(asked.moves));
    });
    element("closer").addEventListener("click", () => zoom(0.5));
    element("wider").addEventListener("click", () => (isTree ? setRoot(content.rows.nodes[asked.root].parent) : zoom(2)));
    element("whole").addEventListener("click", () => (isTree ? setRoot(0) : show(...asked.bounds)));
    element("clear").addEventListener("click", endChoice);
    element("zoom").addEventListener("click", () => {
      const { from: start, to: end } = asked.choice;
      asked.choice = null;
      show(start, end);
    });
    element("more").addEventListener("click", () => { asked.listed += 5 * PAGE_ROWS; later(); });
    const pick = (event) => {
      const line = event.target.closest("tr");
      if (!line || !element("rows").contains(line)) return;
      if (isTree) setRoot(Number(line.dataset.row));
      else choose(Number(line.dataset.row), true);
    };
    element("rows").addEventListener("click", pick);
    element("rows").addEventListener("keydown", (event) => { if (event.key === "Enter") pick(event); });
    addEventListener("resize", later);
  }

  function rangeOf(one, other) {
    const [left, right] = [Math.min(one.x, other.x), Math.max(one.x, other.x)];
    const range = { from: timeAt(one, left), to: timeAt(one, right) };
    if (!lanes.length) return range;
    return { ...range, top: laneAt(one, Math.min(one.y, other.y)), bottom: laneAt(one, Math.max(one.y, other.y)) };
  }

  let under = null; // the datum of the mark under the pointer
  function click() {
    element("tip").hidden = true;
    if (isTree) {
      if (under && under.at !== undefined) setRoot(under.at === asked.root ? content.rows.nodes[under.at].parent : under.at);
    } else if (under && under.row !== undefined) choose(under.row, false);
    else if (under && under.to !== undefined && under.events !== undefined) {
      asked.choice = { from: under.from, to: under.to };
      if (under.place !== undefined) asked.choice.top = asked.choice.bottom = under.place;
      asked.row = -1;
      later();
    } else endChoice();
  }

  function key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const wide = asked.shown ? asked.shown[1] - asked.shown[0] : 0;
    const node = isTree ? content.rows.nodes[asked.root] : null;
    const acts = isTree
      ? { ArrowLeft: () => setRoot(node.parent), "-": () => setRoot(node.parent), Escape: () => setRoot(node.parent), 0: () => setRoot(0),
          ArrowRight: () => setRoot(Math.max(content.rows.nodes.findIndex((each) => each.parent === asked.root), asked.root)) }
      : { ArrowLeft: () => move(-wide / 5), ArrowRight: () => move(wide / 5), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
          0: () => show(...asked.bounds), Escape: endChoice, n: () => next(1), p: () => next(-1) };
    if (!acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
  }
  function next(by) {
    const part = inRange(asked.choice || window_()).rows;
    if (!part.length) return;
    const at = part.indexOf(asked.row);
    choose(part[at < 0 ? (by > 0 ? 0 : part.length - 1) : Math.min(Math.max(at + by, 0), part.length - 1)], false);
  }

  // ---- the legend and the tip

  function shape(color, isCross) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("width", "12");
    svg.setAttribute("height", "12");
    svg.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", isCross ? "M2 2L10 10M10 2L2 10" : "M6 1a5 5 0 1 0 .01 0Z");
    path.setAttribute("fill", isCross ? "none" : color);
    path.setAttribute("stroke", isCross ? "currentColor" : "#888888");
    path.setAttribute("stroke-width", isCross ? "2.5" : "0.7");
    svg.append(path);
    return svg;
  }

  function legend() {
    const entries = content.groups.map(([name, color]) => ({ name, mark: shape(color), set: asked.off }));
    if (content.results)
      for (const name of ["done", "failed"]) entries.push({ name, mark: shape("#888888", name === "failed"), set: asked.results });
    for (const { name, mark: drawn, set } of entries) {
      const button = make("button");
      button.type = "button";
      button.title = name;
      button.setAttribute("aria-pressed", "true");
      button.append(drawn, name);
      button.addEventListener("click", () => {
        if (set.has(name)) set.delete(name);
        else set.add(name);
        button.setAttribute("aria-pressed", String(!set.has(name)));
        findFitting();
        later();
      });
      element("legend").append(button);
    }
    const missing = new Map((content.spec.datasets.shades || []).map((shade) => [shade.kind, true]));
    const hues = { lost: "#E69F00", "clock set back": "#CC79A7", "names unknown": "#8888BB" };
    for (const kind of missing.keys()) {
      const entry = make("span", undefined, "shade");
      entry.append(shape(hues[kind]), ` shaded: ${kind}`);
      element("legend").append(entry);
    }
  }

  function tip(handler, event, item, value) {
    const box = element("tip");
    under = item && item.datum ? item.datum : null;
    box.hidden = !value;
    if (!value) return;
    const lines = typeof value === "object" ? Object.entries(value) : [["", value]];
    box.replaceChildren(
      ...lines.filter(([, said]) => said !== "" && said !== undefined && said !== null).map(([name, said]) => {
        const line = make("div");
        if (name) line.append(make("b", name));
        line.append(String(said));
        return line;
      }),
    );
    const frame = element("frame").getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    box.style.left = `${Math.max(0, Math.min(x + 14, frame.width - box.offsetWidth - 4))}px`;
    box.style.top = `${y + 18}px`;
  }

  // ---- the beginning

  function config() {
    const [ink, soft, line] = dark.matches ? ["#e6e9ed", "#9aa4b0", "#363d46"] : ["#1c2024", "#5b6470", "#d9dde2"];
    return {
      background: "transparent",
      font: 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif',
      axis: { labelColor: ink, titleColor: soft, titleFontWeight: "normal", domainColor: line, tickColor: line, gridColor: line, labelFontSize: 12, titleFontSize: 12 },
      legend: { labelColor: ink, titleColor: soft },
      view: { stroke: line },
    };
  }

  async function embed() {
    if (view) view.finalize();
    const result = await vegaEmbed("#picture", content.spec, {
      actions: false, ast: true, config: config(), defaultStyle: false, renderer: "canvas", tooltip: tip,
    });
    view = result.view;
    element("picture").querySelector("canvas").removeAttribute("tabindex");
    if (content.kind === "plain") return;
    view.addEventListener("mousemove", (event, item) => { under = item && item.datum ? item.datum : null; });
    const hues = dark.matches ? { ink: "#e6e9ed", ground: "#14181d" } : { ink: "#222222", ground: "#ffffff" };
    for (const { name } of content.spec.params) if (hues[name]) view.signal(name, hues[name]);
    draw();
  }

  async function begin() {
    if (content.kind !== "plain") {
      for (const id of ["tools", "below", "help"]) element(id).hidden = false;
      if (isTree) {
        for (const id of ["help", "mode", "closer"]) element(id).hidden = true;
        element("search").placeholder = "key";
      }
      else findFitting();
      if (!isTree) legend();
    }
    await embed();
    if (content.kind !== "plain") listen();
    dark.addEventListener("change", embed);
    document.documentElement.dataset.ready = "yes";
  }
  begin();
})();
