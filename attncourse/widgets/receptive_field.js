// Left (or above): the photograph, bright where a pixel can move the output pixel. Right (or below): in how many ways
// each offset along one axis is reached. data is (size, size, 3), bytes; meta.ways are ways() of bam.py.

const panels = new WeakMap(); // an svg's image: kept, since a new one flashes until its browser has decoded it

function draw(svg, { width, state, data, shape, meta }) {
  const size = shape[0];
  const place = meta.places[state.place];
  const ways = meta.ways[state.dilation][state.layers];
  const reach = (ways.length - 1) / 2;
  const count = (index) => ways[index - place + reach] ?? 0; // of a row or column of the picture
  const wide = width >= 540;
  const side = wide ? Math.min(340, 0.52 * width) : Math.min(340, width);
  drawPicture(svg, { side, size, place, reach, count, data, holes: ways.includes(0) });
  const left = wide ? side + 30 : 0;
  const start = wide ? 0 : side + 44;
  const height = drawWays(svg, { left, start, width: width - left, ways, reach });
  return Math.max(side + 26, start + height);
}

function drawPicture(svg, { side, size, place, reach, count, data, holes }) {
  const top = 24;
  const cell = side / size;
  const seen = (i, j) => count(i) > 0 && count(j) > 0;
  if (!panels.has(svg)) {
    panels.set(svg, add(svg, "image", { preserveAspectRatio: "none", style: "image-rendering: pixelated" }));
  }
  const image = panels.get(svg);
  for (const [name, value] of Object.entries({ x: 0, y: top, width: side, height: side })) {
    image.setAttribute(name, value);
  }
  const value = (i, j, k) => data[(i * size + j) * 3 + k] * (seen(i, j) ? 1 : 0.3);
  image.setAttribute("href", paint(size, size, value));
  add(svg, "text", { x: 0, y: 13, class: "strong" }, "Bright: can move the output pixel");
  svg.append(image);
  const clip = add(svg, "svg", { x: 0, y: top, width: side, height: side }); // cuts off what leaves the picture
  for (let i = 0; holes && i < size; i++) { // without holes the dashed square says it all
    for (let j = 0; j < size; j++) {
      if (!seen(i, j)) continue;
      add(clip, "rect", { x: j * cell, y: i * cell, width: cell, height: cell, fill: "none", stroke: "#fff",
        "stroke-width": 0.7 });
    }
  }
  add(clip, "rect", { x: (place - reach) * cell, y: (place - reach) * cell, width: (2 * reach + 1) * cell,
    height: (2 * reach + 1) * cell, fill: "none", stroke: "#fff", "stroke-width": 1.5, "stroke-dasharray": "5 4" });
  add(clip, "rect", { x: place * cell, y: place * cell, width: cell, height: cell, fill: "none", stroke: "#ff9a3c",
    "stroke-width": 2.5 });
}

// One bar per offset that is seen; where there are few, its number above it.
function drawWays(svg, { left, start, width, ways, reach }) {
  const [x0, x1, y0, y1] = [left + 6, left + width - 6, start + 44, start + 214];
  const step = (x1 - x0) / ways.length;
  const most = Math.max(...ways);
  const few = ways.filter((n) => n > 0).length <= 9;
  add(svg, "text", { x: left, y: start + 13, class: "strong" }, "Ways to get there, along one axis");
  add(svg, "line", { x1: x0, x2: x1, y1, y2: y1, class: "grid" });
  ways.forEach((n, k) => {
    if (n === 0) return;
    const height = (y1 - y0) * n / most;
    const thick = Math.max(1, Math.min(14, 0.8 * step));
    const middle = x0 + step * (k + 0.5);
    add(svg, "rect", { x: middle - thick / 2, y: y1 - height, width: thick, height, class: "mark" });
    if (few) add(svg, "text", { x: middle, y: y1 - height - 6, "text-anchor": "middle" }, n);
  });
  for (const [k, words] of [[0, -reach], [reach, 0], [2 * reach, reach]]) {
    const sign = words < 0 ? `−${-words}` : words;
    add(svg, "text", { x: x0 + step * (k + 0.5), y: y1 + 18, class: "quiet", "text-anchor": "middle" }, sign);
  }
  add(svg, "text", { x: (x0 + x1) / 2, y: y1 + 38, class: "quiet", "text-anchor": "middle" }, "offset in pixels");
  return y1 + 44 - start;
}
