"use strict";
(() => {
  const one = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  // What only works with this script is hidden until it runs.
  all(".scripted").forEach((part) => { part.hidden = false; });

  // --- Sorting the table of results: every heading becomes a button.
  const table = one("#table");
  const headings = all("thead th[data-sort]", table);
  const body = one("tbody", table);
  const cells = (row) => [...row.children];

  function keyOf(row, at, kind) {
    const cell = cells(row)[at];
    if (kind === "text") return cell.innerText.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  }

  function sortBy(heading) {
    const at = cells(heading.parentNode).indexOf(heading);
    const kind = heading.dataset.sort;
    const before = heading.getAttribute("aria-sort");
    // The first click puts the best on top, the second the worst.
    let down = kind === "down";
    if (before) down = before === "ascending";
    const collator = new Intl.Collator("en", { numeric: true });
    const rows = all("tr", body).map((row, index) => ({ row, index, key: keyOf(row, at, kind) }));
    rows.sort((a, b) => {
      if ((a.key === null) !== (b.key === null)) return a.key === null ? 1 : -1;
      const order = kind === "text" ? collator.compare(a.key, b.key) : (a.key ?? 0) - (b.key ?? 0);
      return (down ? -order : order) || a.index - b.index;
    });
    body.append(...rows.map((entry) => entry.row));
    headings.forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    one("#sorted").textContent = `Sorted by ${heading.innerText.trim()}, ${down ? "descending" : "ascending"}.`;
  }

  headings.forEach((heading) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortBy(heading));
  });

  // --- Which data set and which column tables, plots and samples show.
  const viewData = one("#view-data");
  const viewColumn = one("#view-column");

  function view() {
    const data = viewData ? viewData.value : "";
    const column = viewColumn ? viewColumn.value : "";
    all("#table tbody tr, .all tbody tr, figure").forEach((part) => {
      const fits = (!data || part.dataset.on === data) && (!column || !part.dataset.by || part.dataset.by === column);
      part.hidden = !fits;
    });
    if (one("#no-plots")) one("#no-plots").hidden = all("figure").some((figure) => !figure.hidden);
    // Where all rows are of one data set, its column says nothing.
    table.classList.toggle("one-data", data !== "");
    filter();
  }

  // --- The gallery.
  const samples = one("#samples");
  const reasons = all(".filters button[data-why]");
  let why = "";

  function filter() {
    if (!samples) return;
    const rows = all("tbody tr", samples);
    const chosen = (id) => (one(id) ? one(id).value : "");
    const [kind, size, words] = [chosen("#by-kind"), chosen("#by-size"), chosen("#by-text").trim().toLowerCase()];
    const data = viewData ? viewData.value : "";
    let shown = 0;
    let among = 0;
    rows.forEach((row) => {
      const known = row.dataset;
      const fits = (!data || known.on === data) && (!kind || known.kind === kind) && (!size || known.size === size)
        && (!why || known.why.split(" ").includes(why))
        && (!words || row.textContent.toLowerCase().includes(words));
      row.hidden = !fits;
      among += !data || known.on === data ? 1 : 0;
      shown += fits ? 1 : 0;
    });
    one("#shown").textContent = shown ? `${shown} of ${among} shown` : "No sample fits";
  }

  function order() {
    const number = (text, missing) => (text === "" ? missing : Number(text));
    const rows = all("tbody tr", samples);
    rows.forEach((row, index) => { row.dataset.place ??= index; });
    const keys = {
      disagreement: (row) => -number(row.dataset.apart, -Infinity),
      worst: (row) => number(row.dataset.mean, Infinity),
    };
    const key = keys[why] || ((row) => Number(row.dataset.place));
    rows.sort((a, b) => key(a) - key(b) || a.dataset.place - b.dataset.place);
    one("tbody", samples).append(...rows);
  }

  reasons.forEach((button) => button.addEventListener("click", () => {
    why = button.dataset.why;
    reasons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
    order();
    filter();
  }));
  all("#by-kind, #by-size").forEach((select) => select.addEventListener("change", filter));
  if (one("#by-text")) one("#by-text").addEventListener("input", filter);

  const boxes = all(".choices input");
  function openColumns() {
    boxes.forEach((box) => {
      all(`[data-at="${box.value}"]`, samples).forEach((cell) => { cell.hidden = !box.checked; });
    });
    if (boxes.length) one("#open-count").textContent = boxes.filter((box) => box.checked).length;
  }
  boxes.forEach((box) => box.addEventListener("change", openColumns));

  // --- Copying.
  async function copy(button) {
    const source = one(`#${button.dataset.copy}`);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Selected: press Ctrl+C";
    }
  }
  all("[data-copy]").forEach((button) => button.addEventListener("click", () => copy(button)));

  [viewData, viewColumn].forEach((select) => select && select.addEventListener("change", view));
  if (samples) openColumns();
  view();
})();
