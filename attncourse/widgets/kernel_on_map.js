// Above: photograph, mean map, maximum map, gate, with the kernel's window. Below: what it sees there, and its weights.
// data is (3 + 2 + 5 per kernel, height, width): photograph, two maps, two weighted sums per kernel, three gates each.

const painted = new WeakMap(); // an svg's four images: kept, since a new one flashes until its browser has decoded it
const signed = (x) => `${x < 0 ? "−" : "+"}${Math.abs(x).toFixed(2)}`;

function draw(svg, { width, state, data, shape, meta }) {
  const [, rows, columns] = shape;
  const kernels = meta.weights.length;
  const at = (map, i, j) => data[(map * rows + i) * columns + j];
  const weights = meta.weights[state.kernel];
  const used = meta.pools[state.pools];
  const here = [meta.rows[state.row], meta.columns[state.column]];
  const gate = 5 + 2 * kernels + 3 * state.kernel + state.pools;
  const spans = [3, 4].map((map) => span(data.subarray(map * rows * columns, (map + 1) * rows * columns)));
  const grey = (pool, i, j) => 255 * (at(3 + pool, i, j) - spans[pool].low) / (spans[pool].high - spans[pool].low || 1);

  const tiles = arrange(width, rows / columns);
  if (!painted.has(svg)) {
    const fixed = { preserveAspectRatio: "none", style: "image-rendering: pixelated" };
    painted.set(svg, [0, 1, 2, 3].map(() => add(svg, "image", fixed)));
    const values = [(i, j, k) => at(k, i, j), (i, j) => grey(0, i, j), (i, j) => grey(1, i, j)];
    values.forEach((value, n) => painted.get(svg)[n].setAttribute("href", paint(rows, columns, value)));
  }
  const images = painted.get(svg);
  images[3].setAttribute("href", paint(rows, columns, (i, j) => 255 * at(gate, i, j)));
  const names = ["photograph", "mean over channels", "maximum over channels", "gate"];
  const size = weights[0].length;
  images.forEach((image, n) => {
    const tile = tiles[n];
    for (const name of ["x", "y", "width", "height"]) image.setAttribute(name, tile[name]);
    image.setAttribute("opacity", (n === 1 || n === 2) && !used[n - 1] ? 0.25 : 1);
    svg.append(image);
    caption(svg, tile, names[n], n === 3);
    drawWindow(svg, tile, here, n === 1 || n === 2 ? size : 1, tile.width / columns);
  });
  for (const pool of [0, 1]) {
    const what = ["mean", "maximum"][pool];
    const seen = (u, v) => {
      const [i, j] = [here[0] + u - (size - 1) / 2, here[1] + v - (size - 1) / 2];
      return i < 0 || j < 0 || i >= rows || j >= columns ? null : grey(pool, i, j);
    };
    drawSeen(svg, tiles[4 + 2 * pool], `${what} under it`, size, seen, used[pool]);
    drawWeights(svg, tiles[5 + 2 * pool], "× its weights", weights[pool], used[pool]);
  }
  const parts = [0, 1].map((pool) => used[pool] * at(5 + 2 * state.kernel + pool, ...here));
  const terms = [0, 1].filter((pool) => used[pool])
    .map((pool) => `${signed(parts[pool])} from the ${["mean", "maximum"][pool]}`);
  add(svg, "text", { x: 0, y: tiles.height + 16, class: "strong" }, `Weighted sum: ${terms.join(", ")}`);
  const words = `${signed(parts[0] + parts[1])}, normalised over the map, then σ: gate ${at(gate, ...here).toFixed(2)}`;
  add(svg, "text", { x: 0, y: tiles.height + 36 }, words);
  return tiles.height + 42;
}

function span(values) {
  return { low: Math.min(...values), high: Math.max(...values) };
}

// Eight tiles in rows of four where there is room, else in rows of two: pictures first, then kernel tiles (square).
function arrange(width, ratio) {
  const [gap, head] = [14, 22];
  const across = width >= 520 ? 4 : 2;
  const side = (width - (across - 1) * gap) / across;
  const tiles = [];
  let y = 0;
  for (let n = 0; n < 8; n += across) {
    const height = n < 4 ? side * ratio : side;
    for (let k = 0; k < across; k++) tiles.push({ x: k * (side + gap), y: y + head, width: side, height });
    y += head + height + 10;
  }
  tiles.height = y;
  return tiles;
}

function caption(svg, { x, y, width, height }, words, strong) {
  add(svg, "rect", { x: x - 0.5, y: y - 0.5, width: width + 1, height: height + 1, class: "frame" });
  add(svg, "text", { x, y: y - 7, class: strong ? "strong" : "quiet" }, words);
}

// The kernel's window on a map; an inner svg cuts off what leaves the tile. White under dashes: seen on any grey.
function drawWindow(svg, { x, y, width, height }, [row, column], size, pixel) {
  const clip = add(svg, "svg", { x, y, width, height });
  const box = {
    x: (column + 0.5 - size / 2) * pixel, y: (row + 0.5 - size / 2) * pixel, width: size * pixel, height: size * pixel,
  };
  add(clip, "rect", { ...box, style: "fill: none; stroke: #fff; stroke-width: 2.5" });
  add(clip, "rect", { ...box, class: "ring" });
}

function drawCells(svg, tile, words, size, on, fill) {
  const group = add(svg, "g", { opacity: on ? 1 : 0.25 });
  const cell = Math.min(tile.width, tile.height) / size;
  for (let u = 0; u < size; u++) {
    for (let v = 0; v < size; v++) {
      const place = { x: tile.x + v * cell, y: tile.y + u * cell, width: cell, height: cell };
      fill(group, place, u, v);
    }
  }
  caption(svg, tile, words, false);
}

// A cell outside of the map is empty and says 0: that is what the padding puts there.
function drawSeen(svg, tile, words, size, seen, on) {
  drawCells(svg, tile, words, size, on, (group, place, u, v) => {
    const value = seen(u, v);
    if (value !== null) {
      const level = Math.round(value);
      add(group, "rect", { ...place, style: `fill: rgb(${level}, ${level}, ${level})` });
      return;
    }
    add(group, "rect", { ...place, class: "frame" });
    const middle = { x: place.x + place.width / 2, y: place.y + place.height / 2 + 4 };
    add(group, "text", { ...middle, class: "quiet", "text-anchor": "middle" }, "0");
  });
}

// Blue above zero, orange below, the stronger the further from it.
function drawWeights(svg, tile, words, weights, on) {
  const most = Math.max(...weights.flat().map(Math.abs)) || 1;
  drawCells(svg, tile, words, weights.length, on, (group, place, u, v) => {
    const weight = weights[u][v];
    const tone = { class: weight < 0 ? "down" : "up", "fill-opacity": Math.abs(weight) / most };
    const cell = add(group, "rect", { ...place, ...tone });
    add(cell, "title", {}, `${signed(weight)}`);
  });
}
