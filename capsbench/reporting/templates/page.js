"use strict";

// Charts are drawn one after the other; those of closed details when these are opened.
const views = new Map();
const hidden = new Set();
let seeds = true;

async function draw(host) {
  if (views.has(host)) return;
  views.set(host, null);
  const spec = JSON.parse(host.querySelector("script").textContent);
  const drawing = host.querySelector(".drawing"); // Vega changes the role of what it draws into
  const { view } = await vegaEmbed(drawing, spec, {
    actions: false,
    ast: true, // expressions are interpreted: the page's policy allows no code from text
    config: THEME,
    defaultStyle: false,
    renderer: "svg",
    tooltip: { disableDefaultStyle: true },
  });
  drawing.removeAttribute("role");
  drawing.removeAttribute("aria-label");
  drawing.querySelector("svg").setAttribute("aria-hidden", "true"); // the host has the text
  views.set(host, view);
  await update(view);
}

function update(view) {
  return view.signal("hidden", [...hidden]).signal("seeds", seeds).runAsync();
}

async function drawAll(root) {
  for (const host of root.querySelectorAll(".chart")) {
    if (!host.closest("details:not([open])")) await draw(host);
  }
}

for (const details of document.querySelectorAll("details")) {
  details.addEventListener("toggle", () => {
    if (!details.open) return;
    makeSortable(details);
    fit();
    drawAll(details);
  });
}

// The legend switches models, and marks of seeds, in all charts.
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(on));
    if ("seeds" in button.dataset) seeds = on;
    else if (on) hidden.delete(button.dataset.label);
    else hidden.add(button.dataset.label);
    for (const view of views.values()) if (view) update(view);
  });
}

// Tables of several rows are sorted by a click on a heading; long ones can be searched. Those of
// closed details wait until these are opened.
const tables = new Map();
function makeSortable(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    if (tables.has(table) || table.closest("details:not([open])")) continue;
    const search = table.tBodies[0].rows.length > 8 ? "search" : null;
    const headings = table.tHead.rows[table.tHead.rows.length - 1].cells; // those that sort
    const sorted = new DataTable(table, {
      autoWidth: false,
      columns: Array.from(headings, (cell) => ({ ariaTitle: cell.textContent })),
      info: false,
      layout: { topStart: search, topEnd: null, bottomStart: null, bottomEnd: null },
      language: { search: "Filter", emptyTable: "No rows" },
      order: [],
      paging: false,
    });
    tables.set(table, sorted);
  }
}
makeSortable(document);

// No column is cut: a table that is wider than its box shows each row as a card.
function fit() {
  const boxes = [...document.querySelectorAll(".scroll")];
  for (const box of boxes) box.querySelector("table")?.classList.remove("cards");
  const wide = boxes.filter((box) => box.scrollWidth > box.clientWidth + 1);
  for (const box of wide) box.querySelector("table")?.classList.add("cards");
}
let frame = 0;
addEventListener("resize", () => {
  cancelAnimationFrame(frame);
  frame = requestAnimationFrame(fit);
});
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details.numbers")) details.open = true;
  for (const table of document.querySelectorAll(".scroll > table")) table.classList.add("cards");
});
addEventListener("afterprint", fit);
fit();

// Filters of a table: a value of a column, or the most of a number, which hides unknown ones.
for (const controls of document.querySelectorAll("[data-filters]")) {
  const table = tables.get(document.querySelector(`table.${controls.dataset.filters}`));
  const choice = controls.querySelector("[data-column]");
  const most = controls.querySelector("[data-most]");
  table?.search.fixed("own", (_, values, row) => {
    const cells = table.row(row).node().cells;
    const family = cells[choice.dataset.column].textContent.trim();
    const number = parseFloat(cells[most.dataset.most].dataset.order); // NaN if unknown
    return (!choice.value || family === choice.value) && (!most.value || number <= most.value);
  });
  controls.addEventListener("input", () => table?.draw());
}

// The gallery: images of one view, with the class that each model predicts.
for (const gallery of document.querySelectorAll(".gallery")) {
  const { size, sources, numbers, classes, names, models } = JSON.parse(
    gallery.querySelector("script").textContent,
  );
  const [height, width] = size;
  const chosen = gallery.querySelector("[data-view]");
  const filter = gallery.querySelector("[data-filter]");
  const list = gallery.querySelector(".thumbs");

  function isShown(view, image) {
    const predicted = models.map((model) => model.predicted[view][image]); // -2: not measured
    const [kind, index] = filter.value.split(":");
    if (kind === "all") return true;
    if (kind === "disagree") return new Set(predicted.filter((each) => each > -2)).size > 1;
    return predicted[index] > -2 && (predicted[index] === classes[image]) === (kind === "right");
  }

  function thumb(view, image) {
    const item = document.createElement("li");
    const picture = document.createElement("div");
    picture.className = "thumb";
    picture.style.aspectRatio = `${width} / ${height}`;
    picture.style.backgroundImage = `url(${sources[view]})`;
    const rows = classes.length * (height + 1) - 1; // a row apart
    picture.style.backgroundSize = `100% ${(100 * rows) / height}%`;
    picture.style.backgroundPositionY = `${(100 * image * (height + 1)) / (rows - height)}%`;
    picture.role = "img";
    picture.ariaLabel = `test image ${numbers[view][image]}, class ${names[classes[image]]}`;
    const label = document.createElement("strong");
    label.textContent = names[classes[image]];
    item.append(picture, label);
    for (const { label: title, place, predicted } of models) {
      if (predicted[view][image] === -2) continue;
      const answer = document.createElement("span");
      const right = predicted[view][image] === classes[image];
      const swatch = document.querySelector(`#swatch-${place}`).cloneNode(true);
      swatch.removeAttribute("id");
      const word = document.createElement(right ? "span" : "s");
      word.textContent = names[predicted[view][image]] ?? "none";
      answer.title = `${title}: ${word.textContent}, ${right ? "right" : "wrong"}`;
      answer.append(swatch, word);
      item.append(answer);
    }
    return item;
  }

  function show() {
    const view = Number(chosen.value);
    const images = classes.map((_, image) => image).filter((image) => numbers[view][image] >= 0);
    const shown = images.filter((image) => isShown(view, image));
    list.replaceChildren(...shown.map((image) => thumb(view, image)));
    gallery.querySelector("output").textContent = `${shown.length} of ${images.length} images`;
  }

  for (const link of document.querySelectorAll("a[data-view]")) {
    link.addEventListener("click", () => {
      chosen.value = link.dataset.view;
      show();
    });
  }
  chosen.addEventListener("change", show);
  filter.addEventListener("change", show);
  show();
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    let said = "copied";
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch {
      said = button.dataset.copy; // refused by the browser: the text can be copied by hand
    }
    button.textContent = said;
    button.removeAttribute("aria-label");
    if (said === "copied") setTimeout(() => (button.textContent = "copy"), 2000);
  });
}

// A link to a closed part opens it.
function open() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) target.open = true;
}
addEventListener("hashchange", open);
open();

const drawn = drawAll(document);
drawn.then(() => document.documentElement.setAttribute("data-drawn", ""));
