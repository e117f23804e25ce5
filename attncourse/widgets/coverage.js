// Left (or above): one side, four values and the positions that each writes to. Right (or below): the whole map.
// data is (kernels, strides, paddings, output paddings, longest side): how many inputs write to a position.

function draw(svg, { width, state, data, shape, meta }) {
  const [, strides, paddings, outputs, longest] = shape;
  const place = ((state.kernel * strides + state.stride) * paddings + state.padding) * outputs + state.output;
  const length = meta.lengths[place];
  if (length === 0) {
    add(svg, "text", { x: 0, y: 16, class: "strong" }, "There is no such layer.");
    return 24;
  }
  const counts = [...data.slice(place * longest, place * longest + length)];
  const chosen = (name) => meta.values[name][state[name]];
  const wide = width >= 560;
  const fanWidth = wide ? width * 0.54 : width;
  const top = drawFan(svg, fanWidth, counts, meta.input, chosen);
  const left = wide ? fanWidth + 26 : 0;
  const start = wide ? 0 : top + 18;
  const height = drawMap(svg, left, start, Math.min(width - left, 300), counts);
  return Math.max(top, start + height);
}

// The values in the upper row, the output in the lower one; a line for each input and position it writes to.
function drawFan(svg, width, counts, size, chosen) {
  add(svg, "text", { x: 0, y: 13, class: "strong" }, `One side: ${size} values write to ${counts.length}`);
  const [upper, lower] = [32, 168];
  const step = Math.min(24, width / counts.length);
  const box = Math.max(2, step - 2);
  const x = (j) => (width - counts.length * step) / 2 + j * step;
  const gap = width / (size + 1);
  for (let i = 0; i < size; i++) {
    const middle = gap * (i + 1);
    for (let k = 0; k < chosen("kernel"); k++) {
      const j = i * chosen("stride") - chosen("padding") + k;
      if (j < 0 || j >= counts.length) continue;
      const line = { x1: middle, x2: x(j) + step / 2, y1: upper + 20, y2: lower, "stroke-width": 1.5 };
      add(add(svg, "g", { class: "up" }), "line", line);
    }
    add(svg, "rect", { x: middle - 10, y: upper, width: 20, height: 20, rx: 3, class: "mark pale" });
  }
  counts.forEach((count, j) => {
    const tone = { class: count ? "up" : "down", "fill-opacity": count ? 0.6 : 1 };
    add(svg, "rect", { x: x(j) + 1, y: lower, width: box, height: 20, rx: 2, ...tone });
    const label = { x: x(j) + step / 2, y: lower + 37, class: count ? "quiet" : "strong", "text-anchor": "middle" };
    add(svg, "text", label, count);
  });
  add(svg, "text", { x: width / 2, y: lower + 58, class: "quiet", "text-anchor": "middle" }, "how many inputs write here");
  return lower + 64;
}

// Every position of the output; the number in it is the product of its row's and its column's.
function drawMap(svg, left, start, side, counts) {
  const cell = side / counts.length;
  const most = Math.max(...counts) ** 2;
  add(svg, "text", { x: left, y: start + 13, class: "strong" }, `The whole map: ${counts.length} × ${counts.length}`);
  const top = start + 24;
  counts.forEach((row, i) => counts.forEach((column, j) => {
    const times = row * column;
    const tone = { class: times ? "up" : "down", "fill-opacity": times ? 0.2 + 0.6 * times / most : 1 };
    const size = Math.max(1, cell - 1);
    const square = add(svg, "rect", { x: left + j * cell, y: top + i * cell, width: size, height: size, ...tone });
    add(square, "title", {}, `row ${i}, column ${j}: ${times}`);
  }));
  const legend = { x: left, y: top + side + 16, class: counts.includes(0) ? "down" : "quiet" };
  add(svg, "text", legend, counts.includes(0) ? "■ never written to: only the bias" : "darker: written to more often");
  return side + 24 + 22;
}
