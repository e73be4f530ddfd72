"use strict";
// The program of a report's page: tables that sort, filter and are searched, cards of keys, the state at each moment, pictures.
// `page.py` makes the page and says what each part of its content is. Texts of the content were written by strangers: they enter
// the page as text only (textContent), never as markup, as code, or as part of an expression.
(() => {
  const content = JSON.parse(document.getElementById("content").textContent);
  const element = (id) => document.getElementById(id);
  const make = (tag, text, kind) => {
    const made = document.createElement(tag);
    if (text !== undefined && text !== null) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const number = (n) => n.toLocaleString("en-US");
  const several = (n, one) => `${number(n)} ${one}${n === 1 ? "" : "s"}`;
  const FIRST_ROWS = 25;
  const MORE_ROWS = 500;
  const PRINTED_ROWS = 300;
  const main = element("main");
  const grids = []; // every table on the page
  const cards = new Map(); // by key
  let words = []; // of the search, in lower case
  let drawings = 0;

  const drawn = () => { document.documentElement.dataset.drawn = String(++drawings); };

  // ---- the address keeps what the reader asked for: q (search), at (moment), sort.NAME, only.NAME.COLUMN

  const asked = new URLSearchParams(location.hash.slice(1));
  let waiting = 0;
  function remember(name, text) {
    if (text === "" || text === null) asked.delete(name);
    else asked.set(name, text);
    clearTimeout(waiting);
    waiting = setTimeout(() => history.replaceState(null, "", asked.size ? `#${asked}` : location.pathname), 150);
  }

  // ---- tables

  // One column: `text(row)` is what stands in a cell, `fits(word)` says of each different text whether it has the word.
  function columnOf(kind, data) {
    if (kind === "number") {
      return {
        text: (row) => (data[row] === null ? "" : number(data[row])),
        compare: (one, other) => compareEmpty(data[one], data[other]) ?? data[one] - data[other],
        test: (word) => (row) => data[row] !== null && String(data[row]).includes(word.replaceAll(",", "")),
      };
    }
    const shown = kind === "tree" ? data.names.map((name) => name && name.slice(name.indexOf("|") + 1)) : data.names;
    const lower = shown.map((name) => (name || "").toLowerCase());
    return {
      text: (row) => shown[data.at[row]] || "",
      depth: (row) => (kind === "tree" && data.names[data.at[row]] ? parseInt(data.names[data.at[row]], 10) : 0),
      compare: (one, other) => {
        const [left, right] = [lower[data.at[one]], lower[data.at[other]]];
        return compareEmpty(left || null, right || null) ?? (left < right ? -1 : left > right ? 1 : 0);
      },
      test: (word) => {
        const fits = lower.map((name) => name.includes(word));
        return (row) => fits[data.at[row]];
      },
    };
  }
  // Empty cells come last in both orders, so what is compared says first whether one is.
  const compareEmpty = (one, other) => (one === null || other === null ? (one === null) - (other === null) : undefined);

  class Table {
    constructor(data, place, { name = data.name, isSearched = true } = {}) {
      Object.assign(this, { data, name, isSearched });
      this.columns = data.columns.map((column, at) => columnOf(data.kinds[at], column));
      this.key = data.kinds.includes("key") ? data.kinds.indexOf("key") : null; // it stands above the rows it is said of
      this.most = FIRST_ROWS;
      this.only = new Map(); // column -> word
      for (const [key, word] of asked) {
        const found = key.startsWith(`only.${name}.`) ? Number(key.slice(`only.${name}.`.length)) : -1;
        if (found >= 0 && found < this.columns.length) this.only.set(found, word);
      }
      const [by, order] = (asked.get(`sort.${name}`) || "").split(".");
      this.sort = by !== "" && Number(by) < this.columns.length && Number(by) >= 0 ? { by: Number(by), down: order === "down" } : null;
      this.build(place);
      this.find();
      grids.push(this);
    }

    build(place) {
      this.box = make("div", null, "grid");
      this.box.dataset.name = this.name;
      if (this.data.title) this.box.append(make("h3", this.data.title));
      if (!this.data.count) {
        this.box.append(make("p", this.data.empty, "empty"));
        place.append(this.box);
        return;
      }
      if (this.data.cut) this.box.append(make("p", this.data.cut, "soft"));
      const tools = make("div", null, "tools");
      this.shown = make("span", null, "shown");
      this.filtersButton = make("button", "Filter columns");
      this.filtersButton.type = "button";
      this.filtersButton.addEventListener("click", () => this.showFilters(this.filters.hidden));
      tools.append(this.shown, this.filtersButton);
      const table = make("table");
      const head = make("thead");
      const titles = make("tr");
      this.headings = this.data.titles.map((title, at) => {
        if (at === this.key) {
          const order = make("button", "Order by key");
          order.type = "button";
          order.addEventListener("click", () => this.sortBy(at));
          tools.append(order);
          return order;
        }
        const heading = make("th", null, this.data.kinds[at] === "number" ? "number" : "");
        heading.scope = "col";
        const button = make("button", title);
        button.type = "button";
        button.addEventListener("click", () => this.sortBy(at));
        heading.append(button);
        titles.append(heading);
        return heading;
      });
      this.filters = make("tr", null, "filters");
      this.filters.hidden = !this.only.size;
      this.data.titles.forEach((title, at) => {
        if (at === this.key) return; // the search reaches it
        const cell = make("th");
        const input = make("input");
        input.type = "search";
        input.setAttribute("aria-label", `Only rows whose ${title} has`);
        input.value = this.only.get(at) || "";
        input.addEventListener("input", () => {
          if (input.value) this.only.set(at, input.value);
          else this.only.delete(at);
          remember(`only.${this.name}.${at}`, input.value);
          this.most = FIRST_ROWS;
          this.find();
          drawn();
        });
        cell.append(input);
        this.filters.append(cell);
      });
      head.append(titles, this.filters);
      this.body = make("tbody");
      table.append(head, this.body);
      const scroll = make("div", null, "scroll");
      scroll.append(table);
      this.more = make("button");
      this.more.type = "button";
      this.more.addEventListener("click", () => { this.most += MORE_ROWS; this.draw(); drawn(); });
      const below = make("div", null, "tools");
      below.append(this.more);
      this.box.append(tools, scroll, below);
      place.append(this.box);
    }

    showFilters(isShown) {
      this.filters.hidden = !isShown;
      if (isShown) this.filters.querySelector("input").focus();
      else if (this.only.size) {
        for (const at of this.only.keys()) remember(`only.${this.name}.${at}`, "");
        this.only.clear();
        for (const input of this.filters.querySelectorAll("input")) input.value = "";
        this.find();
      }
      drawn();
    }

    sortBy(at) {
      if (!this.sort || this.sort.by !== at) this.sort = { by: at, down: this.data.kinds[at] === "number" };
      else if (this.sort.down === (this.data.kinds[at] === "number")) this.sort = { by: at, down: !this.sort.down };
      else this.sort = null;
      remember(`sort.${this.name}`, this.sort ? `${at}.${this.sort.down ? "down" : "up"}` : "");
      this.find();
      drawn();
    }

    // Which rows fit the search and the filters of the columns, in order.
    find() {
      if (!this.data.count) return;
      const tests = [...this.only].map(([at, word]) => this.columns[at].test(word.toLowerCase()));
      if (this.isSearched)
        for (const word of words) {
          const of_columns = this.columns.map((column) => column.test(word));
          tests.push((row) => of_columns.some((fits) => fits(row)));
        }
      this.rows = [];
      for (let row = 0; row < this.data.count; row++) if (tests.every((fits) => fits(row))) this.rows.push(row);
      if (this.sort) {
        const { compare } = this.columns[this.sort.by];
        const turn = this.sort.down ? -1 : 1;
        const isEmpty = (row) => this.columns[this.sort.by].text(row) === "";
        this.rows.sort((one, other) => isEmpty(one) - isEmpty(other) || turn * compare(one, other) || one - other);
      }
      this.headings.forEach((heading, at) => {
        if (this.sort && this.sort.by === at) heading.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
        else heading.removeAttribute("aria-sort");
      });
      this.draw();
    }

    draw() {
      const all = this.data.count;
      const isNarrow = this.rows.length < all;
      this.shown.textContent = isNarrow ? `${number(this.rows.length)} of ${several(all, "row")} fit` : several(all, "row");
      this.filtersButton.setAttribute("aria-pressed", String(!this.filters.hidden));
      this.filtersButton.hidden = all < 2;
      const lines = [];
      let above = null;
      for (const row of this.rows.slice(0, this.most)) {
        const key = this.key === null ? null : this.columns[this.key].text(row);
        if (key !== above) {
          const line = make("tr", null, "key");
          const cell = make("td", null, "code");
          cell.colSpan = this.data.titles.length - 1;
          cell.append(linked(key || "(no key)"));
          line.append(cell);
          lines.push(line);
          above = key;
        }
        lines.push(this.line(row));
      }
      this.body.replaceChildren(...lines);
      const left = this.rows.length - this.most;
      this.more.hidden = left <= 0;
      this.more.textContent = left > MORE_ROWS ? `Show ${number(MORE_ROWS)} more of ${number(left)}` : `Show ${number(left)} more`;
    }

    line(row) {
      const line = make("tr");
      this.columns.forEach((column, at) => {
        const kind = this.data.kinds[at];
        const cell = make("td", null, kind);
        const text = column.text(row);
        if (kind === "key") return;
        cell.append(kind === "code" ? linked(text) : text);
        if (kind === "tree") cell.style.paddingLeft = `${0.6 + 1.2 * Math.min(column.depth(row), 12)}rem`;
        line.append(cell);
      });
      return line;
    }
  }

  // What is the name of a key with a card leads to it.
  function linked(text) {
    if (!cards.has(text)) return text;
    const link = make("a", text);
    link.href = "#";
    link.addEventListener("click", (event) => { event.preventDefault(); openCard(text); });
    return link;
  }

  // ---- parts

  function part(name, title) {
    const section = make("section");
    section.id = `part-${name}`;
    section.append(make("h2", title));
    main.append(section);
    const link = make("a", title);
    link.href = `#part-${name}`;
    link.addEventListener("click", (event) => { event.preventDefault(); section.scrollIntoView(); });
    element("parts").append(link);
    return { section, link };
  }

  function facts() {
    for (const [subject, text] of content.facts) element("facts").append(make("dt", subject), make("dd", text));
    if (!content.doubts.length) return;
    const box = make("div", null, "doubts");
    const list = make("ul");
    list.append(...content.doubts.map((sentence) => make("li", sentence)));
    box.append(make("h2", "What to bear in mind"), list);
    main.append(box);
  }

  function sectionOf(data) {
    const { section, link } = part(data.name, data.title);
    section.append(...data.sentences.map((sentence) => make("p", sentence, "soft")));
    const mine = data.grids.map((grid) => new Table(grid, section));
    link.append(make("span", number(mine.reduce((total, table) => total + table.data.count, 0)), "count"));
    if (data.file) section.append(fileOf(...data.file));
  }

  function fileOf(name, text) {
    const details = make("details", null, "file");
    const summary = make("summary", `What takes these changes back: ${name}`);
    const save = make("button", `Save ${name}`);
    save.type = "button";
    save.addEventListener("click", () => {
      // regedit reads UTF-16 with a byte order mark.
      const units = new Uint16Array([0xfeff, ...Array.from({ length: text.length }, (_, at) => text.charCodeAt(at))]);
      const link = make("a");
      link.href = URL.createObjectURL(new Blob([units], { type: "application/octet-stream" }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });
    const tools = make("div", null, "tools");
    tools.append(save);
    details.append(summary, tools, make("pre", text));
    return details;
  }

  function pictures() {
    if (!content.pictures.length || typeof vegaEmbed === "undefined") return;
    const { section } = part("pictures", "Pictures");
    for (const [title, spec] of content.pictures) {
      const place = make("div", null, "picture");
      place.setAttribute("role", "img");
      place.setAttribute("aria-label", title);
      section.append(make("h3", title), place);
      views.push({ spec, place });
    }
  }
  const views = [];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  async function drawPictures() {
    const isDark = dark.matches && !printing;
    const [ink, soft, line] = isDark ? ["#e6e9ed", "#9aa4b0", "#363d46"] : ["#1c2024", "#5b6470", "#d9dde2"];
    for (const { spec, place } of views) {
      const wanted = { ...spec, width: Math.max(300, Math.min(1500, place.clientWidth - 190)), title: undefined, config: {
        background: "transparent", font: 'system-ui, "Segoe UI", "DejaVu Sans", sans-serif', view: { stroke: line },
        axis: { labelColor: ink, titleColor: soft, titleFontWeight: "normal", domainColor: line, tickColor: line, gridColor: line },
        legend: { labelColor: ink, titleColor: soft },
      } };
      await vegaEmbed(place, wanted, { actions: false, ast: true, defaultStyle: false, renderer: "canvas", scaleFactor: 2, tooltip: tip });
    }
  }

  // Vega's own tip would write a style of its own, which the policy of the page forbids.
  function tip(handler, event, item, value) {
    const box = element("tip");
    box.hidden = !value;
    if (!value) return;
    const lines = typeof value === "object" ? Object.entries(value) : [["", value]];
    box.replaceChildren(...lines.map(([name, said]) => make("div", name ? `${name}: ${said}` : String(said))));
    box.style.left = `${Math.max(0, Math.min(event.pageX + 14, document.documentElement.clientWidth - box.offsetWidth - 8))}px`;
    box.style.top = `${event.pageY + 18}px`;
  }

  function keyCards() {
    if (!content.cards.length) return;
    const { section, link } = part("keys", "Key by key");
    link.append(make("span", number(content.cards.length), "count"));
    section.append(make("p", "Each write and delete that was seen, in order; how the old data is known stands beside it.", "soft"));
    content.cards.forEach((card, at) => {
      const details = make("details", null, "card");
      const summary = make("summary");
      summary.append(make("code", card.key), make("span", card.sentence, "soft"));
      details.append(summary);
      const text = `${card.key} ${card.sentence} ${card.history.columns.map((one) => (one.names || one).join(" ")).join(" ")}`.toLowerCase();
      const made = { details, text, table: null, build: () => {
        if (!made.table) made.table = new Table(card.history, details, { name: `card${at}`, isSearched: false });
      } };
      details.addEventListener("toggle", () => { if (details.open) { made.build(); drawn(); } });
      cards.set(card.key, made);
      section.append(details);
    });
  }
  function openCard(key) {
    const card = cards.get(key);
    card.build();
    card.details.hidden = false;
    card.details.open = true;
    card.details.scrollIntoView({ block: "start" });
    card.details.querySelector("summary").focus();
    drawn();
  }

  // ---- the state at each moment

  let moments = null;
  function slider() {
    const data = content.moments;
    if (!data || !data.times.length) return;
    const { section } = part("moments", "At any moment");
    const stops = data.times.length;
    const isCut = data.changes > stops;
    section.append(make("p", isCut
      ? `What was known of the keys above at ${number(stops)} moments. Something changed in them at ${number(data.changes)} times, so between two moments changes may lie. Marked: what is different from the moment before.`
      : "What was known of the keys above at the start, after each change that was seen in them, and at the end. Marked: what is different from the moment before.", "soft"));
    const row = make("div", null, "slider");
    const range = make("input");
    Object.assign(range, { type: "range", min: 0, max: stops - 1, step: 1, id: "at" });
    range.setAttribute("aria-label", "Moment");
    const earlier = make("button", "\u2190 Earlier");
    const later = make("button", "Later \u2192");
    earlier.type = later.type = "button";
    row.append(earlier, range, later);
    const text = make("p");
    const when = make("span", null, null);
    when.id = "moment";
    const count = make("span", null, "soft");
    text.append(when, " ", count);
    const scroll = make("div", null, "scroll");
    const table = make("table");
    const head = make("thead");
    const titles = make("tr");
    for (const title of ["value", "held", "known by", "since", "process"]) titles.append(make("th", title));
    head.append(titles);
    const body = make("tbody");
    body.id = "state";
    table.append(head, body);
    scroll.append(table);
    section.append(row, text, scroll);
    const cell = (line, column) => data.lines[column].names[data.lines[column].at[line]] || "";
    const columns = ["code", "code", "code", "text", "time", "text"];
    const show = (at) => {
      range.value = String(at);
      const before = at > 0 ? new Set(data.states[at - 1]) : null;
      const lines = data.states[at].filter((line) =>
        words.every((word) => columns.some((_, column) => cell(line, column).toLowerCase().includes(word))));
      when.textContent = data.times[at];
      range.setAttribute("aria-valuetext", data.times[at]);
      earlier.disabled = at === 0;
      later.disabled = at === stops - 1;
      count.textContent = `moment ${number(at + 1)} of ${number(stops)}, ${several(lines.length, "line")}`;
      const shown = [];
      let above = null;
      for (const line of lines) {
        if (cell(line, 0) !== above) {
          above = cell(line, 0);
          const heading = make("tr", null, "key");
          const name = make("td", null, "code");
          name.colSpan = columns.length - 1;
          name.append(linked(above));
          heading.append(name);
          shown.push(heading);
        }
        const made = make("tr", null, before && !before.has(line) ? "changed" : "");
        columns.forEach((kind, column) => {
          if (column) made.append(make("td", cell(line, column) || (column === 1 ? "(the key itself)" : ""), kind));
        });
        shown.push(made);
      }
      body.replaceChildren(...shown);
      moments.at = at;
      remember("at", at === stops - 1 ? "" : data.times[at]);
    };
    const go = (at) => { show(Math.min(Math.max(at, 0), stops - 1)); drawn(); };
    range.addEventListener("input", () => go(Number(range.value)));
    earlier.addEventListener("click", () => go(moments.at - 1));
    later.addEventListener("click", () => go(moments.at + 1));
    moments = { at: stops - 1, go, show };
    const wanted = data.times.indexOf(asked.get("at"));
    show(wanted < 0 ? stops - 1 : wanted);
  }

  // ---- search, keys, print

  function search(text) {
    words = text.toLowerCase().split(/\s+/).filter(Boolean);
    remember("q", text.trim());
    for (const table of grids) if (table.isSearched) { table.most = FIRST_ROWS; table.find(); }
    for (const card of cards.values()) card.details.hidden = !words.every((word) => card.text.includes(word));
    if (moments) moments.show(moments.at);
    const hits = grids.reduce((total, table) => total + (table.isSearched && table.data.count ? table.rows.length : 0), 0);
    element("hits").textContent = words.length ? several(hits, "row") : "";
    drawn();
  }

  function keyboard(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const input = element("search");
    if (event.key === "Escape" && document.activeElement === input) { input.value = ""; search(""); input.blur(); return; }
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName) && document.activeElement.type !== "range") return;
    const links = [...element("parts").children];
    if (event.key === "/") { event.preventDefault(); input.focus(); input.select(); }
    else if (event.key === "?") help();
    else if (event.key === "[" && moments) moments.go(moments.at - 1);
    else if (event.key === "]" && moments) moments.go(moments.at + 1);
    else if (/^[1-9]$/.test(event.key) && links[Number(event.key) - 1]) links[Number(event.key) - 1].click();
  }
  function help() {
    const isShown = element("keys").hidden;
    element("keys").hidden = !isShown;
    element("help").setAttribute("aria-expanded", String(isShown));
  }

  let printing = false;
  let closed = [];
  function beforePrint() {
    printing = true;
    closed = [...cards.values()].filter((card) => !card.details.open && !card.details.hidden);
    for (const card of closed) { card.build(); card.details.open = true; }
    for (const table of grids) if (table.data.count) { table.kept = table.most; table.most = Math.max(table.most, PRINTED_ROWS); table.draw(); }
  }
  function afterPrint() {
    printing = false;
    for (const card of closed) card.details.open = false;
    for (const table of grids) if (table.data.count) { table.most = table.kept || FIRST_ROWS; table.draw(); }
  }

  async function begin() {
    facts();
    keyCards(); // before the tables, whose keys link to them; its part is moved behind them below
    const cardsPart = element("part-keys");
    const cardsLink = cardsPart ? element("parts").lastChild : null;
    for (const data of content.sections.filter((one) => one.name !== "method")) sectionOf(data);
    if (cardsPart) { main.append(cardsPart); element("parts").append(cardsLink); }
    slider();
    pictures();
    for (const data of content.sections.filter((one) => one.name === "method")) sectionOf(data);
    const input = element("search");
    input.value = asked.get("q") || "";
    if (input.value) search(input.value);
    input.addEventListener("input", () => search(input.value));
    element("help").addEventListener("click", help);
    addEventListener("keydown", keyboard);
    addEventListener("beforeprint", beforePrint);
    addEventListener("afterprint", afterPrint);
    await drawPictures();
    dark.addEventListener("change", drawPictures);
    drawn();
    document.documentElement.dataset.ready = "yes";
  }
  begin();
})();
